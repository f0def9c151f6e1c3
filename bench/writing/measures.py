"""What is counted in a row: each measure is a share or mean, given per row as (numerator, denominator). Pure.

The share of a group is the sum of numerators over the sum of denominators; chats that say nothing about a measure
have the denominator 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .judging import WRONG, Verdicts

RESAMPLES = 1000
SEED = 20260101

Row = Mapping[str, Any]
Counted = tuple[float, float]


@dataclass(frozen=True)
class Measure:
    """A measure: its name in JSON, its heading, and how it is counted. `share`: between 0 and 1, shown in percent."""

    name: str
    title: str
    count: Callable[[Row, Verdicts], Counted]
    share: bool = True
    digits: int = 1


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval over chats. `of` is the denominator; value None: nothing to count."""

    value: float | None
    low: float | None
    high: float | None
    of: float


def _gold(wanted: Callable[[Mapping[str, Any]], bool]) -> Callable[[Row, Verdicts], Counted]:
    def count(row: Row, verdicts: Verdicts) -> Counted:
        asked = [fact for fact in row["gold"] if not fact["known"] and wanted(fact)]
        return sum(fact["found"] for fact in asked), len(asked)

    return count


def _traps(*kinds: str) -> Callable[[Row, Verdicts], Counted]:
    def count(row: Row, verdicts: Verdicts) -> Counted:
        traps = [trap["stored"] for trap in row["traps"] if trap["kind"] in kinds]
        others = row["third_party"] if "third_party" in kinds else []
        return sum(traps) + sum(others), len(traps) + len(others)

    return count


def _stale(change: bool) -> Callable[[Row, Verdicts], Counted]:
    def count(row: Row, verdicts: Verdicts) -> Counted:
        asked = [old for old in row["stale"] if old["was"] and old["change"] == change]
        return sum(old["gone"] for old in asked), len(asked)

    return count


def _judged(*wanted: str) -> Callable[[Row, Verdicts], Counted]:
    def count(row: Row, verdicts: Verdicts) -> Counted:
        found = [verdict for digest in row["added"] if (verdict := verdicts.of(row["case"], digest))]
        return sum(verdict in wanted for verdict in found), len(found)

    return count


def _language(row: Row, verdicts: Verdicts) -> Counted:
    counts = row["languages"]
    return counts["right"], counts["right"] + counts["other"]


def _held_lines(row: Row, verdicts: Verdicts) -> Counted:
    """Lines that nothing in the chat overtakes and that are gone: replaced, merged or deleted. Old rows say nothing."""
    return (row["held"]["gone"], row["held"]["lines"]) if "held" in row else (0, 0)


def _of_lines(name: str) -> Callable[[Row, Verdicts], Counted]:
    """A number of added lines; rows from before it was counted say nothing."""
    return lambda row, verdicts: (row[name], row["lines_added"]) if name in row else (0, 0)


def _size(name: str) -> Callable[[Row, Verdicts], Counted]:
    return lambda row, verdicts: (row.get(name, 0), float(name in row))


def _mean(of: Callable[[Row], float]) -> Callable[[Row, Verdicts], Counted]:
    return lambda row, verdicts: (of(row), 1)


MEASURES: tuple[Measure, ...] = (
    Measure("explicit_recall", "explicit", _gold(lambda fact: fact["kind"] == "explicit")),
    Measure("implied_recall", "implied", _gold(lambda fact: fact["kind"] == "implied")),
    Measure("unsupported", "unsupported", _judged(*WRONG)),
    Measure("judged_third_party", "of which another's", _judged("third_party")),
    Measure("judged_question", "of which a question", _judged("question")),
    Measure("judged_trivial", "trivial", _judged("trivial")),
    Measure("third_party_stored", "another's as user's", _traps("third_party")),
    Measure("questions_stored", "questions as likes", _traps("question", "hypothetical")),
    Measure("third_party_lines", "third-party lines of all added lines", _of_lines("third_party_lines")),
    Measure("question_lines", "question lines of all added lines", _of_lines("question_lines")),
    Measure("other_traps_stored", "other traps", _traps("task", "role_play", "negated")),
    Measure("stale_gone", "stale gone", _stale(True)),
    Measure("forgotten_gone", "forgotten gone", _stale(False)),
    Measure("held_lines_gone", "other lines gone", _held_lines),
    Measure("new_value_present", "new value", _gold(lambda fact: bool(fact["change"]))),
    Measure("right_language", "language", _language),
    Measure("budget_kept", "in budget", _mean(lambda row: float(row["budget_kept"]))),
    Measure("set_aside", "set aside", _mean(lambda row: float(row["set_aside"] > 0))),
    Measure("lines_added", "lines per chat", _mean(lambda row: row["lines_added"]), share=False),
    Measure("seconds", "s per update", _mean(lambda row: row["seconds"]), share=False),
    Measure(
        "tokens_computed",
        "tokens in",
        _mean(lambda row: row["prompt_tokens"] - row["cached_tokens"]),
        share=False,
        digits=0,
    ),
    Measure("tokens_out", "tokens out", _mean(lambda row: row["output_tokens"]), share=False, digits=0),
)

_BY_NAME = {measure.name: measure for measure in MEASURES}
ALL_TRAPS = Measure("traps", "traps", _traps("third_party", "question", "hypothetical", "task", "role_play", "negated"))
COST: tuple[Measure, ...] = (
    Measure("chat_tokens", "chat tokens", _size("chat_tokens"), share=False, digits=0),
    Measure("memory_tokens_before", "memory tokens before", _size("memory_tokens_before"), share=False, digits=0),
    Measure("memory_tokens", "memory tokens after", _size("memory_tokens"), share=False, digits=0),
    *(_BY_NAME[name] for name in ("seconds", "tokens_computed", "tokens_out", "explicit_recall", "implied_recall")),
)
"""What an update costs, beside what it is worth."""
STEPS: tuple[Measure, ...] = (
    *(_BY_NAME[name] for name in ("explicit_recall", "implied_recall")),
    ALL_TRAPS,
    *(_BY_NAME[name] for name in ("stale_gone", "lines_added", "seconds")),
)
"""What is compared between a policy and itself without a step."""


def total(rows: Iterable[Row], measure: Measure) -> float | None:
    """The measure over the rows, without an interval; None where there is nothing to count. Needs no verdicts."""
    return _ratio([measure.count(row, Verdicts()) for row in rows])


def estimates(rows: Sequence[Row], verdicts: Verdicts, measures: Sequence[Measure] = MEASURES) -> dict[str, Estimate]:
    """Each measure over the rows. The same rows give the same intervals, in whatever order they come."""
    ordered = sorted(rows, key=lambda row: (row["set"], row["case"]))
    counted = [[measure.count(row, verdicts) for measure in measures] for row in ordered]
    draws = _resampled(counted, len(measures))
    return {
        measure.name: _estimate([row[at] for row in counted], [draw[at] for draw in draws])
        for at, measure in enumerate(measures)
    }


def _resampled(counted: Sequence[Sequence[Counted]], width: int) -> list[list[float | None]]:
    draw = random.Random(SEED)
    found: list[list[float | None]] = []
    for _ in range(RESAMPLES):
        chosen = draw.choices(counted, k=len(counted))
        found.append([_ratio([row[at] for row in chosen]) for at in range(width)])
    return found


def _ratio(counts: Sequence[Counted]) -> float | None:
    below = sum(count[1] for count in counts)
    return sum(count[0] for count in counts) / below if below else None


def _estimate(counts: Sequence[Counted], draws: Sequence[float | None]) -> Estimate:
    values = sorted(value for value in draws if value is not None)
    low, high = (values[int(len(values) * 0.025)], values[int(len(values) * 0.975)]) if values else (None, None)
    return Estimate(_ratio(counts), low, high, sum(count[1] for count in counts))
