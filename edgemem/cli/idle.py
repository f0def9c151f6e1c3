"""Learning in the background while nothing is typed. It stops as soon as the person submits a line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from edgemem.errors import Cancelled, EdgememError, StoreBusy

if TYPE_CHECKING:
    from edgemem.assistant import Cancel, UpdateReport


class IdleLearner:
    """One waiting or working thread at most. `done` and `failed` are called from that thread."""

    def __init__(self, done: Callable[[UpdateReport], None], failed: Callable[[EdgememError], None]) -> None:
        self._done = done
        self._failed = failed
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="idle-learner")
        self._running: Future[None] | None = None
        self._deadline = 0.0
        self._delay_s = 0.0

    def start(self, delay_s: float, work: Callable[[Cancel], UpdateReport]) -> None:
        """Run `work` after `delay_s` seconds without `touch`. What ran before is stopped."""
        self.stop()
        self._stop = threading.Event()
        self._delay_s = delay_s
        self.touch()
        self._running = self._pool.submit(self._run, work, self._stop)

    def touch(self) -> None:
        """Something was typed: wait anew."""
        self._deadline = time.monotonic() + self._delay_s

    def stop(self) -> None:
        """Cancel and wait until nothing runs. An error that nobody foresaw comes up here."""
        running, self._running = self._running, None
        if running is not None:
            self._stop.set()
            running.result()

    def _run(self, work: Callable[[Cancel], UpdateReport], stop: threading.Event) -> None:
        while (left := self._deadline - time.monotonic()) > 0:
            if stop.wait(left):
                return
        try:
            self._done(work(stop.is_set))
        except (Cancelled, StoreBusy):
            return  # still pending: the end of the chat or the next start takes it up
        except EdgememError as error:
            self._failed(error)
