"""Turning token bytes into text that may be shown: incremental UTF-8, and a stop matcher that never looks back.

Pure; knows no model. Work per token does not grow with the length of the answer.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Collects token bytes and releases the text that is certain.

    Held back are bytes of an unfinished character and a tail that may still become a stop text.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self._parts: list[str] = []
        self.stopped = False

    @property
    def text(self) -> str:
        """All text released so far."""
        return "".join(self._parts)

    def peek(self, piece: bytes) -> str:
        """What `piece` would add, without taking it (for constraints); an unfinished character shows as U+FFFD."""
        state = self._decoder.getstate()
        added = self._decoder.decode(piece, final=True)
        self._decoder.setstate(state)
        return added

    def push(self, piece: bytes) -> str:
        """Take the bytes of one token; returns the text that is now certain. Sets `stopped` at a stop text."""
        return self._release(self._held + self._decoder.decode(piece), final=False)

    def finish(self) -> str:
        """Release what is still held; an unfinished character becomes U+FFFD."""
        if self.stopped:
            return ""
        return self._release(self._held + self._decoder.decode(b"", final=True), final=True)

    def _release(self, text: str, *, final: bool) -> str:
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            text, self._held = text[: min(found)], ""
        else:
            keep = 0 if final else self._possible_stop(text)
            text, self._held = text[: len(text) - keep], text[len(text) - keep :]
        if text:
            self._parts.append(text)
        return text

    def _possible_stop(self, text: str) -> int:
        """Length of the longest tail of `text` that begins a stop text."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stop):
                return size
        return 0
