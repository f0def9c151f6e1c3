"""How long what is left will take, from rows that were timed: a mean for each kind of row and arm. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Kind = tuple[str, str]


class Estimate:
    """Counts what is expected and what is done."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._seconds: Counter[Kind] = Counter()
        self._timed: Counter[Kind] = Counter()
        self._left: Counter[Kind] = Counter()
        for row in rows:
            self._time(row)

    def expect(self, kind: str, arm: str, count: int = 1) -> None:
        self._left[(kind, arm)] += count

    @property
    def expected(self) -> int:
        return sum(self._left.values())

    def note(self, row: Mapping[str, Any]) -> None:
        """A row of this run is done."""
        self._time(row)
        kind = (row["kind"], row["arm"])
        self._left[kind] = max(0, self._left[kind] - 1)

    @property
    def left_s(self) -> float | None:
        """None while nothing has been timed. Arms without a time of their own count as the mean of the others."""
        if not self._timed:
            return None
        mean = sum(self._seconds.values()) / sum(self._timed.values())
        return sum(count * self._mean(kind, mean) for kind, count in self._left.items())

    def _mean(self, kind: Kind, otherwise: float) -> float:
        return self._seconds[kind] / self._timed[kind] if self._timed[kind] else otherwise

    def _time(self, row: Mapping[str, Any]) -> None:
        kind = (row["kind"], row["arm"])
        self._timed[kind] += 1
        self._seconds[kind] += row.get("total_s", row.get("seconds", 0.0))
