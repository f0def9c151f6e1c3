"""Which lines of the memory a text speaks of. Pure: shared words of meaning, the first ones of a line most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from edgemem.memory import wording
from edgemem.memory.words import all_stems, content_list, content_words, names_in
from edgemem.values import Line, Turn

HEAD_WORDS = 3
MENTIONED = 0.34
"""Nearness of a line that a turn speaks of: one of the three words it begins with, or more of the rest."""


def mentions(lines: Sequence[Line], turns: Iterable[Turn]) -> list[tuple[int, int]]:
    """(line id, turn id) for every user turn that speaks of a line again, asks for it, or answers with it.

    What is spoken of often and lately is worth most when the memory is full.
    """
    told = [(line.id, _told(line.text)) for line in lines]
    found: list[tuple[int, int]] = []
    for turn in turns:
        if turn.role == "user":
            said = content_words(turn.text)
            found += [(line_id, turn.id) for line_id, line in told if line.nearness(said) >= MENTIONED]
    return found


def nearness(line: str, said: set[str]) -> float:
    """How much of what a line says stands in `said` (stems of content words), 0 to 1; who it is about aside."""
    return _told(line).nearness(said)


class _Told:
    """The words of meaning of a line with their weights, worked out once."""

    def __init__(self, text: str) -> None:
        about = _who(text)
        words = [stem for stem in content_list(text) if stem not in about]
        self._weights = {stem: 1.0 if place < HEAD_WORDS else 1 / 3 for place, stem in enumerate(words)}
        self._total = sum(self._weights.values()) or 1.0

    def nearness(self, said: set[str]) -> float:
        return sum(weight for stem, weight in self._weights.items() if stem in said) / self._total


@lru_cache(maxsize=256)  # a full memory has about 100 lines, and each is compared with every sentence of a chat
def _told(text: str) -> _Told:
    return _Told(text)


def _who(text: str) -> set[str]:
    """Stems of the words that only tell about whom a line is: `sister`, and her name beside it."""
    people = {stem for found in wording.PERSON.finditer(text) for stem in all_stems(found.group())}
    if not people or people >= content_words(text):
        return set()
    return people | (
        set() if wording.CAPITAL_NOUNS.search(text) else names_in(text)
    )  # in German every noun has a capital
