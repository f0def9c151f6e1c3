"""PersonaMem v1 (32k, rebuilt subset): long contexts of several sessions, questions with four options.

A question that falls inside a session comes after the sessions before and the open turns of its own. The set has no
gold evidence. Results are of the "rebuilt subset", not the official score.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..jsonl import objects
from ..values import START, Case, History, Session
from .common import turns_of


def cases(folder: Path) -> list[Case]:
    """From `contexts.jsonl` and `questions.jsonl`."""
    contexts = {row["context_id"]: row for row in objects(folder / "contexts.jsonl")}
    histories = {name: _history(row) for name, row in contexts.items()}
    return [
        _case(row, contexts[row["context_id"]], histories[row["context_id"]])
        for row in objects(folder / "questions.jsonl")
    ]


def _history(row: dict[str, Any]) -> History:
    sessions = tuple(
        Session(START + timedelta(days=7 * number), turns_of(row["messages"][first:last]))
        for number, (first, last) in enumerate(pairwise(_edges(row)))
    )
    return History(row["context_id"], f"persona {row['persona_id']}", sessions)


def _edges(row: dict[str, Any]) -> list[int]:
    return [*row["session_starts"], len(row["messages"])]


def _case(row: dict[str, Any], context: dict[str, Any], history: History) -> Case:
    before = row["history_len"]
    ends = _edges(context)[1:]
    learned = sum(end <= before for end in ends)
    start = _edges(context)[learned]
    return Case(
        id=row["question_id"],
        task="personamem_v1",
        history=history,
        learned=learned,
        question=row["question"],
        options=tuple(option.partition(") ")[2] for option in row["options"]),
        gold="abcd".index(row["correct"].strip("()")),
        category=row["question_type"],
        open_turns=turns_of(context["messages"][start:before]),
    )
