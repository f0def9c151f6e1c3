"""How far the matcher can be trusted: its precision and recall on pairs of fact and line labelled by hand.

Half `a` may be looked at to improve the matcher; half `b` is what its figures are quoted from. Pure but for the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..jsonl import objects
from .matcher import conveys
from .values import Gold

PAIRS = Path(__file__).with_name("matcher_pairs.jsonl")


@dataclass(frozen=True)
class Pair:
    """A fact, a line, and a person's answer to: does this line convey this fact about the right person?"""

    id: str
    half: str
    language: str
    gold: Gold
    line: str
    label: bool

    @property
    def kind(self) -> str:
        return "keys" if self.gold.keys else "words"


@dataclass(frozen=True)
class Agreement:
    """Counts of one group; precision and recall are 1.0 where there is nothing to find."""

    group: str
    right: int
    wrong: int
    missed: int
    rejected: int

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    @property
    def pairs(self) -> int:
        return self.right + self.wrong + self.missed + self.rejected


def read_pairs(path: Path = PAIRS) -> list[Pair]:
    """The labelled pairs."""
    return [
        Pair(
            row["id"],
            row["half"],
            row["language"],
            Gold(row["fact"], "explicit", tuple(row["keys"]), (row["user"],) if row.get("user") else ()),
            row["line"],
            row["label"],
        )
        for row in objects(path)
    ]


def agreements(pairs: Iterable[Pair]) -> list[Agreement]:
    """Agreement over all pairs, per kind, per half, and per kind in half b."""
    known = list(pairs)
    groups = {"all": known}
    for kind in ("keys", "words"):
        groups[kind] = [pair for pair in known if pair.kind == kind]
    for half in ("a", "b"):
        groups[f"half {half}"] = [pair for pair in known if pair.half == half]
    for kind in ("keys", "words"):
        groups[f"half b, {kind}"] = [pair for pair in known if pair.half == "b" and pair.kind == kind]
    return [_agreement(name, group) for name, group in groups.items()]


def _agreement(group: str, pairs: Iterable[Pair]) -> Agreement:
    outcomes = [(conveys(pair.gold, pair.line), pair.label) for pair in pairs]
    counts = [outcomes.count(key) for key in ((True, True), (True, False), (False, True), (False, False))]
    return Agreement(group, *counts)


def disagreements(pairs: Iterable[Pair], half: str) -> list[Pair]:
    """The pairs of a half that the matcher judges otherwise than the person."""
    return [pair for pair in pairs if pair.half == half and conveys(pair.gold, pair.line) != pair.label]
