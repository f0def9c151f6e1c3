"""What a write policy is: given the memory and turns that have happened, propose changes. Sees no later question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from edgemem.engines.base import Engine
from edgemem.errors import Cancelled
from edgemem.memory.lines import Memory
from edgemem.prompting.prompts import Prompts
from edgemem.values import GREEDY, Operation, Sampling, Stats, Turn

CHUNK_TOKENS = 5000
"""Longest part of a conversation that is folded at once (PersonaMem-v2, arXiv 2512.06688 §4.3)."""

TRIES = (GREEDY, Sampling(temperature=0.5, top_p=0.9, seed=1), Sampling(temperature=0.8, top_p=0.95, seed=2))
"""How an update is sampled at its first, second and third try: a greedy failure would fail the same way again."""


@dataclass(frozen=True)
class UpdateTask:
    """One update: fold `turns` (of one chat, at most CHUNK_TOKENS) into `memory`.

    `cache` is a folder for computed prompts that never change (None: keep nothing on disk).
    """

    engine: Engine
    prompts: Prompts
    memory: Memory
    turns: Sequence[Turn]
    when: datetime
    budget_tokens: int
    sampling: Sampling = GREEDY
    cancelled: Callable[[], bool] | None = None
    cache: Path | None = None


def stop_if_cancelled(task: UpdateTask) -> None:
    """Raises Cancelled where the update was told to stop."""
    if task.cancelled is not None and task.cancelled():
        raise update_cancelled()


def update_cancelled() -> Cancelled:
    """The error of an update that was told to stop."""
    return Cancelled("the memory update was stopped", "the chat will be learned at the next start")


@dataclass(frozen=True)
class Proposal:
    """What a policy wants to change, the model's words behind it, and what they cost."""

    operations: tuple[Operation, ...]
    reply: str
    stats: Stats


class Policy(Protocol):
    """A way to ask a model what to keep."""

    @property
    def name(self) -> str: ...

    def propose(self, task: UpdateTask) -> Proposal:
        """Ask the model. Raises UpdateFailed when the reply is unusable, Cancelled when told to stop."""
        ...
