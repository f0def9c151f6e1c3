"""Wishes about what is kept, by their words alone: our own messages in four languages, half of them written blind.

`off_record.jsonl`: messages that ask not to be kept, and look-alikes. `topics.jsonl`: requests to forget all that was
told about something, each with earlier messages that are about it or are not, half of the former in other words.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgemem.memory.forget_requests import forget_requests, turns_meant
from edgemem.memory.off_record import off_record
from edgemem.values import Turn

from ..jsonl import Row, objects
from ..tables import of, table

WHEN = datetime(2026, 11, 28, 12, tzinfo=UTC)
HALVES = {"tuning": False, "frozen": True}


def measure() -> list[dict[str, Any]]:
    """Counts for each half."""
    return [{"half": half} | _off_record(frozen) | _topics(frozen) for half, frozen in HALVES.items()]


def markdown(found: list[dict[str, Any]]) -> str:
    """The table."""
    head = ["half", "wishes seen", "look-alikes taken for one", "topic requests seen"]
    head += ["messages about it found", "others taken along"]
    rows = [
        [
            row["half"],
            of(row["seen"], row["wishes"]),
            of(row["false"], row["look_alikes"]),
            of(row["requests_seen"], row["requests"]),
            of(row["found"], row["about"]),
            of(row["along"], row["others"]),
        ]
        for row in found
    ]
    return table(head, rows) + "\n"


def _off_record(frozen: bool) -> dict[str, int]:
    told = [(row["wish"], off_record(row["text"])) for row in _half("off_record.jsonl", frozen)]
    wishes = [seen for wish, seen in told if wish]
    others = [seen for wish, seen in told if not wish]
    return {"wishes": len(wishes), "seen": sum(wishes), "look_alikes": len(others), "false": sum(others)}


def _topics(frozen: bool) -> dict[str, int]:
    counts = dict.fromkeys(("requests", "requests_seen", "about", "found", "others", "along"), 0)
    for row in _half("topics.jsonl", frozen):
        told = [Turn(place, 1, "user", one["text"], WHEN) for place, one in enumerate(row["messages"], 1)]
        asked = Turn(len(told) + 1, 2, "user", row["request"], WHEN)
        requests = forget_requests([asked])
        meant = turns_meant(requests, [*told, asked])
        counts["requests"] += 1
        counts["requests_seen"] += any(one.topic for one in requests)
        for turn, one in zip(told, row["messages"], strict=True):
            counts["about" if one["about"] else "others"] += 1
            counts["found" if one["about"] else "along"] += turn.id in meant
    return counts


def _half(name: str, frozen: bool) -> Iterator[Row]:
    return (row for row in objects(Path(__file__).with_name(name)) if row["frozen"] is frozen)
