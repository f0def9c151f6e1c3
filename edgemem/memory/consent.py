"""Which learned changes wait until the person accepts them, and which sections are never kept. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgemem.errors import InvalidInput
from edgemem.memory.check import says_again
from edgemem.memory.sensitivity import sensitivity_of
from edgemem.values import Line, Operation, Rejected, Review


@dataclass(frozen=True)
class Sifted:
    """What becomes memory now, what waits, and what was refused."""

    active: tuple[Operation, ...]
    waiting: tuple[Operation, ...]
    refused: tuple[Rejected, ...]


def sift(
    operations: Iterable[Operation],
    lines: Sequence[Line],
    *,
    review: Review,
    never_keep: Collection[str] = (),
    asked_before: Sequence[str] = (),
) -> Sifted:
    """Part checked `operations` by consent.

    `review`: with `sensitive`, special categories of data wait, unless the person asked to remember them or the line
    they change is of the same category already; with `all` everything learned waits. `never_keep` names sections or
    categories that are never learned. `asked_before` are texts that wait already: those are not asked for twice.
    """
    known = {line.id: line for line in lines}
    switched_off = {name.casefold() for name in never_keep}
    active: list[Operation] = []
    waiting: list[Operation] = []
    refused: list[Rejected] = []
    for operation in operations:
        old = known.get(operation.line_id or 0)
        section = operation.section or (old.section if old else "")
        kind = sensitivity_of(operation.text, section)
        if operation.kind != "delete" and {section.casefold(), kind} & switched_off:
            refused.append(Rejected(operation, "section_off", f"{section or kind} is never kept"))
        elif not _waits(operation, old, kind, review):
            active.append(operation)
        elif not _asked(operation.text, (*asked_before, *(one.text for one in waiting))):
            waiting.append(operation)
    return Sifted(tuple(active), tuple(waiting), tuple(refused))


def _waits(operation: Operation, old: Line | None, kind: str, review: Review) -> bool:
    if review == "off" or operation.origin == "asked":
        return False
    if review == "all":
        return operation.kind != "delete" or bool(operation.sources)  # without sources: room for the budget
    accepted = old is not None and sensitivity_of(old.text, old.section) == kind
    return operation.kind != "delete" and kind != "" and not accepted


def _asked(text: str, before: Iterable[str]) -> bool:
    return bool(text) and any(says_again(text, one) for one in before)


def accepted(waiting: Mapping[int, Operation], accept: Mapping[int, str]) -> list[Operation]:
    """The waiting changes that are accepted, each with another text where one is given (origin `edited` then).

    Raises InvalidInput for a number that nothing waits under.
    """
    for number in accept:
        if number not in waiting:
            raise InvalidInput(f"nothing waits under the number {number}", "`edgemem memory review` lists what does")
    return [
        replace(waiting[number], text=text, origin="edited") if text else waiting[number]
        for number, text in accept.items()
    ]
