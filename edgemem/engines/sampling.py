"""Choosing the next token from a row of logits, with numpy. Deterministic at temperature 0 and with a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgemem.errors import EngineFailed
from edgemem.values import Sampling

Row = NDArray[np.float32]

MAX_RESAMPLES = 512  # a constraint that rejects more than this many likely tokens gets no answer
PENALTY_WINDOW = 64  # tokens the repeat penalty looks back, as in llama.cpp's default


def candidates(
    logits: Row, sampling: Sampling, random: np.random.Generator, recent: Sequence[int] = ()
) -> Iterator[int]:
    """Tokens to try, best (or drawn) first. The first one is the sample; the next ones are what a constraint
    falls back to, so that an accepted first token costs nothing extra.

    Raises EngineFailed when the row holds NaN, which a broken model file produces.
    """
    best = int(np.argmax(logits))
    if not np.isfinite(logits[best]):
        raise EngineFailed("the model computed an invalid number", "check the file: edgemem model info")
    if sampling.repeat_penalty != 1.0 and recent:
        logits = _penalised(logits, sampling.repeat_penalty, recent)
        best = int(np.argmax(logits))
    if sampling.temperature <= 0:
        yield best
        order = _descending(logits, MAX_RESAMPLES)
        yield from (int(token) for token in order if token != best)
        return
    tokens, weights = _filtered(logits, sampling)
    while len(tokens):
        at = int(random.choice(len(tokens), p=weights / weights.sum()))
        yield int(tokens[at])
        tokens, weights = np.delete(tokens, at), np.delete(weights, at)
    yield from (int(token) for token in _descending(logits, MAX_RESAMPLES))


def log_probabilities(logits: Row) -> NDArray[np.float64]:
    """Natural log-softmax of one row, in float64."""
    row = logits.astype(np.float64)
    row -= row.max()
    return np.asarray(row - np.log(np.exp(row).sum()))


def _penalised(logits: Row, penalty: float, recent: Sequence[int]) -> Row:
    row = logits.copy()
    seen = np.unique(np.asarray(recent[-PENALTY_WINDOW:], dtype=np.int64))
    row[seen] = np.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
    return row


def _descending(logits: Row, count: int) -> NDArray[np.int64]:
    count = min(count, len(logits))
    top = np.argpartition(logits, -count)[-count:]
    return np.asarray(top[np.argsort(-logits[top], kind="stable")])


def _filtered(logits: Row, sampling: Sampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    keep = sampling.top_k or MAX_RESAMPLES  # beyond 512 candidates the tail has no weight worth a sort
    tokens = _descending(logits, keep)
    scaled = logits[tokens].astype(np.float64) / sampling.temperature
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    inside = np.cumsum(weights) - weights < sampling.top_p
    inside &= weights >= sampling.min_p * weights[0]
    inside[0] = True
    return tokens[inside], weights[inside]
