"""The base in 32 bits, for as long as a check needs it: a rounding of the weights would look like an error of ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgemem.machine import memory_bytes

from ..apart import Progress, run_apart
from ..convert import write_gguf
from ..run import Export
from ..steps import WORK

BYTES = 4
PROCESS_BYTES = 700 << 20


@contextmanager
def in_32_bits(made: Export, lora: str, progress: Progress | None = None) -> Iterator[Path]:
    """The base as a GGUF of 32 bits, with the adapter in the folder `lora` merged ('' for none); gone afterwards."""
    plan = made.plan
    if plan.base == "F32" and lora == plan.merged:
        yield made.base.path
        return
    path = plan.out / WORK / f"{plan.name}-F32-{'merged' if lora else 'plain'}.gguf.part"
    try:
        run_apart(write_gguf, plan.checkpoint.folder, lora, path, plan.name, "F32", progress=progress)
        yield path
    finally:
        path.unlink(missing_ok=True)


def lacking(made: Export, files: int) -> str:
    """Why `files` such files, one of them open, do not fit this machine; '' where they do."""
    needed = made.plan.checkpoint.parameters * BYTES
    free = shutil.disk_usage(made.plan.out).free
    if free < files * needed:
        return f"the disk has {free / 1e9:.1f} GB free, {files * needed / 1e9:.1f} GB are needed"
    there = memory_bytes()[1]
    if there < needed + PROCESS_BYTES:
        return f"{(needed + PROCESS_BYTES) / 1e9:.1f} GB of memory are needed, {there / 1e9:.1f} GB are available"
    return ""
