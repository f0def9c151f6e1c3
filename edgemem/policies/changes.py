"""Which lines of the memory a chat has overtaken: facts that changed, and what the user asks to forget.

Lines and sentences that share a word of meaning, or a topic people change their mind about (home, job, partner ...),
are shown to the model side by side; one look at `yes` against `no` decides. For a sentence that overtakes none of
those and has words of change, the line that it makes likeliest to be named (`outdated`) is taken where it leads the
others by far. Nothing is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from edgemem.memory import wording
from edgemem.memory.mentions import nearness
from edgemem.memory.sentences import MAX_CHARS, Sentence
from edgemem.memory.words import content_words
from edgemem.policies.base import UpdateTask
from edgemem.policies.examples import margins, opened
from edgemem.policies.outdated import Likely, likeliest
from edgemem.values import Line, Stats

CHANGED_LOG_ODDS = -0.2
"""A line is overtaken when `yes` is likelier than `no` by this (or hardly less likely). A card's threshold `changed`
replaces it."""
FORGETTING = 1.3  # the words of such a request are plain; small models are slow to say yes to them
RESTATED_LOG_ODDS = 0.3
"""The same where no word of change stands in the sentence: it must be on the very thing, and be kept itself."""
NEAR = 0.2  # nearness of a line that is worth a look
SAME_THING = 0.6  # nearness of a line that a sentence says anew: more than one word of two (an allergy, a menu)
OUTDATED_GAIN = 6.0
"""Nats by which a sentence must make a line likelier, where words in common do not tell. A card's threshold `outdated`
replaces it."""
LEAD = 3.0
"""Nats by which that line must lead every other one. A lead of 4 without words of change would find more of the set
`changes`, but in 60 chats of one user it lost 5 of 22 facts that hold."""
COMPANY = 8
"""Lines among which a lead means something; the set has 13. Among fewer the gain decides alone."""
LESS_WITHOUT_COMPANY = 1.0
"""Nats of gain. Among three lines of that set (drawn 20 times) a gain of 5 finds 44 % of the lines overtaken and 2 % of
the others, where 8 finds 28 % and 2 %."""
LINES_PER_SENTENCE = 3
MOST_PAIRS = 64  # about 2,500 tokens to read: an update must not grow with the memory


@dataclass(frozen=True)
class Change:
    """`sentence` says that `line` no longer holds, asks to forget it, or (`only_replaces`) says it anew or shares no
    word with it: then the line only ever makes room for what the sentence says."""

    line: Line
    sentence: Sentence
    log_odds: float
    only_replaces: bool = False


def changes(
    task: UpdateTask,
    sentences: Sequence[Sentence],
    least: float = CHANGED_LOG_ODDS,
    gain: float | None = OUTDATED_GAIN,
) -> tuple[list[Change], Stats]:
    """The lines that `sentences` overtake, each with the sentence that says so most clearly; and what it cost.

    `gain` None: only lines with words in common are looked at.
    """
    lines = [line for line in task.memory.lines if not line.protected]
    if not lines:
        return [], Stats()
    near, stats = _near_ones(task, lines, sentences, least)
    done = {id(one.sentence) for one in near}
    open_ones = [one for one in sentences if _tells(one) and _speaks_of_change(one) and id(one) not in done]
    far, cost = ([], Stats()) if gain is None else _far_ones(task, lines, open_ones, gain)
    best: dict[int, Change] = {}
    for change in (*near, *far):  # where words in common told, that stands
        known = best.get(change.line.id)
        if known is None or (change.log_odds > known.log_odds and not change.only_replaces):
            best[change.line.id] = change
    return list(best.values()), stats.plus(cost)


def _near_ones(
    task: UpdateTask, lines: Sequence[Line], sentences: Sequence[Sentence], least: float
) -> tuple[list[Change], Stats]:
    pairs = candidates(lines, sentences)
    if not pairs:
        return [], Stats()
    with opened(task, task.prompts.changes()) as (session, fed):
        texts = [task.prompts.changes_question(line.text, _in_context(sentence)) for line, sentence in pairs]
        looks, cost = margins(task, session, texts, ("yes", "no"))
    found = []
    for (line, sentence), odds in zip(pairs, looks, strict=True):
        restated = not _speaks_of_change(sentence)
        if odds > (RESTATED_LOG_ODDS if restated else least - FORGETTING * sentence.forgets):
            found.append(Change(line, sentence, odds, restated))
    return found, fed.plus(cost)


def _far_ones(
    task: UpdateTask, lines: Sequence[Line], sentences: Sequence[Sentence], gain: float
) -> tuple[list[Change], Stats]:
    nearest = {line.id: max((_near(line.text, one) for one in sentences), default=0.0) for line in lines}
    ordered = sorted(lines, key=lambda line: (-nearest[line.id], -line.id))
    likely, stats = likeliest(task, ordered, [_in_context(one) for one in sentences])
    found = [
        Change(one.line, sentence, one.gain, only_replaces=not sentence.forgets)
        for one, sentence in zip(likely, sentences, strict=True)
        if one is not None and _stands_out(one, gain, among=len(lines))
    ]
    return found, stats


def _stands_out(likely: Likely, gain: float, *, among: int) -> bool:
    """Whether the line gains enough by the sentence and, `among` so many lines, leads the others by enough."""
    if among < COMPANY:
        return likely.gain > gain - LESS_WITHOUT_COMPANY
    return likely.gain > gain and likely.lead > LEAD


def _speaks_of_change(sentence: Sentence) -> bool:
    return sentence.changes or sentence.forgets


def _tells(sentence: Sentence) -> bool:
    """Whether the user says it, and does not quote, imagine or ask it."""
    return not (sentence.quoted or sentence.imagines or (sentence.asks and not sentence.forgets))


def candidates(lines: Sequence[Line], sentences: Sequence[Sentence]) -> list[tuple[Line, Sentence]]:
    """Pairs worth a look, for each sentence the nearest lines; the newest sentences first. A sentence with words of
    change or forgetting may be about any line it comes near, another statement only about the very same thing."""
    pairs: list[tuple[Line, Sentence]] = []
    for sentence in reversed(sentences):
        if not _tells(sentence):
            continue
        near, least = (_near, NEAR) if _speaks_of_change(sentence) else (_nearness, SAME_THING)
        found = [(near(line.text, sentence), line) for line in lines]
        found = sorted((one for one in found if one[0] >= least), key=lambda one: -one[0])
        pairs += [(line, sentence) for _, line in found[:LINES_PER_SENTENCE]]
    return pairs[:MOST_PAIRS]


def _near(line: str, sentence: Sentence) -> float:
    """Nearness of a line to a sentence; 1 where both are on a topic of which a person has one state at a time."""
    if topics(line) & topics(sentence.text):
        return 1.0
    return _nearness(line, sentence)


def _nearness(line: str, sentence: Sentence) -> float:
    return nearness(line, content_words(_in_context(sentence)))


@lru_cache(maxsize=512)  # a full memory's lines and a chat's sentences: every pair is looked at
def topics(text: str) -> frozenset[str]:
    """Topics of which a person has one at a time, found in the text."""
    return frozenset(name for name, pattern in wording.TOPICS.items() if pattern.search(text))


def _in_context(sentence: Sentence) -> str:
    """The sentence, after the one before it where it is too short to stand alone (and that one not a pasted text)."""
    short = len(sentence.text.split()) < 6 and 0 < len(sentence.before) <= MAX_CHARS
    return f"{sentence.before} {sentence.text}" if short else sentence.text
