"""Guesses what a text that mostly copies another one goes on with: a pointer into that text. Pure, from ids to ids.

The pointer is found by the last tokens, and at the start of a line it is the line that comes next. Where a guess was
wrong, it waits for the next line, or for as many new tokens as tell where the text stands now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

ANCHOR = 3  # tokens that must be the same: two stand in every line ("- [")
LONGEST_ANCHOR = 12
MOST = 63


class CopyDrafter:
    """A `Drafter` (engines.base) that copies from `source`. `text_of` gives the text of one token."""

    def __init__(self, source: Sequence[int], text_of: Callable[[int], str]) -> None:
        self._source = list(source)
        self._text_of = text_of
        self._ends: dict[int, bool] = {}
        self._next = 0  # where the copying goes on, as far as is known
        self._guessed: tuple[int, int] | None = None  # tokens there were at the last guess, where it pointed to
        self._wrong_at = -LONGEST_ANCHOR  # tokens there were when a guess was wrong last
        self._places: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for at in range(ANCHOR, len(self._source)):
            self._places[tuple(self._source[at - ANCHOR : at])].append(at)

    def draft(self, ids: Sequence[int]) -> list[int]:
        self._look_back(ids)
        at = self._place(ids)
        if at is None:
            return []
        self._guessed, self._next = (len(ids), at), at
        return self._source[at : at + MOST]

    def _look_back(self, ids: Sequence[int]) -> None:
        """What became of the last guess: the pointer goes behind what came, or behind the line that did not."""
        if self._guessed is None:
            return
        length, at = self._guessed
        came = ids[length:]
        right = _common(came, self._source[at : at + MOST])
        self._guessed, self._next = None, at + right
        if right < len(came) and self._next < len(self._source):
            self._wrong_at = length + right
            self._next = self._line_start(self._next + 1)

    def _place(self, ids: Sequence[int]) -> int | None:
        """Where in the source `ids` stand; None where that is anybody's guess."""
        line_starts = bool(ids) and self._ends_line(ids[-1])
        if not line_starts and len(ids) - self._wrong_at < ANCHOR:
            return None
        places = self._places.get(tuple(ids[-ANCHOR:]), [])
        if line_starts:
            places = [at for at in places if self._same(at, ids) > ANCHOR]
            if not places:
                return self._next_line()
        if not places:
            return None
        # The longest common past; among equals the nearest that comes after what was copied last.
        return max(places, key=lambda at: (self._same(at, ids), at >= self._next, -abs(at - self._next)))

    def _same(self, at: int, ids: Sequence[int]) -> int:
        size = 0
        while size < min(at, len(ids), LONGEST_ANCHOR) and self._source[at - 1 - size] == ids[-1 - size]:
            size += 1
        return size

    def _next_line(self) -> int | None:
        at = self._line_start(self._next)
        return at if at < len(self._source) else None

    def _line_start(self, at: int) -> int:
        """The first line that begins at `at` or later; the source's length where there is none."""
        while 0 < at < len(self._source) and not self._ends_line(self._source[at - 1]):
            at += 1
        return at

    def _ends_line(self, token: int) -> bool:
        if token not in self._ends:
            self._ends[token] = self._text_of(token).endswith("\n")
        return self._ends[token]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
