"""`edgemem memory`: looking at what is remembered. (Changing it: `memory_change`.)"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.memory_view import line_values, numbered, pretty_document, revision_row, revision_values, why_text
from edgemem.cli.open import store_for
from edgemem.cli.options import Run, common
from edgemem.cli.output import plural
from edgemem.cli.passphrase import new_export_passphrase
from edgemem.errors import InvalidInput, StoreWriteFailed

if TYPE_CHECKING:
    from edgemem.store.user_store import ExportForm

app = typer.Typer(help="Look at the memory and change it.", no_args_is_help=True, rich_markup_mode=None)
LineId = Annotated[int, typer.Argument(metavar="LINE", help="A line's id (edgemem memory show --ids).")]


@app.command("show")
@common
def show(
    run: Run,
    raw: Annotated[bool, typer.Option("--raw", help="The file as it is.")] = False,
    ids: Annotated[bool, typer.Option("--ids", help="Each line with its id.")] = False,
) -> None:
    """Show what is remembered."""
    store, output = store_for(run), run.output
    if output.json:
        memory = store.read()
        lines = [line_values(line) for line in memory.lines]
        output.data({"user": store.user, "digest": memory.digest, "lines": lines})
        return
    text = store.text()
    if not text.strip():
        output.note(f"nothing is remembered about {store.user} yet; chat first, or: edgemem memory add TEXT")
    elif ids:
        output.text(numbered(store.read().lines, output))
    elif raw or not sys.stdout.isatty():
        output.text(text, end="")
    else:
        output.text(pretty_document(text, output, min(shutil.get_terminal_size().columns, 100)))


@app.command("path")
@common
def path(run: Run) -> None:
    """Print where memory.md is."""
    file = store_for(run).folder / "memory.md"
    if run.output.json:
        run.output.data({"path": file, "exists": file.exists()})
    else:
        run.output.text(str(file))


@app.command("history")
@common
def history(run: Run, limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many.")] = 30) -> None:
    """List the recorded changes, newest first."""
    store, output = store_for(run), run.output
    store.read()
    revisions = store.revisions(limit)
    if output.json:
        output.data({"revisions": [revision_values(revision) for revision in revisions]})
    elif revisions:
        output.table(("id", "when", "cause", "lines", "policy", ""), [revision_row(one) for one in revisions])
    else:
        output.note("nothing is recorded yet")


@app.command("diff")
@common
def diff(
    run: Run,
    a: Annotated[int | None, typer.Argument(metavar="[A]", help="Revision (default: the one before B).")] = None,
    b: Annotated[int | None, typer.Argument(metavar="[B]", help="Revision (default: the newest).")] = None,
) -> None:
    """Show how the memory changed from one revision to another."""
    store, output = store_for(run), run.output
    store.read()
    newest = store.revisions(1)
    last = b if b is not None else (newest[0].id if newest else 0)
    first = a if a is not None else max(0, last - 1)
    text = store.diff(first, last)
    if output.json:
        output.data({"from": first, "to": last, "diff": text})
        return
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for row in text.splitlines():
        colour = colours.get(row[:1])
        output.text(output.styled(row, colour) if colour else row)
    if not text:
        output.note("no difference")


@app.command("why")
@common
def why(run: Run, line: LineId) -> None:
    """Say why a line is there: what changed it, and what you said."""
    found = store_for(run).why(line)
    if not run.output.json:
        run.output.text(why_text(found, run.output))
        return
    run.output.data(
        {
            "line": line_values(found.line),
            "present": found.present,
            "origin": found.origin,
            "sensitivity": found.line.sensitivity,
            "support": found.support,
            "first_revision": found.revisions[0].id if found.revisions else None,
            "last_revision": found.revisions[-1].id if found.revisions else None,
            "revisions": [revision_values(revision) for revision in found.revisions],
            "turns": list(found.turns),
        }
    )


@app.command("export")
@common
def export(
    run: Run,
    file: Annotated[Path | None, typer.Option("-o", "--output", help="Write here instead of stdout.")] = None,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="All of it, for a passphrase (needs -o).")] = False,
) -> None:
    """Give the memory away: memory.md as it is, or with --json all of it, with where each line comes from."""
    import json
    from datetime import UTC, datetime

    store, output = store_for(run), run.output
    lines = store.read().lines
    if file is None or str(file) == "-":
        if encrypt:
            raise InvalidInput("an encrypted export goes into a file", "edgemem memory export --encrypt -o FILE")
        if output.json:
            output.data(json.loads(store.archive(datetime.now(UTC))))
        else:
            output.text(store.text(), end="")
        return
    form: ExportForm = "sealed" if encrypt else "json" if output.json else "markdown"
    store.export_to(file, form, _write_private, passphrase=new_export_passphrase(file.name) if encrypt else "")
    output.note(f"{plural(len(lines), 'line')} written to {file}")


def _write_private(file: Path, text: str) -> None:
    """Write what is about a person so that only its owner reads it (an existing file keeps its mode)."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except OSError as error:
        raise StoreWriteFailed(f"cannot write {file}: {error.strerror}", "choose another file with -o") from error
