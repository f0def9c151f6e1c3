"""The naive way, for comparison: a fresh prompt asks for the whole memory, and the reply replaces it as it is.

No checker, no second try, no budget but the length of the reply. Lines that the model leaves out are gone, and a
reply without points empties the memory. Pinned lines fare no better.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from edgemem.assistant import Assistant, UpdateReport
from edgemem.memory.edits import parse_memory
from edgemem.memory.lines import Memory
from edgemem.policies import CHUNK_TOKENS
from edgemem.prompting.think import without_thinking
from edgemem.values import GREEDY, Operation, Revision, Stats, Turn

TURN_TOKENS = 8  # what a chat template adds to a turn, about
REST_TOKENS = 700  # rules and headings of the prompt


def remember_naively(assistant: Assistant) -> UpdateReport:
    """Learn what is pending, the naive way. As `Assistant.remember`, but nothing is ever set aside."""
    started = time.perf_counter()
    revisions: list[Revision] = []
    stats, folded = Stats(), 0
    with assistant.store.learning():
        for group in assistant.store.pending():
            for turns in _parts(assistant, group):
                revision = _rewrite(assistant, turns)
                revisions.append(revision)
                stats = stats.plus(revision.stats)
                folded += sum(turn.role == "user" for turn in turns)
    seconds = time.perf_counter() - started
    return UpdateReport(tuple(revisions), folded, assistant.memory_tokens(), seconds, stats)


def _rewrite(assistant: Assistant, turns: Sequence[Turn]) -> Revision:
    memory = assistant.store.read()
    reply, stats = _ask(assistant, memory, turns)
    kept = [Operation("add", section=section, text=text) for section, text in parse_memory(reply)]
    return assistant.store.commit(
        [*(Operation("delete", line.id) for line in memory.lines), *kept],
        base=memory,
        cause="overwrite",
        folded=[turn.id for turn in turns if turn.role == "user"],
        policy="naive",
        model_digest=assistant.engine.info.digest,
        prompt_digest=assistant.prompts.digest,
        stats=stats,
    )


def _ask(assistant: Assistant, memory: Memory, turns: Sequence[Turn]) -> tuple[str, Stats]:
    listed = "\n".join(f"- [{line.section}] {line.text}" for line in memory.lines)
    message = assistant.prompts.overwrite(listed, turns, turns[-1].time, assistant.budget_tokens)
    session = assistant.engine.open()
    try:
        session.feed(assistant.engine.render([message]))
        room = assistant.engine.info.context_tokens - len(session.ids)
        pieces = list(session.generate(min(assistant.budget_tokens, room), GREEDY))
    finally:
        session.close()
    stats = pieces[-1].stats
    assert stats is not None
    return without_thinking("".join(piece.text for piece in pieces)), stats


def _parts(assistant: Assistant, turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """Turns in parts of at most CHUNK_TOKENS, or less where the context is small; a part ends before a user turn."""
    limit = min(CHUNK_TOKENS, assistant.engine.info.context_tokens - 2 * assistant.budget_tokens - REST_TOKENS)
    part: list[Turn] = []
    size = 0
    for turn in turns:
        tokens = assistant.engine.count(turn.text) + TURN_TOKENS
        if part and turn.role == "user" and size + tokens > limit:
            yield part
            part, size = [], 0
        part.append(turn)
        size += tokens
    if part:
        yield part
