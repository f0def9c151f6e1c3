"""Public requests to forget (PersonaMem-Evo), each replayed with the messages around it: what is left, what else went.

Learned without a model (wording alone chooses, sentences are kept as they are), so that more becomes memory than with
one, and the figure is the same on every machine. In this set mostly the assistant tells the preference, which is never
a source; so the memory is given it as a line first. The same without the request shows what was lost beside it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edgemem.assistant import Assistant
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput
from edgemem.memory.forget_requests import ForgetRequest, forget_requests
from edgemem.policies import open_policy
from edgemem.prompting.prompts import load_prompts
from edgemem.store import FORGOTTEN, open_store
from edgemem.values import Operation, Turn

from ..values import Turns

WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
BEFORE = 12
"""Messages before a request: the block that told the preference stands right before it (facts/personamem.md 4.3)."""


def measure(data: Path) -> dict[str, Any]:
    """Counts over all requests. Raises InvalidInput without the set."""
    windows = [window for path in sorted((data / "personamem_evo").glob("*.json")) for window in _windows(path)]
    if not windows:
        raise InvalidInput(f"there are no requests to forget in {data}/personamem_evo", "give --data FOLDER")
    found = [_replayed(window) for window in windows]
    totals = {name: sum(one[name] for one in found) for name in found[0]}
    return {"requests": len(windows)} | totals


def markdown(found: dict[str, Any]) -> str:
    """The counts as a list."""
    return "".join(f"- {name.replace('_', ' ')}: {value}\n" for name, value in found.items())


def _windows(path: Path) -> Iterator[Turns]:
    messages = [row for row in json.loads(path.read_text("utf-8"))["messages"] if row["role"] != "system"]
    for place, row in enumerate(messages):
        if row["role"] == "user" and row["content"].strip().casefold().startswith(("please forget", "forget")):
            part = messages[max(0, place - BEFORE) : place + 1]
            yield tuple((one["role"], one["content"]) for one in part)


def _replayed(window: Turns) -> dict[str, int]:
    asked = forget_requests([_turn(1, *window[-1])])
    words = window[-1][1].partition("orget that ")[2].strip(" .!")
    after, texts, phrase_left, erased = _learned(window, words)
    before, _, _, _ = _learned(window[:-1], words)
    means = [request for request in asked if request.about]
    meant = {line for line in before if _means(means, line)}
    return {
        "recognised": int(bool(means)),
        "memories_still_saying_it": int(any(_means(means, line) for line in after)),
        "messages_still_saying_it": sum(_means(means, text) for text in texts),
        "requests_whose_words_stand_in_the_bytes": int(phrase_left),
        "lines_before": len(before),
        "lines_asked_for": len(meant),
        "lines_lost_that_were_not_asked_for": len(before - after - meant),
        "messages_and_answers_erased": erased,
    }


def _means(requests: Sequence[ForgetRequest], text: str) -> bool:
    return any(request.means(text) for request in requests)


def _turn(number: int, role: Any, text: str) -> Turn:
    return Turn(number, 1, role, text, WHEN + timedelta(minutes=number))


def _learned(window: Turns, words: str) -> tuple[set[str], list[str], bool, int]:
    """Lines, user messages that are left, whether `words` (of the request) are in the bytes, messages erased."""
    with tempfile.TemporaryDirectory() as home:
        with open_store(Path(home), "bench") as store:
            if words:
                seed = Operation("add", section="Preferences", text=words[0].upper() + words[1:], origin="stated")
                store.commit([seed], base=store.read(), cause="update")
            chat = store.start_chat()
            for number, (role, text) in enumerate(window):
                store.add_turn(chat, role, text, WHEN + timedelta(minutes=number))
            store.end_chat(chat)
            policy = open_policy("edits", without=("model", "changes"))
            engine = ScriptedEngine(lambda prompt: "NONE")
            report = Assistant("bench", engine, store, policy, load_prompts(), review="off").remember()
            lines = {line.text for line in store.read().lines}
            left = [turn.text for turn in store.turns(chat) if turn.role == "user" and turn.text != FORGOTTEN]
        data = b"".join(path.read_bytes() for path in Path(home).rglob("*") if path.is_file())
        found = bool(words) and words.casefold() in data.decode("utf-8", "replace").casefold()
    return lines, left, found, report.forgotten.turns if report.forgotten else 0
