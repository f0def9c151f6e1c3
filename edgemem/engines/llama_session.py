"""One sequence of the `llama` engine's shared KV cache: feeding, generating, scoring, saving."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.engines.base import Constraint, Drafter, Ids, SealedFile
from edgemem.engines.drafting import Drafts, may_draft
from edgemem.engines.feeding import check_room, feed
from edgemem.engines.llama_binding import Row
from edgemem.engines.sampling import log_probabilities
from edgemem.engines.snapshot import read_snapshot, write_snapshot
from edgemem.engines.writing import Logits, Writing
from edgemem.errors import ContextExceeded, EngineFailed
from edgemem.values import GREEDY, Piece, Sampling, Stats

if TYPE_CHECKING:
    from edgemem.engines.llama import LlamaEngine

SCORED_ROWS = 64  # rows of logits that are held at once while options are scored: 40 MB with a vocabulary of 150,000


class LlamaSession:
    """One sequence of the shared cache."""

    def __init__(self, engine: LlamaEngine, sequence: int) -> None:
        self._engine = engine
        self._sequence = sequence
        self._ids: list[int] = []
        self._logits: Logits | None = None
        self._prefill = Stats()
        self._closed = False

    @property
    def ids(self) -> Ids:
        return tuple(self._ids)

    @property
    def logits(self) -> Logits:
        """Logits after the last id; computed again when they were not kept."""
        if self._logits is None:
            self.replay()
        assert self._logits is not None
        return self._logits

    def feed(self, ids: Sequence[int], cancelled: Callable[[], bool] | None = None) -> Stats:
        binding = self._engine.binding
        check_room(len(ids), binding.context_tokens)
        step = binding.options.batch_tokens
        self._prefill = feed(
            self._ids, ids, batch_tokens=step, cut=self._cut, compute=self._compute, cancelled=cancelled
        )
        return self._prefill

    def generate(
        self,
        max_tokens: int,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        drafter: Drafter | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Piece]:
        """See `Session.generate`. A drafter is used for greedy decoding without a constraint."""
        started = time.perf_counter()
        prefill, self._prefill = self._prefill, Stats(len(self._ids), len(self._ids))
        most = min(max_tokens, self._engine.binding.context_tokens - len(self._ids))
        writing = Writing(self._engine.binding, most, sampling, stop, constraint)
        if drafter is not None and may_draft(sampling, constraint):
            writing.drafts = Drafts(drafter, self._engine.binding.options.batch_costs)
        ahead: deque[Logits] = deque()  # rows that have been computed on the guess that their token comes
        try:
            while not writing.reason:
                if cancelled is not None and cancelled():
                    writing.end("cancelled")
                elif (token := writing.step(lambda: self.logits)) is not None:
                    self._advance(token, writing, ahead)
                if writing.fresh:
                    yield Piece(writing.fresh)
                    writing.fresh = ""
        finally:
            self._drop(ahead)
        stats = writing.stats(prefill.prompt_tokens, prefill.cached_tokens, started - prefill.first_token_s)
        yield Piece(writing.stream.finish(), stats)

    def _advance(self, token: int, writing: Writing, ahead: deque[Logits]) -> None:
        """Append a token that was chosen: its row is there already, or is computed together with new guesses."""
        if writing.drafts.came(token):
            self.take([token], ahead.popleft())
            return
        self._drop(ahead)
        room = writing.most - len(writing.output)
        guess = writing.drafts.guess([*self._ids, token], room) if writing.drafts.on else []
        rows = self.rows([token, *guess], all_wanted=True)
        try:
            with self._engine.lock:
                logits = self._engine.binding.decode(rows)
        except ContextExceeded:  # other sequences hold the cells that the guesses would need
            if not guess:
                raise
            with self._engine.lock:
                self._engine.binding.trim(self._sequence, len(self._ids))
                logits = self._engine.binding.decode(rows[:1])
        self.take([token], logits[0])
        ahead.extend(logits[1:])

    def _drop(self, ahead: deque[Logits]) -> None:
        """Drop what was computed on guesses that did not come."""
        if ahead:
            ahead.clear()
            with self._engine.lock:
                self._engine.binding.trim(self._sequence, len(self._ids))

    def score(self, options: Sequence[Sequence[int]]) -> list[float]:
        first = log_probabilities(self.logits)
        found = [float(first[option[0]]) if option else 0.0 for option in options]
        longer = [at for at, option in enumerate(options) if len(option) > 1]
        while longer:
            wave = self._wave(longer, options)
            for at, value in zip(wave, self._score_rest([options[at] for at in wave]), strict=True):
                found[at] += value
            longer = longer[len(wave) :]
        return found

    def _wave(self, longer: list[int], options: Sequence[Sequence[int]]) -> list[int]:
        """The next options that are read as one batch: one, or as many as have a sequence and a row each."""
        rows = 0
        wave = longer[: max(1, self._engine.free_sequences)]
        for number, at in enumerate(wave):
            rows += len(options[at])
            if number and rows > SCORED_ROWS:
                return wave[:number]
        return wave

    def _score_rest(self, options: Sequence[Sequence[int]]) -> list[float]:
        """Log-probability of what follows the first token of each option; all are one batch."""
        self.check_room(sum(len(option) - 1 for option in options))
        forks = [self.fork() for _ in options[1:]]
        start = len(self._ids)
        try:
            rows = [
                Row(token, start + index, session._sequence, wanted=True)
                for session, option in zip((self, *forks), options, strict=True)
                for index, token in enumerate(option[:-1])
            ]
            with self._engine.lock:
                try:
                    logits = iter(self._engine.binding.decode(rows))
                finally:
                    self._engine.binding.trim(self._sequence, start)
        finally:
            for fork in forks:
                fork.close()
        return [sum(float(log_probabilities(next(logits))[token]) for token in option[1:]) for option in options]

    def fork(self) -> LlamaSession:
        other = LlamaSession(self._engine, self._engine.take_sequence())
        with self._engine.lock:
            self._engine.binding.copy(self._sequence, other._sequence)
        other._ids = list(self._ids)
        other._logits = self._logits
        other._prefill = Stats(len(self._ids), len(self._ids))
        return other

    def save(self, path: Path | SealedFile) -> None:
        with self._engine.lock:
            state = self._engine.binding.state(self._sequence)
        write_snapshot(path, self._fingerprint(), self._ids, state)

    def load(self, path: Path | SealedFile) -> bool:
        found = read_snapshot(path, self._fingerprint())
        if found is None:
            return False
        ids, state = found
        with self._engine.lock:
            # Into a sequence of its own first, so that a refusal leaves this one as it was.
            trial = self._engine.take_sequence()
            if not self._engine.binding.restore(trial, state):
                self._engine.give_sequence(trial)
                return False
            self._engine.give_sequence(self._sequence)
            self._sequence = trial
            self._ids, self._logits = ids, None
        return True

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._engine.give_sequence(self._sequence)

    # --- used by the engine's batches

    def rows(self, tokens: Sequence[int], *, all_wanted: bool = False) -> list[Row]:
        """Rows that append `tokens`; only the last one's logits are wanted, unless all are."""
        positions = zip(count(len(self._ids)), tokens, strict=False)
        last = len(self._ids) + len(tokens) - 1
        return [Row(token, at, self._sequence, wanted=all_wanted or at == last) for at, token in positions]

    def take(self, tokens: Sequence[int], logits: Logits) -> None:
        """Note that `tokens` have been decoded."""
        self._ids += tokens
        self._logits = logits

    def check_room(self, tokens: int) -> None:
        """Raises ContextExceeded when so many more tokens do not fit."""
        check_room(len(self._ids) + tokens, self._engine.binding.context_tokens)

    def replay(self) -> None:
        """Compute the logits after the last id again (one token), when they were not kept."""
        if self._logits is not None:
            return
        if not self._ids:
            raise EngineFailed("nothing has been fed to this session")
        last = self._ids[-1]
        with self._engine.lock:
            self._cut(len(self._ids) - 1)
            self._compute([last])

    def _compute(self, tokens: Sequence[int]) -> None:
        """Append `tokens` as one batch; between two of them another session's turn may come."""
        with self._engine.lock:
            (logits,) = self._engine.binding.decode(self.rows(tokens))
            self.take(tokens, logits)

    def _cut(self, length: int) -> None:
        if length < len(self._ids):
            with self._engine.lock:
                self._engine.binding.trim(self._sequence, length)
                del self._ids[length:]
                self._logits = None

    def _fingerprint(self) -> dict[str, str]:
        info = self._engine.info
        return {
            "digest": info.digest,
            "template": info.template_digest,
            "context": str(info.context_tokens),
            "kv_type": self._engine.binding.options.kv_type,
            "flash_attention": info.details["flash_attention"],  # it lays out the values the other way round
            "version": info.version,
        }
