"""One user's folder: the file, the journal and the locks in it, opened when they are needed.

Makes nothing before the first write. Knows how to open and look; what changes mean is the store's matter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from edgemem.errors import StoreBusy, StoreWriteFailed
from edgemem.kv_files import remove
from edgemem.memory.document import parse
from edgemem.memory.lines import Memory, digest_of, match_lines, memory_of
from edgemem.store.commit_protocol import CommitProtocol
from edgemem.store.files import MemoryFile, make_private_file, make_private_folder
from edgemem.store.journal import EMPTY_DIGEST, Journal, is_encrypted, open_journal
from edgemem.store.locks import Locks
from edgemem.store.records import JournalView
from edgemem.store.sealing import PLAIN, Seal, not_encrypted, read_vault

Answer = TypeVar("Answer")
KV_FOLDER = "kv"  # in each user's folder
_NO_JOURNAL = JournalView(EMPTY_DIGEST, False, (), (), 1)


class UserFolder:
    """`users/<user>` under the data folder. With `read_only` not a byte of it ever changes."""

    def __init__(
        self,
        data_dir: Path,
        user: str,
        *,
        read_only: bool,
        now: Callable[[], datetime],
        step: Callable[[str], None],
        seal: Seal = PLAIN,
    ) -> None:
        self.user = user
        self.path = data_dir / "users" / user
        self.kv = self.path / KV_FOLDER
        self.read_only = read_only
        self.now = now
        self.seal = seal
        self.file = MemoryFile(self.path / "memory.md", seal)
        self.locks = Locks(self.path / "locks")
        self._step = step
        self._journal_path = self.path / "journal.db"
        self._opened: Journal | None = None
        self._opening = threading.Lock()

    def close(self) -> None:
        self.locks.close()
        self.close_journal()

    def journal(self) -> Journal:
        """The journal; made when there is none. Raises StoreWriteFailed, JournalUnusable, StoreBusy."""
        if self.read_only:
            raise StoreWriteFailed("this memory was opened for reading only", "end the temporary chat to change it")
        if self._opened is None:
            with self._opening:
                self._opened = self._opened or self._open()
        return self._opened

    def _check_form(self) -> None:
        """Raises MemoryLocked where a plain journal lies in an encrypted one's place."""
        path = self._journal_path
        if self.seal.strict and path.exists() and path.stat().st_size > 0 and not is_encrypted(path):
            raise not_encrypted(path.name)

    def _open(self) -> Journal:
        self._check_form()
        if self._journal_path.exists():
            journal = open_journal(self._journal_path, key=self.seal.key)
            if journal.is_current():
                return journal
            journal.close()
        make_private_folder(self.path)
        with self.locks.changing():
            make_private_file(self._journal_path)
            journal = open_journal(self._journal_path, key=self.seal.key)
            if not journal.is_current():
                journal.migrate()
        return journal

    def use(self, seal: Seal) -> None:
        """From now on files are read and written with this key, or plain."""
        self.seal = self.file.seal = seal

    @property
    def journal_path(self) -> Path:
        return self._journal_path

    def close_journal(self) -> None:
        """Give the journal's files back; it is opened again when it is next needed."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @contextmanager
    def changing(self) -> Iterator[CommitProtocol]:
        """The only way to change file and journal together: nobody else does meanwhile."""
        journal = self.journal()
        with self.locks.changing():
            if (read_vault(self.path) is not None) != self.seal.on:
                raise StoreBusy("the files were encrypted or decrypted meanwhile", "start again")
            yield CommitProtocol(self.user, self.file, journal, self.now, self._step, self._drop_computed)

    def _drop_computed(self) -> None:
        """Computed prompts hold the memory's tokens. One that cannot be removed is replaced at the next update."""
        remove(path for path in self.kv.glob("*") if path.is_file())

    def ask(self, question: Callable[[Journal], Answer], nothing: Answer) -> Answer:
        """Put a question to the journal; `nothing` is the answer when there is none yet."""
        if not self._journal_path.exists() or self._journal_path.stat().st_size == 0:
            return nothing
        if not self.read_only:
            journal = self.journal()
            with journal.view():
                return question(journal)
        self._check_form()
        journal = open_journal(self._journal_path, read_only=True, key=self.seal.key)
        try:
            with journal.view():
                return question(journal) if journal.is_current() else nothing
        finally:
            journal.close()

    def finish_unfinished(self) -> None:
        """Finish what a dead process began. Raises as `journal`, and MemoryUnreadable."""
        view = self.ask(lambda journal: journal.memory_view(), _NO_JOURNAL)
        if view.unfinished and not self.read_only:
            with self.changing() as protocol:
                protocol.complete()

    def read(self) -> Memory:
        """The memory, after recording a hand edit. Raises as `journal`, and MemoryUnreadable."""
        if not self._journal_path.exists() and not self.file.read():
            return self.look()  # nothing there yet, and reading makes nothing
        journal = self.journal()
        with journal.view():
            view, text = journal.memory_view(), self.file.read()
        if not view.unfinished and digest_of(text) == view.digest:
            return _matched(text, view)
        with self.changing() as protocol:
            return protocol.settle()

    def look(self) -> Memory:
        """The memory without a change to any byte on disk; ids that are not recorded yet are only for now."""
        data_dir = self.path.parent.parent
        reader = UserFolder(data_dir, self.user, read_only=True, now=self.now, step=self._step, seal=self.seal)
        view = reader.ask(lambda journal: journal.memory_view(), _NO_JOURNAL)
        return _matched(self.file.read(), view)


def _matched(text: str, view: JournalView) -> Memory:
    document = parse(text)
    return memory_of(document, match_lines(document.facts, view.lines, view.next_line_id, view.gone))
