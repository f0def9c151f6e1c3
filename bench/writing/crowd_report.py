"""What the rows of the set `crowd` say: are the facts that were asked for still there, and the others? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..tables import of, table
from .rows import RUN
from .tables import run_name

Row = Mapping[str, Any]


def crowded(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """For each run: of the facts that the memory said when they were asked for first, how many it says later on.

    `others` are facts of the same age that nobody asks for, said when the fact beside them was asked for first. Both
    count from then on; `per_chat` has them after every chat, and the memory's size.
    """
    runs: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["set"] == "crowd":
            runs.setdefault(tuple(str(row[name]) for name in RUN), []).append(row)
    return [_counted(sorted(members, key=lambda row: row["case"])) for _, members in sorted(runs.items())]


def _counted(rows: Sequence[Row]) -> dict[str, Any]:
    asked: dict[str, bool] = {}
    others: dict[str, bool] = {}
    found: set[str] = set()
    per_chat: list[dict[str, Any]] = []
    for row in rows:
        if (asks := row.get("asks")) and asks["fact"] not in asked:
            asked[asks["fact"]] = asks["known"]
            others |= {other["fact"]: other["known"] for other in asks["others"]}
        found = {fact["fact"] for fact in row.get("earlier", ()) if fact["found"]}
        per_chat.append(
            {
                "case": row["case"],
                "memory_tokens": row["memory_tokens"],
                "asked": _still(asked, found),
                "others": _still(others, found),
            }
        )
    sizes = [chat["memory_tokens"] for chat in per_chat]
    return {
        "run": {name: rows[0][name] for name in RUN},
        "chats": len(rows),
        "last": rows[-1]["case"],
        "asked": per_chat[-1]["asked"],
        "others": per_chat[-1]["others"],
        "lost": sorted(name for name, known in asked.items() if known and name not in found),
        "memory_tokens": {"mean": sum(sizes) / len(sizes), "highest": max(sizes), "last": sizes[-1]},
        "over_budget": sum(not row["budget_kept"] for row in rows),
        "lines_of_questions": sum(row["lines_added"] for row in rows if row.get("asks")),
        "per_chat": per_chat,
    }


def _still(facts: Mapping[str, bool], found: set[str]) -> dict[str, int]:
    """How many facts came up, how many of them the memory said then, and how many of those it says now."""
    known = [name for name, was in facts.items() if was]
    return {"facts": len(facts), "known": len(known), "there": sum(name in found for name in known)}


def crowd_table(counted: Sequence[Mapping[str, Any]]) -> str:
    """One line for each run."""
    head = [
        *("run", "chats", "asked for: known at first", "asked for: still there", "never asked for: still there"),
        *("memory tokens, mean", "highest", "last", "chats over budget", "lines made of the questions"),
    ]
    return table(head, [_line(counts) for counts in counted])


def _line(counts: Mapping[str, Any]) -> list[str]:
    asked, others, sizes = counts["asked"], counts["others"], counts["memory_tokens"]
    return [
        run_name(counts["run"]),
        f"{counts['chats']}, last {counts['last']}",
        of(asked["known"], asked["facts"]),
        of(asked["there"], asked["known"]),
        of(others["there"], others["known"]),
        *(f"{sizes[name]:.0f}" for name in ("mean", "highest", "last")),
        str(counts["over_budget"]),
        str(counts["lines_of_questions"]),
    ]
