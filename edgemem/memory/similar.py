"""How alike two short texts are. Pure; does not know what the texts are for."""

from __future__ import annotations

from collections.abc import Sequence

NEAR_PAIRS_MAX = 100_000
"""Comparisons of one `near_pairs` at most (about 0.1 s); a file rewritten beyond that has no old lines to find."""


def similarity(left: str, right: str) -> float:
    """0 (nothing in common) to 100 (equal), by the characters both have in the same order."""
    from rapidfuzz import fuzz  # here: half of all starts never compare, and the import costs 25-50 ms

    return float(fuzz.ratio(left, right))


def near_pairs(left: Sequence[str], right: Sequence[str], least: float) -> list[tuple[int, int, float]]:
    """(index in `left`, index in `right`, similarity) of all pairs that are at least `least` alike."""
    if not left or not right or len(left) * len(right) > NEAR_PAIRS_MAX:
        return []
    from rapidfuzz import fuzz

    found = ((i, j, fuzz.ratio(a, b, score_cutoff=least)) for i, a in enumerate(left) for j, b in enumerate(right))
    return [(i, j, score) for i, j, score in found if score >= least]
