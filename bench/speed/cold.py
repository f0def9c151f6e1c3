"""Rows about what is not there yet: a whole history to be read, and the memory that a process takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle

from edgemem.catalogue.gguf import check_gguf
from edgemem.engines import open_engine
from edgemem.engines.base import Engine
from edgemem.errors import EngineFailed
from edgemem.values import Message

from ..writing.cases import load_cases
from ..writing.run import Setup
from .arms import NOON, QUESTION, Arms, Taken, cost_case, memory_view
from .formula import prefill_flops
from .setup import SpeedSetup, real

ROOM_TOKENS = 300  # what stands around a history in a prompt
LONGEST_FOR_LARGE, LARGE = 8_000, 10**9
"""Models of more weights than this read 32,000 tokens in half an hour on two cores, so they are spared it."""


def long_history(tokens: int) -> Callable[[Setup], AbstractContextManager[Arms]]:
    """The first token after a history of so many tokens, read from nothing; after the memory, read from nothing."""

    @contextmanager
    def prepare(plain: Setup) -> Iterator[Arms]:
        setup = real(plain)
        header = check_gguf(setup.gguf)
        fits = header.context_tokens >= tokens + ROOM_TOKENS
        if not fits or (tokens > LONGEST_FOR_LARGE and header.parameters - header.embedding_parameters > LARGE):
            yield {}
            return
        with _wide_engine(setup, tokens + ROOM_TOKENS) as engine:
            question = Message("user", QUESTION)
            whole = _history(setup, engine, tokens, question)
            short = engine.render([setup.prompts.chat_system(memory_view(cost_case()), NOON), question])
            formula = prefill_flops(header, len(whole)) / prefill_flops(header, len(short))

            def first(ids: list[int]) -> Taken:
                started = time.perf_counter()
                session = engine.open()
                session.feed(ids)
                next(session.generate(1))
                taken = {"value": time.perf_counter() - started, "prefilled": len(ids), "formula": formula}
                session.close()
                return taken

            yield {"a": lambda: first(whole), "b": lambda: first(short)}

    return prepare


def _history(setup: Setup, engine: Engine, tokens: int, question: Message) -> list[int]:
    """A prompt with `tokens` tokens of earlier turns, the question last; our texts come again when they are used up.

    What the template adds beyond ROOM_TOKENS is cut off at the start.
    """
    turns = [turn for case in load_cases(["own"]) + load_cases(["retention"]) for turn in case.turns]
    messages: list[Message] = []
    count = 0
    for role, text in cycle(turns):
        if count >= tokens:
            break
        left = engine.tokenize(text)[: tokens - count]
        messages.append(Message(role, engine.detokenize(left)))
        count += len(left)
    return engine.render([setup.prompts.chat_system("", NOON), *messages, question])[-(tokens + ROOM_TOKENS - 8) :]


@contextmanager
def _wide_engine(setup: SpeedSetup, context_tokens: int) -> Iterator[Engine]:
    """The engine, or another one of the same kind with enough context."""
    info = setup.engine.info
    if info.context_tokens >= context_tokens:
        yield setup.engine
        return
    engine = open_engine(
        setup.gguf,
        digest=info.digest,
        context_tokens=context_tokens,
        tunings=setup.tunings,
        may_test=False,
        **setup.opening,
    )
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def memory_in_use(plain: Setup) -> Iterator[Arms]:
    """The most RAM a process has held that read 2,000 tokens and wrote some; what weights, KV and buffers need."""
    setup = real(plain)
    last: dict[str, int] = {}

    def run() -> Taken:
        info = setup.engine.info
        options = {
            "digest": info.digest,
            "context_tokens": info.context_tokens,
            **setup.opening,
            "tunings": str(setup.tunings) if setup.tunings else None,
        }
        command = [sys.executable, "-m", "edgemem.bench.speed.peak", str(setup.gguf), json.dumps(options)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineFailed(f"the process of row 9 failed: {done.stderr.strip()[-300:]}")
        last.update(json.loads(done.stdout))
        return {"value": float(last["peak_bytes"])}

    def buffers() -> Taken:
        parts = {name: size for name, size in (last or (run() and last)).items() if name != "peak_bytes"}
        return {"value": float(sum(parts.values())), **parts}

    yield {"a": run, "b": buffers}
