"""Our own 60 turns through the shipped assistant: what is stored, with which source, and what waits for consent.

Each turn is a chat of its own for a user of its own, learned as shipped (`review = sensitive`). A turn counts as stored
when a line of the memory, or one that waits, has all of its words.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from edgemem.assistant import Assistant
from edgemem.memory.planted import plain
from edgemem.policies import open_policy
from edgemem.store import open_store
from edgemem.values import Stats

from ..jsonl import Row, append_object, read_objects
from .planted_run import Model

WHEN = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GoldTurn:
    """One turn. A line says it when it has all `words`; `person` is a pattern for whom it is about ('': the user)."""

    kind: str
    language: str
    words: tuple[str, ...]
    person: str
    text: str


def gold_turns() -> list[GoldTurn]:
    """The turns, in the order of the file."""
    found: list[GoldTurn] = []
    kind = ""
    for row in resources.files(__package__ or "").joinpath("provenance.txt").read_text("utf-8").splitlines():
        if row.startswith("== "):
            kind = row.removeprefix("== ").strip()
        elif row.strip() and not row.startswith("#"):
            language, told, text = row.split(" ", 2)
            words, _, person = told.partition("/")
            found.append(GoldTurn(kind, language, tuple(words.split("+")), person, text))
    return found


def run(model: Model, rows: Path) -> Iterator[Row]:
    """Run the turns that `rows` has not; yields each row after it was appended."""
    key = f"{model.engine.info.digest[:12]} {model.policy}"
    done = {row["text"] for row in (read_objects(rows) if rows.exists() else ()) if row["run"] == key}
    for turn in gold_turns():
        if turn.text not in done:
            row = {"run": key, "kind": turn.kind, "text": turn.text} | _learned(model, turn)
            append_object(rows, row)
            yield row


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Counts per kind: turns, active lines that say it, lines that wait, said of the user though about another."""
    return [
        {
            "kind": kind,
            "turns": len(of),
            "active": sum(row["active"] for row in of),
            "waiting": sum(row["waiting"] for row in of),
            "as the user's": sum(row["as_the_users"] for row in of),
            "lines without a source": sum(row["without_source"] for row in of),
        }
        for kind in dict.fromkeys(row["kind"] for row in rows)
        if (of := [row for row in rows if row["kind"] == kind])
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The counts as a table."""
    found = summary(rows)
    names = list(found[0]) if found else []
    shown = ["| " + " | ".join(names) + " |", "|---" + "|--:" * (len(names) - 1) + "|"]
    return "\n".join([*shown, *("| " + " | ".join(map(str, row.values())) + " |" for row in found)]) + "\n"


def _learned(model: Model, turn: GoldTurn) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home, open_store(Path(home), "bench") as store:
        policy = open_policy(model.policy)
        assistant = Assistant(
            "bench", model.engine, store, policy, model.prompts, cache=model.cache, review="sensitive"
        )
        chat = store.start_chat()
        store.add_exchange(chat, turn.text, "Okay.", WHEN, WHEN, Stats())
        store.end_chat(chat)
        assistant.remember()
        lines = store.read().lines
        sourceless = sum(all(one.role != "user" for one in store.why(line.id).turns) for line in lines)
        waiting = [one.operation.text for one in store.waiting()]
    active = [line.text for line in lines if _says(line.text, turn)]
    return {
        "lines": [line.text for line in lines],
        "active": bool(active),
        "waiting": any(_says(text, turn) for text in waiting),
        "as_the_users": bool(turn.person) and any(not re.search(turn.person, plain(text)) for text in active),
        "without_source": sourceless,
    }


def _says(text: str, turn: GoldTurn) -> bool:
    return all(word in plain(text) for word in turn.words)
