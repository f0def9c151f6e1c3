"""The line that a sentence makes likely to be named as out of date, whatever words it is said in. Nothing is generated.

After some examples the model is shown what the user says, and the log-probability of each line as the answer is
compared with that after a sentence that tells nothing: the gain is pointwise mutual information (nats). Words in
common do not matter: `I passed the test!` overtakes `Does not drive`. On the half of our own chats that is for tuning
the line is first or second of 13 for 19 of 20 changes; yes or no about each pair tells them apart hardly better than
chance (AUC 0.58; docs/log.md, 2026-11-25). How far a line leads the next one tells more than its gain (AUC 0.71
against 0.66 on the set `changes`): a sentence that makes every line likelier overtakes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgemem.engines.base import Question, Session
from edgemem.memory.words import language_of
from edgemem.policies.base import UpdateTask, stop_if_cancelled
from edgemem.policies.examples import opened
from edgemem.prompting.prompts import OUTDATED
from edgemem.values import Line, Stats

MOST_TOKENS = 600  # of lines that are looked at, about 40 lines
MOST_SENTENCES = 4
"""The newest; with one that tells nothing that is 3,000 tokens to read at most: an update must not grow with the
memory."""
THANKS = {
    "en": "Thanks, that was helpful.",
    "de": "Danke, das hat geholfen.",
    "es": "Gracias, me ha servido.",
    "fr": "Merci, ça m'a aidé.",
}
"""A sentence that tells nothing, in the user's language: in another one every line would gain by the language."""
LINE_TOKENS = 24  # the first tokens of a line tell what it is about


@dataclass(frozen=True, slots=True)
class Likely:
    """The line that gains most by a sentence, the gain, and how far it leads the line that gains second most (nats)."""

    line: Line
    gain: float
    lead: float


def likeliest(task: UpdateTask, lines: Sequence[Line], said: Sequence[str]) -> tuple[list[Likely | None], Stats]:
    """For each text of `said` the line that gains most by it; None for what was not looked at.

    `lines` come in the order in which they are to be looked at where there is no room for all.
    """
    options = _options(task, lines)
    looked_at = list(said)[-MOST_SENTENCES:]
    if not options or not looked_at:
        return [None] * len(said), Stats()
    asked = [_asked(task, text) for text in (THANKS[language_of(" ".join(said))], *looked_at)]
    with opened(task, task.prompts.outdated()) as (session, fed):
        plain, *scored = [_scores(task, session, text, options) for text in asked]
        held = len(session.ids)
    found: list[Likely | None] = [None] * (len(said) - len(looked_at))
    for scores in scored:
        gains = [score - before for score, before in zip(scores, plain, strict=True)]
        best = max(range(len(gains)), key=gains.__getitem__)
        second = max((gain for at, gain in enumerate(gains) if at != best), default=gains[best])
        found.append(Likely(lines[best], gains[best], gains[best] - second))
    read = sum(map(len, asked)) + len(asked) * sum(map(len, options))
    return found, fed.plus(Stats(held + read, held))


def _options(task: UpdateTask, lines: Sequence[Line]) -> list[tuple[int, ...]]:
    options: list[tuple[int, ...]] = []
    room = MOST_TOKENS
    for line in lines:
        option = tuple(task.engine.tokenize(line.text)[:LINE_TOKENS])
        room -= len(option)
        if room < 0:
            break
        options.append(option)
    return options


def _scores(
    task: UpdateTask, session: Session, asked: tuple[int, ...], options: Sequence[tuple[int, ...]]
) -> list[float]:
    stop_if_cancelled(task)
    (scores,) = task.engine.score_many([Question(session, asked, tuple(options))])
    return scores


def _asked(task: UpdateTask, text: str) -> tuple[int, ...]:
    return (*task.engine.render_next(task.prompts.outdated_question(text)), *task.engine.tokenize(OUTDATED))
