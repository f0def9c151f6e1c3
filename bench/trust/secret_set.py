"""Our own set of secrets in real sentences (`secrets.txt`, which says how it is written), and harmless real lines."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgemem.errors import InvalidInput

from ..jsonl import objects

HARMLESS_LINES = 2000
_SECRET = re.compile(r"\[\[(.+?)\]\]")


@dataclass(frozen=True, slots=True)
class SecretCase:
    """One sentence. `values` must not be kept; `frozen` cases were written before the rules and are never tuned on."""

    kind: str
    language: str
    text: str
    values: tuple[str, ...]
    frozen: bool


def secret_cases() -> list[SecretCase]:
    """All cases, in the order of the file."""
    found: list[SecretCase] = []
    kind, place = "", 0
    for row in resources.files(__package__ or "").joinpath("secrets.txt").read_text("utf-8").splitlines():
        if row.startswith("== "):
            kind, place = row.removeprefix("== ").strip(), 0
        elif row.strip() and not row.startswith("#"):
            language, _, text = row.replace("|", "").partition(" ")
            values = tuple(_SECRET.findall(text))
            found.append(SecretCase(kind, language, _SECRET.sub(r"\1", text), values, frozen=place % 2 == 1))
            place += 1
    return found


def harmless_lines(data: Path, most: int = HARMLESS_LINES, seed: int = 7) -> list[str]:
    """Lines that real or simulated users wrote in public sets (LoCoMo, PrefEval, PersonaMem v1, MemSyco), drawn evenly.

    Nobody has checked each: a real secret among them would count as a false alarm. Raises InvalidInput without data.
    """
    sources = [sorted(set(read(data))) for read in (_locomo, _prefeval, _personamem, _memsyco)]
    if not any(sources):
        raise InvalidInput(f"there are no public sets in {data}", "give their folder: --data FOLDER")
    draw = random.Random(seed)
    for lines in sources:
        draw.shuffle(lines)
    found: list[str] = []
    while len(found) < most and any(sources):
        found += [lines.pop() for lines in sources if lines]
    return found[:most]


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _locomo(data: Path) -> Iterator[str]:
    for path in sorted((data / "locomo").glob("*.json")):
        for key, turns in _json(path).items():
            if key.startswith("session_") and isinstance(turns, list):
                yield from (turn["text"] for turn in turns if turn.get("text"))


def _prefeval(data: Path) -> Iterator[str]:
    for path in sorted((data / "prefeval" / "explicit").glob("*.json")):
        for row in _json(path):
            yield from (row["preference"], row["question"])


def _personamem(data: Path) -> Iterator[str]:
    return _users_of(data / "personamem_v1" / "contexts.jsonl")


def _memsyco(data: Path) -> Iterator[str]:
    for path in sorted((data / "memsyco").glob("*.jsonl")):
        yield from _users_of(path)


def _users_of(path: Path) -> Iterator[str]:
    for row in objects(path) if path.exists() else ():
        yield from _texts_of_users(row)


def _texts_of_users(value: object) -> Iterator[str]:
    """Every `content` whose role is the user's, however deep."""
    if isinstance(value, dict):
        if value.get("role") == "user" and isinstance(value.get("content"), str):
            yield value["content"]
        for one in value.values():
            yield from _texts_of_users(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts_of_users(one)
