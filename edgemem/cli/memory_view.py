"""How memory, revisions and reports look on a screen and in JSON. Pure: values to text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgemem.cli.output import Output, local_time, printable
from edgemem.values import Line, Operation, Revision

if TYPE_CHECKING:
    from edgemem.assistant import UpdateReport
    from edgemem.store import LineHistory

SIGNS = {"add": "+", "update": "~", "delete": "-"}
COLOURS = {"add": "green", "update": "yellow", "delete": "red"}


def pretty_document(text: str, output: Output, width: int) -> str:
    """memory.md for a terminal: headings stand out, bullets are wrapped, the front matter is left out."""
    shown: list[str] = []
    for row in _without_front_matter(printable(text)).splitlines():
        if row.startswith("#"):
            shown.append(output.styled(row.lstrip("# "), "bold"))
        elif row.lstrip().startswith(("- ", "* ", "+ ")):
            indent = " " * (len(row) - len(row.lstrip()))
            shown += textwrap.wrap(
                row.strip()[2:], width, initial_indent=f"{indent}  • ", subsequent_indent=f"{indent}    "
            )
        else:
            shown.append(row)
    return "\n".join(shown).strip("\n")


def line_values(line: Line) -> dict[str, Any]:
    """One line of the memory for JSON."""
    return asdict(line)


def numbered(lines: Sequence[Line], output: Output) -> str:
    """The lines with their ids; a pin marks those that the model may not change."""
    width = max((len(str(line.id)) for line in lines), default=1)
    rows = []
    for line in lines:
        mark = " (pinned)" if line.pinned else ""
        rows.append(
            f"{output.styled(f'{line.id:>{width}}', 'cyan')} {line.section or '-'}: {printable(line.text)}{mark}"
        )
    return "\n".join(rows)


def counts(operations: Sequence[Operation]) -> str:
    """`+1 ~2 -1`, without what is zero; a lone dot for nothing."""
    numbers = {sign: sum(operation.kind == kind for operation in operations) for kind, sign in SIGNS.items()}
    return " ".join(f"{sign}{number}" for sign, number in numbers.items() if number) or "·"


def operation_text(operation: Operation, output: Output) -> str:
    """One change of one line, in its colour."""
    text = operation.text
    if operation.kind == "update":
        text = f"{operation.old_text} → {operation.text}"
    if operation.kind == "delete":
        text = operation.old_text
    number = f"{operation.line_id} " if operation.line_id is not None else ""
    return output.styled(f"{SIGNS[operation.kind]} {number}{printable(text)}", COLOURS[operation.kind])


def revision_row(revision: Revision) -> tuple[str, ...]:
    """A revision as a row of the history."""
    note = revision.note or (f"undoes {revision.undoes}" if revision.undoes else "")
    left_out = f"{len(revision.rejected)} left out" if revision.rejected else ""
    remarks = ", ".join(part for part in (note, left_out) if part)
    cause, policy = revision.cause, revision.policy or "-"
    return (
        str(revision.id),
        local_time(revision.created),
        cause,
        counts(revision.operations),
        policy,
        printable(remarks),
    )


def revision_values(revision: Revision) -> dict[str, Any]:
    """A revision for JSON."""
    return asdict(revision) | {"created": revision.created.isoformat(), "counts": counts(revision.operations)}


def report_values(report: UpdateReport) -> dict[str, Any]:
    """What learning did, for JSON."""
    return {
        "summary": report.summary(),
        "added": report.added,
        "updated": report.updated,
        "deleted": report.deleted,
        "revisions": [revision.id for revision in report.revisions],
        "folded_turns": report.folded_turns,
        "set_aside": report.set_aside,
        "waiting": report.waiting,
        "forgotten": asdict(report.forgotten) if report.forgotten else None,
        "memory_tokens": report.memory_tokens,
        "seconds": round(report.seconds, 3),
        "stats": asdict(report.stats),
        "error": report.error,
    }


def why_text(history: LineHistory, output: Output) -> str:
    """Where a line comes from: what changed it, and the turns it rests on."""
    line = history.line
    state = "" if history.present else " (no longer in the memory)"
    rows = [f"{output.styled(str(line.id), 'cyan')} {line.section}: {printable(line.text)}{state}"]
    rows.append(f"  origin: {history.origin}" + (", pinned" if line.pinned else ""))
    rows.append(f"  sensitive: {line.sensitivity or 'no'}; your words carry it: {history.support}")
    for revision in history.revisions:
        rows.append(f"  revision {revision.id}, {local_time(revision.created)}, {revision.cause}:")
        own = [operation for operation in revision.operations if operation.line_id == line.id]
        rows += [f"    {operation_text(operation, output)}" for operation in own]
    for turn in history.turns:
        rows.append(f"  you said, {local_time(turn.time)} (chat {turn.chat_id}):")
        rows.append(textwrap.indent(printable(turn.text), "    "))
    return "\n".join(rows)


def _without_front_matter(text: str) -> str:
    if not text.startswith("---\n"):
        return text
    _, separator, rest = text[4:].partition("\n---\n")
    return rest if separator else text
