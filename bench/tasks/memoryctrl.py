"""MemoryCtrl: four sessions of a persona on one topic, then "do you remember" with three choices.

Baseline: right is `remember`. In the control worlds the user asks to forget (`memoryctrl_forget`) or not to store
(`memoryctrl_no_store`) what the `key` questions are about, in upstream's words: of those right is `not_remember` then,
and choosing `remember` is a leak; of `probe` questions right stays `remember`. In `memoryctrl_no_use` the second
session ends with the wish not to use what was said so far: of every question about something said before, key or
probe, right is `not_remember` while that lasts. In `memoryctrl_no_use_released` the third session ends with taking it
back: right is `remember` again. The options stand as upstream has them; persona profile and label columns are left out.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from ..jsonl import objects
from ..values import START, Case, History, Session
from ..writing.real_sets import memoryctrl as written
from ..writing.values import Gold
from .common import turns_of

World = Literal["baseline", "forget", "no_store", "no_use", "no_use_released"]
RESTRICT, RELEASE = 1, 2
"""Places of the sessions that end with the wish not to use what was said, and with taking it back."""
Message = dict[str, Any]
_DATE = re.compile(r"(\d\d)/(\d\d)/(\d{4})")


def cases(folder: Path, world: World = "baseline") -> list[Case]:
    """From `conversations.jsonl`, `mcq.jsonl`, where it is there `updates.jsonl` (changed likes and dislikes: the facts
    of a session) and, for a control world, `instruction_templates.json`.

    Gold evidence is what the user says in the message with the question's `ref`, and about forgetting it.
    """
    asked = list(objects(folder / "mcq.jsonl"))
    chats = {row["sample_id"]: row for row in objects(folder / "conversations.jsonl")}
    if world != "baseline":
        templates = json.loads((folder / "instruction_templates.json").read_text("utf-8"))
        chats = {name: _controlled(chat, asked, world, templates) for name, chat in chats.items()}
    facts = _facts(folder, {row["persona_id"] for row in chats.values()})
    histories = {name: _history(row, facts) for name, row in chats.items()}
    return [_case(row, chats[row["sample_id"]], histories[row["sample_id"]], world) for row in asked]


def _controlled(
    chat: dict[str, Any], asked: Sequence[Message], world: World, templates: Mapping[str, Mapping[str, list[str]]]
) -> dict[str, Any]:
    """The conversation with an instruction at each turn of the user that a `key` question is about (no-use worlds: at
    the end of one or two sessions)."""
    if world in ("no_use", "no_use_released"):
        return _restricted(chat, templates["no_use"], released=world == "no_use_released")
    names: dict[str, str] = {}
    for row in asked:
        if row["sample_id"] == chat["sample_id"] and row["turn_role"] == "key":
            names.setdefault(row["ref"], row["identifier_label"])
    change = _forgotten if world == "forget" else _not_stored
    sessions = [
        part | {"messages": change(part["messages"], names, templates[world], chat["sample_id"])}
        for part in chat["sessions"]
    ]
    return chat | {"sessions": sessions}


def _restricted(chat: dict[str, Any], templates: Mapping[str, list[str]], *, released: bool) -> dict[str, Any]:
    """The wish not to use what was said ends one session; where `released`, taking it back ends the next one."""
    sessions = [part | {"messages": list(part["messages"])} for part in chat["sessions"]]
    for place, what in ((RESTRICT, "restrict"), (RELEASE, "release"))[: 1 + released]:
        draw = random.Random(f"memoryctrl {chat['sample_id']} {what}")
        for role in ("user", "assistant"):
            text = draw.choice(templates[f"{what}_{role}"])
            sessions[place]["messages"].append({"role": role, "content": text, "ref": ""})
    return chat | {"sessions": sessions}


def _forgotten(
    messages: Sequence[Message], names: Mapping[str, str], templates: Mapping[str, list[str]], sample: str
) -> list[Message]:
    """After the key turn and its answer: the request to forget, and its answer."""
    found: list[Message] = []
    waiting = ""
    for place, message in enumerate(messages):
        found.append(message)
        if message["role"] == "user" and message["ref"] in names:
            waiting = message["ref"]
        following = messages[place + 1]["role"] if place + 1 < len(messages) else "user"
        if waiting and following == "user":
            draw = random.Random(f"memoryctrl {sample} {waiting}")
            for role in ("user", "assistant"):
                text = draw.choice(templates[role]).replace("{target_reference}", names[waiting])
                found.append({"role": role, "content": text, "ref": waiting})
            waiting = ""
    return found


def _not_stored(
    messages: Sequence[Message], names: Mapping[str, str], templates: Mapping[str, list[str]], sample: str
) -> list[Message]:
    """The key turn ends with the wish, its answer begins with the acknowledgement."""
    found: list[Message] = []
    waiting: random.Random | None = None
    for message in messages:
        text = message["content"]
        if message["role"] == "user":
            waiting = random.Random(f"memoryctrl {sample} {message['ref']}") if message["ref"] in names else None
            text = f"{text} {waiting.choice(templates['user_suffix'])}" if waiting else text
        elif waiting:
            text, waiting = f"{waiting.choice(templates['assistant_ack'])} {text}", None
        found.append(message | {"content": text})
    return found


def _facts(folder: Path, personas: Iterable[int]) -> dict[str, tuple[Gold, ...]]:
    """Gold facts by `SAMPLE-NUMBER` of the session, as `bench write` has them."""
    if not (folder / "updates.jsonl").is_file():
        return {}
    return {case.id: case.gold for case in written(folder, list(personas))}


def _history(chat: dict[str, Any], facts: Mapping[str, tuple[Gold, ...]]) -> History:
    told = [facts.get(f"{chat['sample_id']}-{number}", ()) for number in range(1, len(chat["sessions"]) + 1)]
    sessions = [_session(number, part["messages"], told[number]) for number, part in enumerate(chat["sessions"])]
    return History(chat["sample_id"], f"persona {chat['persona_id']}", tuple(sessions))


def _session(number: int, messages: list[Message], facts: tuple[Gold, ...]) -> Session:
    found = [match for message in messages if (match := _DATE.search(message["ref"] or ""))]
    dates = [datetime(int(one[3]), int(one[1]), int(one[2]), 19, tzinfo=UTC) for one in found]
    return Session(max(dates, default=START + timedelta(days=30 * number)), turns_of(messages), facts)


def _case(row: dict[str, Any], chat: dict[str, Any], history: History, world: World) -> Case:
    letters = sorted(row["choices"])
    said = [message for part in chat["sessions"] for message in part["messages"] if message["ref"] == row["ref"]]
    controlled = _is_controlled(row, chat, world)
    return Case(
        id=row["qid"],
        task="memoryctrl" if world == "baseline" else f"memoryctrl_{world}",
        history=history,
        learned=len(history.sessions),
        question=row["question"],
        options=tuple(row["choices"][letter] for letter in letters),
        gold=letters.index(row["not_remember" if controlled else "remember"]),
        leak=letters.index(row["remember"]) if controlled else None,
        category=f"{row['family']} {row['turn_role']}",
        evidence=tuple(message["content"] for message in said if message["role"] == "user"),
        facts=() if controlled else (Gold(row["sensitive_value"] or row["choices"][row["remember"]], "explicit"),),
    )


def _is_controlled(row: dict[str, Any], chat: dict[str, Any], world: World) -> bool:
    """Whether what the question is about is not to be told."""
    if world == "no_use":
        before = [message for part in chat["sessions"][: RESTRICT + 1] for message in part["messages"]]
        return any(message["ref"] == row["ref"] for message in before)
    return world in ("forget", "no_store") and row["turn_role"] == "key"
