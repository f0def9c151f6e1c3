"""A user's message as sentences, each with what its wording tells: quoted, asked, ordered, imagined, about whom. Pure.

Deterministic, for English, German, Spanish and French; in other languages the marks stay off and a model's judgement
decides alone. Knows no model and no memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from edgemem.memory import wording
from edgemem.memory.splitting import split, without_code
from edgemem.values import Turn

MIN_WORDS, MAX_CHARS = 2, 300
TOLD_WORDS = 3  # a statement in front of a question has more
CLAUSES = 4  # of a task that are looked behind

_SYMBOLS = re.compile(r"[<>{}=|\\]|\w\(|\w_\w|\w\[|https?:")
_QUOTATION = re.compile(r"[\"“”„«][^\"“”„«»]+[\"“”»]?")
_QUOTES = '"“”„«»'
_CLAUSE = re.compile(r"[,;:] | [-–—] | (?=(?:because|weil|porque|parce que)\b)")
_OF_THINGS = ("it", "it's", "it’s", "es")  # pronouns that need no person


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a user turn. `before` is the sentence before it in the same message, "" at the start.

    The marks: `quoted` stands in quotation marks or in a text to work on, `asks` is a question, `orders` a task,
    `imagines` hypothetical or role play, `forgets` asks to forget, `near_forget` stands beside such a request, `mine`
    has a word for the speaker, `kin` names somebody of the speaker's, `plain` is said as people say who they are
    (name, home, work, health, taste), `style` says how to be answered, `keep` asks to remember, `changes` has a word
    that comes with a change. `whole` is the sentence with the task or question that `text` and the marks leave out.
    """

    turn: Turn
    text: str
    before: str = ""
    quoted: bool = False
    asks: bool = False
    orders: bool = False
    imagines: bool = False
    forgets: bool = False
    near_forget: bool = False
    mine: bool = False
    kin: bool = False
    plain: bool = False
    style: bool = False
    keep: bool = False
    changes: bool = False
    whole: str = ""

    def prior(self) -> float | None:
        """Log-odds, from the wording alone, that this tells something lasting about the user; None: it cannot.

        Weights of a logistic regression on the half of our own chats that is there for tuning (docs/log.md,
        2026-11-24), rounded. A question counts only where it says how to be answered,
        or asks for something for the user's own people (`Can you find a book for my son, who is six?`).
        """
        asked_for = self.style or (self.orders and self.kin)
        if self.quoted or self.imagines or self.forgets or (self.asks and not asked_for):
            return None
        personal = self.mine or self.kin or self.plain or self.style or self.keep
        odds = -1.4 + (0.07 * min(20, len(self.text.split())) if personal else 0.2)
        odds += 0.7 * self.mine + 0.3 * self.kin + 0.5 * self.plain + 1.1 * self.style + 2.0 * self.keep
        odds -= 1.0 * self.near_forget + 1.0 * (self.orders and not self.mine and not self.style)
        return odds - 1.0 * self.asks


def sentences_of(turns: Sequence[Turn]) -> list[Sentence]:
    """The sentences of the user turns among `turns` (of one chat, in order), code and scraps left out."""
    found: list[Sentence] = []
    playing = False
    for turn in turns:
        if turn.role == "user":
            playing = playing or _begins_a_game(turn.text)
            found += _of_message(turn, playing)
    return found


def _begins_a_game(text: str) -> bool:
    return _has(text[:MAX_CHARS], wording.ROLE_PLAY, but=wording.NOT_ROLE_PLAY)


def _of_message(turn: Turn, playing: bool) -> Iterator[Sentence]:
    before, inside, material = "", False, False
    forgets = _forgets(turn.text)
    for text in split(without_code(turn.text), MAX_CHARS):
        marks = sum(text.count(mark) for mark in _QUOTES)
        quoted = inside or material or text[0] in _QUOTES or _mostly_quotation(text)
        inside ^= marks % 2 == 1
        to_work_on = _has(text, wording.ORDER)
        if _readable(text):
            orders = to_work_on or _has(text, wording.NEED) or _has(text, wording.PLEASE)
            told = _before_the_question(text) or _behind_the_task(text)
            marked = _marked(turn, told or text, before, quoted=quoted, orders=orders and not told, imagines=playing)
            marked = replace(marked, forgets=forgets and _forgets(marked.text))  # a long list: only where one is near
            yield replace(marked, near_forget=forgets and not marked.forgets, whole=text)
            if marked.forgets and (rest := _after_forgetting(text)):
                yield _marked(turn, rest, "", quoted=quoted, orders=False, imagines=playing)
        material = material or (to_work_on and text.endswith(":"))
        before = "" if quoted or len(text) > MAX_CHARS else text


def _before_the_question(text: str) -> str:
    """`I'm training for a marathon` of `I'm training for a marathon, how should I start?`; "" where there is none."""
    parts = text.split(", ")
    for place in range(1, len(parts)):
        rest, told = ", ".join(parts[place:]), ", ".join(parts[:place])
        if (_has(rest, wording.QUESTION) or _has(rest, wording.ORDER)) and len(told.split()) > TOLD_WORDS:
            asks = _has(told, wording.QUESTION) or _has(told, wording.ORDER) or "¿" in told
            return "" if asks or not _has(told, wording.MINE, but=wording.FOR_ME) else told
    return ""


def _behind_the_task(text: str) -> str:
    """`my flat is small` of `Give me ideas for plants, my flat is small`; "" where there is no such thing, and where
    the task itself says how to be answered."""
    if _has(text, wording.STYLE):
        return ""
    for found in islice(_CLAUSE.finditer(text), CLAUSES):
        task, told = text[: found.start()], text[found.end() :]
        asked = any(_has(task, pattern) for pattern in (wording.ORDER, wording.NEED, wording.PLEASE, wording.QUESTION))
        other = any(_has(told, pattern) for pattern in (wording.ORDER, wording.QUESTION, wording.KIN))
        plainly = not (other or told.endswith("?"))
        if asked and plainly and len(told.split()) >= TOLD_WORDS and _has(told, wording.MINE, but=wording.FOR_ME):
            return told
    return ""


def _readable(text: str) -> bool:
    letters = sum(map(str.isalpha, text))
    fits = len(text.split()) >= MIN_WORDS and len(text) <= MAX_CHARS
    return fits and letters * 2 > len(text) and _SYMBOLS.search(text) is None


def _mostly_quotation(text: str) -> bool:
    return 2 * sum(len(found.group()) for found in _QUOTATION.finditer(text)) > len(text)


def _after_forgetting(text: str) -> str:
    """What follows in `Forget the car, I've bought a train pass`: the change behind the words."""
    _, _, rest = text.partition(",")
    return rest.strip() if len(rest.split()) > MIN_WORDS and wording.MINE.search(rest) else ""


def _forgets(text: str) -> bool:
    return _has(text, wording.FORGET, but=wording.NOT_FORGETTING)


def _has(text: str, pattern: re.Pattern[str], but: re.Pattern[str] | None = None) -> bool:
    """Whether the pattern is in the text, where the phrases of `but` do not count."""
    return pattern.search(but.sub(" ", text) if but else text) is not None


def _marked(turn: Turn, text: str, before: str, *, quoted: bool, orders: bool, imagines: bool) -> Sentence:
    return Sentence(
        turn,
        text,
        before,
        quoted=quoted,
        asks=text.endswith("?") or "¿" in text or _has(text, wording.QUESTION),
        orders=orders,
        imagines=imagines or _has(text, wording.IMAGINED),
        mine=_has(text, wording.MINE, but=wording.FOR_ME),
        kin=_has(text, wording.KIN),
        plain=_has(text, wording.PLAIN, but=wording.NOT_PLAIN),
        style=_has(text, wording.STYLE),
        keep=_has(text, wording.KEEP),
        changes=_has(text, wording.CHANGE),
    )


def with_subject(note: str, sentence: Sentence) -> str:
    """A note with a capital letter and, where it begins with `she` or `they`, leaves the person out (Spanish) or only
    goes on with what was said (`I train for a race. 11 October, in Leiden.`), after the words that say who it is."""
    note = _trimmed(note)
    says_who = len(sentence.before.split()) > MIN_WORDS and not sentence.before.endswith(("?", ":"))
    if says_who and (wording.PRONOUN.match(note) or _goes_on(sentence)):
        note = f"{_trimmed(sentence.before)}; {note}"
    return note[:1].upper() + note[1:]


def _goes_on(sentence: Sentence) -> bool:
    """Whether nobody is named in the sentence, but in the one before."""
    named = sentence.mine or sentence.kin or sentence.style or sentence.plain or sentence.keep
    return not named and (_has(sentence.before, wording.KIN) or _has(sentence.before, wording.MINE, wording.FOR_ME))


def tells_whose(note: str) -> bool:
    """Whether a note says about whom it is: not one that begins with `she` where nothing says who she is."""
    found = wording.PRONOUN.match(note)
    return found is None or found.group().casefold().split()[-1] in _OF_THINGS


def _trimmed(text: str) -> str:
    while True:
        shorter = wording.LEAD_IN.sub("", text, count=1)
        if shorter == text or len(shorter.split()) < MIN_WORDS:
            return text.strip(f" .;,:!{_QUOTES}")
        text = shorter
