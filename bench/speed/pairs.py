"""The table's rows: what A and B are, how they are prepared, and the bar."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..writing.run import Setup
from .arms import Arms, constrained, drafting, first_tokens, updates
from .cold import long_history, memory_in_use
from .reference import decoding, prefill, starting


@dataclass(frozen=True)
class Pair:
    """One row of the table: A over B is the ratio. `must` is the bar, a share of what the formula predicts where
    `of_formula`, and not to be exceeded where `at_most`."""

    row: str
    name: str
    title: str
    must: float
    prepare: Callable[[Setup], AbstractContextManager[Arms]]
    at_most: bool = False
    of_formula: bool = False


PAIRS = (
    Pair("1", "1", "naive whole rewrite / our update", 5.0, updates),
    Pair("2", "2 copy", "plain / drafted, four lines of five are copies", 2.0, drafting(True)),
    Pair("2", "2 new", "plain / drafted, nothing to copy", 0.97, drafting(False)),
    Pair("3", "3", "first token: memory read / memory from disk", 30.0, first_tokens),
    Pair("4", "4 8k", "cold first token: 8k history / memory", 0.8, long_history(8_000), of_formula=True),
    Pair("4", "4 32k", "cold first token: 32k history / memory", 0.8, long_history(32_000), of_formula=True),
    Pair("5", "5 200", "llama-bench / ours: seconds for each of 200 tokens", 0.95, decoding(200)),
    Pair("5", "5 2000", "llama-bench / ours: seconds for each of 2,000 tokens", 0.95, decoding(2000)),
    Pair("5", "5 read", "llama-bench / ours: seconds for each of 512 tokens read", 0.97, prefill),
    Pair("6", "6", "decoding: unconstrained / constrained, seconds for each token", 0.95, constrained),
    Pair("9", "9", "bytes of RAM at most / weights, KV and buffers", 1.2, memory_in_use, at_most=True),
    Pair("10", "10", "process to first token, ours / llama-bench load and 1 token", 1.6, starting, at_most=True),
)
