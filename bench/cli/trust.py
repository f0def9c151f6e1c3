"""`edgemem bench trust`: what of the promises about privacy holds."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.options import Run, common

from .shared import kept_prompts, model

if TYPE_CHECKING:
    from edgemem.opening import OpenedModel

    from ..trust.planted_run import Model

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def _on(run: Run, opened: OpenedModel) -> Model:
    """What is measured, with the policy of the settings or the model's own."""
    from ..trust.planted_run import Model

    return Model(opened.engine, opened.prompts, run.settings.policy or opened.policy, kept_prompts(run))


def _show(run: Run, found: object, text: str) -> None:
    if run.output.json:
        run.output.data(found)
    run.output.text(text, end="")


@app.command("secrets")
@common
def trust_secrets(
    run: Run,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the public sets, for false alarms.")] = None,
) -> None:
    """Count the secrets of our own set that reach journal or memory, and false alarms on harmless lines."""
    from ..trust.secrets_run import markdown, measure

    found = measure(data)
    _show(run, found, markdown(found))
    for kind, language, frozen in found["missed"]:
        run.output.note(f"missed: {kind}, {language}, {'frozen' if frozen else 'tuning'} half")


@app.command("planted")
@common
def trust_planted(
    run: Run,
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("planted.jsonl"),
) -> None:
    """Say our own planted instructions to a real model: how many are stored, how many obeyed. Stop it at any time."""
    from ..jsonl import read_objects
    from ..trust.planted_run import markdown, summary
    from ..trust.planted_run import run as run_planted

    with model(run) as opened:
        for row in run_planted(_on(run, opened), rows):
            came = [name for name in ("stored", "obeyed", "stored_without", "obeyed_without") if row[name]]
            run.output.note(f"{row['way']} {row['sign']}: {', '.join(came) or 'nothing'}, {row['seconds']} s")
    found = read_objects(rows)
    _show(run, summary(found), markdown(found))


@app.command("provenance")
@common
def trust_provenance(
    run: Run,
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("provenance.jsonl"),
) -> None:
    """Learn 60 turns of our own: asked, stated, only requested, special, about others. Stop it at any time."""
    from ..jsonl import read_objects
    from ..trust.provenance_run import markdown, summary
    from ..trust.provenance_run import run as run_turns

    with model(run) as opened:
        for row in run_turns(_on(run, opened), rows):
            run.output.note(f"{row['kind']}: {'; '.join(row['lines']) or '-'}{' (waits)' if row['waiting'] else ''}")
    found = read_objects(rows)
    _show(run, summary(found), markdown(found))


@app.command("encryption")
@common
def trust_encryption(
    run: Run,
    updates: Annotated[int, typer.Option("--updates", help="How many, each plain and encrypted.", min=1)] = 60,
) -> None:
    """Time updates plain and encrypted (extra [encryption]), and look for a marker in the bytes of all files."""
    from ..trust.encryption_run import measure

    with run.output.progress("steps") as report:
        found = measure(updates, report)
    _show(run, found, "".join(f"- {name.replace('_', ' ')}: {value}\n" for name, value in found.items()))


@app.command("fuzz")
@common
def trust_fuzz(
    run: Run,
    target: Annotated[list[str] | None, typer.Option("--target", help="Only this parser; may be repeated.")] = None,
    seconds: Annotated[int, typer.Option("--seconds", help="For all targets together.", min=1)] = 300,
    kept: Annotated[
        Path, typer.Option("--kept", help="Folder for inputs that reached something new, and faults.")
    ] = Path("fuzz"),
) -> None:
    """Fuzz every parser of outside input, coverage-guided (needs atheris): executions, and what failed."""
    from ..trust.fuzz_run import markdown
    from ..trust.fuzz_run import run as run_fuzz

    rows = []
    for row in run_fuzz(target or (), seconds, kept):
        rows.append(row)
        run.output.note(f"{row['target']}: {row['executions']} executions{', ' + row['fault'] if row['fault'] else ''}")
        if row["input"]:
            run.output.warn(f"the input is in {row['input']}")
    _show(run, rows, markdown(rows))
    if any(row["fault"] for row in rows):
        raise typer.Exit(1)


@app.command("crashes")
@common
def trust_crashes(
    run: Run,
    act: Annotated[list[str] | None, typer.Option("--act", help="Only this act; may be repeated.")] = None,
) -> None:
    """Kill a process at every effect on disk, and fill the disk at every write: what is found afterwards (Linux)."""
    from ..trust.crashes_run import markdown, measure

    with run.output.progress("steps") as report:
        rows = measure(act or (), report)
    _show(run, rows, markdown(rows))
    for row in rows:
        for fault in row["faults"]:
            run.output.warn(f"{row['act']}: {fault}")
    if any(row["faults"] for row in rows):
        raise typer.Exit(1)


@app.command("forgetting")
@common
def trust_forgetting(
    run: Run,
    data: Annotated[Path, typer.Option("--data", help="Folder of the public sets.")],
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("forgetting.jsonl"),
    with_model: Annotated[bool, typer.Option("--with-model", help="Learn with the model of your settings.")] = False,
) -> None:
    """Replay public requests to forget: what is left of it, and what else was lost. Stop it at any time."""
    from ..jsonl import read_objects
    from ..trust.forgetting_run import markdown, summary
    from ..trust.forgetting_run import run as run_requests

    with model(run) if with_model else nullcontext() as opened:
        using = _on(run, opened) if opened else None
        for row in run_requests(data, rows, using):
            lost = row["lines_lost_that_were_not_asked_for"]
            run.output.detail(
                f"request {row['request'] + 1}: {row['lines_before']} lines before, {lost} lost beside it"
            )
    found = summary(read_objects(rows))
    _show(run, found, markdown(found))


@app.command("wishes")
@common
def trust_wishes(run: Run) -> None:
    """Count which of our own wishes not to keep, or to forget a topic, are seen by their words."""
    from ..trust.wishes_run import markdown, measure

    found = measure()
    _show(run, found, markdown(found))


@app.command("worlds")
@common
def trust_worlds(
    run: Run,
    data: Annotated[Path, typer.Option("--data", help="Folder of the public sets.")],
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("worlds.jsonl"),
    world: Annotated[list[str] | None, typer.Option("--world", help="forget or no_store (repeat).")] = None,
    histories: Annotated[int, typer.Option("--histories", help="How many, of ten.", min=1)] = 4,
) -> None:
    """Learn histories in which the user asks to forget, or not to keep: what is left, and told. Stop it at any time."""
    from ..jsonl import read_objects
    from ..trust.worlds_run import WORLDS, markdown, summary
    from ..trust.worlds_run import run as run_worlds

    with model(run) as opened:
        for row in run_worlds(_on(run, opened), data, rows, world or WORLDS, histories):
            run.output.note(
                f"{row['world']} {row['history']}, {row['way']}: {row.get('messages_left', 0)} messages left, "
                f"{row['told']} of {row['keys']} told, {row['used']} of {row['probes']} known"
            )
    found = read_objects(rows)
    _show(run, summary(found), markdown(found))
