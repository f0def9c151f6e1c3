"""What stays the same in a run of `bench run`, and what identifies its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemem.values import BUDGET_TOKENS

from .arms import WITH_MEMORY
from .asking import orders
from .jsonl import Row, RowKey, read_unique
from .sources import WRITERS, digest_of
from .tasks import TASKS
from .values import Case

if TYPE_CHECKING:
    from edgemem.engines.base import Engine
    from edgemem.prompting.prompts import Prompts

    from .peers.mem0.client import Mem0Setup

PROTOCOL = 2
"""Raise it when arms, question texts or scores change, so that rows are not mixed."""
EXPENSIVE = ("full_history",)
EXPENSIVE_ORDERS = 2
"""Arms whose letters are compared in two orders of the options only: a long history makes each look dear."""

KEY = (
    *("kind", "task", "task_version", "case", "content", "arm", "model_digest", "prompt_digest"),
    *("context_tokens", "write_model_digest", "policy", "budget_tokens", "code_digest", "protocol", "rotations"),
)
"""What makes two rows the same measurement."""


@dataclass(frozen=True)
class Writer:
    """Another model that writes the memories, with its prompts."""

    engine: Engine
    prompts: Prompts


@dataclass(frozen=True)
class Setup:
    """The engine that answers, opened once, and how the assistant is set: its shipped defaults unless told otherwise.

    It writes the memories, too, where there is no `writer`; policy, budget and thresholds are those of writing.
    """

    engine: Engine
    prompts: Prompts
    policy: str = "edits"
    budget_tokens: int = BUDGET_TOKENS
    thresholds: Mapping[str, float] = field(default_factory=dict)
    cache: Path | None = None
    encoder: Path | None = None
    miniature: bool = False
    writer: Writer | None = None
    mem0: Mem0Setup | None = None
    rotations: int | None = None
    """Orders of the options that letters are compared in: None all (two in expensive arms), 0 all, else so many."""

    @property
    def writing(self) -> Writer:
        """Who writes the memories."""
        return self.writer or Writer(self.engine, self.prompts)

    @property
    def writer_key(self) -> RowKey:
        """What decides how a memory comes out."""
        info = self.writing.engine.info
        thresholds = ",".join(f"{name}={value}" for name, value in sorted(self.thresholds.items()))
        return (
            *(info.digest, self.writing.prompts.digest, self.policy, str(self.budget_tokens)),
            *(str(info.context_tokens), thresholds, code_digest()),
        )


@cache
def code_digest() -> str:
    """The code that writes memories, as it was when the run began."""
    return digest_of(WRITERS)


def question_head(setup: Setup, case: Case, arm: str) -> Row:
    """What a question's row begins with."""
    return _head(setup, "question", case.task, case.id, _digest(case), arm, writes=arm in WITH_MEMORY) | {
        "history": case.history.id,
        "persona": case.history.persona,
        "learned": case.learned,
        "rotations": len(orders_of(setup, case, arm)),
        "category": case.category,
        "form": case.form,
        "note": case.note,
    }


def orders_of(setup: Setup, case: Case, arm: str) -> list[int]:
    """The orders of the options that an arm compares letters in."""
    usual = EXPENSIVE_ORDERS if arm in EXPENSIVE else 0
    return orders(case, usual if setup.rotations is None else setup.rotations)


def session_head(setup: Setup, task: str, history: str, persona: str, number: int, arm: str = "memory") -> Row:
    """What a session's row begins with. `history` is its name with the digest."""
    name, _, content = history.rpartition(" ")
    head = _head(setup, "session", task, f"{name}#{number}", content, arm, writes=True)
    if arm == "mem0":  # writes by itself
        head |= {"policy": arm, "budget_tokens": 0}
    return head | {"history": name, "persona": persona, "session": number}


def _head(setup: Setup, kind: str, task: str, case: str, content: str, arm: str, *, writes: bool) -> Row:
    info, writer = setup.engine.info, setup.writing.engine.info
    return {
        "kind": kind,
        "task": task,
        "task_version": TASKS[task].version if task in TASKS else 0,
        "miniature": setup.miniature,
        "case": case,
        "content": content,
        "arm": arm,
        "model": info.model,
        "model_digest": info.digest,
        "prompt_digest": setup.prompts.digest,
        "context_tokens": info.context_tokens,
        "write_model": writer.model if writes else "",
        "write_model_digest": writer.digest if writes else "",
        "policy": setup.policy if writes else "",
        "budget_tokens": setup.budget_tokens if writes else 0,
        "code_digest": code_digest() if writes else "",
        "protocol": PROTOCOL,
        "device": info.device,
        "threads": info.threads,
        "engine": f"{info.engine} {info.version}".strip(),
    }


@cache
def _digest(case: Case) -> str:
    return hashlib.sha256(repr(case).encode()).hexdigest()[:12]


def key_of(row: Mapping[str, Any]) -> RowKey:
    """The identity of a row."""
    return tuple(str(row.get(name, "")) for name in KEY)


def key_on_machine(row: Mapping[str, Any]) -> RowKey:
    """The identity of a row among those of several machines."""
    return (*key_of(row), json.dumps(row.get("machine"), sort_keys=True))


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether it is a row of `bench run`."""
    return row.get("kind") in ("question", "session")


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """All rows of the files, one that the same machine measured twice once (the last).

    Raises InvalidInput for a file that holds other things.
    """
    return read_unique(paths, key_on_machine, is_row, "bench run")
