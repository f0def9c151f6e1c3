"""Homes of users whose memory carries over from chat to chat, so that a run can stop anywhere and go on.

After a case its home stands under the case's name; the one before it goes only when the case's row is on disk. So
for the last row that is on disk the home is always there, and the next case works on a copy of it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from edgemem.errors import InvalidInput, StoreWriteFailed

from .jsonl import RowKey


class Link(Protocol):
    """One chat of a chain: its set, its name, and the name of the one it goes on from (None: the first)."""

    @property
    def set(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def chains_on(self) -> str | None: ...


class Chains:
    """The homes that belong to one rows file and one kind of run (`run_key`: all of a row's key but the case)."""

    def __init__(self, folder: Path, run_key: RowKey) -> None:
        self._folder = folder / hashlib.sha256("\0".join(run_key).encode()).hexdigest()[:16]

    @contextmanager
    def home(self, case: Link, continued: bool) -> Iterator[Path]:
        """A home to work in: new, or a copy of the one that `chains_on` left. Kept when the work ends well and
        another case goes on with it (`continued`)."""
        with TemporaryDirectory(prefix="edgemem-bench-") as temporary:
            home = Path(temporary) / "home"
            if case.chains_on:
                before = self._place(case.set, case.chains_on)
                if not before.is_dir():
                    raise InvalidInput(
                        f"{case.id} goes on where {case.chains_on} ended, which has not been run here",
                        "run the chain from its start, with the same rows file",
                    )
                _copied(before, home)
            yield home
            if continued:
                self._keep(home, self._place(case.set, case.id))

    def done(self, case: Link, continued: bool) -> None:
        """The case's row is on disk: what it started from is needed no more."""
        if case.chains_on:
            shutil.rmtree(self._place(case.set, case.chains_on), ignore_errors=True)
        if not continued:
            for folder in (self._folder / case.set, self._folder, self._folder.parent):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def _keep(self, home: Path, place: Path) -> None:
        part = place.with_name(place.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        _copied(home, part)
        part.rename(place)

    def _place(self, name: str, case_id: str) -> Path:
        return self._folder / name / hashlib.sha256(case_id.encode()).hexdigest()[:16]


def _copied(folder: Path, to: Path) -> None:
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, to)
    except OSError as error:
        raise StoreWriteFailed(
            f"cannot keep a home in {to.parent}: {error}", "check the disk and the folder"
        ) from error
