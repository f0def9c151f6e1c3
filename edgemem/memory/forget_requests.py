"""What a person asks to forget in a chat ("please forget that I see a therapist"), and what said it before. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from edgemem.memory import wording
from edgemem.memory.sentences import sentences_of
from edgemem.memory.words import all_stems, content_words, names_in
from edgemem.values import Line, Turn

_END = re.compile(r"[.!?;\n]+")
_OF_A_TEXT = re.compile(
    r"^(delete|erase|remove|drop|strike|scratch|take|lösch|streich|entfern|nimm|borra|elimin|suprim|quita|saca|effac"
    r"|supprim|enlèv|enlev|retir|ray)",
    re.IGNORECASE,
)
_ALL_OF_IT = re.compile(
    r"\b(everything|all|what|anything|alles|was|todo|toda|lo que|tout|toute|ce que|ce qui|memory|memoria|mémoire"
    r"|gedächtnis)\b",
    re.IGNORECASE,
)
SAME_SHARE = 0.75
"""Share of the words of a request that a line or message must have (or of a line's words, that the request has)."""


@dataclass(frozen=True)
class ForgetRequest:
    """`about` are the stems of what is to be forgotten; none where it is only `that`."""

    turn: Turn
    about: frozenset[str]
    names: frozenset[str]

    def means(self, text: str) -> bool:
        """Whether a sentence of `text` says what is to be forgotten: a long text has any words somewhere."""
        return any(self._said_in(part) for part in _END.split(text))

    def _said_in(self, sentence: str) -> bool:
        words = _bare(content_words(sentence))
        shared = len(words & self.about)
        return bool(shared) and (shared >= SAME_SHARE * len(self.about) or shared >= max(2, SAME_SHARE * len(words)))


def forget_requests(turns: Sequence[Turn]) -> list[ForgetRequest]:
    """The requests among the user turns; quoted, asked and imagined ones are none, nor is what may be about a text
    (`delete the part about my trip`): erasing cannot be undone, so such a request only takes the line out."""
    found = []
    for sentence in sentences_of(turns):
        if sentence.forgets and not (sentence.quoted or sentence.asks or sentence.imagines):
            phrase = wording.FORGET.search(sentence.text)
            if phrase and _OF_A_TEXT.match(phrase.group()) and not _ALL_OF_IT.search(sentence.text):
                continue
            about = sentence.text[phrase.end() :] if phrase else ""
            names = names_in(f"that {about}")
            found.append(ForgetRequest(sentence.turn, _bare(content_words(about)), frozenset(names)))
    return found


def lines_meant(requests: Iterable[ForgetRequest], lines: Iterable[Line]) -> set[int]:
    """Ids of the lines that the requests mean."""
    asked = list(requests)
    return {line.id for line in lines if any(request.means(line.text) for request in asked)}


def turns_meant(requests: Iterable[ForgetRequest], turns: Iterable[Turn]) -> set[int]:
    """Ids of the turns that said it before a request, and of the requests. An answer counts as an echo when it has
    the names of the request, too: losing it loses no fact."""
    asked = [request for request in requests if request.about]
    earlier = list(turns)
    said = {turn.id for request in asked for turn in earlier if turn.id < request.turn.id and _said(request, turn)}
    return said | {request.turn.id for request in asked}


def _said(request: ForgetRequest, turn: Turn) -> bool:
    echoes = turn.role == "assistant" and bool(request.names) and request.names <= all_stems(turn.text)
    return echoes or request.means(turn.text)


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
