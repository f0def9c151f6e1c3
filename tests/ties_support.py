"""Texts that may part where the model itself is undecided."""

from __future__ import annotations

from collections.abc import Sequence

from edgemem.engines.base import Engine

NEAR_TIE = 0.6
"""Log-odds. Batches of another size round differently (quantized activations), so they may decide such a tie."""


def agree(engine: Engine, plain: Sequence[int], other: Sequence[int]) -> bool:
    """Whether the ids (prompt and answer) are the same, or part at a near tie."""
    if tuple(plain) == tuple(other):
        return True
    at = next((i for i, (a, b) in enumerate(zip(plain, other, strict=False)) if a != b), None)
    assert at is not None, "one of the texts ended early"
    session = engine.open()
    session.feed(plain[:at])
    one, two = session.score([[plain[at]], [other[at]]])
    session.close()
    return abs(one - two) < NEAR_TIE
