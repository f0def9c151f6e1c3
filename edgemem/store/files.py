"""Files on disk: private folders, whole-file reads, atomic compare-and-replace.

Translates the operating system's errors. Does not know what a memory or a journal is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.errors import MemoryUnreadable, StoreWriteFailed
from edgemem.kv_files import private_folder
from edgemem.memory.document import parse
from edgemem.memory.lines import digest_of

if TYPE_CHECKING:
    from edgemem.store.sealing import Seal

FILE_MODE = 0o600
MEMORY_MAX_BYTES = 1 << 20
"""A memory of 2,048 tokens is about 10 kB; a hundred times that is some other file."""

FULL_HINT = "free some space on that disk and try again; memory and pending turns are as they were"
DENIED_HINT = "check that the folder is writable for you (or choose another with --data-dir) and try again"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_failed(what: object, detail: str, *, full: bool) -> StoreWriteFailed:
    """The error for a write that did not happen, with the step to take."""
    return StoreWriteFailed(f"could not write {what}: {detail}", FULL_HINT if full else DENIED_HINT)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an operating-system error while writing `path` into StoreWriteFailed."""
    try:
        yield
    except OSError as error:
        raise write_failed(path, error.strerror or str(error), full=error.errno in _FULL) from error


def make_private_folder(folder: Path) -> None:
    """Make `folder` and its missing parents, each for the owner only. Raises StoreWriteFailed."""
    with translated(folder):
        private_folder(folder)


def make_private_file(path: Path) -> None:
    """Make an empty file for the owner only, if there is none. Raises StoreWriteFailed."""
    with translated(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file for the owner only, durably, or leave none (half of it could hold what was to be forgotten)."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace_whole(path: Path, data: bytes) -> None:
    """Put `data` in the file's place: the old file or the new one is there, never a part. Raises StoreWriteFailed."""
    new = new_name(path)
    with translated(path):
        write_whole(new, data)
        new.replace(path)
        sync_folder(path.parent)


def new_name(path: Path) -> Path:
    """Where the next state of a file is written before it takes its place; a dead process may have left one."""
    return path.with_name(f".{path.name}.new")


def readable(data: bytes, path: Path) -> str:
    """The text of a memory's bytes, with LF endings. Raises MemoryUnreadable: too large, not UTF-8."""
    if len(data) > MEMORY_MAX_BYTES:
        raise MemoryUnreadable(
            f"{path} is larger than {MEMORY_MAX_BYTES >> 20} MiB, so it is no memory of ours",
            "shorten it, or move it away; it was left as it is",
        )
    try:
        return parse(data.decode("utf-8")).text
    except UnicodeDecodeError as error:
        raise MemoryUnreadable(
            f"{path} is not UTF-8 (byte {error.start})",
            "save it as UTF-8 in your editor, or move it away; it was left as it is",
        ) from error


class MemoryFile:
    """`memory.md`: read whole, replaced whole. A link is followed: a person may keep the file elsewhere."""

    def __init__(self, path: Path, seal: Seal) -> None:
        self.path = path
        self.seal = seal

    @property
    def _target(self) -> Path:
        return Path(os.path.realpath(self.path))

    @property
    def staged(self) -> Path:
        """Where `stage` writes."""
        return new_name(self._target)

    def read(self) -> str:
        """The text with LF endings, empty when there is no file. Raises MemoryUnreadable; changes nothing."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MEMORY_MAX_BYTES + 1)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise MemoryUnreadable(
                f"{self.path} cannot be read: {error.strerror}",
                "make it a file that you can read, or move it away",
            ) from error
        if len(data) <= MEMORY_MAX_BYTES:
            data = self.seal.open(data, self.path.name)
        return readable(data, self.path)

    def stage(self, text: str) -> None:
        """Write `text`, durably, beside the file: what can fail for lack of space fails here. StoreWriteFailed."""
        with translated(self.staged):
            write_whole(self.staged, self.seal.seal(text.encode("utf-8"), self.path.name))

    def unstage(self) -> None:
        """Drop what `stage` wrote, if it is there."""
        self.staged.unlink(missing_ok=True)

    def replace(self, expected_digest: str) -> bool:
        """Put what `stage` wrote in the file's place, unless the file is not what is expected (False).

        Raises StoreWriteFailed, MemoryUnreadable.
        """
        if digest_of(self.read()) != expected_digest:
            return False
        with translated(self.path):
            self.staged.replace(self._target)
            sync_folder(self._target.parent)
        return True


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable. Windows has no such thing."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
