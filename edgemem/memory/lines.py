"""Facts with stable ids: found again after a person edited the file, shown to the model, changed by operations.

Pure. Lines stand in the order of the document's facts, one line per fact. Knows no disk; where the ids are kept is
the store's matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from edgemem.memory.document import (
    Document,
    Fact,
    clean_text,
    is_fact_text,
    render,
    section_name,
    with_added,
    with_removed,
    with_replaced,
)
from edgemem.memory.sensitivity import sensitivity_of
from edgemem.memory.similar import near_pairs
from edgemem.values import Line, Operation, OperationKind

NEAR_PERCENT = 60.0
"""A line edited by hand keeps its id when this much of it is as before (0 to 100)."""


def digest_of(text: str) -> str:
    """sha256 of the text's UTF-8, in hex: how revisions name a state of the file."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Memory:
    """The memory at one moment. `digest` is the sha256 of the rendered text; `lines` follow the document."""

    document: Document
    lines: tuple[Line, ...]
    digest: str

    @property
    def text(self) -> str:
        return render(self.document)


def memory_of(document: Document, lines: Sequence[Line]) -> Memory:
    """The memory of a document and its lines."""
    return Memory(document, tuple(lines), digest_of(render(document)))


def match_lines(
    facts: Sequence[Fact], known: Sequence[Line], next_id: int, gone: Sequence[Line] = ()
) -> tuple[Line, ...]:
    """A line for every fact. Ids are found again by equal text, then by equal text among `gone` lines (put back by
    hand), then by likeness, the same section preferred; what is left gets new ids from `next_id` on.

    An unchanged line keeps its origin, every other is `edited`: a person wrote it.
    """
    found: dict[int, Line] = {}
    left = list(known)
    _take_equal(facts, found, left, lambda fact, line: (fact.section, fact.text) == (line.section, line.text))
    _take_equal(facts, found, left, lambda fact, line: fact.text == line.text)
    _take_equal(facts, found, list(gone), lambda fact, line: fact.text == line.text)
    _take_near(facts, found, left)
    lines: list[Line] = []
    for fact in facts:
        old = found.get(fact.position)
        kind = sensitivity_of(fact.text, fact.section)
        line = Line(next_id, fact.section, fact.text, prose=fact.prose, origin="edited", sensitivity=kind)
        if old is None:
            next_id += 1
        else:
            same = (old.section, old.text) == (fact.section, fact.text)
            origin = old.origin if same else "edited"
            line = replace(old, section=line.section, text=line.text, prose=line.prose, origin=origin, sensitivity=kind)
        lines.append(line)
    return tuple(lines)


def _take_equal(
    facts: Sequence[Fact], found: dict[int, Line], left: list[Line], equal: Callable[[Fact, Line], bool]
) -> None:
    by_text: dict[str, list[Line]] = {}
    for line in left:
        by_text.setdefault(line.text, []).append(line)
    for fact in facts:
        if fact.position in found:
            continue
        match = next((line for line in by_text.get(fact.text, []) if equal(fact, line)), None)
        if match is not None:
            by_text[fact.text].remove(match)
            left.remove(match)
            found[fact.position] = match


def _take_near(facts: Sequence[Fact], found: dict[int, Line], left: list[Line]) -> None:
    open_facts = [fact for fact in facts if fact.position not in found]
    pairs = near_pairs([fact.text for fact in open_facts], [line.text for line in left], NEAR_PERCENT)

    def rank(pair: tuple[int, int, float]) -> tuple[bool, float, int, int]:
        fact, line, score = pair
        return open_facts[fact].section != left[line].section, -score, fact, line

    taken: set[int] = set()
    for fact, line, _ in sorted(pairs, key=rank):
        if open_facts[fact].position not in found and line not in taken:
            taken.add(line)
            found[open_facts[fact].position] = left[line]


def prompt_view(lines: Iterable[Line]) -> str:
    """The memory as the model reads it: `[17 Health] text`, one line each, in the order they were first written.

    So a new line leaves the earlier tokens, and what was computed from them, valid.
    """
    return "\n".join(
        f"[{' '.join(filter(None, (str(line.id), line.section)))}] {clean_text(line.text)}"
        for line in sorted(lines, key=lambda line: line.id)
    )


def difference(before: Sequence[Line], after: Sequence[Line]) -> tuple[Operation, ...]:
    """The operations that lead from `before` to `after`, by id: deletes, updates, adds.

    An update cannot take a line out of all sections (an empty section keeps the old one): such a line is deleted
    and added again under its id.
    """
    old, new = {line.id: line for line in before}, {line.id: line for line in after}
    anew = {key for key, line in new.items() if key in old and old[key].section and not line.section}
    deletes = [_deleting(line) for key, line in old.items() if key not in new or key in anew]
    updates = [
        _updating(old[key], line)
        for key, line in new.items()
        if key in old and key not in anew and (old[key].section, old[key].text) != (line.section, line.text)
    ]
    adds = [
        Operation("add", line.id, line.section, line.text, origin=line.origin)
        for key, line in new.items()
        if key not in old or key in anew
    ]
    return (*deletes, *updates, *adds)


def _deleting(line: Line) -> Operation:
    return Operation(
        "delete", line.id, old_text=line.text, old_section=line.section, origin=line.origin, old_origin=line.origin
    )


def _updating(old: Line, new: Line) -> Operation:
    return Operation(
        "update", old.id, new.section, new.text, old.text, old.section, origin=new.origin, old_origin=old.origin
    )


def inverse(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """The operations that take `operations` back, last one first. They must be applied ones (see `Applied`)."""
    return tuple(back for operation in reversed(operations) for back in _inverse(operation))


def _inverse(operation: Operation) -> tuple[Operation, ...]:
    origin = operation.old_origin or operation.origin
    if operation.kind == "update" and operation.section and not operation.old_section:
        # An update cannot take a line out of all sections (see `difference`): out and in again.
        back = Operation("add", operation.line_id, text=operation.old_text, origin=origin)
        return Operation("delete", operation.line_id), back
    back = Operation(
        _INVERSE_KIND[operation.kind],
        operation.line_id,
        section=operation.old_section,
        text=operation.old_text,
        old_text=operation.text,
        old_section=operation.section,
        origin=origin,
    )
    return (back,)


_INVERSE_KIND: dict[OperationKind, OperationKind] = {"add": "delete", "delete": "add", "update": "update"}


@dataclass(frozen=True)
class Applied:
    """What came of operations. `done` are complete (ids, texts before and after), so that they can be inverted or
    repeated; `skipped` had nothing to act on."""

    document: Document
    lines: tuple[Line, ...]
    done: tuple[Operation, ...]
    skipped: tuple[Operation, ...]


def apply_operations(
    document: Document, lines: Sequence[Line], operations: Iterable[Operation], next_id: int
) -> tuple[Document, tuple[Line, ...]]:
    """Document and lines after `operations`. One on a line that is gone is left out; see `apply_all` for which."""
    applied = apply_all(document, lines, operations, next_id)
    return applied.document, applied.lines


def apply_all(document: Document, lines: Sequence[Line], operations: Iterable[Operation], next_id: int) -> Applied:
    """Apply `operations` in order; an add without id takes `next_id` and on.

    Never raises: what cannot be done (line gone, id already there, empty text, no change) is `skipped`.
    """
    editing = _Editing(document, list(lines), next_id)
    done: list[Operation] = []
    skipped: list[Operation] = []
    for operation in operations:
        applied = _APPLY[operation.kind](editing, operation)
        (skipped if applied is None else done).append(applied or operation)
    return Applied(editing.document, tuple(editing.lines), tuple(done), tuple(skipped))


@dataclass
class _Editing:
    document: Document
    lines: list[Line]
    next_id: int

    def place(self, line_id: int | None) -> int | None:
        return next((place for place, line in enumerate(self.lines) if line.id == line_id), None)

    def insert(self, section: str, text: str, line: Line) -> Line:
        """Add a bullet and the line for it, at the place where the document put it."""
        before = [(fact.section, fact.text) for fact in self.document.facts]
        self.document = with_added(self.document, section, text)
        facts = self.document.facts
        place = next((i for i, old in enumerate(before) if old != (facts[i].section, facts[i].text)), len(before))
        added = replace(line, section=facts[place].section, text=facts[place].text, prose=False)
        self.lines.insert(place, added)
        return added

    def remove(self, place: int) -> Line:
        self.document = with_removed(self.document, place)
        return self.lines.pop(place)


def _add(editing: _Editing, operation: Operation) -> Operation | None:
    if not is_fact_text(operation.text) or editing.place(operation.line_id) is not None:
        return None
    line_id = operation.line_id or editing.next_id
    editing.next_id = max(editing.next_id, line_id + 1)
    line = editing.insert(operation.section, operation.text, Line(line_id, "", "", origin=operation.origin))
    return replace(operation, line_id=line_id, section=line.section, text=line.text)


def _update(editing: _Editing, operation: Operation) -> Operation | None:
    place, text = editing.place(operation.line_id), clean_text(operation.text)
    if place is None or not is_fact_text(text):
        return None
    old = editing.lines[place]
    section = section_name(operation.section) or old.section
    if (section, text) == (old.section, old.text):
        return None
    if section == old.section:
        editing.document = with_replaced(editing.document, place, text)
        prose = editing.document.facts[place].prose
        new = editing.lines[place] = replace(old, text=text, prose=prose, origin=operation.origin)
    else:
        new = editing.insert(section, text, replace(editing.remove(place), origin=operation.origin))
    return replace(_updating(old, new), sources=operation.sources)


def _delete(editing: _Editing, operation: Operation) -> Operation | None:
    place = editing.place(operation.line_id)
    if place is None:
        return None
    return replace(_deleting(editing.remove(place)), sources=operation.sources, origin=operation.origin)


_APPLY: dict[str, Callable[[_Editing, Operation], Operation | None]] = {
    "add": _add,
    "update": _update,
    "delete": _delete,
}
