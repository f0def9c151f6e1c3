"""The set `cost`: chats of about 1,500 tokens upon a memory of 1,500 tokens, put together from our own texts. Pure.

Sizes are by characters (four to a token); rows have the model's own counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from .matcher import is_third_party, recalled, springs
from .values import WriteCase

CASES, TOKENS, TOKEN_CHARS = 5, 1500, 4
LINE_CHARS = 12  # number, section and line end, which the model reads with each line
NEAR = 0.03  # how far from TOKENS a chat may be


def cost(chats: Sequence[WriteCase], count: int = CASES, tokens: int = TOKENS) -> list[WriteCase]:
    """`count` cases, each of other chats; only English ones, of which there are enough.

    The memory is what those chats ask to be there, then facts of all the others, without any that tells what the case
    is to learn.
    """
    pool = sorted((chat for chat in chats if chat.language == "en"), key=lambda chat: _chance(chat.id))
    left = list(pool)
    cases: list[WriteCase] = []
    for number in range(1, count + 1):
        parts = _parts(left, tokens * TOKEN_CHARS)
        left = [chat for chat in left if chat not in parts]
        if parts:
            cases.append(_with_memory(_joined(parts, f"cost{number}"), parts, pool, tokens * TOKEN_CHARS))
    return cases


def _chance(text: str) -> bytes:
    """An order that looks like chance and is the same everywhere."""
    return hashlib.sha256(f"cost {text}".encode()).digest()


def _parts(chats: Sequence[WriteCase], chars: int) -> list[WriteCase]:
    """The first chats that fill `chars` and do not go beyond."""
    parts: list[WriteCase] = []
    size = 0
    for chat in chats:
        more = sum(len(text) for _, text in chat.turns)
        if size + more <= chars * (1 + NEAR):
            parts.append(chat)
            size += more
        if size >= chars * (1 - NEAR):
            break
    return parts


def _joined(parts: Sequence[WriteCase], name: str) -> WriteCase:
    """The chats as one, with all their gold. A trap into which a fact of another part would fall is left out."""
    gold = tuple(fact for part in parts for fact in part.gold)
    told = [fact.fact for fact in gold]
    starts = [sum(len(part.gold) for part in parts[:at]) for at in range(len(parts))]
    third_party = [fact for part in parts for fact in part.third_party]
    traps = [trap for part in parts for trap in part.traps]
    return replace(
        parts[0],
        id=name,
        set="cost",
        split="frozen",
        style="cost",
        user=name,
        turns=tuple(turn for part in parts for turn in part.turns),
        gold=gold,
        third_party=tuple(fact for fact in third_party if not any(is_third_party(fact, line) for line in told)),
        traps=tuple(trap for trap in traps if not any(springs(trap, line) for line in told)),
        stale=tuple(old for part in parts for old in part.stale),
        replaced=tuple(start + index for start, part in zip(starts, parts, strict=True) for index in part.replaced),
        hidden=False,
        chains_on=None,
    )


def _with_memory(case: WriteCase, parts: Sequence[WriteCase], pool: Sequence[WriteCase], chars: int) -> WriteCase:
    needed = [line for part in parts for line in part.memory_before]
    others = [chat for chat in pool if chat not in parts]
    spare = [line for chat in others for line in (*chat.memory_before, *(fact.fact for fact in chat.gold))]
    lines: list[str] = []
    size = 0
    for line in dict.fromkeys([*needed, *sorted(spare, key=_chance)]):
        size_after = size + len(line) + LINE_CHARS
        if size_after <= chars and (line in needed or not any(recalled(fact, [line]) for fact in case.gold)):
            lines.append(line)
            size = size_after
    return replace(case, memory_before=tuple(lines))
