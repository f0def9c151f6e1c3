"""Runs llama-cpp-python's own server until stdin closes, so that it never outlives the bench, killed or not.

A script: its arguments are the server's (`--model`, `--host`, `--port`, ...).
"""

from __future__ import annotations

import os
import sys
import threading


def _until_stdin_closes() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_until_stdin_closes, daemon=True).start()
    import runpy

    runpy.run_module("llama_cpp.server", run_name="__main__")
