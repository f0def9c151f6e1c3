"""Chats that tell nothing about the user, of our own text: what stands between facts in long histories. Pure.

Seeded: fourteen subjects, whose questions and sentences are drawn anew for each chat, so that some come back.
Sizes are by characters (four to a token).
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from .jsonl import objects
from .values import Turns

TOKEN_CHARS = 4
_TEXTS = Path(__file__).with_name("texts") / "filler.jsonl"


@cache
def _parts() -> tuple[dict[str, list[str]], ...]:
    return tuple(objects(_TEXTS))


def filler_chats(seed: str, tokens: int) -> list[Turns]:
    """Chats of about `tokens` tokens in all; the same seed gives the same chats."""
    draw = random.Random(seed)
    chats: list[Turns] = []
    size = 0
    while size < tokens * TOKEN_CHARS:
        chat = _chat(draw)
        chats.append(chat)
        size += sum(len(text) for _, text in chat)
    return chats


def _chat(draw: random.Random) -> Turns:
    topic = draw.choice(_parts())
    asked = draw.sample(topic["asked"], 2)
    told = draw.sample(topic["told"], min(len(topic["told"]), 8))
    half = len(told) // 2
    return (
        ("user", asked[0]),
        ("assistant", " ".join(told[:half])),
        ("user", asked[1]),
        ("assistant", " ".join(told[half:])),
    )
