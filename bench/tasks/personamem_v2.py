"""PersonaMem v2, the official multiple choice: `(a)` to `(d)` in the order of seed 42 + row, an answer in `\\boxed`.

Read from `benchmark.csv` and the history files its rows name. Of the 27 columns only six are read: whose, which
history, question, right and wrong answers, kind; `related_conversation_snippet` goes to the arm `oracle` alone. The
first message of a history, a `system` text with the persona, is left out. A history has no session edges: it is cut
before a user's turn into chats of at most `SESSION_CHARS`. Persona 78 is in development and benchmark data upstream
and is flagged.
"""

from __future__ import annotations

import ast
import csv
import json
import random
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..values import START, Case, History, Session, Turns
from .common import turns_of

COLUMNS = ("persona_id", "chat_history_32k_link", "user_query", "correct_answer", "incorrect_answers", "pref_type")
EVIDENCE = "related_conversation_snippet"
SEED = 42
SESSION_CHARS = 16_000
FLAGGED = {"78": "persona 78 is in development and benchmark data"}


def cases(folder: Path) -> list[Case]:
    """From `benchmark.csv`; links are relative to the folder. Raises ValueError where a column is missing."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    histories: dict[str, History] = {}
    found = []
    with (folder / "benchmark.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if missing := {*COLUMNS, EVIDENCE} - set(reader.fieldnames or ()):
            raise ValueError(f"benchmark.csv has no column {', '.join(sorted(missing))}")
        for number, row in enumerate(reader):
            link = row["chat_history_32k_link"]
            if link not in histories:
                histories[link] = _history(folder / link, row["persona_id"])
            found.append(_case(number, row, histories[link]))
    return found


def _history(path: Path, persona: str) -> History:
    messages: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["chat_history"]
    if messages and messages[0]["role"] == "system":
        messages = messages[1:]
    parts = list(_parts(turns_of(messages)))
    sessions = tuple(Session(START + timedelta(days=7 * day), part) for day, part in enumerate(parts))
    return History(path.stem, f"persona {persona}", sessions)


def _parts(turns: Turns) -> Iterator[Turns]:
    part: Turns = ()
    for role, text in turns:
        if part and role == "user" and sum(len(said) for _, said in part) + len(text) > SESSION_CHARS:
            yield part
            part = ()
        part = (*part, (role, text))
    if part:
        yield part


def _case(number: int, row: dict[str, str], history: History) -> Case:
    right = row["correct_answer"]
    options = [right, *_wrong(row["incorrect_answers"])]
    random.Random(SEED + number).shuffle(options)
    return Case(
        id=f"row {number}",
        task="personamem_v2",
        history=history,
        learned=len(history.sessions),
        question=_query(row["user_query"]),
        options=tuple(options),
        gold=options.index(right),
        category=row["pref_type"],
        form="boxed",
        evidence=(row[EVIDENCE],) if row[EVIDENCE] else (),
        note=FLAGGED.get(row["persona_id"], ""),
    )


def _query(text: str) -> str:
    """The column holds a message as JSON, or as Python writes a dictionary."""
    try:
        message = json.loads(text)
    except ValueError:
        message = ast.literal_eval(text)
    return str(message["content"])


def _wrong(text: str) -> list[str]:
    wrong = json.loads(text)
    if not isinstance(wrong, list) or len(wrong) != 3:
        raise ValueError("incorrect_answers is not a list of three")
    return [str(answer) for answer in wrong]
