"""Which lines of the memory a chat has overtaken: facts that changed, and what the user asks to forget.

Lines and sentences that share a word of meaning, or a topic people change their mind about (home, job, partner ...),
are shown to the model side by side; one look at `yes` against `no` decides. Nothing is generated.
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
from edgemem.values import Line, Stats

CHANGED_LOG_ODDS = -0.2
"""A line is overtaken when `yes` is likelier than `no` by this (or hardly less likely). A card's threshold `changed`
replaces it."""
FORGETTING = 1.3  # the words of such a request are plain; small models are slow to say yes to them
RESTATED_LOG_ODDS = 0.3
"""The same where no word of change stands in the sentence: it must be on the very thing, and be kept itself."""
NEAR = 0.2  # nearness of a line that is worth a look
SAME_THING = 0.6  # nearness of a line that a sentence says anew: more than one word of two (an allergy, a menu)
LINES_PER_SENTENCE = 3
MOST_PAIRS = 64  # about 2,500 tokens to read: an update must not grow with the memory


@dataclass(frozen=True)
class Change:
    """`sentence` says that `line` no longer holds, asks to forget it, or (`restated`) says it anew: then the line is
    only ever replaced by what the sentence says."""

    line: Line
    sentence: Sentence
    log_odds: float

    @property
    def restated(self) -> bool:
        return not (self.sentence.changes or self.sentence.forgets)


def changes(
    task: UpdateTask, sentences: Sequence[Sentence], least: float = CHANGED_LOG_ODDS
) -> tuple[list[Change], Stats]:
    """The lines that `sentences` overtake, each with the sentence that says so most clearly; and what it cost."""
    pairs = candidates([line for line in task.memory.lines if not line.protected], sentences)
    if not pairs:
        return [], Stats()
    with opened(task, task.prompts.changes()) as (session, fed):
        texts = [task.prompts.changes_question(line.text, _in_context(sentence)) for line, sentence in pairs]
        looks, cost = margins(task, session, texts, ("yes", "no"))
    best: dict[int, Change] = {}
    for (line, sentence), odds in zip(pairs, looks, strict=True):
        change = Change(line, sentence, odds)
        enough = RESTATED_LOG_ODDS if change.restated else least - FORGETTING * sentence.forgets
        if odds > enough and (line.id not in best or odds > best[line.id].log_odds):
            best[line.id] = change
    return list(best.values()), fed.plus(cost)


def candidates(lines: Sequence[Line], sentences: Sequence[Sentence]) -> list[tuple[Line, Sentence]]:
    """Pairs worth a look, for each sentence the nearest lines; the newest sentences first. A sentence with words of
    change or forgetting may be about any line it comes near, another statement only about the very same thing."""
    pairs: list[tuple[Line, Sentence]] = []
    for sentence in reversed(sentences):
        if sentence.quoted or sentence.imagines or (sentence.asks and not sentence.forgets):
            continue
        near, least = (_near, NEAR) if sentence.forgets or sentence.changes else (_nearness, SAME_THING)
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
