"""Choosing the tokens of one answer from logits: sampling, constraint, end, stop texts, and what may be shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgemem.engines.base import Constraint
from edgemem.engines.drafting import Drafts
from edgemem.engines.sampling import candidates
from edgemem.engines.text import TextStream
from edgemem.values import Sampling, Stats

Logits = NDArray[np.float32]
StopReason = Literal["eos", "stop", "length", "constraint", "cancelled", ""]


class Pieces(Protocol):
    """What a vocabulary says about a token: its bytes, and whether it ends an answer."""

    def piece(self, token: int) -> bytes: ...

    def is_end(self, token: int) -> bool: ...


class Writing:
    """What one generation has written: chooses its tokens, tells when it ends, and what may be shown."""

    def __init__(
        self, pieces: Pieces, most: int, sampling: Sampling, stop: Sequence[str], constraint: Constraint | None
    ) -> None:
        self._pieces, self.most, self._sampling, self._constraint = pieces, most, sampling, constraint
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
        token = self._pick(logits())
        self.first_at = self.first_at or time.perf_counter()
        if token is None:
            self.end("constraint")
        elif self._pieces.is_end(token):
            self.end("eos")
        else:
            self.output.append(token)
            self.fresh = self.stream.push(self._pieces.piece(token))
            if self.stream.stopped:
                self.end("stop")
        return None if self.reason else token

    def _pick(self, logits: Logits) -> int | None:
        """Sample a token; with a constraint, check that one and only resample on failure. None: nothing fits."""
        tried = candidates(logits, self._sampling, self._random, self.output)
        if self._constraint is None:
            return next(tried)
        text = self.stream.text
        for token in tried:
            if self._pieces.is_end(token):
                if self._constraint.complete(text):
                    return token
            else:
                piece = self._pieces.piece(token)
                if piece and self._constraint.allows(text + self.stream.peek(piece)):
                    return token
        return None

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
