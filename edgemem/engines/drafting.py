"""Drafting: guesses at the next tokens, verified in one batch. Whether to guess, how much, how often it was right.

The text is that of decoding one token at a time: a guess counts only where the model itself chooses it. Pure; knows no
model library. What to guess is the drafter's matter (`memory.copying`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgemem.engines.base import Constraint, Drafter
from edgemem.values import Sampling

BATCH_COSTS: Mapping[int, float] = {8: 3.9, 16: 5.0, 32: 9.1, 48: 13.0}
"""Seconds of a batch of so many rows over seconds of one row, where nothing was measured: Q4_K_M, 0.5B and 1.5B, two
cores with AVX512-VNNI. A batch of 9 cost as much as one of 16, and one of 2 as much as two."""
PAYS = 1.1  # tokens expected for each row's worth of time below which plain decoding is as good
NEARLY = 0.9  # a longer guess must be worth more than this: more of it is lost where the text changes
PRIOR, PRIOR_TOKENS = 0.8, 3.0  # what is expected of a token before any has been seen, and how firmly
MEMORY = 0.8  # weight that the guesses before the last one keep: about five of them count
MOST_SKIPPED = 64  # guesses left out in a row where none is right: on text with nothing to copy 1 % is lost


def may_draft(sampling: Sampling, constraint: Constraint | None) -> bool:
    """Only greedy decoding has one right answer, and a constraint may want another token than the model's first."""
    return sampling.temperature <= 0 and constraint is None


class Drafts:
    """The guesses of one generation. Without a drafter there are none. `costs` are like BATCH_COSTS."""

    def __init__(self, drafter: Drafter | None, costs: Mapping[int, float] = BATCH_COSTS) -> None:
        self._drafter, self._costs = drafter, costs
        self._ahead: list[int] = []
        self._size = self._hits = 0
        self._right, self._seen = PRIOR * PRIOR_TOKENS, PRIOR_TOKENS
        self._skip = self._left_out = 0
        self.drafted = self.accepted = 0

    @property
    def on(self) -> bool:
        """Whether there is anything to ask for guesses."""
        return self._drafter is not None

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
        found = list(self._drafter.draft(ids))
        if not found:
            return []
        size = self._best_size() or self._probe()
        guess = found[: min(size, most)]
        self._ahead, self._size, self._hits = guess, len(guess), 0
        self.drafted += len(guess)
        return list(guess)

    def _best_size(self) -> int:
        """The smallest guess that gives nearly as many tokens for its time as the best; 0 where plain decoding does."""
        right = (self._right + PRIOR) / (self._seen + 1.0)
        gains = {rows - 1: _expected(right, rows) / cost for rows, cost in sorted(self._costs.items()) if cost > 0}
        enough = max(PAYS, NEARLY * max(gains.values(), default=0.0))
        return next((size for size, gain in gains.items() if gain >= enough), 0)

    def _probe(self) -> int:
        """Now and then a small guess where guesses did not pay, ever more rarely."""
        self._left_out += 1
        if not self._costs or self._left_out <= self._skip:
            return 0
        self._left_out, self._skip = 0, min(MOST_SKIPPED, 2 * self._skip + 1)
        return min(self._costs) - 1

    def _judge(self) -> None:
        if self._size:
            self._right = MEMORY * self._right + self._hits
            self._seen = MEMORY * self._seen + self._hits + (self._hits < self._size)
            if self._hits == self._size:
                self._left_out = self._skip = 0
        self._ahead, self._size = [], 0


def _expected(right: float, rows: int) -> float:
    """Tokens that a batch of `rows` gives when each guess is right with this chance and the first wrong one ends it."""
    return rows if right >= 1 else float((1 - right**rows) / (1 - right))
