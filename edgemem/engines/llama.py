"""The `llama` engine: GGUF models through llama.cpp with our own decode loop.

Sessions are sequences of one shared KV cache: feeding computes only what follows the longest common prefix,
forks share cells, and several branches are decoded as one batch. Only the logits rows that are needed are read.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgemem.engines.base import Branch, Constraint, Drafter, EngineInfo, Generation, Ids, Question
from edgemem.engines.drafting import Drafts, may_draft
from edgemem.engines.llama_binding import VERSION, Binding, LoadOptions, Row, system_info
from edgemem.engines.sampling import candidates, log_probabilities
from edgemem.engines.snapshot import read_snapshot, write_snapshot
from edgemem.engines.template import ChatTemplate
from edgemem.engines.text import TextStream
from edgemem.errors import Cancelled, ContextExceeded, EngineFailed, ModelUnsupported
from edgemem.values import GREEDY, Message, Piece, Sampling, Stats

Logits = NDArray[np.float32]
CANCELLABLE_TOKENS = 128  # about 1-2 s of prefill of a 1.5B on two cores: what a reply may have to wait
StopReason = Literal["eos", "stop", "length", "constraint", "cancelled", ""]


class LlamaEngine:
    """A loaded GGUF model. Safe to use from several threads: they take turns, token by token."""

    def __init__(self, path: Path, options: LoadOptions, *, digest: str = "") -> None:
        self.binding = Binding(path, options)
        self.lock = threading.RLock()
        self._free = list(range(self.binding.options.sequences - 1, -1, -1))
        source = self.binding.metadata("tokenizer.chat_template")
        if not source:
            self.binding.close()
            raise ModelUnsupported(f"{path.name} has no chat template", "use an instruct model: edgemem model list")
        special = self.binding.special_text
        self.template = ChatTemplate(source, bos=special("bos"), eos=special("eos"))
        self.template.start()
        self._info = EngineInfo(
            engine="llama",
            model=path.name,
            digest=digest,
            context_tokens=self.binding.context_tokens,
            device=self.binding.device,
            threads=options.threads,
            template_digest=self.template.digest,
            version=VERSION,
            details={
                "system_info": system_info(),
                "kv_type": options.kv_type,
                "kv_bytes_per_token": str(self.binding.kv_bytes_per_token),
            },
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def close(self) -> None:
        with self.lock:
            self.template.close()
            self.binding.close()

    # --- text and tokens

    def tokenize(self, text: str) -> list[int]:
        return self.binding.tokenize(text, special=False)

    def detokenize(self, ids: Sequence[int]) -> str:
        return b"".join(self.binding.piece(token) for token in ids).decode("utf-8", "replace")

    def count(self, text: str) -> int:
        return len(self.tokenize(text))

    def render(self, messages: Sequence[Message], *, think: bool = False) -> list[int]:
        shown, plain = self._shield(messages)
        ids = self._assemble(self.template.render(shown, think=think), plain)
        bos = self.binding.bos()
        return ids if not bos or ids[: len(bos)] == bos else bos + ids

    def render_next(self, message: Message, *, think: bool = False) -> list[int]:
        (shown,), plain = self._shield([message])
        mark = _mark(len(plain) + 1)
        text = self.template.render([Message("user", "-"), Message("assistant", mark), shown], think=think)
        _, found, after = text.partition(mark)
        if not found:
            raise ModelUnsupported("the model's chat template drops the assistant's answers")
        return self._assemble(after, plain)

    def _shield(self, messages: Sequence[Message]) -> tuple[list[Message], dict[str, str]]:
        """Contents that spell control tokens go through the template as a mark, and are tokenized as plain text."""
        shown: list[Message] = []
        plain: dict[str, str] = {}
        for message in messages:
            text = message.content
            if self.binding.tokenize(text, special=True) != self.binding.tokenize(text, special=False):
                mark = _mark(len(plain))
                plain[mark] = text
                message = Message(message.role, mark)
            shown.append(message)
        return shown, plain

    def _assemble(self, text: str, plain: dict[str, str]) -> list[int]:
        ids: list[int] = []
        for mark, content in plain.items():
            before, _, text = text.partition(mark)
            ids += self.binding.tokenize(before, special=True)
            ids += self.binding.tokenize(content, special=False)
        return ids + self.binding.tokenize(text, special=True)

    # --- sequences

    def open(self) -> LlamaSession:
        return LlamaSession(self, self.take_sequence())

    def take_sequence(self) -> int:
        with self.lock:
            if not self._free:
                raise EngineFailed(
                    f"more than {self.binding.options.sequences} sequences are open at once", "close a chat first"
                )
            return self._free.pop()

    def give_sequence(self, sequence: int) -> None:
        with self.lock:
            self.binding.trim(sequence, 0)
            self._free.append(sequence)

    @property
    def free_sequences(self) -> int:
        return len(self._free)

    # --- batches of branches

    def generate_many(
        self, branches: Sequence[Branch], cancelled: Callable[[], bool] | None = None
    ) -> list[Generation]:
        done: list[Generation] = []
        while len(done) < len(branches):
            wave = branches[len(done) : len(done) + max(1, self.free_sequences)]
            done += self._generate_wave(wave, cancelled)
        return done

    def _generate_wave(self, wave: Sequence[Branch], cancelled: Callable[[], bool] | None) -> list[Generation]:
        started = time.perf_counter()
        running = [_Running.start(self, branch) for branch in wave]
        try:
            self._advance_sessions(
                [run.session for run in running], [list(branch.suffix) for branch in wave], cancelled
            )
            while active := [run for run in running if not run.writing.reason]:
                if cancelled is not None and cancelled():
                    raise Cancelled("stopped while writing")
                tokens = [run.step() for run in active]
                going = [(run, token) for run, token in zip(active, tokens, strict=True) if token is not None]
                if going:
                    self._advance_sessions([run.session for run, _ in going], [[token] for _, token in going])
        except Cancelled:
            for run in running:
                run.writing.reason = run.writing.reason or "cancelled"
        finally:
            for run in running:
                run.session.close()
        return [run.result(started) for run in running]

    def score_many(self, questions: Sequence[Question]) -> list[list[float]]:
        answers: list[list[float]] = []
        for question in questions:
            if not question.suffix and not question.session.ids:
                raise EngineFailed("nothing to score after: session and suffix are both empty")
        while len(answers) < len(questions):
            wave = questions[len(answers) : len(answers) + max(1, self.free_sequences // 2)]
            forks = [_own(question.session).fork() for question in wave]
            try:
                self._advance_sessions(forks, [list(question.suffix) for question in wave])
                answers += [fork.score(question.options) for fork, question in zip(forks, wave, strict=True)]
            finally:
                for fork in forks:
                    fork.close()
        return answers

    def _advance_sessions(
        self,
        sessions: Sequence[LlamaSession],
        tokens: Sequence[Sequence[int]],
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Decode new tokens of several sequences as one batch; each session keeps its last row of logits."""
        rows: list[Row] = []
        for session, new in zip(sessions, tokens, strict=True):
            session.check_room(len(new))
            rows += session.rows(new)
        with self.lock:
            logits = iter(self.binding.decode(rows, cancelled))
        for session, new in zip(sessions, tokens, strict=True):
            if new:
                session.take(new, next(logits))
            else:
                session.replay()


class _Writing:
    """What one generation has written: chooses its tokens, tells when it ends, and what may be shown."""

    def __init__(
        self, engine: LlamaEngine, most: int, sampling: Sampling, stop: Sequence[str], constraint: Constraint | None
    ) -> None:
        self._engine, self.most, self._sampling, self._constraint = engine, most, sampling, constraint
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
        token = pick(self._engine, logits(), self._sampling, self._random, self.output, self.stream, self._constraint)
        self.first_at = self.first_at or time.perf_counter()
        if token is None:
            self.end("constraint")
        elif self._engine.binding.is_end(token):
            self.end("eos")
        else:
            self.output.append(token)
            self.fresh = self.stream.push(self._engine.binding.piece(token))
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


@dataclass(slots=True)
class _Running:
    """One branch while it is being decoded."""

    branch: Branch
    session: LlamaSession
    writing: _Writing

    @classmethod
    def start(cls, engine: LlamaEngine, branch: Branch) -> _Running:
        writing = _Writing(engine, branch.max_tokens, branch.sampling, branch.stop, branch.constraint)
        return cls(branch, _own(branch.session).fork(), writing)

    def step(self) -> int | None:
        return self.writing.step(lambda: self.session.logits)

    def result(self, started: float) -> Generation:
        self.writing.stream.finish()
        cached = len(self.branch.session.ids)
        stats = self.writing.stats(cached + len(self.branch.suffix), cached, started)
        return Generation(self.writing.stream.text, stats)


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
        started = time.perf_counter()
        if len(ids) > self._engine.binding.context_tokens:
            raise ContextExceeded(
                f"the prompt has {len(ids)} tokens, the model's context {self._engine.binding.context_tokens}",
                "shorten the message, or use a larger context: --context N",
            )
        shared = _common_prefix(self._ids, ids)
        with self._engine.lock:
            self._cut(shared)
        step = self._engine.binding.options.batch_tokens if cancelled is None else CANCELLABLE_TOKENS
        for start in range(shared, len(ids), step):
            if cancelled is not None and cancelled():
                raise Cancelled("stopped while reading the prompt")
            part = ids[start : start + step]
            with self._engine.lock:  # per batch, so that another session's turn comes in between
                (logits,) = self._engine.binding.decode(self.rows(part))
                self.take(part, logits)
        self._prefill = Stats(prompt_tokens=len(ids), cached_tokens=shared, first_token_s=time.perf_counter() - started)
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
        writing = _Writing(self._engine, most, sampling, stop, constraint)
        if drafter is not None and may_draft(sampling, constraint):
            writing.drafts = Drafts(drafter)
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

    def _advance(self, token: int, writing: _Writing, ahead: deque[Logits]) -> None:
        """Append a token that was chosen: its row is there already, or is computed together with new guesses."""
        if writing.drafts.came(token):
            self.take([token], ahead.popleft())
            return
        self._drop(ahead)
        guess = writing.drafts.guess([*self._ids, token], writing.most - len(writing.output))
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
        return [self._score_one(list(option), first) for option in options]

    def _score_one(self, option: list[int], first: NDArray[np.float64]) -> float:
        if not option:
            return 0.0
        total = float(first[option[0]])
        if len(option) == 1:
            return total
        self.check_room(len(option) - 1)
        start = len(self._ids)
        rows = [Row(token, start + index, self._sequence, wanted=True) for index, token in enumerate(option[:-1])]
        with self._engine.lock:
            try:
                logits = self._engine.binding.decode(rows)
            finally:
                self._engine.binding.trim(self._sequence, start)
        return total + sum(float(log_probabilities(row)[token]) for row, token in zip(logits, option[1:], strict=True))

    def fork(self) -> LlamaSession:
        other = LlamaSession(self._engine, self._engine.take_sequence())
        with self._engine.lock:
            self._engine.binding.copy(self._sequence, other._sequence)
        other._ids = list(self._ids)
        other._logits = self._logits
        other._prefill = Stats(len(self._ids), len(self._ids))
        return other

    def save(self, path: Path) -> None:
        with self._engine.lock:
            state = self._engine.binding.state(self._sequence)
        write_snapshot(path, self._fingerprint(), self._ids, state)

    def load(self, path: Path) -> bool:
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
        room = self._engine.binding.context_tokens
        if len(self._ids) + tokens > room:
            raise ContextExceeded(
                f"{len(self._ids) + tokens} tokens do not fit the model's context of {room}",
                "use a larger one: --context N",
            )

    def replay(self) -> None:
        """Compute the logits after the last id again (one token), when they were not kept."""
        if self._logits is not None:
            return
        if not self._ids:
            raise EngineFailed("nothing has been fed to this session")
        last = self._ids[-1]
        with self._engine.lock:
            self._cut(len(self._ids) - 1)
            (logits,) = self._engine.binding.decode(self.rows([last]))
            self.take([last], logits)

    def _cut(self, length: int) -> None:
        if length < len(self._ids):
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
            "version": info.version,
        }


def pick(
    engine: LlamaEngine,
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
        if engine.binding.is_end(token):
            if constraint.complete(text):
                return token
        else:
            piece = engine.binding.piece(token)
            if piece and constraint.allows(text + stream.peek(piece)):
                return token
    return None


def _own(session: object) -> LlamaSession:
    if not isinstance(session, LlamaSession):
        raise EngineFailed("a session of another engine was given to this one")
    return session


def _common_prefix(held: Sequence[int], wanted: Sequence[int]) -> int:
    for index, (one, other) in enumerate(zip(held, wanted, strict=False)):
        if one != other:
            return index
    return min(len(held), len(wanted))


def _mark(number: int) -> str:
    return f"\ue000edgemem-{number}\ue001"  # private-use characters: no tokenizer or template gives them a meaning
