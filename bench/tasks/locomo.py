"""LoCoMo: two people chat over many dated sessions; each is the user in turn, with the questions that name that person.

Categories 1 to 4 are answered freely (words of the answer: F1, without upstream's stemming) and, apart, by which is
likeliest of the right answer and three answers to other questions of the same conversation. Category 5 is the two-way
choice between "not mentioned" and the tempting answer.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..values import Case, History, Session, Turns
from ..writing.values import Gold
from .common import shuffled

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
NOT_MENTIONED = "This was not mentioned in the conversation."
OTHERS = 3


def cases(folder: Path) -> list[Case]:
    """From one `NUMBER.json` per conversation."""
    files = sorted(folder.glob("*.json"))
    return [case for path in files for case in _conversation(path.stem, json.loads(path.read_text("utf-8")))]


def _conversation(name: str, data: dict[str, Any]) -> Iterable[Case]:
    speakers = [data["speaker_a"], data["speaker_b"]]
    said = {
        turn["dia_id"]: f"{turn['speaker']}: {turn['text']}"
        for number in _numbers(data)
        for turn in _part(data, number)
    }
    answers = sorted({str(row["answer"]) for row in data["qa"] if row["category"] != 5})
    for letter, user in zip("ab", speakers, strict=True):
        history = _history(f"{name}-{letter}", data, user)
        for number, row in enumerate(data["qa"]):
            if [speaker for speaker in speakers if speaker in row["question"]] == [user]:
                yield _case(f"{name}/{number}", row, history, said, answers)


def _numbers(data: dict[str, Any]) -> list[int]:
    return sorted(int(key[8:]) for key in data if re.fullmatch(r"session_\d+", key))


def _part(data: dict[str, Any], number: int) -> list[dict[str, Any]]:
    return [turn for turn in data[f"session_{number}"] if turn["text"]]


def _history(name: str, data: dict[str, Any], user: str) -> History:
    sessions = []
    for number in _numbers(data):
        when = datetime.strptime(data[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        turns: Turns = tuple(
            ("user" if turn["speaker"] == user else "assistant", str(turn["text"])) for turn in _part(data, number)
        )
        events = data.get(f"events_session_{number}", {}).get(user, [])
        sessions.append(Session(when, turns, tuple(Gold(event, "explicit", names=(user,)) for event in events)))
    return History(name, name, tuple(sessions))


def _case(name: str, row: dict[str, Any], history: History, said: dict[str, str], answers: list[str]) -> Case:
    free = row["category"] != 5
    evidence = tuple(said[place] for place in row["evidence"] if place in said)
    right = str(row["answer"]) if free else NOT_MENTIONED
    others = [answer for answer in answers if answer != right]
    wrong = random.Random(f"locomo {name} others").sample(others, min(OTHERS, len(others))) if free else None
    options, gold = shuffled(right, wrong or [str(row["adversarial_answer"])], f"locomo {name}")
    return Case(
        id=name,
        task="locomo",
        history=history,
        learned=len(history.sessions),
        question=row["question"],
        options=options,
        gold=gold,
        category=CATEGORIES[row["category"]],
        form="texts" if free else "letters",
        answer=right if free else None,
        evidence=evidence,
        facts=tuple(Gold(text.partition(": ")[2], "explicit") for text in evidence) if free else (),
    )
