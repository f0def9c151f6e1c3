"""Whether what was told is in a memory, by the matcher of `bench write`: so that write loss and read loss can be told
apart. Pure.

Of a question whose gold facts are all in the memory a wrong answer is a read loss; where one is missing it is a write
loss. The matcher compares words: what it can be trusted for is measured there (docs/bench-writing.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .values import Case, History
from .writing.matcher import MATCHER_VERSION, recalled

_TAG = re.compile(r"^\[\d+[^\]]*\]\s*")
OUTCOMES = ("kept_right", "kept_wrong", "lost_right", "lost_wrong")


def memory_lines(view: str) -> list[str]:
    """The facts of a memory as the model sees it, without numbers and sections."""
    return [_TAG.sub("", line) for line in view.splitlines() if line.strip()]


def retained(history: History, learned: int, view: str) -> dict[str, Any]:
    """How many of the gold facts told in the first `learned` sessions the memory says; nothing where there are none."""
    told = [fact for session in history.sessions[:learned] for fact in session.facts]
    lines = memory_lines(view)
    kept = sum(recalled(fact, lines) for fact in told)
    return {"facts_told": len(told), "facts_kept": kept, "matcher": MATCHER_VERSION} if told else {}


def holds(case: Case, view: str) -> dict[str, Any]:
    """Whether the memory says all that the question's right answer rests on; nothing where the set does not tell."""
    if not case.facts:
        return {}
    lines = memory_lines(view)
    return {"gold_in_memory": all(recalled(fact, lines) for fact in case.facts), "matcher": MATCHER_VERSION}


def losses(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Questions by whether the memory held what they need and whether they were answered right (strictly, else by
    forced choice)."""
    known = [row for row in rows if row["status"] == "ok" and row.get("gold_in_memory") is not None]
    found = dict.fromkeys(OUTCOMES, 0) if known else {}
    for row in known:
        right = row["forced"] if row["strict"] is None else row["strict"]
        found[f"{'kept' if row['gold_in_memory'] else 'lost'}_{'right' if right else 'wrong'}"] += 1
    return found


def kept_at_end(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Gold facts kept and told, of each history after its last session. None: the set has none."""
    last: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: int(row["session"])):
        last[row["history"]] = row
    known = [row for row in last.values() if "facts_told" in row]
    return (sum(row["facts_kept"] for row in known), sum(row["facts_told"] for row in known)) if known else None
