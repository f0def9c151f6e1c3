"""Guesses what a text that mostly copies another one goes on with: a pointer into that text. Pure, from ids to ids.

At the start of a line it points to the line that comes next, elsewhere to the place whose last tokens are the same. It
guesses up to the end of a line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

ANCHOR = 3  # tokens that must be the same: two stand in every line ("- [")
LONGEST_ANCHOR = 12
MOST = 47
STEP = 4  # rows of a batch are computed in fours, so a guess and the token before it fill whole ones


class CopyDrafter:
    """A `Drafter` (engines.base) that copies from `source`. `text_of` gives the text of one token."""

    def __init__(self, source: Sequence[int], text_of: Callable[[int], str]) -> None:
        self._source = list(source)
        self._text_of = text_of
        self._ends: dict[int, bool] = {}
        self._next = 0  # where the copying goes on, as far as is known
        self._places: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for at in range(ANCHOR, len(self._source)):
            self._places[tuple(self._source[at - ANCHOR : at])].append(at)

    def draft(self, ids: Sequence[int]) -> list[int]:
        at = self._place(ids)
        if at is None:
            return []
        end = at
        while end < len(self._source) and end - at < MOST:
            end += 1
            if self._ends_line(self._source[end - 1]):
                break
        size = min(MOST, -(-(end - at + 1) // STEP) * STEP - 1)
        guess = self._source[at : at + size]
        self._next = min(end, at + len(guess))
        return guess

    def _place(self, ids: Sequence[int]) -> int | None:
        """Where in the source `ids` stand; None where that is anybody's guess."""
        places = self._places.get(tuple(ids[-ANCHOR:]), [])
        if ids and self._ends_line(ids[-1]):
            places = [at for at in places if self._same(at, ids) > ANCHOR]
            if not places:
                return self._line_start()
        if not places:
            return None
        # The longest common past; among equals the nearest that comes after what was copied last.
        return max(places, key=lambda at: (self._same(at, ids), at >= self._next, -abs(at - self._next)))

    def _same(self, at: int, ids: Sequence[int]) -> int:
        size = 0
        while size < min(at, len(ids), LONGEST_ANCHOR) and self._source[at - 1 - size] == ids[-1 - size]:
            size += 1
        return size

    def _line_start(self) -> int | None:
        """The first line that begins at or after the place where the copying goes on."""
        for at in range(self._next, len(self._source)):
            if at == 0 or self._ends_line(self._source[at - 1]):
                return at
        return None

    def _ends_line(self, token: int) -> bool:
        if token not in self._ends:
            self._ends[token] = self._text_of(token).endswith("\n")
        return self._ends[token]
