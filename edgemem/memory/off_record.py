"""Whether a message asks that what it tells is not kept ("off the record", "no need to note that"). Pure.

By its words alone: it is asked before the message is written anywhere, with or without a model.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from edgemem.memory import wording
from edgemem.memory.forget_requests import forget_requests, tells_what
from edgemem.memory.sentences import Sentence, sentences_of
from edgemem.memory.splitting import split
from edgemem.values import Turn

_MARKS = "\"'“”„‚‘’«»‹›`"
_TAG = re.compile(r",\s*¿?[\w'’]+(\s\w+)?\s*\?$")
"""`..., ok?` and `..., all right?` ask nothing."""
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def off_record(text: str) -> bool:
    """Whether the user asks not to keep this message. A quoted wish is none, nor is a question; one that
    names what was told before (`don't keep my old address`) is a request to forget, and stays to be carried out.
    What is to be forgotten after the answer (`forget the code when you're done`) is told here, not before."""
    sentences = sentences_of([_turn(text)])
    wishes = [one for one in (*sentences, *sentences_of([_turn(_last_sentence(text))])) if _wishes(one)]
    of_this = {_whole(one) for one in wishes if wording.AFTERWARDS.search(_whole(one)) and not tells_what(one)}
    others = " ".join(_whole(one) for one in sentences if _whole(one) not in of_this)
    return bool(wishes) and not any(one.about for one in forget_requests([_turn(others)]))


def _turn(text: str) -> Turn:
    return Turn(0, 0, "user", text, _NEVER)


def _last_sentence(text: str) -> str:
    """What follows a text to work on ends a message as often as not; "" where it stands in quotation marks."""
    last = (split(text) or [""])[-1].strip()
    return "" if not last or last[0] in _MARKS or last[-1] in _MARKS else last


def _whole(sentence: Sentence) -> str:
    """The sentence with its task: the wish may stand there (`don't note this please, but I got fired`)."""
    return sentence.whole or sentence.text


def _wishes(sentence: Sentence) -> bool:
    text = _whole(sentence)
    only_asks = sentence.asks and not (wording.POLITE.search(text) or _TAG.search(text))
    return not (sentence.quoted or only_asks) and bool(wording.OFF_RECORD.search(wording.NOT_OFF_RECORD.sub(" ", text)))
