"""Recognises planted instructions: text that addresses the model, claims authority or carries template tokens. Pure.

A memory is read at the start of every chat, so an instruction that gets into it is obeyed for ever; a line about the
user is never an instruction. The phrases are data (`planted_phrases.toml`). Look-alike letters, invisible characters
and letters spelled out are undone first. What this does not know: an instruction worded as a plain fact about the user
("I only buy at Acme") cannot be told from a fact.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import resources

from edgemem.memory.words import content_words

SAME_SHARE = 0.6
"""A note with this share of its words in a planted sentence was made from it."""
WINDOW_CHARS = 400  # a longer sentence is read in halves that overlap, so that time stays linear in the text
_BREAK = re.compile(r"(?<=[.!?…])\s+|\n+|(?<=[\"”»>])\s+")
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕԁһԛѡАВЕКМНОРСТУХІЈЅαοιρνυκτΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsdhqwABEKMHOPCTYXIJSaoipvuktABEZHIKMNOPTYX",
)
_LEET = str.maketrans("013457@$", "oieastas")
_LEET_WORD = re.compile(r"\b(?=\w*[a-z])(?=\w*[013457@$])[a-z013457@$]{3,}\b")
_SPELLED = re.compile(r"\b(?:\w-){3,}\w\b|(?<=\w)-(?=\w)")


def planted_in(text: str) -> str:
    """In which way `text` (a line, or a message) has a planted instruction: `override`, `addressed`, `demands`,
    `authority`, `tokens`, `links`; '' when it has none."""
    return next((way for sentence in _sentences(text) if (way := _way(sentence))), "")


def planted_sentences(text: str) -> list[str]:
    """The sentences of a message that have one."""
    return [sentence for sentence in _sentences(text) if _way(sentence)]


def made_from(note: str, planted: Iterable[str]) -> bool:
    """Whether `note` says what stands in one of the `planted` sentences."""
    words = content_words(plain(note))
    return any(words and len(words & content_words(plain(one))) >= SAME_SHARE * len(words) for one in planted)


def plain(text: str) -> str:
    """Small letters without accents, invisible characters and look-alikes."""
    visible = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Cc") or char in "\n\t")
    folded = unicodedata.normalize("NFKC", visible).translate(_LOOK_ALIKES).casefold()
    bare = "".join(char for char in unicodedata.normalize("NFD", folded) if not unicodedata.combining(char))
    return " ".join(bare.replace("’", "'").replace("'", " ").split())


@lru_cache(maxsize=1024)  # the same message is looked at for each line that comes of it
def _sentences(text: str) -> tuple[str, ...]:
    parts = (part for part in _BREAK.split(text) if part.strip())
    return tuple(part[at : at + WINDOW_CHARS] for part in parts for at in range(0, len(part), WINDOW_CHARS // 2))


@lru_cache(maxsize=4096)
def _way(sentence: str) -> str:
    seen = plain(sentence)
    undone = _LEET_WORD.sub(lambda found: found.group().translate(_LEET), seen)
    spelled = _SPELLED.sub(lambda found: found.group().replace("-", ""), seen)
    for way, pattern in _patterns().items():
        if any(pattern.search(form) for form in dict.fromkeys((seen, undone, spelled))):
            return way
    return ""


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    text = resources.files("edgemem.memory").joinpath("planted_phrases.toml").read_text("utf-8")
    data = tomllib.loads(text)
    found: dict[str, re.Pattern[str]] = {}
    for way, phrases in data["ways"].items():
        joined = "|".join(f"(?:{phrase})" for phrase in phrases)
        for name, words in data["words"].items():
            joined = joined.replace(f"#{name}", words)
        found[way] = re.compile(joined)
    return found
