"""What to erase when a person wants something forgotten. Pure, from texts to texts; knows no disk, no tables."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from edgemem.memory.document import clean_text, parse, render, with_replaced
from edgemem.store.records import FORGOTTEN
from edgemem.store.rows import Row, to_json
from edgemem.values import Turn

WORDS_MIN_CHARACTERS = 2
"""A single letter stands in nearly every line: that is a slip of the finger, not a wish."""


def _pattern(phrase: str) -> str:
    return r"\s+".join(map(re.escape, phrase.split()))


@dataclass(frozen=True)
class Erasure:
    """The lines (by id, with every text they ever had) and the `words` that must be nowhere any more.

    Words count wherever they stand, inside longer words too, in any case.
    """

    line_ids: frozenset[int]
    texts: frozenset[str]
    words: str

    @cached_property
    def _words(self) -> re.Pattern[str] | None:
        return re.compile(_pattern(self.words), re.IGNORECASE) if self.words else None

    @cached_property
    def _anything(self) -> re.Pattern[str] | None:
        phrases = sorted({self.words, *self.texts} - {"", FORGOTTEN}, key=len, reverse=True)
        return re.compile("|".join(map(_pattern, phrases)), re.IGNORECASE) if phrases else None

    def mentions_words(self, text: str) -> bool:
        return self._words is not None and self._words.search(text) is not None

    def mentions(self, text: str) -> bool:
        """Whether the words or the whole text of a line stand in `text`."""
        return self._anything is not None and self._anything.search(text) is not None

    def without_words(self, text: str) -> str:
        return self._words.sub(FORGOTTEN, text) if self._words else text

    def memory_text(self, text: str) -> str:
        """An older state of the file without the lines and words."""
        document = parse(text)
        for fact in document.facts:
            if fact.text in self.texts or self.mentions_words(fact.text):
                document = with_replaced(document, fact.position, FORGOTTEN)
        return self.without_words(render(document))

    def revision(self, row: Row, turns: Collection[int] = ()) -> dict[str, Any]:
        """A row of the journal's revisions without the lines and words, and without what was refused of `turns`."""
        new = dict(row)
        new["operations"] = to_json([self._operation(one) for one in json.loads(row["operations"])])
        new["rejected"] = to_json([self._rejected(one, turns) for one in json.loads(row["rejected"])])
        new["note"] = FORGOTTEN if self.mentions(row["note"]) else row["note"]
        new["result_text"] = None if row["result_text"] is None else self.memory_text(row["result_text"])
        return new

    def _rejected(self, refused: dict[str, Any], turns: Collection[int]) -> dict[str, Any]:
        operation = self._operation(refused["operation"])
        if not {*operation["sources"]} & {*turns}:
            return {**refused, "operation": operation, "detail": self.without_words(refused["detail"])}
        gone = {key: FORGOTTEN for key in ("text", "old_text") if operation[key]}
        return {**refused, "operation": {**operation, **gone}, "detail": ""}

    def _operation(self, operation: dict[str, Any]) -> dict[str, Any]:
        ours = operation["line_id"] in self.line_ids
        gone = {
            key: FORGOTTEN
            for key in ("text", "old_text")
            if operation[key] and (ours or clean_text(operation[key]) in self.texts or self.mentions(operation[key]))
        }
        sections = {key: self.without_words(operation[key]) for key in ("section", "old_section")}
        return {**operation, **sections, **gone}

    def count_left(self, data: bytes, remaining: str) -> int:
        """How often the words, or texts of lines that `remaining` (today's memory) has not, are in `data`."""
        phrases = {self.words, *(text for text in self.texts if text not in remaining)} - {"", FORGOTTEN}
        readable = data.decode("utf-8", "replace").casefold()
        return sum(readable.count(phrase.casefold()) for phrase in phrases)


def turns_to_erase(turns: Sequence[Turn], erasure: Erasure, sources: Collection[int]) -> set[int]:
    """Ids of the turns of a chat (oldest first) that must go: sources (a user's with the replies), and mentions."""
    gone: set[int] = set()
    after_source = False
    for turn in turns:
        if turn.role == "user":
            after_source = turn.id in sources
        if after_source or turn.id in sources or erasure.mentions(turn.text):
            gone.add(turn.id)
    return gone
