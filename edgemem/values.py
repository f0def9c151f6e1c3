"""Frozen values that all layers share. No behaviour beyond small derived properties, no outside library."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

BUDGET_TOKENS = 2048
"""Largest memory we write, counted in the running model's tokens (PersonaMem-v2, arXiv 2512.06688 §4.3)."""

SECTIONS = ("About", "People", "Preferences", "Health", "Work and study", "Plans", "How to talk to me")
"""Sections that we write, in the order of the file. A person may add others; those are kept."""

Role = Literal["system", "user", "assistant"]
Origin = Literal["asked", "stated", "inferred", "edited", "imported"]
OperationKind = Literal["add", "update", "delete"]
Cause = Literal["update", "overwrite", "edit", "command", "undo", "forget", "compact", "set_aside", "rebuild", "review"]
Review = Literal["off", "sensitive", "all"]
RevisionState = Literal["prepared", "done"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the chat template sees it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One journalled message. `time` is aware (UTC); `id` grows with every turn of a user."""

    id: int
    chat_id: int
    role: Role
    text: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """One fact of the memory with its stable id. `protected` lines (pinned, or free prose that a person
    wrote) are shown to the model but never changed by it. `mentions` counts the user turns that spoke of it,
    `last_turn` is the id of the latest (0: none). `sensitivity` is the special category it speaks of, '' for none."""

    id: int
    section: str
    text: str
    pinned: bool = False
    prose: bool = False
    origin: Origin = "inferred"
    mentions: int = 0
    last_turn: int = 0
    sensitivity: str = ""

    @property
    def protected(self) -> bool:
        return self.pinned or self.prose


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one line.

    add:    `text` in `section`; `line_id` is None until the store gives one (an undo brings the old id back).
    update: `line_id` goes from `old_text` to `text` (and to `section` if that is not empty).
    delete: `line_id` with `old_text` goes.
    `sources` are ids of the user turns that the change rests on. `old_origin` (set by the store) is what an undo
    gives back.
    """

    kind: OperationKind
    line_id: int | None = None
    section: str = ""
    text: str = ""
    old_text: str = ""
    old_section: str = ""
    sources: tuple[int, ...] = ()
    origin: Origin = "inferred"
    old_origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An operation that the checker dropped, and why (`reason` is a short stable word, `detail` for people)."""

    operation: Operation
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """What one generation cost. Tokens are counts, seconds are wall clock.

    `prompt_tokens` counts the whole prompt, `cached_tokens` the part of it that was already in the KV cache.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0
    stop_reason: Literal["eos", "stop", "length", "constraint", "cancelled", ""] = ""

    def plus(self, other: Stats) -> Stats:
        """Sum of two generations; the first token and the stop reason are those of `self` and `other`."""
        return Stats(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.drafted_tokens + other.drafted_tokens,
            self.accepted_tokens + other.accepted_tokens,
            self.first_token_s or other.first_token_s,
            self.total_s + other.total_s,
            other.stop_reason or self.stop_reason,
        )

    def beside(self, other: Stats) -> Stats:
        """Sum with a branch of the same batch: both read the same cached prefix, at the same time."""
        return replace(self.plus(other), total_s=max(self.total_s, other.total_s))


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a streamed answer. The last piece of a stream carries `stats` (its text may be empty)."""

    text: str
    stats: Stats | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Temperature 0 is greedy and deterministic; so is any temperature with a seed."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Revision:
    """One recorded change of the memory. `operations` can be empty (turns folded, nothing to keep)."""

    id: int
    created: datetime
    cause: Cause
    state: RevisionState
    operations: tuple[Operation, ...]
    base_digest: str
    result_digest: str
    policy: str = ""
    model_digest: str = ""
    prompt_digest: str = ""
    undoes: int | None = None
    stats: Stats = field(default_factory=Stats)
    rejected: tuple[Rejected, ...] = ()
    note: str = ""
