"""A fixed prompt of examples in front of many short questions: computed once, then read from disk.

The examples of a policy are the same for every user and chat, so their KV is kept in the cache folder (named by model
and prompt, bounded in size, safe to delete) and an update begins at its first question, not with 900 tokens to read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from edgemem.engines.base import Question, Session
from edgemem.kv_files import kv_name, make_room, note_use
from edgemem.policies.base import UpdateTask, stop_if_cancelled
from edgemem.values import Message, Stats

AT_ONCE = 32  # questions between two looks at whether to stop: about 1,000 tokens to read


@contextmanager
def opened(task: UpdateTask, messages: Sequence[Message]) -> Iterator[tuple[Session, Stats]]:
    """A session that holds the chat of `messages`, which ends with an answer, and what that cost."""
    *asked, answer = messages
    engine = task.engine
    ids = (*engine.render(asked), *engine.tokenize(answer.content))
    session = engine.open()
    try:
        path = task.cache / kv_name(engine.info, ids) if task.cache else None
        known = path is not None and session.load(path) and session.ids == ids
        stats = session.feed(ids, task.cancelled)
        if path is not None and known:
            note_use(path)
        elif path is not None:
            with suppress(OSError):  # no space, read-only: it is only a cache
                session.save(path)
            make_room(path.parent, path)
        yield session, stats
    finally:
        session.close()


def margins(
    task: UpdateTask, session: Session, messages: Sequence[Message], options: tuple[str, str]
) -> tuple[list[float], Stats]:
    """For each of `messages` as the next one: log-probability that the answer begins like the first option, less that
    of the second. Only the options' first tokens are compared, so nothing is generated."""
    scores, stats = looks(task, session, messages, options)
    return [first - second for first, second in scores], stats


def looks(
    task: UpdateTask, session: Session, messages: Sequence[Message], options: Sequence[str], begun: str = ""
) -> tuple[list[list[float]], Stats]:
    """For each of `messages` as the next one and an answer that has `begun` so: log-probability of the first token in
    which each option goes on."""
    engine = task.engine
    begin = tuple(engine.tokenize(begun)) if begun else ()
    firsts = tuple((engine.tokenize(begun + option)[len(begin)],) for option in options)
    suffixes = [(*engine.render_next(message), *begin) for message in messages]
    questions = [Question(session, suffix, firsts) for suffix in suffixes]
    scores: list[list[float]] = []
    while len(scores) < len(questions):
        stop_if_cancelled(task)
        scores += engine.score_many(questions[len(scores) : len(scores) + AT_ONCE])
    tokens = sum(map(len, suffixes))
    held = len(session.ids)
    return scores, Stats(tokens + held, held)
