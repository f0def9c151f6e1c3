"""The computed start of a user's chats (system text and memory), kept on disk: a new chat need not read it again.

Written in the background after the memory changed, never while a reply runs, at the latest when the assistant closes.
The file holds the token ids it was computed from, and only what they share with a prompt is ever used: a line added
at the end, or another day behind the memory, leaves the rest of use, and a stale file cannot change an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from edgemem.errors import Cancelled, ContextExceeded, EdgememError
from edgemem.kv_files import kv_name, make_room, note_use
from edgemem.memory.lines import prompt_view
from edgemem.prompting.prompts import EMPTY_VIEW, Prompts
from edgemem.store.user_store import UserStore
from edgemem.values import Message

if TYPE_CHECKING:
    from edgemem.engines.base import Engine, Session

CLOSE_WAIT_S = 10.0
"""How long closing may compute: an update's few new lines take 1-2 s. What is done by then is kept and gone on with."""


class KeptMemory:
    """The file of one user and engine. `room` tells how many tokens of context nobody else needs, `computed_tokens`
    how many were computed for it here."""

    def __init__(
        self,
        engine: Engine,
        store: UserStore,
        prompts: Prompts,
        *,
        now: Callable[[], datetime],
        room: Callable[[], int],
    ) -> None:
        self._engine, self._store, self._prompts, self._now, self._room = engine, store, prompts, now, room
        self.path = store.kv_folder / kv_name(engine.info)
        self.computed_tokens = 0
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._replies = 0
        self._stop_at: float | None = None

    # --- used by a chat

    def restore(self, session: Session, *, traceless: bool = False) -> bool:
        """Give an empty session what is kept, if anything. A traceless chat does not even tell that it was of use."""
        found = session.load(self._store.sealed(self.path))
        if found and not traceless:
            note_use(self.path)
        return found

    def reply_starts(self) -> None:
        """From now on nothing is computed in the background (the batch at work is finished: 128 tokens)."""
        with self._guard:
            self._replies += 1

    def reply_ends(self) -> None:
        with self._guard:
            self._replies -= 1
        self._start()

    # --- used by the assistant

    def refresh(self) -> None:
        """The memory has changed: compute what is new and keep it, in the background."""
        self._wanted = True
        self._start()

    def finish(self) -> None:
        """Finish what is due, for CLOSE_WAIT_S at most. Chats and their replies are over."""
        self._stop_at = time.monotonic() + CLOSE_WAIT_S
        try:
            self._join()
            if self._wanted:
                self._work()
        except BaseException:  # Ctrl-C: the model is about to be closed, so nothing may still run on it
            self.stop()
            raise

    def stop(self) -> None:
        """End the background work, without finishing it: what it would keep is to be forgotten."""
        self._stop_at = 0.0
        self._join()
        self._wanted, self._stop_at = False, None

    # --- inner steps

    def _start(self) -> None:
        with self._guard:
            running = self._thread is not None and self._thread.is_alive()
            if not self._wanted or self._replies or running or self._stop_at is not None:
                return
            self._thread = threading.Thread(target=self._work, name="edgemem-kept-memory", daemon=True)
            self._thread.start()

    def _join(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while self._wanted and not self._cancelled():
            self._wanted = False
            try:
                self._compute()
            except Cancelled:
                self._wanted = True
            except ContextExceeded:
                self._wanted = True
                return  # after the next reply, or when the chats that fill the context are closed
            except (EdgememError, OSError):
                return  # not worth an error: the next chat reads its memory as if nothing had been kept

    def _cancelled(self) -> bool:
        return self._replies > 0 or (self._stop_at is not None and time.monotonic() >= self._stop_at)

    def _compute(self) -> None:
        """Compute and keep the start of a chat that begins now. What is done when it is Cancelled is kept, too."""
        memory = self._store.read()
        ids = stable_ids(self._engine, self._prompts, prompt_view(memory.lines) or EMPTY_VIEW, self._now())
        if not memory.lines:
            return
        if len(ids) > self._room():
            raise ContextExceeded("open chats need the context", "close one")
        session = self._engine.open()
        try:
            known = _shared(session.ids, ids) if session.load(self._store.sealed(self.path)) else 0
            if known == len(ids):
                return
            try:
                session.feed(ids, self._cancelled)
            finally:
                self.computed_tokens += max(0, len(session.ids) - known)
                if known < len(session.ids) == _shared(session.ids, ids):
                    self._store.keep_computed(memory.digest, lambda: session.save(self._store.sealed(self.path)))
                    make_room(self.path.parent, self.path)
        finally:
            session.close()


def stable_ids(engine: Engine, prompts: Prompts, view: str, now: datetime) -> tuple[int, ...]:
    """The ids of the system text up to the end of `view`: the same on another day, and with a line more."""
    question = Message("user", "-")
    today = engine.render([prompts.chat_system(view, now), question])
    later = engine.render([prompts.chat_system(f"{view}\n[0 About] -", now + timedelta(days=1)), question])
    return tuple(today[: _shared(today, later)])


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
