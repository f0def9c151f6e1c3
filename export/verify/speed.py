"""How fast a file reads and writes on this machine, and how much memory that takes: told beside the checks, no gate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgemem.engines.base import Engine

from ..apart import Progress
from ..own_texts import held_out_texts
from .opened import open_file, open_onnx

PROMPT_TOKENS, WRITTEN_TOKENS, ROUNDS = 256, 32, 3


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second, the best of three rounds: other work on the machine only ever slows down."""

    prefill_tokens_s: float
    decode_tokens_s: float


def measure_speed(path: Path, adapter: Path | None, report: Progress) -> Speed:
    """Read 256 tokens and then 32 one by one, as a chat does. For `run_apart`, which tells the peak memory."""
    engine: Engine = open_onnx(path) if path.suffix == ".onnx" else open_file(path, adapter)
    try:
        ids = engine.tokenize(" ".join(held_out_texts()))
        ids = (ids * (1 + (PROMPT_TOKENS + WRITTEN_TOKENS) // len(ids)))[: PROMPT_TOKENS + WRITTEN_TOKENS]
        rounds = []
        for number in range(ROUNDS):
            rounds.append(_round(engine, ids))
            report("speed", number + 1, ROUNDS)
    finally:
        engine.close()
    return Speed(round(max(read for read, _ in rounds), 2), round(max(wrote for _, wrote in rounds), 2))


def _round(engine: Engine, ids: list[int]) -> tuple[float, float]:
    session = engine.open()
    try:
        started = time.perf_counter()
        session.feed(ids[:PROMPT_TOKENS])
        read = time.perf_counter()
        for end in range(PROMPT_TOKENS + 1, len(ids) + 1):
            session.feed(ids[:end])
        return PROMPT_TOKENS / (read - started), WRITTEN_TOKENS / (time.perf_counter() - read)
    finally:
        session.close()
