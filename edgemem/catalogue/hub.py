"""The Hugging Face hub: what a repository has, and its files. Home of huggingface_hub, which is imported late.

The library keeps no unfinished file once a process has died, so the download here goes to a partial file of our
own and continues it. Its environment holds (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE ...). Does not know cards.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from edgemem.catalogue.digests import Progress
from edgemem.catalogue.storage import Place
from edgemem.errors import DownloadFailed, UploadFailed

T = TypeVar("T")

PUSH_HINT = "Check the network, and that the token may write there; then: edgemem export pack FOLDER --push REPO"

ANSWER_S = 4.0
"""Longest wait for a connection or an answer of the hub; then come the mirrors."""
LOOK_UP_S = 8.0
"""Longest wait for a look-up in all: no timeout of the library covers a name server that keeps silent."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub describes it. `sha256` is "" for small files: those have git's own digest, `git_sha1`."""

    repo: str
    revision: str
    file: str
    size_bytes: int
    sha256: str
    git_sha1: str = ""


def offline_by_environment() -> str:
    """Name of the variable that forbids the network, or ""."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}:
            return name
    return ""


def no_network(*, offline: bool) -> str:
    """Why the network is not to be used, or ""."""
    variable = offline_by_environment()
    return "--offline is given" if offline else f"{variable} is set" if variable else ""


def look_up(repo: str, file: str, revision: str = "main") -> HubFile:
    """What the hub has as `file` of `repo`; `revision` becomes a commit. Raises DownloadFailed."""

    def ask() -> HubFile:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        found = get_hf_file_metadata(hf_hub_url(repo, file, revision=revision), timeout=ANSWER_S)
        etag = found.etag or ""
        digest = etag if re.fullmatch("[0-9a-f]{64}", etag) else ""
        git = etag if re.fullmatch("[0-9a-f]{40}", etag) else ""
        return HubFile(repo, found.commit_hash or revision, file, found.size or 0, digest, git)

    return _within(LOOK_UP_S, ask, f"{repo}/{file}")


def list_files(repo: str, revision: str | None = None) -> tuple[str, list[str]]:
    """The commit that `revision` of `repo` is (None: the newest one) and its files' names. Raises DownloadFailed."""

    def ask() -> tuple[str, list[str]]:
        from huggingface_hub import HfApi

        found = HfApi().model_info(repo, revision=revision, timeout=ANSWER_S)
        return found.sha or "main", [item.rfilename for item in found.siblings or []]

    return _within(LOOK_UP_S, ask, repo)


def download(wanted: HubFile, partial: Path, progress: Progress | None = None) -> None:
    """Complete `partial`, from where it ends. Raises DownloadFailed; what came is kept."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, not listed

    url = hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision)
    with _translated(f"{wanted.repo}/{wanted.file}"), partial.open("ab") as file:
        have = file.tell()
        if have > wanted.size_bytes > 0:
            file.truncate(0)
            have = 0
        http_get(
            url,
            file,
            resume_size=have,
            headers=build_hf_headers(),
            expected_size=wanted.size_bytes or None,
            tqdm_class=_bar_for(progress, wanted.size_bytes),
        )


def is_private(repo: str, token: str) -> bool | None:
    """Whether the repository can be seen by its owners only; None where there is none. Raises DownloadFailed."""

    def ask() -> bool | None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return HfApi(token=token).model_info(repo, timeout=ANSWER_S).private is True
        except RepositoryNotFoundError:
            return None

    return _within(LOOK_UP_S, ask, repo)


def push(repo: str, files: Mapping[str, Path], token: str, message: str) -> str:
    """Put `files` (name in the repository -> file here) into `repo` as one commit; returns its address.

    A repository that is not there is made, a private one. Raises UploadFailed.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # documented, not listed

    disable_progress_bars()
    api = HfApi(token=token)
    try:
        with _translated(repo):
            api.create_repo(repo, private=True, exist_ok=True)
            operations = [CommitOperationAdd(name, path) for name, path in files.items()]
            return str(api.create_commit(repo, operations, commit_message=message).commit_url)
    except DownloadFailed as failure:
        raise UploadFailed(f"{repo} was not sent: {failure.message}", failure.hint or PUSH_HINT) from failure
    except (RuntimeError, ValueError) as error:  # a part that did not arrive, an answer that cannot be read
        raise UploadFailed(f"{repo} was not sent: {error}", PUSH_HINT) from error


@contextlib.contextmanager
def download_lock(place: Place, key: str) -> Iterator[None]:
    """Held while one process downloads a file; the hub's own lock, so that its library waits for us too."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # its downloads use it

    lock = place.cache / ".locks" / place.folder.name / f"{key}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        yield


def remove_files(places: list[Place], *, dry_run: bool = False) -> int:
    """Delete files from the cache by the hub library's own plan; other files of their repositories stay.

    Returns the bytes freed (with `dry_run`: that would be). Blobs that another revision links to stay.
    """
    from huggingface_hub import scan_cache_dir

    cache = places[0].cache
    pointers = {place.pointer for place in places}
    found = [
        file
        for repo in scan_cache_dir(cache).repos
        for revision in repo.revisions
        for file in revision.files
        if file.file_path in pointers
    ]
    plan = scan_cache_dir(cache).delete_files(*found)
    if not dry_run:
        plan.execute()
        for place in places:
            _remove_empty(place)
    return plan.expected_freed_size


def _remove_empty(place: Place) -> None:
    """Remove the folders that became empty, and the names of revisions that are gone."""
    snapshots = place.folder / "snapshots"
    folder = place.pointer.parent
    while folder != place.folder and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
    for reference in [item for item in (place.folder / "refs").rglob("*") if item.is_file()]:
        if not (snapshots / reference.read_text().strip()).exists():
            reference.unlink()
    for folder in (place.folder / "refs", place.folder / "blobs", place.folder):
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()


def _within(seconds: float, ask: Callable[[], T], what: str) -> T:
    """The answer of `ask`, or DownloadFailed when it fails or is not there after `seconds`."""
    answers: queue.Queue[T | DownloadFailed] = queue.Queue()

    def run() -> None:
        try:
            with _translated(what):
                answers.put(ask())
        except DownloadFailed as failure:
            answers.put(failure)

    threading.Thread(target=run, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise DownloadFailed(f"the hub did not answer within {seconds:.0f} seconds") from None
    if isinstance(answer, DownloadFailed):
        raise answer
    return answer


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Make the library's errors ours."""
    from huggingface_hub import constants, errors

    # It warns on stderr about each retry; only the command line prints.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    # It names installed libraries and coding tools in its headers, and fetches a list of them: not from here.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    network_error: type[Exception] = vars(errors)["HTTPError"]  # httpx's or, in newer versions, httpx2's
    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadFailed(
            f"{what} needs an agreement on the hub", "Accept its terms on the hub's page and set HF_TOKEN."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise DownloadFailed(
            f"the hub has no {what}", "Check the name; a private repository needs HF_TOKEN."
        ) from error
    except errors.HFValidationError as error:
        raise DownloadFailed(f"{what} is not a name that the hub can have", "Write it as org/repo.") from error
    except (network_error, OSError) as error:  # no answer, a broken connection, a full disk
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadFailed(f"the hub gave nothing ({reason[0]})") from error


def _bar_for(progress: Progress | None, total: int) -> Any:
    """A class in the shape of tqdm that passes what happens to `progress`."""

    class Bar:
        def __init__(self, *, initial: int = 0, **_rest: object) -> None:
            self._done = initial
            self.update(0)

        def __enter__(self) -> Bar:
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            return None

        def update(self, count: float | None = 1) -> None:
            self._done += int(count or 0)
            if progress:
                progress("hub", self._done, total)

    return Bar
