"""Several files of one commit of a hub's repository, in the hub's own cache. Every file has the digest that the hub
names: sha256 for large ones, git's for small ones.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgemem.catalogue import hub
from edgemem.catalogue.cards import FILE, REVISION, CardFile
from edgemem.catalogue.digests import Progress
from edgemem.catalogue.fetch import Wanted, fetch
from edgemem.catalogue.storage import Place, check_space, hub_cache, put
from edgemem.errors import DownloadFailed, ModelMissing

MOST_SMALL_BYTES = 64 << 20
"""The hub hashes larger files with sha256."""
AGAIN = "Check the network and start again: what came is kept."


def commit_of(repo: str, revision: str = "", *, offline: str = "") -> tuple[str, list[str]]:
    """The commit that `revision` ("" for the newest) stands for, and the names of its files.

    With a reason to be `offline` it is what the cache has. Raises DownloadFailed, ModelMissing.
    """
    if not offline:
        return hub.list_files(repo, revision or None)
    folder = Place(hub_cache(), repo, "", "").folder
    commit = revision
    if not REVISION.fullmatch(revision):
        try:
            commit = (folder / "refs" / (revision or "main")).read_text("utf-8").strip()
        except OSError:
            commit = ""
    snapshot = folder / "snapshots" / commit
    if not REVISION.fullmatch(commit) or not snapshot.is_dir():
        raise ModelMissing(f"{repo} is not on this machine, and {offline}.", "Start once with a network.")
    return commit, sorted(path.name for path in snapshot.iterdir())


def fetch_files(
    repo: str, commit: str, names: list[str], *, as_main: bool = False, progress: Progress | None = None
) -> Path:
    """The folder in the cache with the files `names` of `commit`; what is not there yet is downloaded.

    Names have no folder in them. Raises DownloadFailed (also where the disk is too small for all of them).
    """
    places = {name: Place(hub_cache(), repo, commit, _checked(repo, name)) for name in names}
    missing = [name for name, place in places.items() if not place.pointer.is_file()]
    found = {name: hub.look_up(repo, name, commit) for name in missing}
    check_space(hub_cache(), sum(_left(places[name], one) for name, one in found.items()))
    for name, one in found.items():
        if one.sha256:
            file = CardFile(name, one.size_bytes, one.sha256)
            fetch(Wanted(f"{repo}/{name}", places[name], file, as_main=as_main), progress)
        else:
            _fetch_small(one, places[name], as_main, progress)
    return Place(hub_cache(), repo, commit, "x").pointer.parent


def _checked(repo: str, name: str) -> str:
    if "/" in name or not FILE.fullmatch(name):
        raise DownloadFailed(f"{repo} has a file called {name[:80]!r}", "Choose another repository.")
    return name


def _left(place: Place, file: hub.HubFile) -> int:
    partial = place.partial(file.sha256 or file.git_sha1)
    return max(0, file.size_bytes - (partial.stat().st_size if partial.is_file() else 0))


def _fetch_small(file: hub.HubFile, place: Place, as_main: bool, progress: Progress | None) -> None:
    what = f"{file.repo}/{file.file}"
    if not file.git_sha1 or file.size_bytes > MOST_SMALL_BYTES:
        raise DownloadFailed(f"the hub has no digest for {what}, so it cannot be trusted", "Choose another repository.")
    partial = place.partial(file.git_sha1)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with hub.download_lock(place, file.git_sha1):
            hub.download(file, partial, progress)
            if git_sha1(partial) != file.git_sha1:
                partial.unlink()
                raise DownloadFailed(f"the bytes of {what} are wrong", AGAIN)
            put(partial, place, file.git_sha1, as_main=as_main)
    except OSError as error:
        raise DownloadFailed(f"{place.cache} cannot be written ({error.strerror or error})", "Set HF_HOME.") from error


def git_sha1(path: Path) -> str:
    """The digest that git gives a file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
