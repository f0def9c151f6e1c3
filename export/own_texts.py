"""Our own texts for an export: what importance is measured on, what is held out from it, and the memory skill's chats.

All persons are invented; Apache-2.0 like the rest. The three files share no text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from edgemem.demo.data import bundled
from edgemem.memory.splitting import split
from edgemem.prompting.prompts import EMPTY_VIEW, Prompts
from edgemem.values import BUDGET_TOKENS, Message, Role, Turn

WHEN = datetime(2026, 3, 9, 18, tzinfo=UTC)
"""Every chat takes place then, so that prompts are the same each time."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something a chat tells, or must not leave behind. A line has it where it holds one of `keys` (any case)."""

    text: str
    keys: tuple[str, ...]

    def stands_in(self, line: str) -> bool:
        return any(key in line.casefold() for key in self.keys)


@dataclass(frozen=True, slots=True)
class SkillChat:
    """One chat to learn from: planted facts, lines a careless writer adds (`traps`), lines that no longer hold."""

    id: str
    language: str
    memory_before: tuple[str, ...]
    turns: tuple[tuple[Role, str], ...]
    planted: tuple[Fact, ...]
    traps: tuple[Fact, ...]
    stale: tuple[Fact, ...]


def calibration_chats(prompts: Prompts) -> list[list[Message]]:
    """Chats as the runtime sends them: answers with a memory, notes on sentences, whole new memories."""
    chats: list[list[Message]] = []
    noted = prompts.edits()
    for row in _rows("calibration"):
        turns = _turns(row)
        view = "\n".join(row["memory"]) or EMPTY_VIEW
        chats.append([prompts.chat_system(view, WHEN), *(Message(role, text) for role, text in turns)])
        written = Message("assistant", "\n".join(row["next_memory"]))
        chats.append([prompts.overwrite("\n".join(row["memory"]), journalled(turns), WHEN, BUDGET_TOKENS), written])
        for note in row["notes"]:
            noted += [prompts.edits_message(note["said"]), Message("assistant", note["note"])]
    for session in bundled().sessions:
        system = prompts.chat_system(EMPTY_VIEW, WHEN)
        chats.append([system, *(Message(role, text) for role, text in session.turns)])
    return [noted, *chats]


def calibration_digest() -> str:
    """sha256 of the texts that importance is measured on, apart from prompts."""
    text = "".join(f"{message.role}\0{message.content}\0" for chat in _plain_chats() for message in chat)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain_chats() -> list[list[Message]]:
    own = [[Message(role, text) for role, text in _turns(row)] for row in _rows("calibration")]
    return own + [[Message(role, text) for role, text in session.turns] for session in bundled().sessions]


def held_out_texts() -> list[str]:
    """Plain text that nothing was measured on."""
    return [str(row["text"]) for row in _rows("heldout")]


def short_prompts(count: int) -> list[str]:
    """Sentences of all these texts, each once, to ask a model what comes next."""
    chats = [text for chat in _plain_chats() for text in (message.content for message in chat)]
    told = [line for row in _rows("calibration") for line in (*row["memory"], *row["next_memory"])]
    texts = [*chats, *held_out_texts(), *(text for chat in skill_chats() for _, text in chat.turns), *told]
    return list(dict.fromkeys(sentence for text in texts for sentence in split(text)))[:count]


@cache
def skill_chats() -> tuple[SkillChat, ...]:
    """The fixed set of the memory skill."""
    return tuple(
        SkillChat(
            id=row["id"],
            language=row["language"],
            memory_before=tuple(row["memory_before"]),
            turns=tuple(_turns(row)),
            planted=_facts(row["planted"], "fact"),
            traps=_facts(row["traps"], "line"),
            stale=_facts(row["stale"], "old"),
        )
        for row in _rows("skill")
    )


def journalled(turns: list[tuple[Role, str]]) -> list[Turn]:
    """Turns as the journal has them."""
    return [Turn(number, 1, role, text, WHEN) for number, (role, text) in enumerate(turns, 1)]


def _turns(row: dict[str, Any]) -> list[tuple[Role, str]]:
    return [(turn["role"], turn["text"]) for turn in row["turns"]]


def _facts(rows: list[dict[str, Any]], name: str) -> tuple[Fact, ...]:
    return tuple(Fact(row[name], tuple(key.casefold() for key in row["keys"])) for row in rows)


def _rows(name: str) -> Iterator[dict[str, Any]]:
    text = (resources.files("edgemem.export") / "texts" / f"{name}.jsonl").read_text("utf-8")
    for line in text.splitlines():
        yield json.loads(line)
