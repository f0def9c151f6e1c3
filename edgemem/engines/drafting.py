"""Drafting: guesses at the next tokens that are verified in one batch. Whether to guess, and how often it was right.

The text is that of decoding one token at a time: a guess counts only where the model itself chooses it. Pure; knows no
model library. What to guess is the drafter's matter (`memory.copying`).
"""

from __future__ import annotations

from collections.abc import Sequence

from edgemem.engines.base import Constraint, Drafter
from edgemem.values import Sampling

PAYS = 0.25
"""Accepted share of a draft below which it cost more than it gave: a batch of 16 takes as long as 3 single tokens."""
MOST_SKIPPED = 64  # drafts left out in a row where none was right: on text with nothing to copy under 2 % are lost


def may_draft(sampling: Sampling, constraint: Constraint | None) -> bool:
    """Only greedy decoding has one right answer, and a constraint may want another token than the model's first."""
    return sampling.temperature <= 0 and constraint is None


class Drafts:
    """The guesses of one generation. Without a drafter there are none."""

    def __init__(self, drafter: Drafter | None) -> None:
        self._drafter = drafter
        self._ahead: list[int] = []
        self._size = self._hits = 0
        self._skip = self._left_out = 0
        self.drafted = self.accepted = 0

    def came(self, token: int) -> bool:
        """Whether `token`, which the model chose, is the guess that has been decoded already."""
        if self._ahead and self._ahead[0] == token:
            del self._ahead[0]
            self._hits += 1
            self.accepted += 1
            return True
        self._judge()
        return False

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """What may follow `ids`, `most` tokens at most; often nothing."""
        if self._drafter is None or most < 1:
            return []
        guess = list(self._drafter.draft(ids))[:most]
        if guess and self._left_out < self._skip:
            self._left_out += 1
            return []
        self._ahead, self._size, self._hits = guess, len(guess), 0
        self.drafted += len(guess)
        return list(guess)

    def _judge(self) -> None:
        if self._size:
            pays = self._hits >= PAYS * self._size
            self._skip = 0 if pays else min(MOST_SKIPPED, 2 * self._skip + 1)
            self._left_out = 0
        self._ahead, self._size = [], 0
