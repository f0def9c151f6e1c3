"""The pairs of `bench speed`: what A and B do. Each call gives `value` (seconds, or seconds per token) and counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgemem.catalogue.gguf import check_gguf
from edgemem.engines.base import Constraint, Drafter, Session
from edgemem.memory.copying import CopyDrafter
from edgemem.memory.pattern import NotesConstraint
from edgemem.values import Message

from ..writing.cases import load_cases
from ..writing.run import Setup, run_case, writer
from ..writing.values import WriteCase
from .formula import kept_ratio
from .setup import SpeedSetup

DECODED = 300  # tokens of the drafting rows
NOTED = 64  # tokens of the constrained row: a note is no longer
QUESTION = "What should I cook for my sister tonight?"
TOPIC = "Write a long story about a lighthouse keeper and a storm."
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

Taken = dict[str, Any]
Arms = Mapping[str, Callable[[], Taken]]


def cost_case() -> WriteCase:
    """A memory and a chat of about 1,500 tokens each."""
    return load_cases(["cost"])[0]


def memory_view(case: WriteCase) -> str:
    return "\n".join(f"[{number} About] {line}" for number, line in enumerate(case.memory_before, 1))


@contextmanager
def updates(setup: Setup) -> Iterator[Arms]:
    """A naive whole rewrite in a fresh prompt; our update."""
    case = cost_case()

    def update(policy: str) -> Taken:
        with TemporaryDirectory(prefix="edgemem-bench-") as home:
            chosen = replace(setup, policy=policy)
            row, _ = run_case(chosen, writer(chosen), case, Path(home))
        asked = [fact for fact in row["gold"] if not fact["known"]]
        found = sum(fact["found"] for fact in asked)
        told = {"facts": len(asked), "facts_found": found, "lines": len(row["added"])}
        read = {"prefilled": row["prompt_tokens"] - row["cached_tokens"], "written": row["output_tokens"]}
        return {"value": row["seconds"], **told, **read}

    yield {"a": lambda: update("naive"), "b": lambda: update(setup.policy)}


def drafting(source_is_copied: bool) -> Callable[[Setup], AbstractContextManager[Arms]]:
    """Plain decoding; the same with guesses from a memory that the text copies but for each fifth line, or has nothing
    to do with."""

    @contextmanager
    def prepare(setup: Setup) -> Iterator[Arms]:
        engine = setup.engine
        old = cost_case().memory_before
        source = engine.tokenize(_listed(old))
        prompt = engine.render([Message("user", TOPIC)])
        if source_is_copied:  # a model that has read a list twice writes it once more
            prompt = engine.tokenize(_listed(_changed(old)) * 2)

        with _prompted(setup, prompt) as session:

            def decode(drafted: bool) -> Taken:
                drafter = CopyDrafter(source, lambda token: engine.detokenize([token])) if drafted else None
                return _decode(session, DECODED, drafter=drafter)

            yield {"a": lambda: decode(False), "b": lambda: decode(True)}

    return prepare


def _changed(lines: Sequence[str]) -> list[str]:
    """The lines with every fifth one replaced by a fact of another person."""
    others = [line for case in load_cases(["own"]) for line in case.memory_before]
    return [others[at % len(others)] if at % 5 == 2 else line for at, line in enumerate(lines)]


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"- [About] {line}\n" for line in lines)


@contextmanager
def first_tokens(setup: Setup) -> Iterator[Arms]:
    """The first token of an answer, with the memory to be read; with the memory from disk."""
    engine = setup.engine
    system = setup.prompts.chat_system(memory_view(cost_case()), NOON)
    ids = engine.render([system, Message("user", QUESTION)])
    other = engine.render([system, Message("user", "-")])
    shared = next((i for i, (a, b) in enumerate(zip(ids, other, strict=False)) if a != b), len(other))
    with TemporaryDirectory(prefix="edgemem-bench-") as folder:
        kept = Path(folder) / "memory.kv"
        session = engine.open()
        session.feed(ids[:shared])
        session.save(kept)
        session.close()

        def first(restored: bool) -> Taken:
            started = time.perf_counter()
            session = engine.open()
            if restored:
                session.load(kept)
            fed = session.feed(ids)
            next(session.generate(1))
            taken = {"value": time.perf_counter() - started, "prefilled": fed.prompt_tokens - fed.cached_tokens}
            session.close()
            if isinstance(setup, SpeedSetup):
                taken["formula"] = kept_ratio(check_gguf(setup.gguf), len(ids), len(ids) - shared)
            return taken

        yield {"a": lambda: first(False), "b": lambda: first(True)}


@contextmanager
def constrained(setup: Setup) -> Iterator[Arms]:
    """Seconds per token without and with the constraint on notes, which does not decide how long a text is."""
    prompt = setup.engine.render([*setup.prompts.edits()[:-1]])

    with _prompted(setup, prompt) as session:

        def decode(constraint: Constraint | None) -> Taken:
            return _decode(session, NOTED, constraint=constraint)

        yield {"a": lambda: decode(None), "b": lambda: decode(NotesConstraint())}


@contextmanager
def _prompted(setup: Setup, prompt: list[int]) -> Iterator[Session]:
    """A session with the prompt, read once for all samples."""
    session = setup.engine.open()
    session.feed(prompt)
    try:
        yield session
    finally:
        session.close()


def _decode(
    prompted: Session, tokens: int, drafter: Drafter | None = None, constraint: Constraint | None = None
) -> Taken:
    """Seconds for each token after a prompt that is there already."""
    session = prompted.fork()
    started = time.perf_counter()
    stats = list(session.generate(tokens, drafter=drafter, constraint=constraint))[-1].stats
    seconds = time.perf_counter() - started
    session.close()
    assert stats is not None
    counts = {"tokens": stats.output_tokens, "drafted": stats.drafted_tokens, "accepted": stats.accepted_tokens}
    return {"value": seconds / max(1, stats.output_tokens), **counts}
