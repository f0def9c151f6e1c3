"""Histories to replay: sessions of one user, and questions about them. Reads files, knows no model.

The bundled history is our own text. Public sets are read from a folder that the user names, never shipped:
LoCoMo (one JSON per conversation), PersonaMem v1 and MemoryCtrl (folders of JSONL).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgemem.errors import InvalidInput
from edgemem.values import Role

MAX_FILE_BYTES = 64 * 1024 * 1024
QUESTIONS = 6
_START = datetime(2026, 1, 5, 19, tzinfo=UTC)  # for sets without dates


@dataclass(frozen=True)
class Session:
    """One chat: when it took place, and its (role, text) turns."""

    title: str
    time: datetime
    turns: tuple[tuple[Role, str], ...]


@dataclass(frozen=True)
class Question:
    """A question with the answer that is right, and texts any of which makes an answer count as right."""

    text: str
    gold: str
    accept: tuple[str, ...]


@dataclass(frozen=True)
class History:
    name: str
    sessions: tuple[Session, ...]
    questions: tuple[Question, ...]


def bundled() -> History:
    """The history that comes with edgemem."""
    folder = Path(__file__).parent
    sessions = tuple(
        Session(row["title"], datetime.fromisoformat(row["time"]), _turns(row["turns"], "text"))
        for row in _rows(folder / "history.jsonl")
    )
    questions = tuple(
        Question(row["question"], row["gold"], tuple(row["accept"])) for row in _rows(folder / "questions.jsonl")
    )
    return History("bundled", sessions, questions)


def read_history(path: Path) -> History:
    """A public history: a LoCoMo file or folder, a PersonaMem v1 or a MemoryCtrl folder.

    Raises InvalidInput when it is none of them or is damaged.
    """
    try:
        if (path / "contexts.jsonl").is_file():
            return _personamem(path)
        if (path / "conversations.jsonl").is_file():
            return _memoryctrl(path)
        files = [path] if path.is_file() else sorted(path.glob("*.json"))
        for file in files:
            return _locomo(file)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidInput(f"cannot read a history from {path}: {error!r}", "check the folder") from error
    raise InvalidInput(
        f"{path} holds no history that edgemem can read", "give a LoCoMo, PersonaMem v1 or MemoryCtrl folder"
    )


def answered(question: Question, answer: str) -> bool:
    """Whether `answer` holds one of the accepted texts, as whole words."""
    plain = answer.casefold()
    return any(re.search(rf"(?<!\w){re.escape(text.casefold())}", plain) for text in question.accept)


def _locomo(path: Path) -> History:
    data = _load(path)
    user = data["speaker_a"]
    sessions = []
    numbers = sorted(int(key[8:]) for key in data if re.fullmatch(r"session_\d+", key))
    for number in numbers:
        turns: list[tuple[Role, str]] = [
            ("user" if turn["speaker"] == user else "assistant", str(turn["text"]))
            for turn in data[f"session_{number}"]
        ]
        when = datetime.strptime(data[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y")
        sessions.append(Session(f"session {number}", when.replace(tzinfo=UTC), tuple(turns)))
    asked = [row for row in data["qa"] if row.get("category") == 4 and user in str(row["question"])]
    questions = [Question(row["question"], str(row["answer"]), (str(row["answer"]),)) for row in asked]
    return History(f"locomo {path.stem} (user: {user})", tuple(sessions), tuple(questions[:QUESTIONS]))


def _personamem(path: Path) -> History:
    context = next(_rows(path / "contexts.jsonl"))
    starts = [*context["session_starts"], len(context["messages"])]
    sessions = [
        Session(
            f"session {number}",
            _START + timedelta(days=7 * number),
            _turns(context["messages"][first:last], "content"),
        )
        for number, (first, last) in enumerate(pairwise(starts), 1)
    ]
    questions = []
    for row in _rows(path / "questions.jsonl"):
        if row["context_id"] == context["context_id"] and row["history_len"] >= len(context["messages"]):
            text = row["question"] + "\n" + "\n".join(row["options"]) + "\nAnswer with one letter in brackets."
            questions.append(Question(text, f"({row['correct']})", (f"({row['correct']})",)))
    return History(f"personamem v1 {context['context_id']}", tuple(sessions), tuple(questions[:QUESTIONS]))


def _memoryctrl(path: Path) -> History:
    chat = next(_rows(path / "conversations.jsonl"))
    sessions = [
        Session(part["stage"], _START + timedelta(days=30 * number), _turns(part["messages"], "content"))
        for number, part in enumerate(chat["sessions"])
    ]
    questions = []
    for row in _rows(path / "mcq.jsonl"):
        if row["sample_id"] == chat["sample_id"] and row["turn_role"] == "key":
            options = "\n".join(f"({letter}) {text}" for letter, text in row["choices"].items())
            text = f"{row['question']}\n{options}\nAnswer with one letter in brackets."
            questions.append(Question(text, f"({row['remember']})", (f"({row['remember']})",)))
    return History(f"memoryctrl {chat['sample_id']}", tuple(sessions), tuple(questions[:QUESTIONS]))


def _turns(rows: list[dict[str, Any]], key: str) -> tuple[tuple[Role, str], ...]:
    kept = [row for row in rows if row["role"] in ("user", "assistant") and str(row[key]).strip()]
    return tuple((row["role"], str(row[key])) for row in kept)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in _text(path).splitlines():
        if line.strip():
            yield json.loads(line)


def _load(path: Path) -> dict[str, Any]:
    data = json.loads(_text(path))
    if not isinstance(data, dict):
        raise ValueError("not an object")
    return data


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_FILE_BYTES} bytes")
    return path.read_text("utf-8")
