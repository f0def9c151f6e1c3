"""Ranking of chat parts by BM25. Home of bm25s, which comes with the extra `bench`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .values import CannotRun

_WORD = re.compile(r"\w+")


def ranked(texts: Sequence[str], query: str) -> list[int]:
    """Places of the texts, the best match first. Raises CannotRun where bm25s is not installed."""
    try:
        import bm25s  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise CannotRun("bm25s is not installed: pip install 'edgemem-runtime[bench]'") from error
    words = [_words(text) or ["-"] for text in texts]
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    known = {word for text in words for word in text}
    asked = [word for word in _words(query) if word in known]
    if not asked:
        return list(range(len(texts)))[::-1]
    scores = index.get_scores(asked)
    return sorted(range(len(texts)), key=lambda place: (-float(scores[place]), -place))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
