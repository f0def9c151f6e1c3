"""What the store gives back beyond the shared values. Frozen, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgemem.values import Line, Operation, Origin, Revision, Turn

FORGOTTEN = "[forgotten]"
"""Stands where a text was that the person had forgotten."""


@dataclass(frozen=True, slots=True)
class ChatInfo:
    """One chat. `pending` counts its user turns that no revision has folded yet."""

    id: int
    kind: str
    started: datetime
    ended: datetime | None
    turns: int
    pending: int
    open: bool = False


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A learned change that waits until the person accepts it. `sensitivity` says why ('': everything is reviewed)."""

    id: int
    operation: Operation
    sensitivity: str
    created: datetime
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class LineHistory:
    """Why a line is there: what touched it, oldest first, and the user turns it rests on. `support` says how well
    their words carry it (`memory.support`)."""

    line: Line
    present: bool
    origin: Origin
    revisions: tuple[Revision, ...]
    turns: tuple[Turn, ...]
    support: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The receipt of `forget`. `computed` counts the files of computed prompts that went whole, `typed` entries of the
    typed history, `waiting` changes that waited for consent, `exports` files of ours that were written anew. Then all
    of the user's files were searched: `files_searched`, `bytes_searched`; `bytes_left` counts places where the words
    still stand (0 is right)."""

    lines: int
    turns: int
    revisions: int
    bytes_left: int
    computed: int = 0
    typed: int = 0
    waiting: int = 0
    exports: int = 0
    files_searched: int = 0
    bytes_searched: int = 0


@dataclass(frozen=True, slots=True)
class Erased:
    """What the journal lost."""

    turns: int
    revisions: int
    waiting: int


@dataclass(frozen=True, slots=True)
class JournalView:
    """The journal's idea of the memory at one moment: `digest` is that of the last finished revision's text,
    `gone` are the lines that left it last, newest first."""

    digest: str
    unfinished: bool
    lines: tuple[Line, ...]
    gone: tuple[Line, ...]
    next_line_id: int
