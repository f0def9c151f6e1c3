"""The edit language: what a model writes to change the memory, and how it is read. Pure.

ADD <section>: <fact>
UPDATE <id>: <fact>
DELETE <id>
NONE
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgemem.values import SECTIONS, Line, Operation

_LINE = re.compile(
    r"^\W*(?:(?P<add>ADD)\s+\[?(?P<section>[^:\]\n]{1,40}?)\]?\s*:\s*(?P<new>.+)"
    r"|UPDATE\s+\[?(?P<id>\d+)[^:\n]{0,40}:\s*(?P<text>.+)"
    r"|DELETE\s+\[?(?P<gone>\d+)\b.*"
    r"|(?P<none>NONE)\W*)$",
    re.IGNORECASE,
)
_POINT = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(?:\[(?:\d+\s+)?(?P<section>[^\]\n]{1,40})\]\s*)?(?P<text>.+)$")
_HEADING = re.compile(r"^\s*#{1,4}\s+(?P<section>.+?)\s*$")


def parse_edits(text: str, lines: Iterable[Line] = ()) -> list[Operation] | None:
    """Operations in a model's reply, or None when no line of it is in the edit language.

    Lines that are not are passed over; an UPDATE or DELETE of an unknown id is kept for the checker to name.
    """
    known = {line.id: line for line in lines}
    operations: list[Operation] = []
    understood = False
    for raw in text.splitlines():
        found = _LINE.match(raw.strip())
        if found is None:
            continue
        understood = True
        operation = _operation(found, known)
        if operation is not None:
            operations.append(operation)
    return operations if understood else None


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


def _operation(found: re.Match[str], known: dict[int, Line]) -> Operation | None:
    if found["add"]:
        return Operation("add", section=canonical_section(found["section"]), text=found["new"].strip())
    if found["id"]:
        return _on_line("update", int(found["id"]), found["text"].strip(), known)
    if found["gone"]:
        return _on_line("delete", int(found["gone"]), "", known)
    return None


def _on_line(kind: str, line_id: int, text: str, known: dict[int, Line]) -> Operation:
    old = known.get(line_id)
    old_text, section = (old.text, old.section) if old else ("", "")
    if kind == "delete":
        return Operation("delete", line_id, old_text=old_text, old_section=section)
    return Operation("update", line_id, text=text, old_text=old_text, old_section=section)
