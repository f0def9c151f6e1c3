"""The values of an evaluation of writing. Frozen, no behaviour, no file and no model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edgemem.values import Role

GoldKind = Literal["explicit", "implied"]
TrapKind = Literal["question", "hypothetical", "role_play", "negated", "third_party", "task"]


@dataclass(frozen=True, slots=True)
class Gold:
    """A fact that the chat tells about the user. `keys` may be empty: then words decide (see `matcher`).

    `names` are the user's own names, which no memory line need repeat. `section` is where our own texts put it.
    """

    fact: str
    kind: GoldKind
    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    section: str = ""


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """A fact about another person (`owner`), wrong where it stands as the user's."""

    fact: str
    keys: tuple[str, ...]
    owner: str


@dataclass(frozen=True, slots=True)
class Trap:
    """A wrong line that a careless writer makes of this chat. A line is fine if it holds one of `unless`."""

    line: str
    kind: TrapKind
    keys: tuple[str, ...]
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stale:
    """What the memory said before and must say no longer. `keys` may be empty: then words decide.

    `change` is False where the user asked to forget and nothing takes its place.
    """

    old: str
    keys: tuple[str, ...] = ()
    change: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat asks for an earlier fact. Facts are named `case.index`.

    `others` are facts of about the same age that nobody ever asks for; named where the fact is asked for first.
    """

    fact: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteCase:
    """One chat to learn from. `time` is aware; `turns` are (role, text).

    `chains_on` is the id of the case (of the same set) whose memory this one continues; None: `memory_before` alone.
    `hidden` marks a fact put into small talk, `own` that the texts are ours and may be repeated in rows.
    """

    id: str
    set: str
    split: str
    language: str
    style: str
    user: str
    time: datetime
    memory_before: tuple[str, ...]
    turns: tuple[tuple[Role, str], ...]
    gold: tuple[Gold, ...]
    third_party: tuple[ThirdParty, ...] = ()
    traps: tuple[Trap, ...] = ()
    stale: tuple[Stale, ...] = ()
    chains_on: str | None = None
    hidden: bool = False
    own: bool = False
    replaced: tuple[int, ...] = ()
    """Indices of the gold facts that are the new value of a change."""
    asks: Asked | None = None
