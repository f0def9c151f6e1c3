"""Notes (`ADD <section>: <note>`) as a constraint on what a model may write. Home of `regex`: for partial matches."""

from __future__ import annotations

import regex

from edgemem.values import SECTIONS

MAX_COMMANDS = 3  # more notes than this on one sentence were always a loop in the small models tried
MAX_FACT_CHARS = 200
MAX_SAME_WORD = 3  # a fact that says a word more often is a loop ("Bristol, Bristol, Bristol")


class NotesConstraint:
    """Allows ADD commands, one per line, each at most once. Checks the current line only."""

    def __init__(self) -> None:
        fact = rf"[^\s<>\[\]{{}}][^\n<>{{}}]{{2,{MAX_FACT_CHARS}}}"
        self._command = regex.compile(rf"ADD (?:{'|'.join(SECTIONS)}): {fact}")

    def allows(self, text: str) -> bool:
        *done, current = text.split("\n")
        if len(done) >= MAX_COMMANDS or len(set(done)) < len(done):
            return False
        if done and not self._command.fullmatch(done[-1]):
            return False
        return not _loops(current) and self._command.fullmatch(current, partial=True) is not None

    def complete(self, text: str) -> bool:
        if not text or not self.allows(text):
            return False
        *done, current = text.split("\n")
        return not current or (current not in done and self._command.fullmatch(current) is not None)


def _loops(line: str) -> bool:
    words = [word for word in line.casefold().replace(",", " ").split() if len(word) > 3]
    return any(words.count(word) > MAX_SAME_WORD for word in set(words))
