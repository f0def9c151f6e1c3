"""The `scripted` engine: answers from a list or a function and records what it was asked. For wiring and tests.

It keeps the seam's promises (prefix reuse, forks, stop texts, constraints, drafts, snapshots) over word-like tokens, so
code that runs on it runs on a real model. It says nothing about quality or speed.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edgemem.engines.base import Branch, Constraint, Drafter, EngineInfo, Generation, Ids, Question, SealedFile
from edgemem.engines.drafting import Drafts, may_draft
from edgemem.engines.feeding import check_room, common_prefix
from edgemem.engines.snapshot import read_snapshot, write_snapshot
from edgemem.engines.text import TextStream
from edgemem.errors import Cancelled, EngineFailed, InvalidInput
from edgemem.values import GREEDY, Message, Piece, Sampling, Stats

_WORDS = re.compile(r"<\|[a-z]+\|>|\s*[^\s<]+|\s+|<")
_CONTROL = re.compile(r"<\|[a-z]+\|>")

Answers = Sequence[str] | Callable[[str], str]


class ScriptedEngine:
    """Answers in order from a list (the last one repeats), or from a function of the prompt's text.

    `prompts` holds the text of every prompt that was answered, `scored` that of every scored one. `scores` maps
    (prompt text, option text) to a log-probability; without it all options are equally likely.
    """

    def __init__(
        self,
        answers: Answers = ("ok",),
        *,
        context_tokens: int = 10_240,
        scores: Callable[[str, str], float] | None = None,
        name: str = "scripted",
    ) -> None:
        self._answers = answers
        self._scores = scores
        self._given = 0
        self._lock = threading.RLock()
        self._vocabulary: list[str] = []
        self._index: dict[str, int] = {}
        self.prompts: list[str] = []
        self.scored: list[str] = []
        digest = hashlib.sha256(name.encode()).hexdigest()
        self._info = EngineInfo("scripted", name, digest, context_tokens, "cpu", 1, digest, "1")

    @classmethod
    def from_file(cls, path: Path) -> ScriptedEngine:
        """An engine that answers from a JSON list of texts. Raises InvalidInput when the file is not one."""
        try:
            answers = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"cannot read answers from {path}: {error}", "give a JSON list of texts") from error
        if not isinstance(answers, list) or not answers or not all(isinstance(text, str) for text in answers):
            raise InvalidInput(f"{path} is not a JSON list of texts", 'write e.g. ["Hello.", "NONE"]')
        return cls(answers)

    @property
    def info(self) -> EngineInfo:
        return self._info

    def close(self) -> None:
        """Nothing to give back."""

    def tokenize(self, text: str) -> list[int]:
        with self._lock:
            return [self._token(word) for word in _WORDS.findall(_CONTROL.sub(_split_control, text))]

    def detokenize(self, ids: Sequence[int]) -> str:
        return "".join(self._vocabulary[token] for token in ids)

    def count(self, text: str) -> int:
        return len(self.tokenize(text))

    def render(self, messages: Sequence[Message], *, think: bool = False) -> list[int]:
        ids = [token for message in messages for token in self._turn(message)]
        return [*ids, self._token("<|assistant|>")]

    def render_next(self, message: Message, *, think: bool = False) -> list[int]:
        return [self._token("<|end|>"), *self._turn(message), self._token("<|assistant|>")]

    def open(self) -> ScriptedSession:
        return ScriptedSession(self)

    def generate_many(
        self, branches: Sequence[Branch], cancelled: Callable[[], bool] | None = None
    ) -> list[Generation]:
        done = []
        for branch in branches:
            fork = branch.session.fork()
            fork.feed([*branch.session.ids, *branch.suffix])
            pieces = list(
                fork.generate(branch.max_tokens, branch.sampling, branch.stop, branch.constraint, cancelled=cancelled)
            )
            stats = pieces[-1].stats
            assert stats is not None
            done.append(Generation("".join(piece.text for piece in pieces), stats))
        return done

    def score_many(self, questions: Sequence[Question]) -> list[list[float]]:
        answers = []
        for question in questions:
            fork = question.session.fork()
            fork.feed([*question.session.ids, *question.suffix])
            answers.append(fork.score(question.options))
        return answers

    def answer(self, prompt: str) -> str:
        """The next answer; records the prompt."""
        with self._lock:
            self.prompts.append(prompt)
            if callable(self._answers):
                return self._answers(prompt)
            self._given += 1
            return self._answers[min(self._given, len(self._answers)) - 1]

    def score(self, prompt: str, option: str) -> float:
        self.scored.append(prompt)
        return self._scores(prompt, option) if self._scores else -1.0

    def _turn(self, message: Message) -> list[int]:
        return [
            self._token(f"<|{message.role}|>"),
            *self.tokenize(message.content),
            self._token("<|end|>"),
        ]

    def _token(self, word: str) -> int:
        with self._lock:
            if word not in self._index:
                self._index[word] = len(self._vocabulary)
                self._vocabulary.append(word)
            return self._index[word]


class ScriptedSession:
    """A sequence of the scripted engine."""

    def __init__(self, engine: ScriptedEngine, ids: Sequence[int] = ()) -> None:
        self._engine = engine
        self._ids = list(ids)
        self._prefill = Stats()

    @property
    def ids(self) -> Ids:
        return tuple(self._ids)

    def feed(self, ids: Sequence[int], cancelled: Callable[[], bool] | None = None) -> Stats:
        check_room(len(ids), self._engine.info.context_tokens)
        if cancelled is not None and cancelled():
            raise Cancelled("stopped while reading the prompt")
        shared = common_prefix(self._ids, ids)
        self._ids = list(ids)
        self._prefill = Stats(prompt_tokens=len(ids), cached_tokens=shared)
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
        if not self._ids:
            raise EngineFailed("nothing has been fed to this session")
        words = self._engine.tokenize(self._engine.answer(self._engine.detokenize(self._ids)))
        stream = TextStream(stop)
        drafts = Drafts(drafter if may_draft(sampling, constraint) else None)
        output = 0
        reason = "eos"
        for token in words:
            piece = self._engine.detokenize([token]).encode()
            if cancelled is not None and cancelled():
                reason = "cancelled"
            elif output >= max_tokens or len(self._ids) >= self._engine.info.context_tokens:
                reason = "length"
            elif constraint is not None and not constraint.allows(stream.text + stream.peek(piece)):
                reason = "constraint"
            if reason != "eos":
                break
            output += 1
            text = stream.push(piece)
            if stream.stopped:
                reason = "stop"
            else:
                self._ids.append(token)
                if not drafts.came(token):
                    drafts.guess(self._ids, max_tokens - output)
            if text:
                yield Piece(text)
            if stream.stopped:
                break
        prefill, self._prefill = self._prefill, Stats(len(self._ids), len(self._ids))
        yield Piece(
            stream.finish(),
            Stats(
                prefill.prompt_tokens,
                prefill.cached_tokens,
                output,
                drafts.drafted,
                drafts.accepted,
                stop_reason=reason,  # type: ignore[arg-type]
            ),
        )

    def score(self, options: Sequence[Sequence[int]]) -> list[float]:
        prompt = self._engine.detokenize(self._ids)
        return [self._engine.score(prompt, self._engine.detokenize(option)) for option in options]

    def fork(self) -> ScriptedSession:
        return ScriptedSession(self._engine, self._ids)

    def save(self, path: Path | SealedFile) -> None:
        words = json.dumps([self._engine.detokenize([token]) for token in self._ids])
        write_snapshot(path, self._fingerprint(), [], words.encode())

    def load(self, path: Path | SealedFile) -> bool:
        found = read_snapshot(path, self._fingerprint())
        if found is None:
            return False
        self._ids = [token for word in json.loads(found[1]) for token in [self._engine._token(word)]]
        return True

    def close(self) -> None:
        """Nothing to give back."""

    def _fingerprint(self) -> dict[str, str]:
        info = self._engine.info
        return {"digest": info.digest, "context": str(info.context_tokens), "version": info.version}


def _split_control(match: re.Match[str]) -> str:
    """Plain text that spells a control token must not become one: break it after its first character."""
    return "< " + match.group()[1:]
