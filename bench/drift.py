"""Whether a machine gets slower in a long run: seconds per token read, at its end against its beginning. Pure.

Within one arm, and warm questions apart from cold ones, since those differ by themselves. `none` is the cleanest: its
prompt has nearly the same length each time. Only the longest run of a group is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LEAST = 6
"""So many questions of an arm and kind, or no drift is said."""

Row = Mapping[str, Any]


def drift(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """For each arm: seconds per token read in the first and the last third of its questions, and their ratio."""
    timed = [row for row in rows if row["status"] == "ok" and "elapsed_s" in row and _read(row) > 0]
    by_run: dict[str, list[Row]] = {}
    for row in timed:
        by_run.setdefault(row["run"], []).append(row)
    longest = max(by_run.values(), key=lambda members: max(row["elapsed_s"] for row in members), default=[])
    kinds: dict[tuple[str, bool], list[Row]] = {}
    for row in sorted(longest, key=lambda row: float(row["elapsed_s"])):
        kinds.setdefault((row["arm"], row["cold"]), []).append(row)
    return [_arm(*kind, members) for kind, members in sorted(kinds.items()) if len(members) >= LEAST]


def _arm(arm: str, cold: bool, rows: list[Row]) -> dict[str, Any]:
    third = len(rows) // 3
    first, last = (_per_token(part) for part in (rows[:third], rows[-third:]))
    return {
        "arm": arm,
        "cold": cold,
        "questions": len(rows),
        "minutes": (rows[-1]["elapsed_s"] - rows[0]["elapsed_s"]) / 60,
        "first_s_per_token": first,
        "last_s_per_token": last,
        "ratio": last / first if first else None,
    }


def _per_token(rows: list[Row]) -> float:
    return sum(float(row["first_token_s"]) for row in rows) / sum(_read(row) for row in rows)


def _read(row: Row) -> int:
    return int(row["prompt_tokens"] - row["cached_tokens"])
