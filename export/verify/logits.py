"""Rows of logits of the same ids from two models, compared. The reference's rows lie on disk, not in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemem.engines.base import Engine
from edgemem.engines.llama import LlamaEngine
from edgemem.errors import EngineFailed
from edgemem.values import Message

from ..own_texts import held_out_texts, skill_chats
from .values import Closeness

Rows = NDArray[np.float32]
TEXT_TOKENS = 192
"""Of each text; later tokens say little more about a quantization."""
MOST_POSITIONS = 768
"""Rows of 152,000 logits: 467 MB on disk."""
GREEDY_TOKENS = 64


def held_out_ids(engine: Engine) -> list[list[int]]:
    """Ids of the held-out texts and of the skill's chats, as the model sees them."""
    texts = [engine.tokenize(text) for text in held_out_texts()]
    for chat in skill_chats():
        texts.append(engine.render([Message(role, text) for role, text in chat.turns]))
    chosen: list[list[int]] = []
    left = MOST_POSITIONS
    for ids in texts:
        part = ids[: min(TEXT_TOKENS, left)]
        if len(part) > 1:
            chosen.append(part)
            left -= len(part)
    return chosen


def greedy_prompt(engine: Engine) -> list[int]:
    """What greedy answers are compared on."""
    return engine.render([Message("user", skill_chats()[0].turns[0][1])])


def greedy(engine: Engine, prompt: Sequence[int], most: int = GREEDY_TOKENS) -> list[int]:
    """The ids that the model answers, without the end token."""
    session = engine.open()
    try:
        session.feed(prompt)
        for _ in session.generate(most):
            pass
        return list(session.ids[len(prompt) :])
    finally:
        session.close()


def all_rows(engine: Engine, ids: Sequence[int]) -> Iterator[Rows]:
    """The logits after each of `ids`. Engines compute them all at once (`rows_after`), whatever they do in a chat."""
    rows: Any = getattr(engine, "rows_after", None)
    if rows is not None:
        yield from rows(ids)
        return
    if not isinstance(engine, LlamaEngine):
        raise EngineFailed(f"the engine {engine.info.engine} shows no logits")
    session = engine.open()
    try:
        yield from engine.binding.decode(session.rows(ids, all_wanted=True))
    finally:
        session.close()


def write_rows(path: Path, texts: Sequence[Sequence[int]], rows: Iterable[Rows]) -> None:
    """Rows of all positions as one .npy file."""
    stored: Any = None
    for index, row in enumerate(rows):
        if stored is None:
            shape = (sum(map(len, texts)), len(row))
            stored = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        stored[index] = row
    if stored is not None:
        stored.flush()


def compare(texts: Sequence[Sequence[int]], rows: Iterable[Rows], reference: Path) -> Closeness:
    """How close `rows` are to those in `reference`, in the order of all ids of `texts`."""
    stored = np.load(reference, mmap_mode="r")
    following = [number for ids in texts for number in (*ids[1:], -1)]
    kl, top1, difference, largest, own, others = 0.0, 0, 0.0, 0.0, [], []
    count = 0
    for row, theirs, token in zip(rows, stored, following, strict=True):
        theirs = theirs[: len(row)]
        mine, log_reference = log_softmax(row), log_softmax(theirs)
        kl += float(np.sum(np.exp(log_reference) * (log_reference - mine)))
        top1 += int(np.argmax(row) == np.argmax(theirs))
        difference = max(difference, float(np.max(np.abs(row - theirs))))
        largest = max(largest, float(np.max(np.abs(theirs))))
        count += 1
        if token >= 0:
            own.append(mine[token])
            others.append(log_reference[token])
    return Closeness(
        positions=count,
        kl=kl / count,
        top1=top1 / count,
        max_difference=difference,
        perplexity=float(np.exp(-np.mean(own))),
        reference_perplexity=float(np.exp(-np.mean(others))),
        largest_logit=largest,
    )


def log_softmax(row: Rows) -> NDArray[np.float64]:
    """Log-probabilities of a row of logits."""
    values = row.astype(np.float64)
    values -= values.max()
    return np.asarray(values - np.log(np.exp(values).sum()))
