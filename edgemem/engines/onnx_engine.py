"""The `onnx` engine: model folders of `edgemem export onnx` through onnxruntime, with our own decode loop.

Each session has a cache of its own, computed into in place; a fork copies what is in use. Branches of a batch are
decoded one after the other (the graph's attention takes one sequence where a prompt follows a past).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from edgemem.engines.base import Branch, Constraint, Drafter, EngineInfo, Generation, Ids, Question, SealedFile
from edgemem.engines.feeding import check_room, feed
from edgemem.engines.onnx_binding import VERSION, Cache, Logits, OnnxBinding
from edgemem.engines.onnx_tokenizer import OnnxTokenizer
from edgemem.engines.rendering import TextsAsIds
from edgemem.engines.sampling import log_probabilities
from edgemem.engines.snapshot import read_snapshot, write_snapshot
from edgemem.engines.template import ChatTemplate
from edgemem.engines.writing import Writing
from edgemem.errors import Cancelled, EngineFailed
from edgemem.values import GREEDY, Piece, Sampling, Stats

BATCH_TOKENS = 512


class OnnxEngine(TextsAsIds):
    """A loaded ONNX folder. Safe to use from several threads: they take turns, batch by batch."""

    def __init__(
        self, path: Path, *, context_tokens: int, threads: int, device: str = "auto", digest: str = ""
    ) -> None:
        self.tokens = OnnxTokenizer(path.parent)
        source = self.tokens.template(path.parent)
        self.binding = OnnxBinding(path, context_tokens=context_tokens, threads=threads, device=device)
        self.lock = threading.RLock()
        self.template = ChatTemplate(source, bos=self.tokens.special_text("bos"), eos=self.tokens.special_text("eos"))
        self.template.start()
        self._info = EngineInfo(
            engine="onnx",
            model=f"{path.parent.name}/{path.name}",
            digest=digest,
            context_tokens=self.binding.context_tokens,
            device=self.binding.provider.removesuffix("ExecutionProvider").lower(),
            threads=threads,
            template_digest=self.template.digest,
            version=VERSION,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def close(self) -> None:
        with self.lock:
            self.template.close()

    def open(self) -> OnnxSession:
        return OnnxSession(self, Cache(self.binding))

    def generate_many(
        self, branches: Sequence[Branch], cancelled: Callable[[], bool] | None = None
    ) -> list[Generation]:
        return [self._generate(branch, cancelled) for branch in branches]

    def _generate(self, branch: Branch, cancelled: Callable[[], bool] | None) -> Generation:
        """One branch on a fork; cancelled while its suffix is read, it has written nothing."""
        started = time.perf_counter()
        fork = _own(branch.session).fork()
        held = len(fork.ids)
        writing = Writing(self.tokens, branch.max_tokens, branch.sampling, branch.stop, branch.constraint)
        try:
            fork.feed([*fork.ids, *branch.suffix], cancelled)
            fork.write(writing, cancelled)
        except Cancelled:
            writing.end("cancelled")
        finally:
            fork.close()
        writing.stream.finish()
        return Generation(writing.stream.text, writing.stats(held + len(branch.suffix), held, started))

    def score_many(self, questions: Sequence[Question]) -> list[list[float]]:
        answers = []
        for question in questions:
            fork = _own(question.session).fork()
            try:
                if question.suffix:
                    fork.feed([*fork.ids, *question.suffix])
                answers.append(fork.score(question.options))
            finally:
                fork.close()
        return answers

    def rows_after(self, ids: Sequence[int]) -> Iterator[Logits]:
        """The logits after each of `ids` (for checks; a graph may give the last row only, so one by one)."""
        cache = Cache(self.binding)
        for token in ids:
            with self.lock:
                yield self.binding.run(cache, [token])[-1]


class OnnxSession:
    """One sequence with its own cache."""

    def __init__(self, engine: OnnxEngine, cache: Cache) -> None:
        self._engine, self._cache = engine, cache
        self._ids: list[int] = []
        self._logits: Logits | None = None
        self._prefill = Stats()

    @property
    def ids(self) -> Ids:
        return tuple(self._ids)

    def feed(self, ids: Sequence[int], cancelled: Callable[[], bool] | None = None) -> Stats:
        self._check_room(len(ids))
        self._prefill = feed(
            self._ids, ids, batch_tokens=BATCH_TOKENS, cut=self._cut, compute=self._compute, cancelled=cancelled
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
        """See `Session.generate`. Guesses of a drafter are not used: they need the rows of several tokens."""
        started = time.perf_counter()
        prefill, self._prefill = self._prefill, Stats(len(self._ids), len(self._ids))
        most = min(max_tokens, self._engine.info.context_tokens - len(self._ids))
        writing = Writing(self._engine.tokens, most, sampling, stop, constraint)
        while not writing.reason:
            self._step(writing, cancelled)
            if writing.fresh:
                yield Piece(writing.fresh)
                writing.fresh = ""
        stats = writing.stats(prefill.prompt_tokens, prefill.cached_tokens, started - prefill.first_token_s)
        yield Piece(writing.stream.finish(), stats)

    def write(self, writing: Writing, cancelled: Callable[[], bool] | None = None) -> None:
        """Run a generation to its end."""
        writing.most = min(writing.most, self._engine.info.context_tokens - len(self._ids))
        while not writing.reason:
            self._step(writing, cancelled)

    def _step(self, writing: Writing, cancelled: Callable[[], bool] | None) -> None:
        if cancelled is not None and cancelled():
            writing.end("cancelled")
        elif (token := writing.step(self._last_logits)) is not None:
            self._compute([token])

    def score(self, options: Sequence[Sequence[int]]) -> list[float]:
        return [self._score(list(option)) for option in options]

    def _score(self, option: Sequence[int]) -> float:
        if not option:
            return 0.0
        self._check_room(len(self._ids) + len(option) - 1)
        logits, held = self._last_logits(), len(self._ids)
        total = float(log_probabilities(logits)[option[0]])
        try:
            for token, following in pairwise(option):
                self._compute([token])
                total += float(log_probabilities(self._last_logits())[following])
        finally:
            self._cut(held)
            self._logits = logits
        return total

    def fork(self) -> OnnxSession:
        with self._engine.lock:
            other = OnnxSession(self._engine, self._cache.copy())
        other._ids = list(self._ids)
        other._logits = self._logits
        other._prefill = Stats(len(self._ids), len(self._ids))
        return other

    def save(self, path: Path | SealedFile) -> None:
        write_snapshot(path, self._fingerprint(), self._ids, self._cache.state())

    def load(self, path: Path | SealedFile) -> bool:
        found = read_snapshot(path, self._fingerprint())
        if found is None or len(found[0]) > self._engine.info.context_tokens:
            return False
        ids, state = found
        cache = Cache(self._engine.binding)
        if not cache.restore(state, len(ids)):
            return False
        self._cache, self._ids, self._logits = cache, ids, None
        return True

    def close(self) -> None:
        self._cache = Cache(self._engine.binding)
        self._ids, self._logits = [], None

    def _last_logits(self) -> Logits:
        """Logits after the last id; computed again (one token) when they were not kept."""
        if self._logits is None:
            if not self._ids:
                raise EngineFailed("nothing has been fed to this session")
            last = self._ids[-1]
            self._cut(len(self._ids) - 1)
            self._compute([last])
        assert self._logits is not None
        return self._logits

    def _compute(self, tokens: Sequence[int]) -> None:
        self._check_room(len(self._ids) + len(tokens))
        with self._engine.lock:
            self._logits = self._engine.binding.run(self._cache, tokens)[-1]
        self._ids += tokens

    def _cut(self, length: int) -> None:
        if length < len(self._ids):
            del self._ids[length:]
            self._cache.length = length
            self._logits = None

    def _check_room(self, tokens: int) -> None:
        check_room(tokens, self._engine.info.context_tokens)

    def _fingerprint(self) -> dict[str, str]:
        info = self._engine.info
        return {
            "digest": info.digest,
            "template": info.template_digest,
            "context": str(info.context_tokens),
            "engine": "onnx",
            "version": info.version,
        }


def _own(session: object) -> OnnxSession:
    if not isinstance(session, OnnxSession):
        raise EngineFailed("a session of another engine was given to this one")
    return session
