"""Locks between processes: one per user for changes, one for learning, one per open chat.

All are held by the process, so they end with it however it ends. Does not know what they guard.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.errors import StoreBusy
from edgemem.store.files import FILE_MODE, make_private_folder, translated

if TYPE_CHECKING:
    from filelock import BaseFileLock

CHANGE_WAIT_S = 30.0
"""How long to wait for another process's change; one takes milliseconds, a rewrite after `forget` seconds."""


def _file_lock(path: Path) -> BaseFileLock:
    from filelock import FileLock  # here: reading a memory needs no lock, and the import costs up to 70 ms

    return FileLock(path, mode=FILE_MODE, thread_local=False)


def _acquire(path: Path, wait_s: float) -> BaseFileLock | None:
    """The lock, held, or None when another holder kept it for `wait_s` seconds."""
    from filelock import Timeout

    make_private_folder(path.parent)
    lock = _file_lock(path)
    with translated(path):
        try:
            lock.acquire(timeout=wait_s)
        except Timeout:
            return None
    return lock


class Locks:
    """The locks of one user, as files in `folder`. One object per store; threads of it wait for each other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = threading.RLock()
        self._depth = 0
        self._chats: dict[int, BaseFileLock] = {}

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes this user's files meanwhile. May be nested. Raises StoreBusy, StoreWriteFailed."""
        with self._threads:
            lock = _acquire(self._folder / "change.lock", CHANGE_WAIT_S) if self._depth == 0 else None
            if lock is None and self._depth == 0:
                raise StoreBusy(
                    f"another process has been changing this memory for {CHANGE_WAIT_S:.0f} seconds",
                    "wait until it has finished, or end it, and try again",
                )
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if lock is not None:
                    lock.release()

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Nobody else learns for this user meanwhile. Raises StoreBusy at once when somebody does."""
        lock = _acquire(self._folder / "learning.lock", 0.0)
        if lock is None:
            raise StoreBusy("this memory is being updated by another process", "try again when it has finished")
        try:
            yield
        finally:
            lock.release()

    def open_chat(self, chat_id: int) -> None:
        """Mark the chat as open until `close_chat` or the end of this process."""
        lock = _acquire(self._chat_path(chat_id), CHANGE_WAIT_S)
        if lock is None:
            raise StoreBusy(f"chat {chat_id} is open in another process", "start a new chat")
        self._chats[chat_id] = lock

    def close_chat(self, chat_id: int) -> None:
        """End the mark. Chat ids are never used again, so the lock's file can go. Closing twice is fine."""
        lock = self._chats.pop(chat_id, None)
        if lock is not None:
            self._chat_path(chat_id).unlink(missing_ok=True)
            lock.release()

    def is_open(self, chat_id: int) -> bool:
        """Whether any living process has the chat open. Marks of dead ones are cleared away."""
        path = self._chat_path(chat_id)
        if chat_id in self._chats:
            return True
        if not path.exists():
            return False
        lock = _acquire(path, 0.0)
        if lock is None:
            return True
        path.unlink(missing_ok=True)
        lock.release()
        return False

    def any_chat_open(self) -> bool:
        """Whether any living process, this one too, has a chat open."""
        found = [path.stem.removeprefix("chat-") for path in self._folder.glob("chat-*.lock")]
        return any(self.is_open(int(number)) for number in found if number.isdecimal())

    def close(self) -> None:
        """Give back every chat's mark."""
        for chat_id in list(self._chats):
            self.close_chat(chat_id)

    def _chat_path(self, chat_id: int) -> Path:
        return self._folder / f"chat-{chat_id}.lock"
