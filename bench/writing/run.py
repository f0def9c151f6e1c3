"""Runs cases through the shipped assistant, in a home of their own, and yields a row for each.

What is measured is what ships: turns are journalled, the chat ends, `Assistant.remember` learns. The one difference
to daily use: the chat is not held in the engine's cache, as after a restart, so an update reads it once more.
Does not print.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.assistant import Assistant, UpdateReport
from edgemem.errors import InvalidInput
from edgemem.policies import Policy, open_policy
from edgemem.store import open_store
from edgemem.values import BUDGET_TOKENS, Operation

from ..chains import Chains
from ..jsonl import Row, append_object
from ..learning import journal
from ..sources import WRITERS, digest_of
from .cases import SETS
from .judging import line_digest
from .matcher import MATCHER_VERSION
from .naive import remember_naively
from .rows import key_of, lines_file, read_rows
from .scoring import added_lines, asked, kept, score
from .values import Gold, WriteCase

if TYPE_CHECKING:
    from edgemem.engines.base import Engine
    from edgemem.prompting.prompts import Prompts

POLICIES = ("edits", "overwrite", "naive")
USER = "bench"


@dataclass(frozen=True)
class Setup:
    """What stays the same in a run. `without` are steps of the policy that are left out, `instead` thresholds that
    replace the card's, `label` names the run."""

    engine: Engine
    prompts: Prompts
    policy: str = "edits"
    without: tuple[str, ...] = ()
    label: str = ""
    budget_tokens: int = BUDGET_TOKENS
    card_thresholds: Mapping[str, float] = field(default_factory=dict)
    instead: Mapping[str, float] = field(default_factory=dict)
    cache: Path | None = None

    @property
    def thresholds(self) -> dict[str, float]:
        """Those of the model's card, but for what the run sets `instead`."""
        return {**self.card_thresholds, **self.instead}

    @property
    def variant(self) -> str:
        steps = [f"-{step}" for step in sorted(self.without)]
        return self.label or " ".join([*steps, *(f"{name}={value:g}" for name, value in sorted(self.instead.items()))])


@dataclass(frozen=True)
class Step:
    """One case of a run that is done: its row, how many are done and how many this run has to do."""

    row: Row
    done: int
    total: int


def run_cases(setup: Setup, cases: Sequence[WriteCase], rows: Path, limit: int | None = None) -> Iterator[Step]:
    """Run what `rows` does not have yet, at most `limit` cases. Each row is on disk before it is yielded.

    Beside the rows file stand `<rows>.lines.jsonl` (what was written, with the turns, for judging by hand; for sets
    that are not ours this is their text, so keep it to yourself) and, while a chain is unfinished, `<rows>.homes`.
    """
    policy = writer(setup)
    there = {key_of(row): row for row in (read_rows([rows]) if rows.exists() else [])}
    chains = Chains(rows.with_name(rows.name + ".homes"), key_of(head(setup, None)))
    continued = {case.chains_on for case in cases}
    todo = [case for case in cases if key_of(head(setup, case)) not in there]
    for case in cases:
        if case not in todo:  # a kill between a row and the tidying after it leaves a home behind
            chains.done(case, case.id in continued)
    todo = todo[:limit]
    for number, case in enumerate(todo, 1):
        goes_on = case.id in continued
        with chains.home(case, goes_on) as home:
            row, lines = run_case(setup, policy, case, home, earlier_gold(case, cases))
        append_object(lines_file(rows), lines)
        append_object(rows, row)
        chains.done(case, goes_on)
        yield Step(row, number, len(todo))


def writer(setup: Setup) -> Policy:
    """The policy of the setup (for `naive` one that is never asked). Raises InvalidInput for what there is not."""
    if setup.policy not in POLICIES:
        raise InvalidInput(f"there is no way to write called {setup.policy!r}", f"use {', '.join(POLICIES)}")
    if setup.policy != "naive":
        return open_policy(setup.policy, thresholds=setup.thresholds, without=setup.without)
    if setup.without:
        raise InvalidInput("naive has no steps that can be left out", "leave --without away")
    return open_policy("overwrite")


def head(setup: Setup, case: WriteCase | None) -> Row:
    """The part of a row that says what was run."""
    return {
        "set": case.set if case else "",
        "set_version": SETS[case.set].version if case and case.set in SETS else 0,
        "case": case.id if case else "",
        "policy": setup.policy,
        "variant": setup.variant,
        "model": setup.engine.info.model,
        "model_digest": setup.engine.info.digest,
        "prompt_digest": setup.prompts.digest,
        "code_digest": code_digest(),
        "thresholds": setup.thresholds,
        "matcher": MATCHER_VERSION,
    }


@cache
def code_digest() -> str:
    """Digest (16 hex digits) of the sources that decide what is written, as they were when the run began."""
    return digest_of(WRITERS, Path(remember_naively.__code__.co_filename))


def earlier_gold(case: WriteCase, cases: Sequence[WriteCase]) -> list[tuple[WriteCase, int, Gold]]:
    """The facts of the chats before this one in its chain, oldest first."""
    by_id = {(other.set, other.id): other for other in cases}
    found: list[tuple[WriteCase, int, Gold]] = []
    while case.chains_on and (before := by_id.get((case.set, case.chains_on))):
        found = [(before, index, gold) for index, gold in enumerate(before.gold)] + found
        case = before
    return found


def run_case(
    setup: Setup,
    policy: Policy,
    case: WriteCase,
    home: Path,
    earlier: Sequence[tuple[WriteCase, int, Gold]] = (),
) -> tuple[Row, Row]:
    """Learn one chat in `home`. Returns its row, and what was written (see `run_cases`)."""
    with open_store(home, USER) as store:
        assistant = Assistant(
            USER, setup.engine, store, policy, setup.prompts, setup.budget_tokens, cache=setup.cache, review="off"
        )
        _remembered_before(assistant, case)
        before = _texts(assistant)
        sizes = _sizes(assistant, case)
        journal(assistant, case.turns, case.time)
        report = remember_naively(assistant) if setup.policy == "naive" else assistant.remember()
        after = _texts(assistant)
        row = head(setup, case) | _labels(case) | score(case, before, after) | sizes | _cost(setup, report)
    row |= {"earlier": kept(earlier, after)} if case.chains_on else {}
    row |= {"asks": asked(case.asks, earlier, before)} if case.asks else {}
    added = added_lines(before, after)
    row |= {"added": [line_digest(text) for text in added]}
    refused = [one for revision in report.revisions for one in revision.rejected]
    written = {
        "before": list(before),
        "added": added,
        "after": list(after),
        "refused": [{"reason": one.reason, "text": one.operation.text or one.operation.old_text} for one in refused],
    }
    row |= {"lines": list(after), "refused": written["refused"]} if case.own else {}
    turns = [text for role, text in case.turns if role == "user"]
    return row, head(setup, case) | _labels(case) | written | {"turns": turns}


def _remembered_before(assistant: Assistant, case: WriteCase) -> None:
    if case.memory_before:
        lines = [Operation("add", section="About", text=text, origin="imported") for text in case.memory_before]
        assistant.store.commit(lines, base=assistant.store.read(), cause="command")


def _texts(assistant: Assistant) -> tuple[str, ...]:
    return tuple(line.text for line in assistant.store.read().lines)


def _sizes(assistant: Assistant, case: WriteCase) -> Row:
    """What an update has to read, in the model's tokens."""
    return {
        "chat_tokens": sum(assistant.engine.count(text) for _, text in case.turns),
        "memory_tokens_before": assistant.memory_tokens(),
    }


def _labels(case: WriteCase) -> Row:
    return {
        "split": case.split,
        "language": case.language,
        "style": case.style,
        "chained": case.chains_on is not None,
        "hidden": case.hidden,
    }


def _cost(setup: Setup, report: UpdateReport) -> Row:
    kinds = [operation.kind for operation in report.operations]
    rejected = [refused.reason for revision in report.revisions for refused in revision.rejected]
    return {
        "operations": {kind: kinds.count(kind) for kind in ("add", "update", "delete")},
        "rejected": {reason: rejected.count(reason) for reason in sorted(set(rejected))},
        "set_aside": report.set_aside,
        "memory_tokens": report.memory_tokens,
        "budget_kept": report.memory_tokens <= setup.budget_tokens,
        "seconds": round(report.seconds, 3),
        "prompt_tokens": report.stats.prompt_tokens,
        "cached_tokens": report.stats.cached_tokens,
        "output_tokens": report.stats.output_tokens,
        "device": setup.engine.info.device,
        "threads": setup.engine.info.threads,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
