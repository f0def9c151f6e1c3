"""Rows of several files as one set: each machine apart, what was measured twice counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .jsonl import Row, RowKey
from .rows import key_on_machine


@dataclass(frozen=True)
class Merged:
    """The rows, how many were there word for word before, and how many were measured again (the newest is kept)."""

    rows: list[Row]
    repeated: int
    again: int
    choices_differ: int


def merge(files: Iterable[Sequence[Row]]) -> Merged:
    """Join rows. The same measurement on the same machine is kept once: the newest, by its own time.

    `choices_differ` counts measurements made again whose choice is another one.
    """
    found: dict[RowKey, Row] = {}
    repeated = again = choices_differ = 0
    for row in (row for rows in files for row in rows):
        key = key_on_machine(row)
        other = found.get(key)
        if other is None:
            found[key] = row
            continue
        if row == other:
            repeated += 1
            continue
        again += 1
        choices_differ += any(row.get(name) != other.get(name) for name in ("choice", "forced_choice", "status"))
        found[key] = max(other, row, key=lambda one: str(one.get("at", "")))
    return Merged(list(found.values()), repeated, again, choices_differ)
