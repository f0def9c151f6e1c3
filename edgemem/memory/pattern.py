"""The edit language as a constraint on what a model may generate. Home of `regex` (it can match partially)."""

from __future__ import annotations

from collections.abc import Iterable

import regex

from edgemem.values import SECTIONS

MAX_COMMANDS = 6  # more changes than this in one message were always a loop in the small models tried
MAX_FACT_CHARS = 160
MAX_SAME_WORD = 3  # a fact that says a word more often is a loop ("Bristol, Bristol, Bristol")


class EditConstraint:
    """Allows edit commands, one per line, each at most once, or NONE alone. Checks the current line only."""

    def __init__(self, line_ids: Iterable[int]) -> None:
        ids = "|".join(str(line_id) for line_id in line_ids)
        fact = rf"[^\s<>\[\]{{}}][^\n<>{{}}]{{2,{MAX_FACT_CHARS}}}"
        commands = [rf"ADD (?:{'|'.join(SECTIONS)}): {fact}"]
        if ids:
            commands += [rf"UPDATE (?:{ids}): {fact}", rf"DELETE (?:{ids})"]
        self._command = regex.compile("|".join(commands))
        self._first = regex.compile("|".join([*commands, "NONE"]))

    def allows(self, text: str) -> bool:
        *done, current = text.split("\n")
        if len(done) >= MAX_COMMANDS or "NONE" in done or len(set(done)) < len(done):
            return False
        pattern = self._command if done else self._first
        if done and not (self._first if len(done) == 1 else self._command).fullmatch(done[-1]):
            return False
        return not _loops(current) and pattern.fullmatch(current, partial=True) is not None

    def complete(self, text: str) -> bool:
        if not text or not self.allows(text):
            return False
        *done, current = text.split("\n")
        if not current:
            return True
        return current not in done and (self._command if done else self._first).fullmatch(current) is not None


def _loops(line: str) -> bool:
    words = [word for word in line.casefold().replace(",", " ").split() if len(word) > 3]
    return any(words.count(word) > MAX_SAME_WORD for word in set(words))
