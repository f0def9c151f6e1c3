"""A process of its own that loads a model, reads and writes a little, and says how much memory that took.

`python -m edgemem.bench.speed.peak MODEL OPTIONS.json`; writes one JSON object to stdout.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROMPT_TOKENS, WRITTEN_TOKENS = 2000, 32


def main(model: str, options: dict[str, Any]) -> dict[str, int]:
    from edgemem.engines import open_engine
    from edgemem.engines.llama_binding import buffer_bytes
    from edgemem.machine import peak_memory_bytes

    if options.get("tunings"):
        options["tunings"] = Path(options["tunings"])
    engine = open_engine(Path(model), may_test=False, **options)
    session = engine.open()
    ids = engine.tokenize("The keeper of the lighthouse walked down to the shore. " * 400)
    session.feed(ids[: min(PROMPT_TOKENS, engine.info.context_tokens - WRITTEN_TOKENS)])
    list(session.generate(WRITTEN_TOKENS))
    return {"peak_bytes": peak_memory_bytes(), **{f"{kind}_bytes": size for kind, size in buffer_bytes().items()}}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
