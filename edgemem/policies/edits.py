"""The `edits` policy: ask for a few edit commands, as the next turn of the chat just held.

The chat's KV is reused, so only the instruction and the commands cost anything. When the chat is not in the cache
any more, the same question is asked from a fresh prompt with the conversation inside.
"""

from __future__ import annotations

from edgemem.engines.base import Session
from edgemem.errors import Cancelled, UpdateFailed
from edgemem.memory.edits import parse_edits
from edgemem.memory.lines import prompt_view
from edgemem.memory.pattern import EditConstraint
from edgemem.policies.base import Proposal, UpdateTask
from edgemem.prompting.think import without_thinking

REPLY_TOKENS = 400  # 12 commands of about 30 tokens


class EditsPolicy:
    """See the module."""

    name = "edits"

    def propose(self, task: UpdateTask) -> Proposal:
        session = task.session.fork() if task.session is not None else task.engine.open()
        try:
            return self._ask(task, session)
        finally:
            session.close()

    def _ask(self, task: UpdateTask, session: Session) -> Proposal:
        if task.session is not None:
            request = task.engine.render_next(task.prompts.edits(task.when))
            session.feed([*session.ids, *request])
        else:
            view = prompt_view(task.memory.lines)
            session.feed(task.engine.render([task.prompts.edits_fresh(task.turns, task.when, view)]))
        constraint = EditConstraint(line.id for line in task.memory.lines if not line.protected)
        pieces = list(
            session.generate(REPLY_TOKENS, task.sampling, constraint=constraint, cancelled=task.cancelled)
        )
        stats = pieces[-1].stats
        assert stats is not None
        if stats.stop_reason == "cancelled":
            raise Cancelled("the memory update was stopped", "the chat will be learned at the next start")
        reply = without_thinking("".join(piece.text for piece in pieces))
        whole = reply if stats.stop_reason != "length" else reply.rpartition("\n")[0]
        operations = parse_edits(whole, task.memory.lines)
        if operations is None:
            raise UpdateFailed(
                f"the model's update could not be used: {reply[:80]!r}", "it stays pending: edgemem memory update"
            )
        return Proposal(tuple(operations), reply, stats)
