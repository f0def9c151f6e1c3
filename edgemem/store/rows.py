"""Values as the journal's columns hold them: times as ISO text in UTC, structures as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from edgemem.values import Line, Operation, Rejected, Revision, Stats, Turn

Row = Mapping[str, Any]


def time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def time_value(text: str) -> datetime:
    return datetime.fromisoformat(text)


def storable(text: str) -> str:
    """`text` without lone surrogates (from a terminal that is not UTF-8), which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def operations_text(operations: Sequence[Operation]) -> str:
    return to_json([asdict(operation) for operation in operations])


def rejected_text(rejected: Sequence[Rejected]) -> str:
    return to_json([asdict(one) for one in rejected])


def stats_text(stats: Stats) -> str:
    return to_json(asdict(stats))


def _operation(row: Row) -> Operation:
    return Operation(**{**row, "sources": tuple(row["sources"])})


def operation_text(operation: Operation) -> str:
    return to_json(asdict(operation))


def operation_value(text: str) -> Operation:
    return _operation(json.loads(text))


def operations_value(text: str) -> tuple[Operation, ...]:
    return tuple(_operation(row) for row in json.loads(text))


def _rejected_value(text: str) -> tuple[Rejected, ...]:
    return tuple(Rejected(_operation(row["operation"]), row["reason"], row["detail"]) for row in json.loads(text))


def turn_value(row: Row) -> Turn:
    return Turn(row["id"], row["chat_id"], row["role"], row["text"], time_value(row["time"]))


def line_value(row: Row) -> Line:
    return Line(
        row["id"],
        row["section"],
        row["text"],
        pinned=bool(row["pinned"]),
        origin=row["origin"],
        mentions=row.get("mentions", 0),
        last_turn=row.get("last_turn", 0),
        sensitivity=row["sensitivity"],
    )


def revision_value(row: Row) -> Revision:
    return Revision(
        row["id"],
        time_value(row["created"]),
        row["cause"],
        row["state"],
        operations_value(row["operations"]),
        row["base_digest"],
        row["result_digest"],
        row["policy"],
        row["model_digest"],
        row["prompt_digest"],
        row["undoes"],
        Stats(**json.loads(row["stats"])),
        _rejected_value(row["rejected"]),
        row["note"],
    )
