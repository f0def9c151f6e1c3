"""What a person asks to forget in a chat ("please forget that I see a therapist"), and what said it before. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import log

from edgemem.memory import wording
from edgemem.memory.sentences import Sentence, sentences_of
from edgemem.memory.words import STEM_CHARS, all_stems, content_words, names_in, told_names_in, whole_names_in
from edgemem.values import Line, Turn

_END = re.compile(r"[.!?;\n]+")
_OF_A_TEXT = re.compile(
    r"^(delete|erase|remove|drop|strike|scratch|take|lösch|streich|entfern|nimm|borra|elimin|suprim|quita|saca|effac"
    r"|supprim|enlèv|enlev|retir|ray)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[\s,]*\b(that|dass|daß|que|qu)\b['’]?", re.IGNORECASE)
"""Behind the words of forgetting: then the thing itself is said (`forget that I row`), no topic named."""
SAME_SHARE = 0.75
"""Share of the words of a request that a line or message must have (or of a line's words, that the request has)."""
TOPIC_WORDS = 8
"""A sentence with more words of meaning tells a story of its own."""
TOPIC_SHARE = 0.5
"""Of the words that name a topic, weighted by how rare they are, so much must stand in a message about it. Of 30
topics of MemoryCtrl it finds 29, with 28 of 319 other messages (docs/log.md, 2026-11-28)."""


class Rarity:
    """How much a word says about which text is meant: the fewer of `texts` have it, the more."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        known = [_bare(content_words(text)) for text in texts]
        self._texts = len(known)
        self._with = Counter(stem for stems in known for stem in stems)

    def of(self, stems: Iterable[str]) -> float:
        """The weight of these stems together."""
        return sum(log(1 + (1 + self._texts) / (1 + self._with[stem])) for stem in stems)


@dataclass(frozen=True)
class ForgetRequest:
    """`about` are the stems of what is to be forgotten; none where it is only `that`. Of a `topic` they are its name
    (`everything I told you about the kitchen`), else what is said itself."""

    turn: Turn
    about: frozenset[str]
    names: frozenset[str]
    topic: bool = False

    def means(self, text: str, rarity: Rarity | None = None) -> bool:
        """Whether a sentence of `text` says what is to be forgotten (a long text has any words somewhere), or the text
        is about the topic, where words count by their `rarity` (None: all alike)."""
        if self.topic:
            weight = (rarity or Rarity()).of
            return bool(self.about) and weight(self.about & _bare(content_words(text))) >= TOPIC_SHARE * weight(
                self.about
            )
        return any(self._said_in(part) for part in _END.split(text))

    def _said_in(self, sentence: str) -> bool:
        words = _bare(content_words(sentence))
        shared = len(words & self.about)
        return bool(shared) and (shared >= SAME_SHARE * len(self.about) or shared >= max(2, SAME_SHARE * len(words)))


def forget_requests(turns: Sequence[Turn]) -> list[ForgetRequest]:
    """The requests among the user turns; quoted, asked and imagined ones are none, nor is what may be about a text
    (`delete the part about my trip`): erasing cannot be undone, so such a request only takes the line out."""
    made = [_asked(sentence) for sentence in sentences_of(turns) if not (sentence.quoted or sentence.imagines)]
    return [one for one in made if one is not None]


def _asked(sentence: Sentence) -> ForgetRequest | None:
    whole = sentence.whole or sentence.text
    phrase = wording.FORGET.search(sentence.text) if sentence.forgets else None
    topic = None if tells_what(sentence) else _topic(sentence.turn, whole)
    only_asks = sentence.asks and not (topic and wording.POLITE.search(whole))
    if topic and not only_asks and (phrase or _erases_what_was_told(whole)):
        return topic
    if phrase is None or only_asks or (_OF_A_TEXT.match(phrase.group()) and topic is None):
        return None
    return _request(sentence.turn, sentence.text[phrase.end() :])


def tells_what(sentence: Sentence) -> bool:
    """Whether it asks to forget the very thing that it says (`forget that I row`)."""
    phrase = wording.FORGET.search(sentence.text) if sentence.forgets else None
    if phrase is None:
        return False
    return bool(_CLAUSE.search(phrase.group()) or _CLAUSE.match(sentence.text[phrase.end() :]))


def _erases_what_was_told(text: str) -> bool:
    return bool(wording.ERASING.search(text) and wording.TOLD.search(text))


def _request(turn: Turn, about: str) -> ForgetRequest:
    return ForgetRequest(turn, _bare(content_words(about)), frozenset(names_in(f"that {about}")))


def _topic(turn: Turn, text: str) -> ForgetRequest | None:
    """The request for all that was said about something; None where it is for one thing, or names nothing that could
    be the name of a topic."""
    if not wording.ALL_OF_IT.search(text):
        return None
    about = content_words(text) - {word[:STEM_CHARS] for word in wording.TALK_WORDS}
    named = ForgetRequest(turn, _bare(about), frozenset(names_in(text) & about), topic=True)
    return named if 0 < len(about) <= TOPIC_WORDS else None


def lines_meant(requests: Iterable[ForgetRequest], lines: Iterable[Line], said: Iterable[Turn] = ()) -> set[int]:
    """Ids of the lines that the requests mean; `said` tells which words are rare."""
    asked, known = list(requests), list(lines)
    rarity = Rarity([*_told(said), *(line.text for line in known)])
    return {line.id for line in known if any(request.means(line.text, rarity) for request in asked)}


def _told(turns: Iterable[Turn]) -> list[str]:
    return [turn.text for turn in turns if turn.role == "user"]


def turns_meant(requests: Iterable[ForgetRequest], turns: Iterable[Turn]) -> set[int]:
    """Ids of the turns that said it before a request, of the requests, and of answers that repeat it: one counts where
    it has the names of the request, or a name or number that the user told in those turns only. Losing an answer loses
    no fact."""
    asked = [request for request in requests if request.about]
    earlier = list(turns)
    rarity = Rarity(_told(earlier))
    said = {
        turn.id for request in asked for turn in earlier if turn.id < request.turn.id and _said(request, turn, rarity)
    }
    going = said | {request.turn.id for request in asked}
    private = _names(turn for turn in earlier if turn.id in said and turn.role == "user")
    private -= _names(turn for turn in earlier if turn.id not in going and turn.role == "user")
    answers = [turn for turn in earlier if turn.role == "assistant"] if private else []
    return going | {turn.id for turn in answers if private & whole_names_in(turn.text)}


def _names(turns: Iterable[Turn]) -> set[str]:
    return {name for turn in turns for name in told_names_in(turn.text)}


def _said(request: ForgetRequest, turn: Turn, rarity: Rarity) -> bool:
    """An answer is about a topic by the message it answers, or because it has its names: long texts have any words."""
    echoes = turn.role == "assistant" and bool(request.names) and request.names <= all_stems(turn.text)
    return echoes or (request.means(turn.text, rarity) if turn.role == "user" or not request.topic else False)


def _bare(stems: Iterable[str]) -> frozenset[str]:
    """Stems without a last s: `see` and `sees` meet."""
    return frozenset(stem.rstrip("s") or stem for stem in stems)


def said_anew(text: str, turns: Sequence[Turn], forgotten: datetime) -> bool:
    """Whether a turn after `forgotten` says `text` plainly, or asks to remember it; a mention in a question, a task or
    a quotation does not count."""
    words = content_words(text)
    for sentence in sentences_of(turns):
        shared = len(words & content_words(sentence.text))
        plainly = (sentence.plain or sentence.keep) and sentence.prior() is not None
        only_tells = not (sentence.asks or sentence.orders or sentence.near_forget)
        if sentence.turn.time > forgotten and plainly and only_tells and shared >= SAME_SHARE * max(1, len(words)):
            return True
    return False
