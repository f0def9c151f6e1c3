"""One export at a time in a folder: two would write the same unfinished file. The lock ends with its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from edgemem.errors import StoreBusy
from edgemem.store.files import translated

from .steps import WORK


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder. Raises StoreBusy at once where another process has it, StoreWriteFailed."""
    work = folder / WORK
    lock = FileLock(work / "lock")
    with translated(work):
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreBusy(
                f"another export is at work in {folder}", "wait until it has finished, or name another folder: --out"
            ) from None
    try:
        yield
    finally:
        lock.release()
