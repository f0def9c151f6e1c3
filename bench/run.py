"""Runs questions through the arms and yields a row for each, and for each session that had to be learned for them.

Order: history by history, arm by arm, so that the questions of an arm share what the engine has read; the first one
after that is `cold`, the others are not. Each row is on disk before it is yielded;
`<rows>.replies.jsonl` keeps what was replied, which may be text of the sets. Does not print.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from edgemem.errors import ContextExceeded, InvalidInput
from edgemem.values import GREEDY, Message, Stats

from .arms import ARMS, PER_QUESTION, SEARCHING, WITH_MEMORY, Known, Sources, before_question, transcript
from .asking import chosen, f1, likeliest, option_texts, question_text, reply_tokens, rotated
from .estimate import Estimate
from .jsonl import Row, append_object, check_writable
from .memories import Memories, key
from .peers.mem0.client import Mem0
from .retention import holds
from .rows import Setup, key_of, orders_of, question_head, read_rows, session_head
from .usage import machine, measured
from .values import CannotRun, Case, History

if TYPE_CHECKING:
    from edgemem.engines.base import Engine, Session


@dataclass(frozen=True)
class Step:
    """A row that is new, how many are done and how many this run has to write, and seconds that are left (None: no row
    of this kind has been timed yet)."""

    row: Row
    done: int
    total: int
    left_s: float | None


class Run:
    """What is left to do for `cases`, of which at most `limit` are asked, and doing it."""

    def __init__(
        self, setup: Setup, cases: Sequence[Case], arms: Sequence[str], rows: Path, limit: int | None = None
    ) -> None:
        if unknown := [arm for arm in arms if arm not in ARMS]:
            raise InvalidInput(f"there is no arm {', '.join(unknown)}", f"use {', '.join(ARMS)}")
        self._setup, self._all, self._arms, self._rows = setup, list(cases), list(arms), rows
        self._cases = self._all[:limit]
        self._replies = rows.with_name(rows.name + ".replies.jsonl")
        check_writable(rows)
        found = read_rows([rows])
        self._there = {key_of(row) for row in found}
        self._memories = Memories(setup, rows)
        self._mem0 = Mem0(setup.mem0, setup.engine, rows) if setup.mem0 and "mem0" in arms else None
        self._machine = machine()
        self._id, self._started = token_hex(4), time.perf_counter()
        self.estimate = Estimate(row for row in found if row["model_digest"] == setup.engine.info.digest)
        self.done = 0
        self.total = self._plan()

    def steps(self) -> Iterator[Step]:
        """Do it. May be given up at any time; a new run goes on where this one stopped."""
        try:
            yield from self._steps()
        finally:
            if self._mem0:
                self._mem0.close()

    def _steps(self) -> Iterator[Step]:
        for (_, _, learned), group in groupby(self._cases, lambda case: (case.task, case.history.id, case.learned)):
            cases = list(group)
            for arm in self._arms:
                todo = [case for case in cases if not self._has(case, arm)]
                if todo:
                    yield from self._learn(arm, todo[0], learned)
                    yield from self._ask(arm, todo)

    def _plan(self) -> int:
        sessions: dict[tuple[str, str], tuple[int, int]] = {}
        for case in self._cases:
            for arm in self._arms:
                if self._has(case, arm):
                    continue
                self.estimate.expect("question", arm)
                for history, learned in self._histories(arm, case):
                    for writer, memories in self._writers(arm):
                        name = (f"{case.task} {key(history)}", writer)
                        most = max(learned, sessions.get(name, (0, 0))[0])
                        sessions[name] = (most, memories.missing(case.task, history, most))
        for (_, writer), (_, missing) in sessions.items():
            self.estimate.expect("session", writer, missing)
        return self.estimate.expected

    def _writers(self, arm: str) -> list[tuple[str, Memories | Mem0]]:
        """Who has to learn the history for an arm. (`mem0` needs the memory, too: for its size.)"""
        found: list[tuple[str, Memories | Mem0]] = [("memory", self._memories)]
        return [*found, ("mem0", self._mem0)] if arm == "mem0" and self._mem0 else found

    def _histories(self, arm: str, case: Case) -> list[tuple[History, int]]:
        """Whose memory an arm needs, and after how many sessions."""
        if arm == "swap":
            other = self._other(case)
            return [other] if other else []
        return [(case.history, case.learned)] if arm in WITH_MEMORY else []

    def _other(self, case: Case) -> tuple[History, int] | None:
        """The next history of another person in this task, as far as it is learned for its own questions."""
        same = [other for other in self._all if other.task == case.task]
        start = same.index(case)
        turned = same[start:] + same[:start]
        found = next((other.history for other in turned if other.history.persona != case.history.persona), None)
        if found is None:
            return None
        return (found, max(other.learned for other in same if other.history.id == found.id))

    def _has(self, case: Case, arm: str) -> bool:
        return key_of(question_head(self._setup, case, arm)) in self._there

    def _learn(self, arm: str, case: Case, learned: int) -> Iterator[Step]:
        for history, sessions in self._histories(arm, case):
            for writer, memories in self._writers(arm):
                for number, cost in memories.learn(case.task, history, sessions):
                    head = session_head(self._setup, case.task, key(history), history.persona, number, writer)
                    if key_of(head) not in self._there:
                        yield self._add(head | cost)

    def _ask(self, arm: str, cases: Sequence[Case]) -> Iterator[Step]:
        session = self._setup.engine.open()
        try:
            for number, case in enumerate(cases):
                row = question_head(self._setup, case, arm) | {"cold": number == 0 or arm in PER_QUESTION}
                row |= self._answered(session, arm, case)
                append_object(self._replies, {"key": key_of(row), "reply": row.pop("reply", None)})
                yield self._add(row)
        finally:
            session.close()

    def _answered(self, session: Session, arm: str, case: Case) -> Row:
        sizes: Row = {"history_tokens": self._setup.engine.count(transcript(case.sessions)), "memory_tokens": None}
        try:
            started = time.perf_counter()
            sources = self._sources(arm, case)
            found_s = time.perf_counter() - started
            sizes["memory_tokens"] = sources.memory.tokens if arm in WITH_MEMORY else None
            row = sizes | answer(session, arm, case, sources, orders_of(self._setup, case, arm))
        except CannotRun as problem:
            return sizes | {"status": "cannot run", "reason": str(problem)}
        if arm in SEARCHING and "search_s" in row:
            row["search_s"] = round(row["search_s"] + found_s, 4)
        seen = {"memory": sources.memory.view, "mem0": sources.peer.view}
        return row | holds(case, seen[arm]) if arm in seen else row

    def _sources(self, arm: str, case: Case) -> Sources:
        setup, other = self._setup, self._other(case) if arm == "swap" else None
        needs = arm in WITH_MEMORY and arm != "swap"
        memory = self._memories.known(case.task, case.history, case.learned) if needs else Known()
        swapped = self._memories.known(case.task, *other) if other else None
        peer = self._found(case, memory.tokens) if arm == "mem0" else Known()
        return Sources(setup.engine, setup.prompts, memory, swapped, setup.encoder, peer)

    def _found(self, case: Case, room: int) -> Known:
        """What mem0 finds for the question. Raises CannotRun."""
        if self._mem0 is None:
            raise CannotRun("nothing is said of where mem0 runs")
        return self._mem0.found(case.task, case.history, case.learned, case.question, room)

    def _add(self, row: Row) -> Step:
        row |= {"machine": self._machine, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        row |= {"run": self._id, "elapsed_s": round(time.perf_counter() - self._started, 1)}
        append_object(self._rows, row)
        self._there.add(key_of(row))
        self.estimate.note(row)
        self.done += 1
        return Step(row, self.done, max(self.total, self.done), self.estimate.left_s)


def answer(session: Session, arm: str, case: Case, sources: Sources, turns: Sequence[int] = (0,)) -> Row:
    """Ask one question; `turns` are the orders that its options' letters are compared in, after the reply.

    Raises CannotRun; a prompt that does not fit the context is a row that says so.
    """
    engine = sources.engine
    started = time.perf_counter()
    before = before_question(arm, case, sources)
    search_s = time.perf_counter() - started
    ids = engine.render([*before, Message("user", question_text(case))])
    room = reply_tokens(case)
    if len(ids) + room > engine.info.context_tokens:
        return {"status": "does not fit", "prompt_tokens": len(ids)}
    shared = _shared(engine, before) if arm not in PER_QUESTION else 0
    with measured() as used:
        started = time.perf_counter()
        try:
            cached = _feed(session, ids, shared)
            reply, stats, first_s = _reply(session, room, started)
        except ContextExceeded:
            return {"status": "does not fit", "prompt_tokens": len(ids)}
        total_s = time.perf_counter() - started
    return {
        "status": "ok",
        "reply": reply,
        "prompt_tokens": len(ids),
        "cached_tokens": cached,
        "output_tokens": stats.output_tokens,
        "search_s": round(search_s, 4) if arm in SEARCHING else None,
        "first_token_s": round(first_s, 4),
        "total_s": round(total_s, 4),
        "stop_reason": stats.stop_reason,
        "kv_bytes": _kv_bytes(engine, len(ids) + stats.output_tokens),
        **used,
        **scores(case, reply, _option_scores(session, case, sources.engine, before, turns)),
    }


def _kv_bytes(engine: Engine, tokens: int) -> int | None:
    """What so many tokens take in the KV cache; None where the engine does not tell."""
    per_token = int(engine.info.details.get("kv_bytes_per_token", "0"))
    return tokens * per_token or None


def _option_scores(
    session: Session, case: Case, engine: Engine, before: Sequence[Message], turns: Sequence[int]
) -> list[list[float]]:
    """For each order of the options their log-probabilities, per token where they are whole texts; the options stand
    as in `case`, so that those of several orders can be added."""
    looks = []
    for by in turns:
        turned = rotated(case, by)
        session.feed(engine.render([*before, Message("user", question_text(turned))]))
        options = [engine.tokenize(text) for text in option_texts(turned)]
        found = session.score(options)
        if case.form == "texts":
            found = [score / max(1, len(option)) for score, option in zip(found, options, strict=True)]
        looks.append([found[(place + by) % len(found)] for place in range(len(found))])
    return looks


def _shared(engine: Engine, before: Sequence[Message]) -> int:
    """Tokens that every question after these messages begins with. They are always read by themselves, so that a
    question is computed in the same batches whether or not they were there already."""
    one, two = (engine.render([*before, Message("user", text)]) for text in ("A", "B"))
    same = 0
    while same < min(len(one), len(two)) and one[same] == two[same]:
        same += 1
    return same


def _feed(session: Session, ids: Sequence[int], shared: int) -> int:
    """Read the prompt. Returns how much of it the session held already."""
    cached = 0
    if shared:
        cached = session.feed(ids[:shared]).cached_tokens
        session.feed(ids)
        return cached
    return session.feed(ids).cached_tokens


def _reply(session: Session, room: int, started: float) -> tuple[str, Stats, float]:
    parts: list[str] = []
    first_s = 0.0
    stats = Stats()
    for piece in session.generate(room, GREEDY):
        first_s = first_s or time.perf_counter() - started
        parts.append(piece.text)
        stats = piece.stats or stats
    return "".join(parts), stats, first_s


def scores(case: Case, reply: str, looks: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What a reply and the options' likelihoods (in one or more orders) are worth: `strict` and `parsed` where letters
    are asked for, `f1` where there is a free answer, `leak` where something was not to be kept, `forced` always.
    `forced_shown` is the choice in the order that was shown."""
    letter = chosen(case, reply)
    forced = likeliest([sum(scores) / len(looks) for scores in zip(*looks, strict=True)])
    asked = case.form != "texts"
    return {
        "options": len(case.options),
        "gold": case.gold,
        "choice": letter,
        "parsed": letter is not None if asked else None,
        "strict": letter == case.gold if asked else None,
        "leak": letter == case.leak if case.leak is not None else None,
        "forced_leak": forced == case.leak if case.leak is not None else None,
        "forced_choice": forced,
        "forced_shown": likeliest(looks[0]),
        "forced": forced == case.gold,
        "f1": round(f1(case.answer, reply), 4) if case.answer is not None else None,
    }
