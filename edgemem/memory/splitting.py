"""Where the sentences of a chat message begin and end. Pure; linear in the length of the text."""

from __future__ import annotations

import re
import unicodedata

from edgemem.memory import wording

_CLOSING = "\"”“»«)’'"
_BREAK = re.compile(
    rf"(?<=[.!?…])\s+(?=[^\s»])|(?<=[.!?…][{_CLOSING}])\s+(?=\S)|(?<=[.!?…]\s»)\s+(?=\S)|(?<=[;:])\s+(?=[^\s»])|\n+"
)
_CODE = re.compile(r"```.*?(?:```|\Z)|^(?: {4}|\t)[^\n]*$", re.DOTALL | re.MULTILINE)
_CLAUSE = re.compile(r"(?<=,)\s+|\s+(?=[—–-]\s)")
_TAIL = 24
"""Letters before a full stop that are looked at for an abbreviation."""


def without_code(text: str) -> str:
    """A text without its blocks of code, fenced or indented."""
    return _CODE.sub("\n", text)


def split(text: str, most_chars: int = 0) -> list[str]:
    """Sentences of a text: at full stops, question and exclamation marks, colons, semicolons and line ends; those of
    more than `most_chars` also at commas and dashes (dictated text has no full stops)."""
    sentences = _sentences(text)
    if not most_chars:
        return sentences
    return [part for one in sentences for part in (_clauses(one, most_chars) if len(one) > most_chars else [one])]


def _clauses(sentence: str, most_chars: int) -> list[str]:
    """Clauses of a long sentence, joined again as far as they fit."""
    parts: list[str] = []
    for clause in _CLAUSE.split(sentence):
        if parts and len(parts[-1]) + len(clause) < most_chars:
            parts[-1] += f" {clause}"
        else:
            parts.append(clause)
    return parts


def _sentences(text: str) -> list[str]:
    sentences: list[str] = []
    open_parts: list[str] = []
    for raw in _BREAK.split(unicodedata.normalize("NFC", text)):
        part = " ".join(raw.split())
        if not part:
            continue
        if open_parts and not _goes_on(open_parts[-1], part):
            sentences.append(" ".join(open_parts))
            open_parts = []
        open_parts.append(part)
    return [*sentences, " ".join(open_parts)] if open_parts else sentences


def _goes_on(before: str, after: str) -> bool:
    """Whether the full stop between two parts ends no sentence: `Mr. Okafor`, `3. mai`, `for the... no, for Ana`."""
    tail = before[-_TAIL:]
    if tail.endswith(("...", "…")):
        return after[0].islower()
    if not tail.endswith("."):
        return False
    if wording.TITLE.search(tail):
        return True
    return not after[0].isupper() and wording.ABBREVIATION.search(tail) is not None
