"""The process that is preloaded with `faults.c`: forks a child per point, which runs one act until it is done or dead.

One JSON request per line on standard input, one answer per line on standard output; `crashes_run` talks to it.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from edgemem.errors import EdgememError, StoreWriteFailed

from .crash_acts import ACTS, opened

ACT_OF = {act.name: act for act in ACTS}


def main() -> None:
    faults = ctypes.CDLL(None)
    faults.edgemem_kinds.restype = ctypes.c_char_p
    for row in sys.stdin:
        sys.stdout.write(json.dumps(_apart(faults, json.loads(row))) + "\n")
        sys.stdout.flush()


def _apart(faults: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Run the request in a child: what it told, how it ended (`killed`, `done`, `refused`, `wrong`)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(faults, request, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        told = [json.loads(row) for row in pipe if row.endswith("\n")]
    _, status = os.waitpid(child, 0)
    last = told.pop() if not os.WIFSIGNALED(status) and told else {"end": "killed"}
    return {"told": told, **last}


def _child(faults: Any, request: dict[str, Any], writing: int) -> None:
    def say(value: object) -> None:
        os.write(writing, (json.dumps(value) + "\n").encode())

    folder, end, error = Path(request["folder"]), "done", ""
    faults.edgemem_fault(str(folder).encode(), request["at"], request["mode"])
    try:
        ACT_OF[request["act"]].run(folder, say)
    except StoreWriteFailed as refused:
        end, error = "refused", refused.message
        error = _still_readable(folder) or error
        end = "wrong" if error.startswith("unreadable") else end
    except BaseException:  # noqa: BLE001 - whatever it is, the person at the other end must see it
        end, error = "wrong", traceback.format_exc()
    kinds = faults.edgemem_kinds().decode()
    say({"end": end, "error": error, "kinds": kinds})
    os._exit(0)


def _still_readable(folder: Path) -> str:
    """What is wrong with reading the memory while the disk is still full."""
    try:
        with opened(folder) as store:
            store.read()
    except EdgememError as error:
        return f"unreadable while the disk is full: {error.message}"
    return ""


if __name__ == "__main__":
    main()
