"""The `llama` engine: GGUF models through llama.cpp with our own decode loop.

Sessions are sequences of one shared KV cache: feeding computes only what follows the longest common prefix,
forks share cells, and several branches are decoded as one batch. Only the logits rows that are needed are read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgemem.engines.base import Branch, EngineInfo, Generation, Question
from edgemem.engines.llama_binding import VERSION, Binding, Row, system_info
from edgemem.engines.llama_session import LlamaSession
from edgemem.engines.rendering import TextsAsIds
from edgemem.engines.template import ChatTemplate
from edgemem.engines.writing import Writing
from edgemem.errors import Cancelled, EngineFailed, ModelUnsupported


class LlamaEngine(TextsAsIds):
    """A loaded GGUF model. Safe to use from several threads: they take turns, token by token."""

    def __init__(self, binding: Binding, *, digest: str = "") -> None:
        self.binding, options, path = binding, binding.options, binding.path
        self.tokens = binding
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
                "flash_attention": "on" if options.flash_attention else "off",
                "batch_tokens": str(options.batch_tokens),
            },
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def close(self) -> None:
        with self.lock:
            self.template.close()
            self.binding.close()

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


@dataclass(slots=True)
class _Running:
    """One branch while it is being decoded."""

    branch: Branch
    session: LlamaSession
    writing: Writing

    @classmethod
    def start(cls, engine: LlamaEngine, branch: Branch) -> _Running:
        writing = Writing(engine.binding, branch.max_tokens, branch.sampling, branch.stop, branch.constraint)
        return cls(branch, _own(branch.session).fork(), writing)

    def step(self) -> int | None:
        return self.writing.step(lambda: self.session.logits)

    def result(self, started: float) -> Generation:
        self.writing.stream.finish()
        cached = len(self.branch.session.ids)
        stats = self.writing.stats(cached + len(self.branch.suffix), cached, started)
        return Generation(self.writing.stream.text, stats)


def _own(session: object) -> LlamaSession:
    if not isinstance(session, LlamaSession):
        raise EngineFailed("a session of another engine was given to this one")
    return session
