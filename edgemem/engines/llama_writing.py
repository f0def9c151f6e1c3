"""Choosing the tokens of one answer from logits: sampling, constraint, end, stop texts, and what may be shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgemem.engines.base import Constraint
from edgemem.engines.drafting import Drafts
from edgemem.engines.llama_binding import Binding
from edgemem.engines.sampling import candidates
from edgemem.engines.text import TextStream
from edgemem.values import Sampling, Stats

Logits = NDArray[np.float32]
StopReason = Literal["eos", "stop", "length", "constraint", "cancelled", ""]


class Writing:
    """What one generation has written: chooses its tokens, tells when it ends, and what may be shown."""

    def __init__(
        self, binding: Binding, most: int, sampling: Sampling, stop: Sequence[str], constraint: Constraint | None
    ) -> None:
        self._binding, self.most, self._sampling, self._constraint = binding, most, sampling, constraint
        self._random = np.random.default_rng(sampling.seed)
        self.stream = TextStream(stop)
        self.output: list[int] = []
        self.fresh = ""  # text that the last step made certain
        self.drafts = Drafts(None)
        self.first_at = self.ended_at = 0.0
        self.reason: StopReason = ""

    def step(self, logits: Callable[[], Logits]) -> int | None:
        """Choose the next token; None when the generation has ended (`reason` says why)."""
        self.fresh = ""
        if len(self.output) >= self.most:
            self.end("length")
            return None
        token = pick(self._binding, logits(), self._sampling, self._random, self.output, self.stream, self._constraint)
        self.first_at = self.first_at or time.perf_counter()
        if token is None:
            self.end("constraint")
        elif self._binding.is_end(token):
            self.end("eos")
        else:
            self.output.append(token)
            self.fresh = self.stream.push(self._binding.piece(token))
            if self.stream.stopped:
                self.end("stop")
        return None if self.reason else token

    def end(self, reason: StopReason) -> None:
        self.reason = reason
        self.ended_at = time.perf_counter()

    def stats(self, prompt_tokens: int, cached_tokens: int, started: float) -> Stats:
        ended = self.ended_at or time.perf_counter()
        return Stats(
            prompt_tokens,
            cached_tokens,
            len(self.output),
            self.drafts.drafted,
            self.drafts.accepted,
            first_token_s=(self.first_at or ended) - started,
            total_s=ended - started,
            stop_reason=self.reason,
        )


def pick(
    binding: Binding,
    logits: Logits,
    sampling: Sampling,
    random: np.random.Generator,
    output: Sequence[int],
    stream: TextStream,
    constraint: Constraint | None,
) -> int | None:
    """Sample a token; with a constraint, check that one token and only resample on failure. None: nothing fits."""
    tried = candidates(logits, sampling, random, output)
    if constraint is None:
        return next(tried)
    text = stream.text
    for token in tried:
        if binding.is_end(token):
            if constraint.complete(text):
                return token
        else:
            piece = binding.piece(token)
            if piece and constraint.allows(text + stream.peek(piece)):
                return token
    return None
