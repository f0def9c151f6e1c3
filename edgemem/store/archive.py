"""The export of one user as one JSON text: memory.md as it is, its lines with where they come from, what waits.

Form 2 (`"edgemem": 2`). Taken in again it gives the same memory.md byte for byte, and the same sources, origins and
pins. What it leaves out on purpose: older revisions, messages that no line rests on, tombstones, computed prompts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, get_args

from edgemem.errors import InvalidInput
from edgemem.store.records import PendingChange
from edgemem.values import Line, Operation, Origin, Turn

FORM = 2
MOST_LINES = 20_000
"""More than a memory of 1 MiB has."""


@dataclass(frozen=True)
class Archive:
    """What an export holds. `sources` are (line id, turn id) pairs; ids are those of the user it came from."""

    memory: str
    lines: tuple[Line, ...]
    sources: tuple[tuple[int, int], ...]
    turns: tuple[Turn, ...]
    waiting: tuple[Operation, ...]

    def operations(self, turn_ids: Mapping[int, int]) -> list[Operation]:
        """The lines as adds, in the order they were first written, with the turns' ids here."""
        of_line: dict[int, list[int]] = {}
        for line, turn in self.sources:
            if turn in turn_ids:
                of_line.setdefault(line, []).append(turn_ids[turn])
        return [
            Operation(
                "add", section=line.section, text=line.text, sources=tuple(of_line.get(line.id, ())), origin=line.origin
            )
            for line in sorted(self.lines, key=lambda one: one.id)
        ]


def archive_text(
    user: str,
    when: datetime,
    memory: str,
    lines: Sequence[tuple[Line, Sequence[Turn]]],
    waiting: Sequence[PendingChange],
) -> str:
    """The JSON text of an export. Deterministic but for `exported`."""
    turns = {turn.id: turn for _, said in lines for turn in said} | {t.id: t for one in waiting for t in one.turns}
    values = {
        "edgemem": FORM,
        "user": user,
        "exported": when.isoformat(),
        "memory": memory,
        "lines": [asdict(line) | {"sources": [turn.id for turn in said]} for line, said in lines],
        "turns": [asdict(turns[key]) | {"time": turns[key].time.isoformat()} for key in sorted(turns)],
        "waiting": [asdict(one.operation) for one in waiting if one.operation.kind == "add"],
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def archive_source(turns: Sequence[Turn]) -> str:
    """Names the messages of an archive for ever, so that they are taken in once."""
    said = json.dumps([(turn.role, turn.text, turn.time.isoformat()) for turn in turns])
    return f"archive:{hashlib.sha256(said.encode('utf-8', 'replace')).hexdigest()[:32]}"


def read_archive(data: Mapping[str, Any]) -> Archive:
    """The archive of a parsed JSON object. Raises InvalidInput where it is not one, or larger than any memory."""
    try:
        rows = data["lines"]
        if len(rows) > MOST_LINES or len(data["turns"]) > MOST_LINES:
            raise InvalidInput("the export has more lines than any memory", "import a shorter list")
        return Archive(
            _text(data["memory"]),
            tuple(map(_line, rows)),
            tuple((int(row["id"]), int(turn)) for row in rows for turn in row["sources"]),
            tuple(map(_turn, data["turns"])),
            tuple(map(_operation, data["waiting"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        hint = "make one: edgemem memory export --json"
        raise InvalidInput(f"this is no export of edgemem: {error!r}", hint) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def _line(row: Mapping[str, Any]) -> Line:
    pinned, prose = row["pinned"] is True, row["prose"] is True
    return Line(int(row["id"]), _text(row["section"]), _text(row["text"]), pinned, prose, _origin(row["origin"]))


def _turn(row: Mapping[str, Any]) -> Turn:
    time = datetime.fromisoformat(row["time"])
    if row["role"] not in ("user", "assistant") or time.tzinfo is None:
        raise ValueError("a turn of nobody or no time")
    return Turn(int(row["id"]), 0, row["role"], _text(row["text"]), time)


def _operation(row: Mapping[str, Any]) -> Operation:
    if row["kind"] != "add":
        raise ValueError("only lines to add can wait in an export")
    section, text, origin = _text(row["section"]), _text(row["text"]), _origin(row["origin"])
    return Operation("add", None, section, text, sources=tuple(map(int, row["sources"])), origin=origin)


def _origin(value: object) -> Origin:
    if value not in get_args(Origin):
        raise ValueError(f"origin {value!r}")
    return value  # type: ignore[return-value]
