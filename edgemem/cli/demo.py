"""`edgemem demo`: replay a history session by session, show what is remembered, then answer questions twice:
from the memory, and from the full history. Real model, real files (in a temporary folder unless told otherwise)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemem.assistant import Assistant, UpdateReport, open_assistant
from edgemem.cli.output import Output
from edgemem.demo.data import History, Question, Session, answered
from edgemem.errors import ContextExceeded
from edgemem.prompting.prompts import EMPTY_VIEW, day
from edgemem.prompting.think import without_thinking
from edgemem.values import GREEDY, Message, Operation, Stats

if TYPE_CHECKING:
    from edgemem.engines.base import Engine

ANSWER_TOKENS = 120
FULL_HISTORY_SYSTEM = (
    "You are a helpful personal assistant. Above all, answer the user's question from the earlier chats in this "
    "conversation, briefly and concretely. Today is {today}."
)
_SIGNS = {"add": "+", "update": "~", "delete": "-"}


@dataclass(frozen=True)
class Answer:
    """One answer and what it cost; `fits` is False where the prompt is larger than the model's context."""

    text: str
    right: bool
    stats: Stats
    fits: bool = True


def run_demo(history: History, out: Output, *, data_dir: Path | None, **opening: Any) -> None:
    """Run the whole demo and print it; with --json one object at the end."""
    with tempfile.TemporaryDirectory(prefix="edgemem-demo-") as folder:
        home = data_dir or Path(folder)
        out.note(f"history: {history.name}, {len(history.sessions)} sessions")
        with open_assistant("demo", data_dir=home, review="off", **opening) as assistant:  # nobody to ask in a replay
            info = assistant.engine.info
            out.note(f"model: {info.model} on {info.device}, {info.threads} threads, {info.context_tokens} tokens")
            updates = [_replay(assistant, session, number, out) for number, session in _numbered(history.sessions)]
            out.text("")
            out.text(
                f"The memory after {len(history.sessions)} sessions ({assistant.memory_tokens()} of 2,048 tokens):"
            )
            out.text("")
            out.text(assistant.store.text())
            rows = _ask_all(assistant, history, out)
            if out.json:
                out.data({"history": history.name, "updates": updates, "questions": rows})
            out.text("")
            out.text("Chat yourself:   edgemem chat          Look at what it keeps:   edgemem memory show")


def _numbered(sessions: Sequence[Session]) -> Iterator[tuple[int, Session]]:
    return enumerate(sessions, 1)


def _replay(assistant: Assistant, session: Session, number: int, out: Output) -> dict[str, Any]:
    out.text(f"\nSession {number}: {session.title}, {session.time:%Y-%m-%d}")
    chat_id = assistant.store.start_chat("replay")
    for role, text in session.turns:
        assistant.store.add_turn(chat_id, role, text, session.time)
    assistant.store.end_chat(chat_id)
    report = assistant.remember()
    for operation in report.operations:
        out.text(f"  {_shown(operation)}")
    left_out = [rejected.reason for revision in report.revisions for rejected in revision.rejected]
    out.text(f"  {report.summary()}, {report.memory_tokens} tokens, {report.seconds:.1f} s" + _why(left_out))
    return {"session": number, "tokens": report.memory_tokens, "seconds": report.seconds, **_counts(report)}


def _counts(report: UpdateReport) -> dict[str, int]:
    return {
        "added": report.added,
        "updated": report.updated,
        "deleted": report.deleted,
        "set_aside": report.set_aside,
    }


def _why(reasons: Sequence[str]) -> str:
    names = sorted(set(reasons))
    return f" (left out: {', '.join(f'{reasons.count(name)} {name}' for name in names)})" if names else ""


def _shown(operation: Operation) -> str:
    if operation.kind == "update":
        return f"~ {operation.old_text}  ->  {operation.text}"
    return f"{_SIGNS[operation.kind]} {operation.text or operation.old_text}"


def _ask_all(assistant: Assistant, history: History, out: Output) -> list[dict[str, Any]]:
    now = history.sessions[-1].time
    out.text("\nThe same questions, answered from the memory and from the full history:")
    from_memory = _from_memory(assistant, history.questions, now, out)
    full = _FullHistory(assistant.engine, history, now)
    from_history = [full.ask(question, out) for question in history.questions]
    full.close()
    table = [
        _row(question, memory, whole)
        for question, memory, whole in zip(history.questions, from_memory, from_history, strict=True)
    ]
    out.table(
        ["question", "gold", "from memory", "tokens", "s", "from full history", "tokens", "s"],
        [
            [
                question.text.splitlines()[0],
                question.gold,
                _cell(memory),
                str(memory.stats.prompt_tokens),
                f"{memory.stats.total_s:.1f}",
                _cell(whole),
                str(whole.stats.prompt_tokens),
                f"{whole.stats.total_s:.1f}",
            ]
            for question, memory, whole in zip(history.questions, from_memory, from_history, strict=True)
        ],
    )
    out.text(_totals(from_memory, from_history))
    return table


def _totals(memory: Sequence[Answer], whole: Sequence[Answer]) -> str:
    def line(name: str, answers: Sequence[Answer]) -> str:
        tokens = sum(answer.stats.prompt_tokens for answer in answers)
        computed = sum(answer.stats.prompt_tokens - answer.stats.cached_tokens for answer in answers if answer.fits)
        seconds = sum(answer.stats.total_s for answer in answers)
        first = answers[0].stats.first_token_s if answers else 0.0
        right = sum(answer.right for answer in answers)
        note = "" if all(answer.fits for answer in answers) else ", does not fit the context"
        return (
            f"{name}: {right} of {len(answers)} right, {tokens} input tokens ({computed} computed, the rest cached), "
            f"{seconds:.1f} s, first token of the first question after {first:.1f} s{note}"
        )

    return "\n".join([line("memory      ", memory), line("full history", whole)])


def _row(question: Question, memory: Answer, whole: Answer) -> dict[str, Any]:
    return {
        "question": question.text,
        "gold": question.gold,
        "memory": asdict(memory),
        "full_history": asdict(whole),
    }


def _cell(answer: Answer) -> str:
    if not answer.fits:
        return "does not fit"
    return f"{'✓' if answer.right else '✗'} {' '.join(answer.text.split())[:160]}"


def _from_memory(assistant: Assistant, questions: Sequence[Question], now: datetime, out: Output) -> list[Answer]:
    """As chats would answer, but greedy, so that the demo says the same each time. The questions share the KV of
    system message and memory, as those of the other arm share the history's."""
    from edgemem.memory.lines import prompt_view

    engine = assistant.engine
    system = assistant.prompts.chat_system(prompt_view(assistant.memory().lines) or EMPTY_VIEW, now)
    session = engine.open()
    try:
        return [
            _answer(session, engine.render([system, Message("user", question.text)]), question, out, "memory")
            for question in questions
        ]
    finally:
        session.close()


class _FullHistory:
    """All sessions in one prompt; the questions share its KV, so only the first one pays for it."""

    def __init__(self, engine: Engine, history: History, now: datetime) -> None:
        self._engine = engine
        past = [Message(role, text) for session in history.sessions for role, text in session.turns]
        self._past = [Message("system", FULL_HISTORY_SYSTEM.format(today=day(now))), *past]
        self._session = engine.open()

    def ask(self, question: Question, out: Output) -> Answer:
        ids = self._engine.render([*self._past, Message("user", question.text)])
        if len(ids) + ANSWER_TOKENS > self._engine.info.context_tokens:
            return Answer("", right=False, stats=Stats(prompt_tokens=len(ids)), fits=False)
        return _answer(self._session, ids, question, out, "full history")

    def close(self) -> None:
        self._session.close()


def _answer(session: Any, ids: Sequence[int], question: Question, out: Output, arm: str) -> Answer:
    out.note(f"answering from {arm} ({len(ids)} tokens): {question.text.splitlines()[0][:60]}")
    started = time.perf_counter()
    try:
        session.feed(ids)
    except ContextExceeded:
        return Answer("", right=False, stats=Stats(prompt_tokens=len(ids)), fits=False)
    pieces = list(session.generate(ANSWER_TOKENS, GREEDY))
    stats = pieces[-1].stats or Stats(total_s=time.perf_counter() - started)
    text = without_thinking("".join(piece.text for piece in pieces))
    return Answer(text, answered(question, text), stats)
