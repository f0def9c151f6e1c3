"""The memories of a run's users: written by the shipped assistant session by session, once, and kept for a later run.

Beside the rows file stand `<rows>.memories.jsonl` (what was written after each session) and `<rows>.homes` (each user's
home as the last session left it). Both hold text of the sets, so keep them to yourself; the rows hold none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemem.assistant import Assistant, UpdateReport
from edgemem.memory.lines import prompt_view
from edgemem.policies import open_policy
from edgemem.store import open_store

from .arms import Known
from .chains import Chains
from .jsonl import Row, append_object, read_objects
from .learning import journal
from .retention import retained
from .rows import Setup
from .usage import measured
from .values import History, Session

USER = "bench"


@dataclass(frozen=True)
class Place:
    """A user's home after so many sessions, as a link of a chain."""

    set: str
    history: str
    number: int

    @property
    def id(self) -> str:
        return f"{self.history}#{self.number}"

    @property
    def chains_on(self) -> str | None:
        return f"{self.history}#{self.number - 1}" if self.number > 1 else None


class Memories:
    """What is known of each user after each session; `learn` writes what is missing."""

    def __init__(self, setup: Setup, rows: Path) -> None:
        self._setup = setup
        self._file = rows.with_name(rows.name + ".memories.jsonl")
        self._run = setup.writer_key
        self._chains = Chains(rows.with_name(rows.name + ".homes"), self._run)
        self._written: dict[tuple[str, str], Row] = {}
        for row in read_objects(self._file) if self._file.exists() else ():
            if tuple(row["run"]) == self._run:
                self._written[(row["task"], row["place"])] = row

    def missing(self, task: str, history: History, learned: int) -> int:
        """How many sessions are still to be learned."""
        return sum((task, f"{key(history)}#{number}") not in self._written for number in range(1, learned + 1))

    def known(self, task: str, history: History, learned: int) -> Known:
        """The memory after `learned` sessions, all of which have been learned."""
        if not learned:
            return Known()
        row = self._written[(task, f"{key(history)}#{learned}")]
        other = self._setup.writer  # which may count otherwise than the model that reads
        return Known(row["view"], self._setup.engine.count(row["view"]) if other else row["memory_tokens"])

    def learn(self, task: str, history: History, learned: int) -> Iterator[tuple[int, Row]]:
        """Learn what is missing of the first `learned` sessions. Yields the number and the cost of each one, also of
        those learned before, so that a row lost to a kill comes again."""
        for number, session in enumerate(history.sessions[:learned], 1):
            place = Place(task, key(history), number)
            if (task, place.id) not in self._written:
                with self._chains.home(place, continued=True) as home:
                    row = _learned(self._setup, session, home)
                row = {"run": list(self._run), "task": task, "place": place.id} | row
                append_object(self._file, row)
                self._written[(task, place.id)] = row
                self._chains.done(place, continued=True)
            found = self._written[(task, place.id)]
            cost = {name: value for name, value in found.items() if name not in ("run", "task", "place", "view")}
            yield number, cost | retained(history, number, found["view"])


def key(history: History) -> str:
    """A history's name with a digest of its sessions: changed data is another history."""
    return f"{history.id} {hashlib.sha256(repr(history.sessions).encode()).hexdigest()[:12]}"


def _learned(setup: Setup, session: Session, home: Path) -> dict[str, Any]:
    with open_store(home, USER) as store:
        policy = open_policy(setup.policy, thresholds=setup.thresholds)
        model, budget = setup.writing, setup.budget_tokens
        assistant = Assistant(USER, model.engine, store, policy, model.prompts, budget, cache=setup.cache, review="off")
        journal(assistant, session.turns, session.time)
        with measured() as used:
            report = assistant.remember()
        view = prompt_view(store.read().lines)
    tokens = sum(setup.engine.count(text) for _, text in session.turns)
    return {"view": view, "session_tokens": tokens} | _cost(report) | used


def _cost(report: UpdateReport) -> dict[str, Any]:
    return {
        "memory_tokens": report.memory_tokens,
        "seconds": round(report.seconds, 3),
        "prompt_tokens": report.stats.prompt_tokens,
        "cached_tokens": report.stats.cached_tokens,
        "output_tokens": report.stats.output_tokens,
        "changes": {"add": report.added, "update": report.updated, "delete": report.deleted},
        "set_aside": report.set_aside,
    }
