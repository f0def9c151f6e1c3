"""The seam to a language model: the protocols every engine fulfils, and the values that cross it.

Callers hold an `Engine` and open `Session`s on it. A session is one sequence of token ids in the engine's KV
cache; what is already there is never computed again. Nothing here knows which library runs the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from edgemem.values import GREEDY, Message, Piece, Sampling, Stats

Ids = tuple[int, ...]


class Constraint(Protocol):
    """Which texts may be generated, independent of any engine.

    `allows(text)` - can `text` still become a whole answer? Asked for each sampled token only (a rejected token
    is resampled), so it must be cheap. `complete(text)` - may the answer end here?
    """

    def allows(self, text: str) -> bool: ...

    def complete(self, text: str) -> bool: ...


class Drafter(Protocol):
    """Guesses the next ids from the ids so far; an engine may verify them in one batch. An empty guess is fine."""

    def draft(self, ids: Sequence[int]) -> Sequence[int]: ...


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What runs, on what. `digest` identifies the weights; `device` says what was used, not what was asked for."""

    engine: str
    model: str
    digest: str
    context_tokens: int
    device: str
    threads: int
    template_digest: str = ""
    version: str = ""
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Branch:
    """One continuation of a session for `generate_many`: `suffix` is fed after what the session holds."""

    session: Session
    suffix: Ids
    max_tokens: int = 64
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One comparison for `score_many`: how likely is each option after session + `suffix`?"""

    session: Session
    suffix: Ids
    options: tuple[Ids, ...]


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished generation."""

    text: str
    stats: Stats


@runtime_checkable
class Session(Protocol):
    """One sequence in the KV cache."""

    @property
    def ids(self) -> Ids:
        """Token ids the cache holds for this session, oldest first."""
        ...

    def feed(self, ids: Sequence[int], cancelled: Callable[[], bool] | None = None) -> Stats:
        """Make the session hold exactly `ids`; only what follows the longest common prefix is computed.

        Raises ContextExceeded when `ids` do not fit (the session is then as before), Cancelled when `cancelled`
        says so between two batches (the session then holds what was computed so far).
        """
        ...

    def generate(
        self,
        max_tokens: int,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        drafter: Drafter | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Piece]:
        """Continue the sequence. Yields text as it becomes certain; the last piece carries `Stats`.

        A stop text is not part of the output. Afterwards `ids` holds prompt and output (without the end token).
        """
        ...

    def score(self, options: Sequence[Sequence[int]]) -> list[float]:
        """Log-probability (natural, summed over its tokens) of each option as the next ids. `ids` stay as they are."""
        ...

    def fork(self) -> Session:
        """A second session with the same ids that shares their KV."""
        ...

    def save(self, path: Path | SealedFile) -> None:
        """Write ids and KV to `path`, atomically."""
        ...

    def load(self, path: Path | SealedFile) -> bool:
        """Restore what `save` wrote. False (and an unchanged session) when it is missing, damaged or of another
        model, context, KV type or version: the caller then simply feeds and the prefill happens."""
        ...

    def close(self) -> None:
        """Give the sequence's cells back. Closing twice is fine."""
        ...


@dataclass(frozen=True)
class SealedFile:
    """A snapshot's place, with what encrypts its bytes before they are written, and decrypts what was read."""

    path: Path
    seal: Callable[[bytes], bytes]
    open: Callable[[bytes], bytes]


@runtime_checkable
class Engine(Protocol):
    """A loaded model."""

    @property
    def info(self) -> EngineInfo: ...

    def tokenize(self, text: str) -> list[int]:
        """Ids of plain text. Text that looks like a control token stays text."""
        ...

    def detokenize(self, ids: Sequence[int]) -> str: ...

    def count(self, text: str) -> int:
        """Number of tokens of plain text."""
        ...

    def render(self, messages: Sequence[Message], *, think: bool = False) -> list[int]:
        """Ids of a chat in the model's own template, ending where the assistant is to answer."""
        ...

    def render_next(self, message: Message, *, think: bool = False) -> list[int]:
        """Ids to append after an assistant's answer so that `message` is next and the assistant is to answer."""
        ...

    def open(self) -> Session: ...

    def generate_many(
        self, branches: Sequence[Branch], cancelled: Callable[[], bool] | None = None
    ) -> list[Generation]:
        """Decode all branches as one batch. Sessions are left as they were."""
        ...

    def score_many(self, questions: Sequence[Question]) -> list[list[float]]:
        """`Session.score` of many questions as one batch. Sessions are left as they were."""
        ...

    def close(self) -> None: ...
