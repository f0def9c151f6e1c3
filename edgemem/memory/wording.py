"""What phrases of English, German, Spanish and French mean in a chat, as patterns: an order, a wish, imagined ...

The phrases are data, one file a language (`languages/*.toml`, where each key says what it means); all languages are
looked for at once, since people mix them. A pattern is a second opinion beside a small model's; none decides alone.
It is compiled when it is first asked for. Matching takes time linear in the text: no phrase may repeat a repetition.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Any

LANGUAGES = ("en", "de", "es", "fr")

MINE: re.Pattern[str]
PERSON: re.Pattern[str]
KIN: re.Pattern[str]
FOR_ME: re.Pattern[str]
ORDER: re.Pattern[str]
NEED: re.Pattern[str]
PLEASE: re.Pattern[str]
QUESTION: re.Pattern[str]
IMAGINED: re.Pattern[str]
ROLE_PLAY: re.Pattern[str]
NOT_ROLE_PLAY: re.Pattern[str]
PLAIN: re.Pattern[str]
NOT_PLAIN: re.Pattern[str]
STYLE: re.Pattern[str]
KEEP: re.Pattern[str]
FORGET: re.Pattern[str]
NOT_FORGETTING: re.Pattern[str]
ALL_OF_IT: re.Pattern[str]
POLITE: re.Pattern[str]
OFF_RECORD: re.Pattern[str]
NOT_OFF_RECORD: re.Pattern[str]
AFTERWARDS: re.Pattern[str]
ERASING: re.Pattern[str]
TOLD: re.Pattern[str]
CHANGE: re.Pattern[str]
NEGATION: re.Pattern[str]
PRONOUN: re.Pattern[str]
LEAD_IN: re.Pattern[str]
TITLE: re.Pattern[str]
ABBREVIATION: re.Pattern[str]
CAPITAL_NOUNS: re.Pattern[str]
TOPICS: dict[str, re.Pattern[str]]
FUNCTION_WORDS: frozenset[str]
TALK_WORDS: frozenset[str]

_ACCENTS_TELL = frozenset({"mine", "question", "pronoun", "lead_in", "after_lead_in", "negation", "topics"})
"""Keys in which an accent tells words apart (`él` he, `el` the). Elsewhere it may be left out, as on a phone."""
_NOTATION = str.maketrans({"'": "['’]", ".": r"\.", "*": r"\w*", "_": r"\w+", "#": r"\d", "…": r"\b.{0,40}\b"})
"""How phrases are written, in regular expressions: see en.toml."""
_LIST = re.compile(r"<(\w+)>")
"""Any phrase of another list of the same language."""
_WITHOUT_ACCENTS = str.maketrans(
    {"ä": "(?:ä|ae?)", "ö": "(?:ö|oe?)", "ü": "(?:ü|ue?)", "ß": "(?:ß|ss)", "œ": "(?:œ|oe)"}
    | {accented: f"[{accented}{plain}]" for accented, plain in zip("áàâéèêëíîïóôúùûç", "aaaeeeeiiioouuuc", strict=True)}
)


def __getattr__(name: str) -> Any:
    """The patterns named above, each made at its first use (PEP 562)."""
    if not name.isupper() or (name not in _MAKERS and name.lower() not in phrases_of("en")):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = _MAKERS[name]() if name in _MAKERS else _any(_phrases(name.lower()))
    return globals().setdefault(name, value)


@cache
def phrases_of(language: str) -> dict[str, Any]:
    """The file of one language, as it stands."""
    return tomllib.loads(resources.files("edgemem.memory").joinpath("languages", f"{language}.toml").read_text("utf-8"))


def _phrases(key: str, language: str = "", topic: str = "") -> str:
    """Alternatives of one language or of all, as a regular expression."""
    found: list[str] = []
    for one in [language] if language else LANGUAGES:
        listed = phrases_of(one)[key]
        found += [_written_out(phrase, one) for phrase in (listed[topic] if topic else listed)]
    joined = "|".join(dict.fromkeys(found)).translate(_NOTATION)
    return joined if key in _ACCENTS_TELL else joined.translate(_WITHOUT_ACCENTS)


def _written_out(phrase: str, language: str) -> str:
    """A phrase with the lists that it names put in: so a family of verbs stands in one place."""
    return _LIST.sub(lambda name: f"(?:{'|'.join(phrases_of(language)[name[1]])})", phrase)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _any(phrases: str) -> re.Pattern[str]:
    return _compiled(rf"(?<!\w)(?=\w)(?:{phrases})(?!\w)")


def _first(key: str) -> re.Pattern[str]:
    """At the start of a sentence, after words such as `and` or `please`."""
    return _starting(_phrases(key))


def _starting(phrases: str) -> re.Pattern[str]:
    """`_first` for phrases that are put together."""
    return _compiled(rf"^[\W_]*+(?:(?:{_phrases('opener')})[ ,]++)*+(?:{phrases})(?!\w)")


def _needed() -> re.Pattern[str]:
    """`I need some ideas`, and a task without a verb: so many, at most two words, a product, all of one language."""
    one_each = (
        rf"(?:{_phrases('amount', one)})\s(?:[\w-]+\s){{0,2}}(?:{_phrases('product', one)})" for one in LANGUAGES
    )
    return _starting("|".join([_phrases("need"), *one_each]))


def _kin() -> re.Pattern[str]:
    """A possessive or an article, perhaps one word (`my little sister`), and a person, all of one language."""
    one_each = (rf"(?:{_phrases('own', one)})\s+(?:\w+\s+)?(?:{_phrases('person', one)})" for one in LANGUAGES)
    return _any("|".join(one_each))


def _lead_in() -> re.Pattern[str]:
    """A lead-in goes where a mark follows it, or a word of its language that a sentence of its own begins with."""
    one_each = (
        rf"(?:{_phrases('lead_in', one)})(?:[,!.:]+\s+|\s+(?=(?:{_phrases('after_lead_in', one)})(?!\w)))"
        for one in LANGUAGES
    )
    return _compiled(rf"^(?:{'|'.join(one_each)})")


def _words(key: str) -> frozenset[str]:
    return frozenset(word for one in LANGUAGES for word in phrases_of(one)[key])


_MAKERS: dict[str, Any] = {
    "KIN": _kin,
    "ORDER": lambda: _first("order"),
    "NEED": _needed,
    "PLEASE": lambda: _compiled(rf"(?<=\w )(?:{_phrases('please')})(?:,|[\W_]*+$)"),
    "QUESTION": lambda: _first("question"),
    "ROLE_PLAY": lambda: _compiled(rf"^\W*+(?:{_phrases('role_play')})(?!\w)"),
    "PRONOUN": lambda: _compiled(rf"(?:{_phrases('pronoun')})(?:['’](?:s|re|ve|d|ll))?(?!\w)"),
    "LEAD_IN": _lead_in,
    "TITLE": lambda: _compiled(rf"(?<!\w)(?:{_phrases('title')})\.$"),
    "ABBREVIATION": lambda: _compiled(rf"(?<!\w)(?:{_phrases('abbreviation')}|[^\W\d_]|\d{{1,2}})\.$"),
    "TOPICS": lambda: {topic: _any(_phrases("topics", topic=topic)) for topic in phrases_of("en")["topics"]},
    "FUNCTION_WORDS": lambda: _words("function_words"),
    "TALK_WORDS": lambda: _words("talk"),
}
