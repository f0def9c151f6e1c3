"""What several tasks need: turns, options in a drawn order. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..values import Turns


def turns_of(messages: Iterable[Mapping[str, Any]]) -> Turns:
    """The messages of user and assistant that say something."""
    spoken = [row for row in messages if row["role"] in ("user", "assistant") and str(row["content"]).strip()]
    return tuple((row["role"], str(row["content"])) for row in spoken)


def shuffled(right: str, wrong: Sequence[str], seed: str) -> tuple[tuple[str, ...], int]:
    """Options in an order that `seed` decides, and where the right one stands."""
    options = [right, *wrong]
    order = list(range(len(options)))
    random.Random(seed).shuffle(order)
    return tuple(options[index] for index in order), order.index(0)
