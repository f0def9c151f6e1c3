"""The `edits` policy: the user's messages are shown again one by one, each answered with a few edit commands.

One message at a time, because small models lose facts and start to loop when they are asked about a whole chat. The
messages are branches of one sequence and are decoded as one batch. That sequence is the chat just held where it is
still in the cache (its memory stands numbered in the system message), else a fresh one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgemem.engines.base import Branch, Engine, Generation, Session
from edgemem.errors import Cancelled, UpdateFailed
from edgemem.memory.dates import with_absolute_dates
from edgemem.memory.edits import parse_edits
from edgemem.memory.lines import prompt_view
from edgemem.memory.pattern import EditConstraint
from edgemem.policies.base import Proposal, UpdateTask
from edgemem.prompting.prompts import Prompts
from edgemem.prompting.think import without_thinking
from edgemem.values import Operation, Stats, Turn

REPLY_TOKENS = 160  # five commands of about 30 tokens
READY = "Ready."


class EditsPolicy:
    """See the module."""

    name = "edits"

    def propose(self, task: UpdateTask) -> Proposal:
        session = task.session.fork() if task.session is not None else task.engine.open()
        try:
            fed = session.feed(_opening(task, session), task.cancelled)
            return _collect(task, _ask(task, session), fed)
        finally:
            session.close()


def _opening(task: UpdateTask, session: Session) -> list[int]:
    """Instruction, examples and (where the chat does not show it) the memory, up to the first real message."""
    engine, prompts = task.engine, task.prompts
    if task.session is not None:
        ids = [*session.ids, *engine.render_next(prompts.edits())]
    else:
        ids = engine.render([prompts.edits()])
    ids += engine.tokenize(READY)
    for message, reply in prompts.edits_examples():
        ids += [*engine.render_next(message), *engine.tokenize(reply)]
    if task.session is None:
        ids += [*engine.render_next(prompts.edits_memory(prompt_view(task.memory.lines))), *engine.tokenize(READY)]
    return ids


def _ask(task: UpdateTask, session: Session) -> list[tuple[Turn, Generation]]:
    constraint = EditConstraint(line.id for line in task.memory.lines if not line.protected)
    users = [turn for turn in task.turns if turn.role == "user"]
    branches = [
        Branch(session, tuple(_message(task.engine, task.prompts, turn)), REPLY_TOKENS, task.sampling, (), constraint)
        for turn in users
    ]
    return list(zip(users, task.engine.generate_many(branches, task.cancelled), strict=True))


def _message(engine: Engine, prompts: Prompts, turn: Turn) -> list[int]:
    said = with_absolute_dates(turn.text, turn.time.astimezone().date())
    return engine.render_next(prompts.edits_message(said))


def _collect(task: UpdateTask, replies: Sequence[tuple[Turn, Generation]], fed: Stats) -> Proposal:
    operations: list[Operation] = []
    stats = Stats(fed.prompt_tokens, fed.cached_tokens, first_token_s=fed.first_token_s, total_s=fed.first_token_s)
    usable = not replies
    for turn, generation in replies:
        one = generation.stats
        if one.stop_reason == "cancelled":
            raise Cancelled("the memory update was stopped", "the chat will be learned at the next start")
        text = without_thinking(generation.text)
        whole = text if one.stop_reason != "length" else text.rpartition("\n")[0]
        found = parse_edits(whole, task.memory.lines)
        usable = usable or found is not None
        operations += [replace(operation, sources=(turn.id,)) for operation in found or ()]
        stats = Stats(
            stats.prompt_tokens + one.prompt_tokens - one.cached_tokens,
            stats.cached_tokens,
            stats.output_tokens + one.output_tokens,
            first_token_s=stats.first_token_s,
            total_s=max(stats.total_s, fed.first_token_s + one.total_s),
            stop_reason=one.stop_reason,
        )
    said = "\n".join(generation.text for _, generation in replies)
    if not usable:
        raise UpdateFailed(
            f"the model's update could not be used: {said[:80]!r}", "it stays pending: edgemem memory update"
        )
    return Proposal(tuple(operations), said, stats)
