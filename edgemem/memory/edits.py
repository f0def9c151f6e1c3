"""What a model writes for the memory, and how it is read: `ADD <section>: <note>`, or a whole memory. Pure."""

from __future__ import annotations

import re

from edgemem.values import SECTIONS, Operation

_NOTE = re.compile(r"^\W*ADD\s+\[?(?P<section>[^:\]\n]{1,40}?)\]?\s*:\s*(?P<text>.+)$", re.IGNORECASE)
_POINT = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(?:\[(?:\d+\s+)?(?P<section>[^\]\n]{1,40})\]\s*)?(?P<text>.+)$")
_HEADING = re.compile(r"^\s*#{1,4}\s+(?P<section>.+?)\s*$")


def parse_notes(text: str) -> list[Operation]:
    """The notes in a model's reply, as lines to add. Whatever else it says is passed over."""
    found = (_NOTE.match(line.strip()) for line in text.splitlines())
    return [
        Operation("add", section=canonical_section(one["section"]), text=one["text"].strip()) for one in found if one
    ]


def parse_memory(text: str) -> list[tuple[str, str]]:
    """(section, fact) of a whole memory as a model writes it: points under headings or with [section] tags."""
    section = ""
    facts: list[tuple[str, str]] = []
    for raw in text.splitlines():
        if heading := _HEADING.match(raw):
            section = canonical_section(heading["section"])
        elif point := _POINT.match(raw):
            facts.append((canonical_section(point["section"] or section), point["text"].strip()))
    return facts


def canonical_section(name: str) -> str:
    """The section of ours that `name` means; About where it means none."""
    plain = name.strip().strip("*:").casefold()
    for section in SECTIONS:
        if plain == section.casefold():
            return section
    for section in SECTIONS:
        if plain and (plain in section.casefold().split() or section.casefold().split()[0] == plain.split()[0]):
            return section
    return SECTIONS[0]
