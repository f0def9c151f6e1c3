"""One target under atheris, coverage-guided: `python -m edgemem.bench.trust.fuzz_child NAME LIBFUZZER-ARGUMENTS`.

Written apart, since atheris rewrites the code of what is imported after it, and ends the process by itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def main() -> None:
    name = sys.argv.pop(1)
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["edgemem", "json", "zipfile", "tomllib"]):
        from .fuzz_targets import run_once
    atheris.Setup(sys.argv, lambda data: run_once(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
