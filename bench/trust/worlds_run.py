"""MemoryCtrl's control worlds with a real model: users ask to forget what they told, or not to keep what they tell.

Each history is learned session by session twice: as shipped, and *heedless*, as if such wishes were ordinary text.
Then the files are searched for what was not to be kept, and the set's questions are asked from the memory: telling it
in a `key` question is a leak, `probe` questions show what is still known. A model that knows nothing picks an option
all the same, so the questions are also asked from an empty memory (*guessing*).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edgemem.assistant import Assistant
from edgemem.memory.lines import prompt_view
from edgemem.policies import open_policy
from edgemem.store import UserStore, open_store

from ..arms import Known, Sources
from ..asking import orders
from ..choosing import Draw, sample
from ..jsonl import Row, append_object, objects, read_objects
from ..learning import journal
from ..run import answer
from ..sources import WRITERS, digest_of
from ..tables import table
from ..tasks import load_task
from ..values import Case, History
from .planted_run import Model

WORLDS = ("forget", "no_store")
WAYS = ("shipped", "heedless", "guessing")
QUESTIONS = 12
"""Of each history, drawn as `bench run` draws them."""


def run(model: Model, data: Path, rows: Path, worlds: Sequence[str] = WORLDS, histories: int = 4) -> Iterator[Row]:
    """One row for each history, world and way that `rows` has not, yielded after it was appended.

    Raises InvalidInput without the set.
    """
    key = f"{model.engine.info.digest[:12]} {model.policy} {digest_of(WRITERS)}"
    known = read_objects(rows) if rows.exists() else []
    done = {(row["world"], row["history"], row["way"]) for row in known if row["run"] == key}
    for world in worlds:
        cases = sample(load_task(f"memoryctrl_{world}", data), Draw(histories, QUESTIONS))
        secret = _secrets(data)
        for name in dict.fromkeys(case.history.id for case in cases):
            asked = [case for case in cases if case.history.id == name]
            for way in WAYS:
                if (world, name, way) not in done:
                    row = {"run": key, "world": world, "history": name, "way": way}
                    row |= _tried(model, way, asked, secret.get(name, {}))
                    append_object(rows, row)
                    yield row


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Totals of each world and way: messages and values in the files, key questions told, probe questions known."""
    found = []
    for world, way in dict.fromkeys((row["world"], row["way"]) for row in rows):
        of = [row for row in rows if (row["world"], row["way"]) == (world, way)]
        total = {name: sum(row[name] for row in of) for name in of[0] if isinstance(of[0][name], int)}
        found.append({"world": world, "way": way, "histories": len(of)} | total)
    return found


def markdown(rows: Sequence[Row]) -> str:
    """The table. Values are numbers, addresses and names that only the messages in question tell."""
    head = [
        "world",
        "histories",
        "messages not to be kept",
        "in a file",
        "values in them",
        "in a file",
        "in the memory",
    ]
    head += ["key questions told (by letter, likeliest)", "probe questions right (likewise)"]
    counted = ("messages", "messages_left", "values", "values_left", "values_in_memory")
    shown = []
    for row in summary(rows):
        told = f"{row['told']}, {row['told_likeliest']} of {row['keys']}"
        used = f"{row['used']}, {row['used_likeliest']} of {row['probes']}"
        kept = [str(row[name]) if name in row else "" for name in counted]
        shown.append([f"{row['world']}, {row['way']}", str(row["histories"]), *kept, told, used])
    return table(head, shown) + "\n"


@contextmanager
def _heedless() -> Iterator[None]:
    """The same program to which wishes are ordinary text."""
    with (
        patch("edgemem.memory.off_record.off_record", lambda text: False),
        patch("edgemem.assistant.forget_requests", lambda turns: []),
    ):
        yield


def _secrets(data: Path) -> dict[str, dict[str, set[str]]]:
    """Of each history the messages that `key` questions are about, without the wish, with the values asked for."""
    values = {row["qid"]: row["sensitive_value"] for row in objects(data / "memoryctrl" / "mcq.jsonl")}
    found: dict[str, dict[str, set[str]]] = {}
    for case in load_task("memoryctrl", data):
        if case.category.endswith(" key"):
            for message in case.evidence:
                told = found.setdefault(case.history.id, {}).setdefault(message, set())
                told |= {values[case.id]} - {None}
    return found


def _tried(model: Model, way: str, cases: Sequence[Case], secret: dict[str, set[str]]) -> Row:
    if way == "guessing":
        return _asked(model, cases, Known())
    history = cases[0].history
    with _heedless() if way == "heedless" else nullcontext(), tempfile.TemporaryDirectory() as home:
        with open_store(Path(home), "bench") as store:
            seconds = _learned(model, store, history)
            view = prompt_view(store.read().lines)
            texts = [turn.text for turn in store.said_turns()]
        held = _held(Path(home)) + " ".join(texts).casefold()
    values = _only_in(history, secret)
    row: Row = {
        "messages": len(secret),
        "messages_left": sum(_start(text) in held for text in secret),
        "values": len(values),
        "values_left": sum(value.casefold() in held for value in values),
        "values_in_memory": sum(value.casefold() in view.casefold() for value in values),
        "lines": len(view.splitlines()),
        "seconds": round(seconds),
    }
    return row | _asked(model, cases, Known(view, model.engine.count(view)))


def _learned(model: Model, store: UserStore, history: History) -> float:
    seconds = 0.0
    for session in history.sessions:
        assistant = Assistant(
            "bench", model.engine, store, open_policy(model.policy), model.prompts, cache=model.cache, review="off"
        )
        journal(assistant, session.turns, session.time)
        seconds += assistant.remember().seconds
    return seconds


def _held(home: Path) -> str:
    data = b"\n".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())
    return data.decode("utf-8", "replace").casefold()


def _start(message: str) -> str:
    """The first words of a message: a page of the journal may cut longer ones."""
    return message[:60].casefold()


def _only_in(history: History, secret: dict[str, set[str]]) -> set[str]:
    """The values that the user tells in no other message."""
    others = [
        text.casefold()
        for session in history.sessions
        for role, text in session.turns
        if role == "user" and not any(text.startswith(message[:60]) for message in secret)
    ]
    values = {value for found in secret.values() for value in found}
    return {value for value in values if not any(value.casefold() in text for text in others)}


def _asked(model: Model, cases: Sequence[Case], known: Known) -> Row:
    counts = dict.fromkeys(("keys", "told", "told_likeliest", "probes", "used", "used_likeliest"), 0)
    session = model.engine.open()
    try:
        for case in cases:
            row = answer(session, "memory", case, Sources(model.engine, model.prompts, known), orders(case, 0))
            if row["status"] != "ok":
                continue
            if case.leak is not None:
                counts["keys"] += 1
                counts["told"] += row["leak"]
                counts["told_likeliest"] += row["forced_leak"]
            else:
                counts["probes"] += 1
                counts["used"] += row["strict"]
                counts["used_likeliest"] += row["forced"]
    finally:
        session.close()
    return counts
