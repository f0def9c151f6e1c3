"""The text of memory.md as a value: which facts are in it, and how one of them is added, changed or removed.

Pure. A document keeps its whole text; every edit splices lines and leaves all other bytes as they are. The reader
accepts any Markdown that a person may write. Knows nothing of line ids, files, tokens or models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from edgemem.values import SECTIONS

FORMAT_VERSION = 1
_BULLET = re.compile(r"^([ \t]*)([-*+]|\d{1,9}[.)])[ \t]+(\S.*)$")
_HEADING = re.compile(r"^ {0,3}#{1,6}(?:[ \t]+(.*))?$")
_RULE = re.compile(r"^ {0,3}([-*_=])(?:[ \t]*\1){2,}[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_FRONT_LINE = re.compile(r"^(?:[\w-]+[ \t]*:|[ \t#]|$)")
_UPDATED = re.compile(r"^updated[ \t]*:.*$")
_NESTED_INDENT = 2  # columns a bullet is further in than the one above to be a part of it


@dataclass(frozen=True, slots=True)
class Fact:
    """One bullet (with what belongs to it), or one paragraph of prose. `first:end` are its lines in the text."""

    section: str
    text: str
    prose: bool
    position: int
    first: int
    end: int


@dataclass(frozen=True)
class Document:
    """The memory's text, LF endings, no BOM. Make one with `parse`; read `facts`, in the order of the text."""

    text: str

    @cached_property
    def rows(self) -> tuple[str, ...]:
        return tuple(self.text.split("\n"))

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        return _find_facts(self.rows)


def parse(text: str) -> Document:
    """The document of `text`. Any text is one: CRLF becomes LF, a byte order mark goes, nothing else changes."""
    return Document(re.sub(r"\r+\n", "\n", text.lstrip("\ufeff")))


def render(document: Document) -> str:
    """The text, exactly as parsed or edited."""
    return document.text


def new_document(user: str) -> Document:
    """A memory that holds nothing but its front matter."""
    return with_updated_stamp(Document(""), user, None)


def clean_text(text: str) -> str:
    """`text` as one line, as a bullet holds it."""
    return " ".join(text.split())


def is_fact_text(text: str) -> bool:
    """Whether `text` says anything: rules, empty bullets and lone marks are no facts."""
    return any(map(str.isalnum, text))


def section_name(name: str) -> str:
    """`name` as a heading holds it; ours are recognised however they are capitalised."""
    cleaned = clean_text(name).strip("# ")
    return _OWN_SECTIONS.get(cleaned.casefold(), cleaned)


_OWN_SECTIONS = {name.casefold(): name for name in SECTIONS}


# Reading -------------------------------------------------------------------------------------------------------


def _front_matter_end(rows: Sequence[str]) -> int:
    """Number of lines of front matter, 0 without. A rule above prose is not taken for front matter."""
    if rows[0].rstrip() != "---":
        return 0
    for number, row in enumerate(rows[1:], 1):
        if row.rstrip() == "---":
            return number + 1
        if not _FRONT_LINE.match(row):
            return 0
    return 0


def _fenced(rows: Sequence[str], start: int) -> dict[int, int]:
    """First line -> end of each code block. One nobody closed is plain text, or it would hide the rest."""
    fences = {number: row.strip() for number, row in enumerate(rows) if number >= start and _FENCE.match(row)}
    blocks: dict[int, int] = {}
    busy_until = start
    for number, opening in fences.items():
        if number < busy_until:
            continue
        mark = opening[: len(opening) - len(opening.lstrip(opening[0]))]
        closers = (at for at, row in fences.items() if at > number and set(row) == {mark[0]} and row >= mark)
        if (closer := next(closers, None)) is not None:
            blocks[number] = busy_until = closer + 1
    return blocks


def _indent(space: str) -> int:
    return len(space.expandtabs(4))


def _join(texts: Sequence[str]) -> str:
    """A bullet, its continuation lines and nested bullets as one text; a nested bullet has a mark before it."""
    joined = ""
    for text in texts:
        nested = _BULLET.match(text)
        if joined and nested:
            joined += (" " if joined.endswith(":") else "; ") + nested[3].strip()
        else:
            joined += (" " if joined else "") + text.strip()
    return joined


class _Reader:
    """Collects lines into facts. `open_indent` is the indent of the open bullet, None in prose."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.section = ""
        self.texts: list[str] = []
        self.first = 0
        self.open_indent: int | None = None

    def close(self, end: int) -> None:
        text = _join(self.texts)
        if is_fact_text(text):
            prose = self.open_indent is None
            self.facts.append(Fact(self.section, text, prose, len(self.facts), self.first, end))
        self.texts, self.open_indent = [], None

    def start(self, number: int, text: str, indent: int | None) -> None:
        self.close(number)
        self.first, self.texts, self.open_indent = number, [text], indent

    def row(self, number: int, row: str) -> None:
        heading, bullet = _HEADING.match(row), _BULLET.match(row)
        if heading or not row.strip() or _RULE.match(row):
            self.close(number)
            if heading:
                self.section = section_name(heading[1] or "")
        elif bullet:
            indent = _indent(bullet[1])
            if self.open_indent is not None and indent >= self.open_indent + _NESTED_INDENT:
                self.texts.append(row)
            else:
                self.start(number, bullet[3], indent)
        elif self.texts:
            self.texts.append(row)
        else:
            self.start(number, row, None)


def _find_facts(rows: Sequence[str]) -> tuple[Fact, ...]:
    reader = _Reader()
    number = _front_matter_end(rows)
    blocks = _fenced(rows, number)
    while number < len(rows):
        if (end := blocks.get(number)) is not None:
            reader.start(number, "", None)
            reader.texts = [row.lstrip() for row in rows[number + 1 : end - 1]]
            reader.close(end)
            number = end
        else:
            reader.row(number, rows[number])
            number += 1
    reader.close(len(rows))
    return tuple(reader.facts)


# Editing -------------------------------------------------------------------------------------------------------


def with_added(document: Document, section: str, text: str) -> Document:
    """The document with one more bullet at the end of `section`, which is made (in our order) if it is missing.

    Without a section the bullet goes above the first heading. A text that says nothing changes nothing.
    """
    text, section, rows = clean_text(text), section_name(section), list(document.rows)
    if not is_fact_text(text):
        return document
    start = _front_matter_end(rows)
    headings = _headings(rows, start)
    if section and section not in headings.values():
        return _with_new_section(rows, headings, section, f"- {text}")
    first = next((number + 1 for number, name in headings.items() if name == section), start) if section else start
    end = next((number for number in headings if number >= first), len(rows))
    at = max((number + 1 for number in range(first, end) if rows[number].strip()), default=first)
    below_front = not section and at == start > 0
    below_prose = any(fact.prose and fact.end == at for fact in document.facts)
    lines = [""] * (below_front or below_prose) + [f"- {text}"]
    if at == len(rows) or (at < len(rows) and rows[at].strip()):
        lines.append("")
    return _joined([*rows[:at], *lines, *rows[at:]])


def with_replaced(document: Document, position: int, text: str) -> Document:
    """The document with another text for the fact at `position`; a bullet keeps its mark and indent.

    A text that says nothing changes nothing.
    """
    text, fact = clean_text(text), document.facts[position]
    if not is_fact_text(text):
        return document
    bullet = None if fact.prose else _BULLET.match(document.rows[fact.first])
    mark = document.rows[fact.first][: bullet.start(3)] if bullet else ""
    expected = [text if other is fact else other.text for other in document.facts]
    above, below = document.rows[: fact.first], document.rows[fact.end :]
    replaced = _joined([*above, mark + text, *below])
    if [other.text for other in replaced.facts] == expected:
        return replaced
    # Prose that would read as a heading or the like becomes a bullet, apart from what follows.
    return _joined([*above, f"- {text}", "", *below])


def with_removed(document: Document, position: int) -> Document:
    """The document without the fact at `position`. Its heading stays."""
    fact, rows = document.facts[position], document.rows
    kept = [(other.section, other.text) for other in document.facts if other is not fact]
    removed = _joined([*rows[: fact.first], *rows[fact.end :]])
    if [(other.section, other.text) for other in removed.facts] == kept:
        return removed
    # Its neighbours would have become one paragraph: a blank line keeps them apart.
    return _joined([*rows[: fact.first], "", *rows[fact.end :]])


def with_updated_stamp(document: Document, user: str, when: datetime | None) -> Document:
    """The document with `updated: <when>` (UTC) in its front matter, which is written if it is missing."""
    rows = list(document.rows)
    end = _front_matter_end(rows)
    stamp = [] if when is None else [f"updated: {_stamp(when)}"]
    if end:
        front = [row for row in rows[: end - 1] if not _UPDATED.match(row)]
        return _joined([*front, *stamp, *rows[end - 1 :]])
    gap = [] if rows[0].strip() == "" else [""]
    return _joined(["---", f"edgemem: {FORMAT_VERSION}", f"user: {user}", *stamp, "---", *gap, *rows])


def updated_stamp(document: Document) -> str:
    """The value of `updated:` in the front matter, empty without."""
    front = document.rows[: _front_matter_end(document.rows)]
    return next((row.partition(":")[2].strip() for row in front if _UPDATED.match(row)), "")


def without_stamp(document: Document) -> str:
    """The text without its `updated:` line: equal for two texts that differ in nothing else."""
    end = _front_matter_end(document.rows)
    return "\n".join([*(row for row in document.rows[:end] if not _UPDATED.match(row)), *document.rows[end:]])


def _stamp(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _headings(rows: Sequence[str], start: int) -> dict[int, str]:
    """Line number -> section of every heading outside code blocks."""
    blocks = _fenced(rows, start)
    inside = {number for first, end in blocks.items() for number in range(first, end)}
    found = ((number, _HEADING.match(row)) for number, row in enumerate(rows) if number >= start)
    return {number: section_name(match[1] or "") for number, match in found if match and number not in inside}


def _with_new_section(rows: list[str], headings: dict[int, str], section: str, bullet: str) -> Document:
    """Before the first of our sections that comes later, else at the end; blank lines around."""
    rank = {name: place for place, name in enumerate(SECTIONS)}
    later = (at for at, name in headings.items() if rank.get(name, -1) > rank.get(section, len(SECTIONS)))
    at = next(later, len(rows))
    above, below = rows[:at], rows[at:]
    while at == len(rows) and above and not above[-1].strip():
        above.pop()
    gap = [""] if above and above[-1].strip() else []
    return _joined([*above, *gap, f"## {section}", bullet, "", *below])


def _joined(rows: Sequence[str]) -> Document:
    return Document("\n".join(rows))
