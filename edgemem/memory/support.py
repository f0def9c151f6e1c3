"""How well the user's own words carry a line. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from edgemem.memory.words import content_words
from edgemem.values import Turn

PARTLY = 0.5
"""Share of a line's content words that one turn must have (the checker's rule for a source)."""


def support_of(text: str, turns: Iterable[Turn]) -> str:
    """`word for word`, `in other words` (all of its words were said), `partly`, `weakly`; `none` without turns."""
    said = [turn.text for turn in turns if turn.role == "user"]
    if not said:
        return "none"
    flat = " ".join(text.casefold().split()).rstrip(".")
    if any(flat in " ".join(one.casefold().split()) for one in said):
        return "word for word"
    words = content_words(text)
    share = max(len(words & content_words(one)) / max(1, len(words)) for one in said)
    return "in other words" if share >= 1 else "partly" if share >= PARTLY else "weakly"
