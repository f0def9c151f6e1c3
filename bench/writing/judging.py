"""Blind judging by a person: a sheet of the lines that updates wrote, and the verdicts joined to the rows again. Pure.

The sheet says nothing of policy, variant or model, holds each (case, line) once, and is shuffled. A judge answers with
rows {"case", "line_digest", "verdict", "pass"}; `pass` is 1, and 2 for a second look at the same sheet in another
order. A verdict of both passes counts as unsupported when pass 1 says so; the second pass is there to say how far
one can trust the first (disagreement rate).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgemem.errors import InvalidInput

VERDICTS = ("supported", "unsupported", "third_party", "question", "trivial")
"""`trivial` is supported, but a passing remark or task not worth keeping. All but it and `supported` are wrong."""
WRONG = ("unsupported", "third_party", "question")


def line_digest(text: str) -> str:
    """How verdicts name a line: 16 hex digits of its text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def sheet(written: Iterable[Mapping[str, Any]], seed: int = 1) -> list[dict[str, Any]]:
    """Every (case, added line) once, with what is needed to judge it, in an order that says nothing.

    For a chat that goes on with an earlier memory that memory is shown, too: one of those that led to this line.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in written:
        for text in row["added"]:
            key = (row["set"], row["case"], line_digest(text))
            found.setdefault(
                key,
                {
                    "set": row["set"],
                    "case": row["case"],
                    "line_digest": key[2],
                    "turns": row["turns"],
                    "before": row["before"],
                    "line": text,
                },
            )
    ordered = [found[key] for key in sorted(found)]
    random.Random(seed).shuffle(ordered)
    return ordered


@dataclass(frozen=True)
class Verdicts:
    """Verdicts by (set, case, line) and pass. Where a file names no set the case stands alone."""

    first: Mapping[tuple[str, str], str] = field(default_factory=dict)
    second: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def of(self, case: str, text_digest: str) -> str:
        """The verdict that counts: of pass 1, else of pass 2; '' where nobody judged the line."""
        key = (case, text_digest)
        return self.first.get(key) or self.second.get(key, "")

    @property
    def judged_twice(self) -> int:
        return len(self.first.keys() & self.second.keys())

    @property
    def disagreements(self) -> int:
        """Lines of which the passes differ in whether they are wrong."""
        both = self.first.keys() & self.second.keys()
        return sum((self.first[key] in WRONG) != (self.second[key] in WRONG) for key in both)


def read_verdicts(rows: Sequence[Mapping[str, Any]]) -> Verdicts:
    """Verdicts of judgement rows. Raises InvalidInput for one that is none."""
    passes: dict[int, dict[tuple[str, str], str]] = {1: {}, 2: {}}
    for row in rows:
        if row.get("verdict") not in VERDICTS or row.get("pass") not in (1, 2):
            raise InvalidInput(f"this is no verdict: {dict(row)}", f"use pass 1 or 2 and {', '.join(VERDICTS)}")
        passes[row["pass"]][row["case"], row["line_digest"]] = row["verdict"]
    return Verdicts(passes[1], passes[2])
