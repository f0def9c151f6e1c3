"""Run by the Python of optimum's own environment (`onnx_optimum`), as a file: it imports nothing of ours.

    python optimum_child.py SOURCE OUT RESULT

Writes the graph of the checkpoint in SOURCE into OUT, and this process's peak memory in bytes into RESULT.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def main(source: str, out: str, result: str) -> None:
    """Export in 32 bits, with a cache. (Post-processing would put a graph of more than 2 GB into one message.)"""
    import_module("optimum.exporters.onnx").main_export(
        source,
        output=Path(out),
        task="text-generation-with-past",
        framework="pt",
        dtype="fp32",
        no_post_process=True,
        do_validation=False,
        local_files_only=True,
        trust_remote_code=False,
    )
    Path(result).write_text(str(_peak_bytes()))


def _peak_bytes() -> int:
    """0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    main(*sys.argv[1:4])
