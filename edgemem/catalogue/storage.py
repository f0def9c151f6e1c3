"""The Hugging Face cache as folders: where a file of a repository is, and how a new one is put there.

Same layout as the hub's own library, so that every other tool finds our files and we find theirs; nothing is ever
copied. Standard library only: finding an installed model must not cost the import of the hub's library.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgemem.errors import DownloadFailed

PARTIAL_SUFFIX = ".edgemem.incomplete"
"""Ends in `.incomplete`, so that the hub's own tools count and clean it as an unfinished download."""
SPARE_BYTES = 64 << 20
"""Left free on the disk after a download."""


def hub_cache() -> Path:
    """The hub's cache folder by the hub's own rules: HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME, ~/.cache."""
    named = os.environ.get("HF_HUB_CACHE", os.environ.get("HUGGINGFACE_HUB_CACHE"))
    if named is None:
        caches = os.environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))  # noqa: PTH118 - may hold $VARIABLES
        named = os.path.join(os.environ.get("HF_HOME", os.path.join(caches, "huggingface")), "hub")  # noqa: PTH118
    return Path(os.path.expandvars(named)).expanduser()


@dataclass(frozen=True, slots=True)
class Place:
    """A file of a repository's revision in the cache folder `cache`."""

    cache: Path
    repo: str
    revision: str
    file: str

    @property
    def folder(self) -> Path:
        """Folder of the repository."""
        return self.cache / ("models--" + self.repo.replace("/", "--"))

    @property
    def pointer(self) -> Path:
        """Where a reader finds the file (a link to its blob, where the file system has links)."""
        return self.folder / "snapshots" / self.revision / self.file

    def blob(self, sha256: str) -> Path:
        return self.folder / "blobs" / sha256

    def partial(self, sha256: str) -> Path:
        """Where an unfinished download of the file grows."""
        return self.folder / "blobs" / (sha256 + PARTIAL_SUFFIX)

    def named_digest(self) -> str:
        """The sha256 that the cache's link names ("" where there is no link or it names something else)."""
        try:
            name = self.pointer.readlink().name
        except OSError:
            return ""
        return name if re.fullmatch("[0-9a-f]{64}", name) else ""


def put(partial: Path, place: Place, sha256: str, *, as_main: bool) -> Path:
    """Make the finished download `partial` the file of `place`; returns the path for readers.

    `as_main` makes its revision the repository's `main` (for repositories that no hub has).
    """
    blob = place.blob(sha256)
    if partial != blob:
        partial.replace(blob)
    pointer = place.pointer
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.unlink(missing_ok=True)
    if not _linked(blob, pointer):
        blob.replace(pointer)
    if as_main:
        reference = place.folder / "refs" / "main"
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(place.revision)
    return pointer


def _linked(blob: Path, pointer: Path) -> bool:
    if os.environ.get("HF_HUB_DISABLE_SYMLINKS", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # Windows without developer mode, some network and FAT file systems
        return False
    return True


def check_space(folder: Path, needed: int) -> None:
    """Raise DownloadFailed, with numbers, unless `needed` bytes and some to spare fit on the disk of `folder`."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed + SPARE_BYTES:
        raise DownloadFailed(
            f"Not enough space in {folder}: the download needs {megabytes(needed + SPARE_BYTES)}, "
            f"{megabytes(free)} are free.",
            "Free some space, or set HF_HOME to a folder on a larger disk.",
        )


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def gguf_places(cache: Path) -> Iterator[Place]:
    """Every .gguf file in the cache, in the order of names."""
    for folder in sorted(cache.glob("models--*--*")):
        yield from gguf_places_of(cache, folder.name.removeprefix("models--").replace("--", "/", 1))


def gguf_places_of(cache: Path, repo: str) -> Iterator[Place]:
    """Every .gguf file of `repo` in the cache; files of the revision called main first."""
    folder = Place(cache, repo, "", "").folder
    snapshots = folder / "snapshots"
    revisions = sorted(item.name for item in snapshots.glob("*") if item.is_dir())
    try:
        main = (folder / "refs" / "main").read_text().strip()
    except OSError:
        main = ""
    for revision in sorted(revisions, key=lambda name: name != main):
        for pointer in sorted((snapshots / revision).rglob("*.gguf")):
            if pointer.is_file():
                yield Place(cache, repo, revision, pointer.relative_to(snapshots / revision).as_posix())
