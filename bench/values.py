"""Values of `bench run`: histories, and questions about them with their right answers. Pure.

What is gold (`gold`, `answer`, `evidence`) never reaches a model, but that the arm `oracle` reads `evidence`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from edgemem.values import Role

from .writing.values import Gold

Turns = tuple[tuple[Role, str], ...]
START = datetime(2026, 1, 5, 19, tzinfo=UTC)
"""When a history begins that has no dates."""


@dataclass(frozen=True)
class Session:
    """One chat of a history. `facts`: what the set says is told in it, where it says so."""

    time: datetime
    turns: Turns
    facts: tuple[Gold, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class History:
    """What one user said, chat by chat. `persona` is whose it is: several histories may be one person's."""

    id: str
    persona: str
    sessions: tuple[Session, ...]


@dataclass(frozen=True)
class Case:
    """One question. It comes after the first `learned` sessions and, where it falls inside a session, the turns of
    that session so far (`open_turns`).

    `form`: "letters" shows the options and asks for a letter (`boxed`: in the wording of PersonaMem v2); "texts" asks
    freely, and the options are only compared by how likely they are. `answer` is a free answer to score by words.
    `leak` is the option that tells what the user asked not to keep. `facts` are what a memory has to say for the right
    answer, where the set tells. (Facts only judge: they are in no digest.)
    """

    id: str
    task: str
    history: History
    learned: int
    question: str
    options: tuple[str, ...]
    gold: int
    category: str
    form: Literal["letters", "boxed", "texts"] = "letters"
    answer: str | None = None
    evidence: tuple[str, ...] = ()
    open_turns: Turns = ()
    note: str = ""
    leak: int | None = None
    facts: tuple[Gold, ...] = field(default=(), repr=False)

    @property
    def sessions(self) -> tuple[Session, ...]:
        return self.history.sessions[: self.learned]


class CannotRun(Exception):
    """An arm cannot answer a case, and why. Becomes a row that says so, never a score."""
