"""Means with 95 % bootstrap intervals over persons, or over questions where persons are few. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESAMPLES = 1000
SEED = 20260101
PERSONS = 10
"""From so many persons on they are what is drawn, else questions."""


@dataclass(frozen=True)
class Mean:
    """A mean with its interval. `of` questions; value None: there were none."""

    value: float | None
    low: float | None
    high: float | None
    of: int


def unit(persons: Mapping[str, str]) -> str:
    """What the intervals of these questions (question -> person) are over: persons or questions."""
    return "persons" if len(set(persons.values())) >= PERSONS else "questions"


def mean(values: Mapping[str, float], persons: Mapping[str, str]) -> Mean:
    """The mean of a value per question. The same values give the same interval, in whatever order they come."""
    if not values:
        return Mean(None, None, None, 0)
    by_person = unit(persons) == "persons"
    clusters: dict[str, list[float]] = {}
    for name in sorted(values):
        clusters.setdefault(persons[name] if by_person else name, []).append(values[name])
    low, high = _interval([(sum(members), len(members)) for _, members in sorted(clusters.items())])
    return Mean(sum(values.values()) / len(values), low, high, len(values))


def difference(ours: Mapping[str, float], theirs: Mapping[str, float], persons: Mapping[str, str]) -> Mean:
    """The mean difference over the questions that both have."""
    return mean({name: value - theirs[name] for name, value in ours.items() if name in theirs}, persons)


def _interval(clusters: Sequence[tuple[float, int]]) -> tuple[float, float]:
    draw = random.Random(SEED)
    found = []
    for _ in range(RESAMPLES):
        chosen = draw.choices(clusters, k=len(clusters))
        found.append(sum(total for total, _ in chosen) / sum(count for _, count in chosen))
    found.sort()
    return found[int(RESAMPLES * 0.025)], found[int(RESAMPLES * 0.975)]
