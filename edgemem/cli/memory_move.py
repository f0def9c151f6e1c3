"""`edgemem memory import`: our own exports, plain lists, and the conversations of other assistants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.learning import counter_for
from edgemem.cli.memory_change import say_revision, show_checked
from edgemem.cli.open import store_for
from edgemem.cli.options import DryRun, Run, common
from edgemem.cli.output import plural
from edgemem.cli.passphrase import export_passphrase
from edgemem.errors import InvalidInput
from edgemem.memory.document import parse
from edgemem.values import Operation

if TYPE_CHECKING:
    from edgemem.memory.check import Checked
    from edgemem.store import UserStore
    from edgemem.store.archive import Archive

app = typer.Typer(rich_markup_mode=None)


@app.command("import")
@common
def import_file(
    run: Run,
    file: Annotated[str, typer.Argument(help="Our export, a list, memory.md, ChatGPT's or Claude's export; -: stdin.")],
    dry_run: DryRun = False,
) -> None:
    """Take in a memory, a list of lines, or conversations of another assistant (to be learned by `memory update`)."""
    from edgemem.store.conversations import looks_like_conversations
    from edgemem.store.importing import read_import

    if file != "-" and Path(file).expanduser().is_file() and looks_like_conversations(Path(file).expanduser()):
        _conversations(run, Path(file).expanduser(), dry_run)
        return
    archive, operations = read_import(file, lambda: export_passphrase(file))
    if not operations:
        raise InvalidInput(f"{file} has no lines to import", "give one fact per line, best as a - bullet")
    _lines(run, archive, operations, dry_run)


def _lines(run: Run, archive: Archive | None, operations: Sequence[Operation], dry_run: bool) -> None:
    from edgemem.memory.check import check

    store = store_for(run)
    memory = store.read()
    # Whatever a file says of itself, its lines come from outside.
    outside = [replace(one, origin="imported") for one in operations]
    with counter_for(run, memory, outside) as count:
        checked = check(outside, memory, (), run.settings.budget_tokens, count)
    fit = [
        one
        for one in (archive.waiting if archive else ())
        if not check([replace(one, origin="imported")], memory, (), run.settings.budget_tokens, len).rejected
    ]
    if dry_run:
        show_checked(run, checked)
        return
    if archive is not None and not memory.lines and _is_whole(archive, checked):
        made = store.take_in_turns(archive.turns)
        waiting = [replace(one, sources=tuple(made[turn] for turn in one.sources if turn in made)) for one in fit]
        say_revision(run, store.restore(replace(archive, waiting=tuple(waiting)), archive.operations(made)))
        return
    _add(run, store, archive, checked)


def _add(run: Run, store: UserStore, archive: Archive | None, checked: Checked) -> None:
    """Add what the checker let through; lines of an archive with their origin and sources."""
    accepted = list(checked.operations)
    if archive is not None:
        made = store.take_in_turns(archive.turns)
        known = {(one.section, one.text): one for one in archive.operations(made)}
        accepted = [known.get((one.section, one.text), one) for one in accepted]
    revision = store.commit(accepted, base=store.read(), cause="command", rejected=checked.rejected)
    say_revision(run, revision)
    for rejected in checked.rejected:
        run.output.warn(f"left out: {rejected.operation.text} ({rejected.detail or rejected.reason})")


def _is_whole(archive: Archive, checked: Checked) -> bool:
    """Whether every line passed, and the file that the archive holds says these lines and no others."""
    facts = sorted((fact.section, fact.text) for fact in parse(archive.memory).facts)
    lines = sorted((line.section, line.text) for line in archive.lines)
    return not checked.rejected and facts == lines and len(checked.operations) == len(lines)


def _conversations(run: Run, path: Path, dry_run: bool) -> None:
    from edgemem.store.conversations import read_conversations

    found = read_conversations(path)
    turns = sum(len(one.turns) for one in found)
    what = f"{plural(len(found), 'conversation')} with {plural(turns, 'message')}"
    if dry_run:
        if run.output.json:
            run.output.data({"dry_run": True, "conversations": len(found), "messages": turns})
        run.output.text(what)
        return
    store = store_for(run)
    taken = 0
    with run.output.progress("steps") as report:
        for number, one in enumerate(found, 1):
            report("taking in", number, len(found))
            taken += store.take_in_chat(one.source, one.kind, one.turns)
    if run.output.json:
        run.output.data({"conversations": len(found), "taken_in": taken, "known": len(found) - taken})
    run.output.text(f"{what}: {taken} taken in, {len(found) - taken} here already")
    if taken:
        run.output.note("learn from them now with: edgemem memory update (stop it at any time, it goes on there)")
