"""Which lines of the memory a chat has overtaken: facts that changed, and what the user asks to forget.

Lines and sentences that share a word of meaning, or a topic people change their mind about (home, job, partner ...),
are shown to the model side by side; one look at `yes` against `no` decides. Nothing is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
NEAR = 0.2  # nearness of a line that is worth a look
LINES_PER_SENTENCE = 3
MOST_PAIRS = 64  # about 2,500 tokens to read: an update must not grow with the memory


@dataclass(frozen=True)
class Change:
    """`sentence` says that `line` no longer holds, or asks to forget it."""

    line: Line
    sentence: Sentence
    log_odds: float


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
        if odds > least - FORGETTING * sentence.forgets and (line.id not in best or odds > best[line.id].log_odds):
            best[line.id] = Change(line, sentence, odds)
    return list(best.values()), fed.plus(cost)


def candidates(lines: Sequence[Line], sentences: Sequence[Sentence]) -> list[tuple[Line, Sentence]]:
    """Pairs worth a look: a sentence with words of change or forgetting, and the lines it may be about, nearest
    first; the newest sentences first."""
    pairs: list[tuple[Line, Sentence]] = []
    for sentence in reversed(sentences):
        tells = sentence.forgets or (sentence.changes and not sentence.asks)
        if sentence.quoted or sentence.imagines or not tells:
            continue
        near = [(_near(line.text, sentence), line) for line in lines]
        near = sorted((one for one in near if one[0] >= NEAR), key=lambda one: -one[0])
        pairs += [(line, sentence) for _, line in near[:LINES_PER_SENTENCE]]
    return pairs[:MOST_PAIRS]


def _near(line: str, sentence: Sentence) -> float:
    """Nearness of a line to a sentence; 1 where both are on a topic of which a person has one state at a time."""
    if topics(line) & topics(sentence.text):
        return 1.0
    return nearness(line, content_words(_in_context(sentence)))


def topics(text: str) -> set[str]:
    """Topics of which a person has one at a time, found in the text."""
    return {name for name, pattern in wording.TOPICS.items() if pattern.search(text)}


def _in_context(sentence: Sentence) -> str:
    """The sentence, after the one before it where it is too short to stand alone (and that one not a pasted text)."""
    short = len(sentence.text.split()) < 6 and 0 < len(sentence.before) <= MAX_CHARS
    return f"{sentence.before} {sentence.text}" if short else sentence.text
