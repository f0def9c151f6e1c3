"""Which words of a text carry its meaning, and which of them name something. Pure; four languages."""

from __future__ import annotations

import re

from edgemem.memory import wording
from edgemem.memory.splitting import split

STEM_CHARS = 5
"""Words are cut to so many letters, so that `allergy` and `allergic` meet."""

_WORD = re.compile(r"[^\W_]+")


def all_words(text: str) -> list[str]:
    """The words and numbers of a text as written, in order."""
    return _WORD.findall(text)


def content_words(text: str) -> set[str]:
    """Stems of the words that carry meaning."""
    return {
        word[:STEM_CHARS]
        for word in map(str.casefold, all_words(text))
        if (len(word) > 2 or word.isdigit()) and word not in wording.FUNCTION_WORDS
    }


def content_list(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order, each once."""
    meant = content_words(text)
    return list(dict.fromkeys(stem for stem in map(_stem, all_words(text)) if stem in meant))


def _stem(word: str) -> str:
    return word.casefold()[:STEM_CHARS]


def all_stems(text: str) -> set[str]:
    """Stems of all words of a text."""
    return {word.casefold()[:STEM_CHARS] for word in all_words(text)}


def names_in(text: str) -> set[str]:
    """Stems of capitalised words (but the first) and numbers: what a small model carries over from elsewhere."""
    return {name[:STEM_CHARS] for name in whole_names_in(text)}


def whole_names_in(text: str) -> set[str]:
    """Capitalised words (but the first) and words with a digit, whole: `Christina` is not `Christian`."""
    return {
        word.casefold()
        for at, word in enumerate(all_words(text))
        if any(map(str.isdigit, word))
        or (at > 0 and word[0].isupper() and word.casefold() not in wording.FUNCTION_WORDS)
    }


def told_names_in(text: str) -> set[str]:
    """`whole_names_in` of each sentence of a message, so that no word counts because it begins one."""
    return {name for sentence in split(text) for name in whole_names_in(sentence)}


def language_of(text: str) -> str:
    """The language, of those with a file, that most of the small words are of; English where none is."""
    words = list(map(str.casefold, all_words(text)))
    small = {one: frozenset(wording.phrases_of(one)["function_words"]) for one in wording.LANGUAGES}
    return max(wording.LANGUAGES, key=lambda one: sum(word in small[one] for word in words))


def negated(text: str) -> bool:
    """Whether the text has a word of negation."""
    return wording.NEGATION.search(text) is not None
