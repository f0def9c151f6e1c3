"""Figures that a text states, and what rows say of them. Pure.

A measured figure in a text is followed by a comment that names where it comes from:

    41 %<!-- figure: docs/results/2026-01-05-laptop/rows.jsonl task=locomo model=x.gguf arm=memory of=strict -->

`of` is a score (in percent) or a cost of the report (`input_tokens`, `cold_total_s`, ...).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .jsonl import Row
from .summary import SHOWN, groups

MARKED = re.compile(r"([+-]?\d[\d,]*(?:\.\d+)?)[^<\d\n]{0,20}<!--\s*figure:\s*(\S+)\s+([^>]*?)\s*-->")
MEASURED = re.compile(r"(?<![\w.,])[+-]?\d[\d,.]*\s?(?:%|percent\b|times (?:fewer|faster|less)\b|tokens/s\b|MiB\b)")
"""What looks measured and so has to be marked."""


@dataclass(frozen=True)
class Figure:
    """A number as it is written, the file it is said to come from, and which of its figures it is."""

    text: str
    file: str
    wanted: dict[str, str]


def figures(text: str) -> list[Figure]:
    """The marked figures of a text. Raises ValueError for a mark that is not of the form above."""
    found = [Figure(number, file, _pairs(rest)) for number, file, rest in MARKED.findall(text)]
    if len(found) != text.count("figure:"):
        raise ValueError("a mark `figure:` does not follow its number, or is not of the form of edgemem.bench.figures")
    return found


def unmarked(text: str) -> list[str]:
    """Numbers that look measured and have no mark."""
    marked = {match.start(1) for match in MARKED.finditer(text)}
    return [match[0] for match in MEASURED.finditer(text) if match.start() not in marked]


def wrong(text: str, read: Callable[[str], Sequence[Row]]) -> list[str]:
    """What is not as the rows say; `read` gives the rows of a file."""
    problems = []
    for figure in figures(text):
        try:
            value = value_of(read(figure.file), figure.wanted)
        except (LookupError, OSError, ValueError) as error:
            problems.append(f"{figure.text}: {error}")
            continue
        digits = len(figure.text.partition(".")[2])
        if f"{value:,.{digits}f}".replace(",", "") != figure.text.replace(",", "").lstrip("+"):
            problems.append(f"{figure.text}: the rows say {value:,.{digits}f} ({figure.file})")
    return problems


def value_of(rows: Iterable[Row], wanted: dict[str, str]) -> float:
    """The one figure that is meant. Raises LookupError where there is none, or several."""
    fits = [
        arm
        for group in groups(rows)
        if all(str(group.run.get(name)) == value for name, value in wanted.items() if name not in ("arm", "of"))
        for arm in group.arms
        if arm.name == wanted["arm"]
    ]
    if len(fits) != 1:
        raise LookupError(f"{len(fits)} arms fit {wanted}")
    name = wanted["of"]
    value: Any = fits[0].scores[name].value if name in SHOWN else fits[0].cost[name]
    if value is None:
        raise LookupError(f"nothing was measured for {wanted}")
    return float(100 * value if name in SHOWN else value)


def _pairs(text: str) -> dict[str, str]:
    pairs = dict(part.split("=", 1) for part in text.split())
    if not {"task", "arm", "of"} <= set(pairs):
        raise ValueError(f"{text!r} does not name task, arm and of")
    return pairs
