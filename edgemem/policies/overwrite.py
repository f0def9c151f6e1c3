"""The `overwrite` policy: the reply is the whole next memory (PersonaMem-v2, arXiv 2512.06688 §3.2).

Most of it is a copy of
the old one, so guesses from there are verified a line at a time.

The new text is compared with the old lines, so that what is stored is again operations on lines. A reply that was
cut off at its length is asked for again, shorter; if that is cut off too, the old memory stays.
"""

from __future__ import annotations

from edgemem.engines.base import Drafter, Session
from edgemem.errors import UpdateFailed
from edgemem.memory.copying import CopyDrafter
from edgemem.memory.document import Fact
from edgemem.memory.edits import parse_memory
from edgemem.memory.lines import difference, match_lines
from edgemem.policies.base import Proposal, UpdateTask, update_cancelled
from edgemem.prompting.prompts import conversation_text
from edgemem.prompting.think import without_thinking
from edgemem.values import Line, Operation, Stats

COMPACT_SHARE = 0.7  # of the budget: what a second, shorter try may use


class OverwritePolicy:
    """See the module."""

    name = "overwrite"

    def propose(self, task: UpdateTask) -> Proposal:
        session = task.engine.open()
        try:
            first = task.prompts.overwrite(_listed(task.memory.lines), task.turns, task.when, task.budget_tokens)
            session.feed(task.engine.render([first]), task.cancelled)
            drafter = _drafter(task)
            reply, stats = _generate(task, session, task.budget_tokens, drafter)
            if stats.stop_reason == "length":
                limit = int(task.budget_tokens * COMPACT_SHARE)
                again = task.engine.render_next(task.prompts.overwrite_compact(limit))
                session.feed([*session.ids, *again], task.cancelled)
                reply, more = _generate(task, session, limit + limit // 4, drafter)
                stats = stats.plus(more)
        finally:
            session.close()
        if stats.stop_reason == "length":
            raise UpdateFailed("the model's memory did not end within the budget", "the old memory is kept")
        return Proposal(_as_operations(reply, task.memory.lines), reply, stats)


def _drafter(task: UpdateTask) -> CopyDrafter:
    """Guesses that the next memory goes on like the one before, and now and then like the conversation."""
    source = f"{_listed(task.memory.lines)}\n{conversation_text(task.turns)}\n"
    return CopyDrafter(task.engine.tokenize(source), lambda token: task.engine.detokenize([token]))


def _generate(task: UpdateTask, session: Session, limit: int, drafter: Drafter) -> tuple[str, Stats]:
    pieces = list(session.generate(limit, task.sampling, drafter=drafter, cancelled=task.cancelled))
    stats = pieces[-1].stats
    assert stats is not None
    if stats.stop_reason == "cancelled":
        raise update_cancelled()
    return without_thinking("".join(piece.text for piece in pieces)), stats


def _as_operations(reply: str, old: tuple[Line, ...]) -> tuple[Operation, ...]:
    facts = parse_memory(reply)
    if not facts:
        raise UpdateFailed(f"the model's memory has no points: {reply[:80]!r}", "the old memory is kept")
    unprotected = [line for line in old if not line.protected]
    next_id = max((line.id for line in old), default=0) + 1
    listed = {line.text.casefold() for line in old if line.protected}
    new = [
        Fact(section, text, prose=False, position=index, first=0, end=0)
        for index, (section, text) in enumerate(facts)
        if text.casefold() not in listed
    ]
    matched = match_lines(new, unprotected, next_id)
    operations = difference(unprotected, matched)
    return tuple(
        Operation(op.kind, None if op.kind == "add" else op.line_id, op.section, op.text, op.old_text, op.old_section)
        for op in operations
    )


def _listed(lines: tuple[Line, ...]) -> str:
    return "\n".join(f"- [{line.section}] {line.text}" for line in sorted(lines, key=lambda line: line.id))
