"""`edgemem memory review`: what was learned and waits until the person accepts, edits or refuses it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgemem.cli.learning import counter_for
from edgemem.cli.memory_view import counts, operation_text, revision_values
from edgemem.cli.open import store_for
from edgemem.cli.options import Run, common
from edgemem.cli.output import local_time, plural, printable
from edgemem.errors import InvalidInput

if TYPE_CHECKING:
    from edgemem.store.records import PendingChange
    from edgemem.values import Revision

app = typer.Typer(rich_markup_mode=None)

Numbers = Annotated[list[int] | None, typer.Option(metavar="NUMBER", help="Numbers of the list (repeat).")]


@app.command("review")
@common
def review(
    run: Run,
    accept: Numbers = None,
    reject: Numbers = None,
    edit: Annotated[
        list[str] | None, typer.Option("--edit", metavar="NUMBER=TEXT", help="Accept with another text (repeat).")
    ] = None,
    accept_all: Annotated[bool, typer.Option("--accept-all", help="Accept what is not named otherwise.")] = False,
    reject_all: Annotated[bool, typer.Option("--reject-all", help="Refuse what is not named otherwise.")] = False,
) -> None:
    """List what was learned and waits for your consent; accept, edit or reject it (the setting `review`)."""
    waiting = store_for(run).waiting()
    if accept_all and reject_all:
        raise InvalidInput("accept all and reject all?", "give one of --accept-all and --reject-all")
    wanted = dict.fromkeys(accept or (), "") | dict(map(_edited, edit or ()))
    refused = list(dict.fromkeys(reject or ()))
    if both := set(wanted) & set(refused):
        raise InvalidInput(f"number {min(both)} is accepted and rejected", "name it once")
    rest = [one.id for one in waiting if one.id not in wanted and one.id not in refused]
    if accept_all:
        wanted |= dict.fromkeys(rest, "")
    refused += rest if reject_all else []
    if not wanted and not refused and sys.stdin.isatty() and not run.output.json:
        wanted, refused = _asked(run, waiting)
    if not wanted and not refused:
        _list(run, waiting)
        return
    _say(run, _decide(run, waiting, wanted, refused))


def _decide(run: Run, waiting: Sequence[PendingChange], wanted: Mapping[int, str], refused: Sequence[int]) -> Revision:
    from edgemem.memory.check import check
    from edgemem.memory.consent import accepted

    store = store_for(run)
    memory = store.read()
    operations = accepted({one.id: one.operation for one in waiting}, wanted)
    with counter_for(run, memory, operations) as count:
        checked = check(operations, memory, (), run.settings.budget_tokens, count)
    wrong = [one for one in checked.rejected if one.reason not in ("duplicate", "unchanged")]
    if wrong:
        raise InvalidInput(
            f"this cannot be remembered: {wrong[0].detail or wrong[0].reason}", "edit or reject it; nothing was changed"
        )
    note = f"{len(wanted)} accepted, {len(refused)} rejected"
    told = [one.operation.text for one in waiting if one.id in refused]
    return store.review(checked.operations, base=memory, decided=(*wanted, *refused), refused=told, note=note)


def _edited(text: str) -> tuple[int, str]:
    number, equals, rest = text.partition("=")
    if not equals or not number.strip().isdecimal() or not rest.strip():
        raise InvalidInput(f"{text!r} is no edit", "give --edit NUMBER=TEXT")
    return int(number), rest.strip()


def _asked(run: Run, waiting: Sequence[PendingChange]) -> tuple[dict[int, str], list[int]]:
    """Ask for each one on the terminal; Enter leaves it waiting."""
    wanted: dict[int, str] = {}
    refused: list[int] = []
    for one in waiting:
        run.output.text(_shown(run, one))
        sys.stderr.write("[a]ccept, [e]dit, [r]eject, Enter: later? ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip().lower()
        if answer.startswith("a"):
            wanted[one.id] = ""
        elif answer.startswith("e"):
            sys.stderr.write("text: ")
            sys.stderr.flush()
            wanted[one.id] = sys.stdin.readline().strip()
        elif answer.startswith("r"):
            refused.append(one.id)
    return wanted, refused


def _list(run: Run, waiting: Sequence[PendingChange]) -> None:
    if run.output.json:
        run.output.data({"waiting": [_values(one) for one in waiting]})
        return
    for one in waiting:
        run.output.text(_shown(run, one))
    if waiting:
        run.output.note("edgemem memory review --accept NUMBER | --edit NUMBER=TEXT | --reject NUMBER | --accept-all")
    else:
        run.output.note("nothing waits for your consent")


def _values(one: PendingChange) -> dict[str, Any]:
    return {
        "number": one.id,
        "sensitivity": one.sensitivity,
        "created": one.created.isoformat(),
        "operation": one.operation,
        "turns": list(one.turns),
    }


def _shown(run: Run, one: PendingChange) -> str:
    operation = one.operation
    section = operation.section or operation.old_section
    rows = [f"{run.output.styled(str(one.id), 'cyan')} {section}: {operation_text(operation, run.output)}"]
    rows += [f"    {one.sensitivity or 'to be reviewed'}, learned {local_time(one.created)}"]
    rows += [f"    you said: {printable(turn.text)}" for turn in one.turns]
    return "\n".join(rows)


def _say(run: Run, revision: Revision) -> None:
    if run.output.json:
        run.output.data(revision_values(revision))
        return
    for operation in revision.operations:
        run.output.text(operation_text(operation, run.output))
    left = plural(len(store_for(run).waiting()), "line")
    run.output.note(f"memory updated ({counts(revision.operations)}), {revision.note}; {left} left to review")
