"""Public requests to forget (PersonaMem-Evo), each replayed after the messages around it: what is left, what else went.

The messages before a request are one chat, the request is the next one; after each the memory is updated. Without a
model wording alone chooses and sentences are kept as they are, so that more becomes memory than with one, and the
figure is the same on every machine. In this set mostly the assistant tells the preference, which is never a source; so
the memory is given it as a line first.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edgemem.assistant import Assistant, UpdateReport
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput
from edgemem.memory.forget_requests import ForgetRequest, forget_requests
from edgemem.policies import open_policy
from edgemem.prompting.prompts import load_prompts
from edgemem.store import UserStore, open_store
from edgemem.values import Operation, Turn

from ..jsonl import Row, append_object, read_objects
from ..learning import journal
from ..sources import WRITERS, digest_of
from ..values import Turns
from .planted_run import Model

WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
BEFORE = 12
"""Messages before a request: the block that told the preference stands right before it (facts/personamem.md 4.3)."""


def run(data: Path, rows: Path, model: Model | None = None) -> Iterator[Row]:
    """One row of counts for each request that `rows` has not, yielded after it was appended.

    Raises InvalidInput without the set.
    """
    windows = [window for path in sorted((data / "personamem_evo").glob("*.json")) for window in _windows(path)]
    if not windows:
        raise InvalidInput(f"there are no requests to forget in {data}/personamem_evo", "give --data FOLDER")
    key = f"{model.engine.info.digest[:12]} {model.policy}" if model else "without a model"
    key += f" {digest_of(WRITERS)}"
    done = {row["request"] for row in (read_objects(rows) if rows.exists() else ()) if row["run"] == key}
    for number, window in enumerate(windows):
        if number not in done:
            row = {"run": key, "request": number} | _replayed(window, model)
            append_object(rows, row)
            yield row


def summary(rows: Sequence[Row]) -> dict[str, int]:
    """Counts over all requests."""
    names = [name for name in rows[0] if name not in ("run", "request")]
    return {"requests": len(rows)} | {name: sum(row[name] for row in rows) for name in names}


def markdown(found: dict[str, Any]) -> str:
    """The counts as a list."""
    return "".join(f"- {name.replace('_', ' ')}: {value}\n" for name, value in found.items())


def _windows(path: Path) -> Iterator[Turns]:
    messages = [row for row in json.loads(path.read_text("utf-8"))["messages"] if row["role"] != "system"]
    for place, row in enumerate(messages):
        if row["role"] == "user" and row["content"].strip().casefold().startswith(("please forget", "forget")):
            part = messages[max(0, place - BEFORE) : place + 1]
            yield tuple((one["role"], one["content"]) for one in part)


def _replayed(window: Turns, model: Model | None) -> dict[str, int]:
    means = [request for request in forget_requests([_turn(1, *window[-1])]) if request.about]
    words = window[-1][1].partition("orget that ")[2].strip(" .!")
    with tempfile.TemporaryDirectory() as home:
        with open_store(Path(home), "bench") as store:
            if words:
                seed = Operation("add", section="Preferences", text=words[0].upper() + words[1:], origin="stated")
                store.commit([seed], base=store.read(), cause="update")
            assistant = _assistant(store, model)
            _said(assistant, window[:-1], WHEN)
            before = {line.text for line in store.read().lines}
            report = _said(assistant, window[-1:], WHEN + timedelta(days=1))
            after = {line.text for line in store.read().lines}
            left = [turn.text for turn in store.said_turns() if turn.role == "user"]
        data = b"".join(path.read_bytes() for path in Path(home).rglob("*") if path.is_file())
    meant = {line for line in before if _means(means, line)}
    return {
        "recognised": int(bool(means)),
        "memories_still_saying_it": int(any(_means(means, line) for line in after)),
        "messages_still_saying_it": sum(_means(means, text) for text in left),
        "requests_whose_words_stand_in_the_bytes": int(
            bool(words) and words.casefold() in data.decode("utf-8", "replace").casefold()
        ),
        "lines_before": len(before),
        "lines_asked_for": len(meant),
        "lines_lost_that_were_not_asked_for": len(before - after - meant),
        "messages_and_answers_erased": report.forgotten.turns if report.forgotten else 0,
    }


def _assistant(store: UserStore, model: Model | None) -> Assistant:
    if model:
        policy = open_policy(model.policy)
        return Assistant("bench", model.engine, store, policy, model.prompts, cache=model.cache, review="off")
    policy = open_policy("edits", without=("model", "changes"))
    return Assistant("bench", ScriptedEngine(lambda prompt: "NONE"), store, policy, load_prompts(), review="off")


def _said(assistant: Assistant, turns: Turns, when: datetime) -> UpdateReport:
    journal(assistant, turns, when)
    return assistant.remember()


def _means(requests: Sequence[ForgetRequest], text: str) -> bool:
    return any(request.means(text) for request in requests)


def _turn(number: int, role: Any, text: str) -> Turn:
    return Turn(number, 1, role, text, WHEN + timedelta(minutes=number))
