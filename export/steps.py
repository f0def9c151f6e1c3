"""Which files of an export are finished, so that one that was interrupted goes on where it stopped.

A file is made under another name and takes its own when it is whole; `steps.json` then notes what it was made of and
its digest. A file that is not as noted, or was made of something else, is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemem.catalogue.digests import sha256_of
from edgemem.store.files import sync_folder, translated

RECORD = "steps.json"
WORK = ".work"
"""Folder in the model folder for what is being made; what is finished and good is linked from there."""


@dataclass(frozen=True, slots=True)
class Made:
    """A finished file. `again` says that it was there already; seconds and memory are of when it was made."""

    path: Path
    sha256: str
    seconds: float
    peak_rss_bytes: int
    again: bool


class Steps:
    """The record of the export in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, path: Path, inputs: Mapping[str, Any], write: Callable[[Path], tuple[float, int]]) -> Made:
        """The file (or folder of files) `path`; unless it is there, `write` makes it at the place that it is given and
        returns seconds and peak bytes.

        Raises StoreWriteFailed and what `write` raises; the unfinished file is then gone.
        """
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        found = self._found(path, key)
        if found is not None:
            return found
        part = path.with_name(path.name + ".part")
        with translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove(part)
            try:
                seconds, peak = write(part)
                digest = digest_of(part)
                for file in files_of(part):
                    _sync(file)
                _remove(path)
                part.replace(path)
                sync_folder(path.parent)
            finally:
                _remove(part)
            entry = {"key": key, "sha256": digest, "seconds": round(seconds, 3), "peak_rss_bytes": peak}
            self._note(path.name, entry)
        return Made(path, digest, seconds, peak, again=False)

    def _found(self, path: Path, key: str) -> Made | None:
        entry = self._read().get(path.name)
        if entry is None or entry.get("key") != key or not path.exists() or digest_of(path) != entry.get("sha256"):
            return None
        return Made(path, entry["sha256"], float(entry["seconds"]), int(entry["peak_rss_bytes"]), again=True)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads((self._folder / RECORD).read_bytes())
        except (OSError, ValueError):
            return {}
        return (
            {name: entry for name, entry in found.items() if isinstance(entry, dict)} if isinstance(found, dict) else {}
        )

    def _note(self, name: str, entry: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._folder / RECORD, json.dumps({**self._read(), name: entry}, indent=1))


def write_text(path: Path, text: str) -> None:
    """Put `text` in the file's place, durably: the old file or the new one is there, never a part. Others may read it,
    as the files beside it, unlike what the store writes (`replace_whole`)."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8")
    _sync(part)
    part.replace(path)


def files_of(path: Path) -> list[Path]:
    """A file itself, or the files in a folder, in the order of names."""
    return sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]


def digest_of(path: Path) -> str:
    """sha256 of a file, or of the names and digests of the files in a folder."""
    if not path.is_dir():
        return sha256_of(path)
    lines = [f"{sha256_of(file)}  {file.name}\n" for file in files_of(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
