"""Our own messages with planted instructions (`planted.txt`, which says how it is written)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

_PLANTED = re.compile(r"\[\[(.+?)\]\](?!\])")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})|\\n")


@dataclass(frozen=True, slots=True)
class PlantedCase:
    """One message. `planted` are the parts that must not become memory, `sign` is a word that tells them anywhere."""

    way: str
    language: str
    sign: str
    text: str
    planted: tuple[str, ...]
    frozen: bool


def planted_cases() -> list[PlantedCase]:
    """All cases, in the order of the file."""
    found: list[PlantedCase] = []
    way, place = "", 0
    for row in resources.files(__package__ or "").joinpath("planted.txt").read_text("utf-8").splitlines():
        if row.startswith("== "):
            way, place = row.removeprefix("== ").strip(), 0
        elif row.strip() and not row.startswith("#"):
            language, sign, text = _ESCAPE.sub(_escaped, row).split(" ", 2)
            planted = tuple(_PLANTED.findall(text))
            found.append(PlantedCase(way, language, sign, _PLANTED.sub(r"\1", text), planted, frozen=place % 2 == 1))
            place += 1
    return found


def _escaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else "\n"
