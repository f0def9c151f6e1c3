"""Feeding a sequence, for any engine: only what follows the common prefix is computed, and what does not fit is
refused before anything changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edgemem.errors import Cancelled, ContextExceeded
from edgemem.values import Stats

CANCELLABLE_TOKENS = 128  # about 1-2 s of prefill of a 1.5B on two cores: what a reply may have to wait


def feed(
    held: Sequence[int],
    ids: Sequence[int],
    *,
    batch_tokens: int,
    cut: Callable[[int], None],
    compute: Callable[[Sequence[int]], None],
    cancelled: Callable[[], bool] | None,
) -> Stats:
    """Make a sequence that holds `held` hold `ids`: `cut` shortens it to a length, `compute` appends tokens.

    Raises Cancelled between two batches, and what both raise.
    """
    started = time.perf_counter()
    shared = common_prefix(held, ids)
    cut(shared)
    step = batch_tokens if cancelled is None else CANCELLABLE_TOKENS
    for start in range(shared, len(ids), step):
        if cancelled is not None and cancelled():
            raise Cancelled("stopped while reading the prompt")
        compute(ids[start : start + step])
    return Stats(prompt_tokens=len(ids), cached_tokens=shared, first_token_s=time.perf_counter() - started)


def check_room(tokens: int, context_tokens: int) -> None:
    """Raises ContextExceeded when so many tokens do not fit."""
    if tokens > context_tokens:
        raise ContextExceeded(
            f"{tokens} tokens do not fit the model's context of {context_tokens}",
            "shorten the message, or use a larger context: --context N",
        )


def common_prefix(held: Sequence[int], wanted: Sequence[int]) -> int:
    """How many ids both begin with."""
    for index, (one, other) in enumerate(zip(held, wanted, strict=False)):
        if one != other:
            return index
    return min(len(held), len(wanted))
