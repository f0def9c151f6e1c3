"""sha256 of model files, computed once: `verified.json` in the cache folder remembers what has not changed since.

A file counts as unchanged while its path, size, modification time and inode are the same. The memory is a
convenience: damaged, unwritable or absent, digests are simply computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemem.errors import ModelDamaged, ModelMissing
from edgemem.kv_files import private_folder

Progress = Callable[[str, int, int], None]
"""Called with the stage, the bytes done and the bytes in all, now and then."""

BLOCK_BYTES = 4 << 20
FORMAT = 1
MOST_FILES = 256
CLOCK_TICK_S = 0.02


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests remembered in `cache`. With `persist=False` what is remembered is used and nothing is written."""

    cache: Path
    persist: bool = True

    def of(self, path: Path, progress: Progress | None = None) -> str:
        """sha256 (hex) of `path`. Raises ModelMissing when it cannot be read."""
        try:
            known = self.known(path)
            if not known:
                known = sha256_of(path, progress)
                self.remember(path, known)
        except OSError as error:
            raise ModelMissing(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error
        return known

    def verify(self, path: Path, expected: str, name: str, progress: Progress | None = None) -> None:
        """Raise ModelDamaged unless the sha256 of `path`, the file of the model `name`, is `expected`."""
        found = self.of(path, progress)
        if found != expected:
            raise ModelDamaged(
                f"The file of {name} is damaged: its sha256 is {found[:16]}… instead of {expected[:16]}….",
                repair_hint(name),
            )

    def known(self, path: Path) -> str:
        """The remembered digest of `path`, or "" if there is none or the file has changed."""
        entry = self._read().get(os.path.realpath(path))
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            return ""
        digest: str = entry["sha256"]
        return digest if entry == _entry(path, digest) else ""

    def remember(self, path: Path, digest: str) -> None:
        """Note that the bytes that `path` has now have this digest."""
        _let_clock_pass(path)
        files = {key: value for key, value in self._read().items() if Path(key).exists()}
        files.pop(os.path.realpath(path), None)  # so that it becomes the newest one
        files[os.path.realpath(path)] = _entry(path, digest)
        self._write(dict(list(files.items())[-MOST_FILES:]))

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            return {}
        files = content.get("files")
        return files if isinstance(files, dict) else {}

    def _write(self, files: dict[str, Any]) -> None:
        if not self.persist:
            return
        with contextlib.suppress(OSError):  # a full or read-only disk costs us the memory only
            private_folder(self.cache)
            handle, name = tempfile.mkstemp(dir=self.cache, prefix=".verified-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"format": FORMAT, "files": files}, file, indent=1)
                Path(name).replace(self._file)
            except OSError:
                Path(name).unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self.cache / "verified.json"


def repair_hint(name: str) -> str:
    """What to do about a damaged file of the model `name`."""
    return f"Get it again: edgemem model rm {name} && edgemem model pull {name}"


def sha256_of(path: Path, progress: Progress | None = None) -> str:
    """sha256 (hex) of a file, read in blocks. Raises OSError."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    done = 0
    with path.open("rb", buffering=0) as file:
        total = os.fstat(file.fileno()).st_size
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            done += count
            if progress:
                progress("verify", done, total)
    return digest.hexdigest()


def _let_clock_pass(path: Path) -> None:
    """Wait until a later change of `path` must show in its modification time (file clocks tick in ms)."""
    age_s = time.time() - path.stat().st_mtime
    if 0 <= age_s < CLOCK_TICK_S:
        time.sleep(CLOCK_TICK_S - age_s)


def _entry(path: Path, digest: str) -> dict[str, Any]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino, "sha256": digest}
