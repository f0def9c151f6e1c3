"""MemoryCtrl, its baseline world: four sessions of a persona on one topic, then "do you remember" with three choices.

Right is `remember`; the options stand as upstream has them. Persona profile and the label columns are left out.
(The forget, no-store and no-use worlds are not here yet.)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..jsonl import objects
from ..values import START, Case, History, Session
from .common import turns_of

_DATE = re.compile(r"(\d\d)/(\d\d)/(\d{4})")


def cases(folder: Path) -> list[Case]:
    """From `conversations.jsonl` and `mcq.jsonl`. Gold evidence is the user's message with the question's `ref`."""
    chats = {row["sample_id"]: row for row in objects(folder / "conversations.jsonl")}
    histories = {name: _history(row) for name, row in chats.items()}
    return [_case(row, chats[row["sample_id"]], histories[row["sample_id"]]) for row in objects(folder / "mcq.jsonl")]


def _history(chat: dict[str, Any]) -> History:
    sessions = [_session(number, part["messages"]) for number, part in enumerate(chat["sessions"])]
    return History(chat["sample_id"], f"persona {chat['persona_id']}", tuple(sessions))


def _session(number: int, messages: list[dict[str, Any]]) -> Session:
    found = [match for message in messages if (match := _DATE.search(message["ref"] or ""))]
    dates = [datetime(int(one[3]), int(one[1]), int(one[2]), 19, tzinfo=UTC) for one in found]
    return Session(max(dates, default=START + timedelta(days=30 * number)), turns_of(messages))


def _case(row: dict[str, Any], chat: dict[str, Any], history: History) -> Case:
    letters = sorted(row["choices"])
    said = [message for part in chat["sessions"] for message in part["messages"] if message["ref"] == row["ref"]]
    return Case(
        id=row["qid"],
        task="memoryctrl",
        history=history,
        learned=len(history.sessions),
        question=row["question"],
        options=tuple(row["choices"][letter] for letter in letters),
        gold=letters.index(row["remember"]),
        category=f"{row['family']} {row['turn_role']}",
        evidence=tuple(message["content"] for message in said if message["role"] == "user"),
    )
