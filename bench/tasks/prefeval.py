"""PrefEval, explicit form: ten preferences in one history, one chat each, between chats about other things.

Preferences of different topics are dealt out in turn, ten to a user. Between them stand seeded chats of our own text,
about 8,000 tokens in all, 16,000 and 32,000 in the longer tasks (upstream's own filler may not be passed on). Right is
the option that follows the preference; the four options stand in a drawn order.
"""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..filler import filler_chats
from ..values import START, Case, History, Session, Turns
from ..writing.values import Gold
from .common import shuffled

PREFERENCES = 10
FILLER_TOKENS = 8_000
NOTED = "Understood, thank you for telling me."


def cases(folder: Path, filler_tokens: int = FILLER_TOKENS) -> list[Case]:
    """From `mcq/TOPIC.json`; users with fewer than ten preferences are left out."""
    topics = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((folder / "mcq").glob("*.json"))}
    dealt = sorted((index, topic) for topic, rows in topics.items() for index in range(len(rows)))
    users = [dealt[start : start + PREFERENCES] for start in range(0, len(dealt), PREFERENCES)]
    return [
        case
        for number, user in enumerate(users, 1)
        if len(user) == PREFERENCES
        for case in _user(number, filler_tokens, [(topic, index, topics[topic][index]) for index, topic in user])
    ]


def _user(number: int, filler_tokens: int, rows: list[tuple[str, int, dict[str, Any]]]) -> list[Case]:
    history = _history(f"user {number}", [row["preference"] for _, _, row in rows], filler_tokens)
    task = "prefeval" if filler_tokens == FILLER_TOKENS else f"prefeval_{filler_tokens // 1000}k"
    return [_case(task, history, topic, index, row) for topic, index, row in rows]


def _history(name: str, preferences: list[str], filler_tokens: int) -> History:
    told: list[Turns] = [(("user", preference), ("assistant", NOTED)) for preference in preferences]
    facts = [(Gold(preference, "explicit"),) for preference in preferences]
    filler = filler_chats(f"prefeval {name}", filler_tokens)
    chats = [*zip(told, facts, strict=True), *((chat, ()) for chat in filler)]
    random.Random(f"prefeval {name}").shuffle(chats)
    sessions = tuple(Session(START + timedelta(days=3 * day), *chat) for day, chat in enumerate(chats))
    return History(name, name, sessions)


def _case(task: str, history: History, topic: str, index: int, row: dict[str, Any]) -> Case:
    right, *wrong = row["classification_task_options"]
    name = f"{topic}/{index}"
    options, gold = shuffled(right, wrong, f"prefeval {name}")
    return Case(
        id=name,
        task=task,
        history=history,
        learned=len(history.sessions),
        question=row["question"],
        options=options,
        gold=gold,
        category=topic,
        evidence=(row["preference"],),
        facts=(Gold(row["preference"], "explicit"),),
    )
