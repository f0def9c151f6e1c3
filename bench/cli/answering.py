"""`edgemem bench run`, and what is made of its rows: `report`, `merge`, `compare`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.options import Run, common
from edgemem.cli.output import Output
from edgemem.errors import InvalidInput

from .shared import RowFiles, kept_prompts, left, model, names, write_text

if TYPE_CHECKING:
    from edgemem.engines.base import Engine

    from ..peers.mem0.client import Mem0Setup
    from ..rows import Setup
    from ..run import Run as ArmsRun
    from ..run import Step

app = typer.Typer(rich_markup_mode=None)


@app.command("run")
@common
def run_arms(
    run: Run,
    preset: Annotated[str, typer.Option("--preset", help="quick, standard or full.")] = "quick",
    tasks: Annotated[str, typer.Option("--tasks", help="Tasks in place of the preset's, with commas.")] = "",
    arms: Annotated[str, typer.Option("--arms", help="Arms in place of all but mem0, with commas.")] = "",
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the public sets.")] = None,
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("bench-rows.jsonl"),
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most this many questions.")] = None,
    write_model: Annotated[str | None, typer.Option("--write-model", help="Writes, in place of --model.")] = None,
    rotations: Annotated[
        int | None,
        typer.Option("--rotations", min=0, help="Orders of options to compare letters in (0: all)."),
    ] = None,
    read_model: Annotated[str | None, typer.Option("--read-model", help="Answers, in place of --model.")] = None,
) -> None:
    """Ask about users: from the memory, the full history and others. Adds the rows that are missing; stop it any time.

    Without --data miniature sets of our own text are run, which show that everything works and what it costs.
    """
    from ..arms import BY_DEFAULT
    from ..choosing import choose
    from ..run import Run as ArmsRun

    cases = choose(preset, names(tasks), data)
    _say_what_is_made(run, names(arms))
    with _setup(run, read_model, write_model, rotations, miniature=data is None) as setup:
        _ask_all(ArmsRun(setup, cases, names(arms) or list(BY_DEFAULT), rows, limit), rows, run.output)


def _say_what_is_made(run: Run, arms: Sequence[str]) -> None:
    from edgemem.cli.open import places_for

    from ..peers.environment import is_there
    from ..peers.mem0.client import REQUIREMENTS

    if "mem0" in arms and not is_there(REQUIREMENTS, places_for(run).cache / "peers"):
        run.output.note("mem0: its environment is made when it is needed first, which takes some minutes, once")


@contextmanager
def _setup(run: Run, read: str | None, write: str | None, rotations: int | None, *, miniature: bool) -> Iterator[Setup]:
    """The models that answer and write, opened once (the same one for both where nothing else is said)."""
    from ..rows import Setup, Writer

    settings = run.settings
    same = (read or settings.model) == (write or settings.model)
    with model(run, read) as reader, model(run, write) if not same else nullcontext(reader) as writer:
        yield Setup(
            reader.engine,
            reader.prompts,
            settings.policy or writer.policy,
            settings.budget_tokens,
            writer.thresholds,
            kept_prompts(run),
            _encoder_folder(run),
            miniature=miniature,
            writer=None if same else Writer(writer.engine, writer.prompts),
            mem0=_mem0_setup(run, write or settings.model, writer.engine),
            rotations=rotations,
        )


@app.command("report")
@common
def report_arms(
    run: Run,
    files: RowFiles,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for report.md and report.html.")] = None,
) -> None:
    """Show what the rows of `bench run` say: scores beside costs, as Markdown and as one page that opens offline."""
    from ..report import as_html, as_markdown, build
    from ..rows import read_rows

    rows = read_rows(files)
    if not rows:
        raise InvalidInput("there are no rows in these files", "make some: edgemem bench run")
    text = as_markdown(rows)
    if out:
        write_text(out / "report.md", text)
        write_text(out / "report.html", as_html(rows))
    if run.output.json:
        run.output.data(build(rows))
    run.output.text(f"report.md and report.html in {out}" if out else text.rstrip())


@app.command("merge")
@common
def merge_rows(
    run: Run,
    files: RowFiles,
    out: Annotated[Path, typer.Option("--out", help="File for the joined rows; must not be there yet.")],
) -> None:
    """Join rows of several machines or runs. What one machine measured twice is kept once, the newest."""
    import json

    from ..jsonl import read_objects
    from ..merging import merge
    from ..rows import read_rows

    if out.exists():
        raise InvalidInput(f"{out} is there already", "name another file with --out")
    read_rows(files)  # checks each line
    found = merge([read_objects(path) for path in files])
    write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows))
    machines = len({json.dumps(row.get("machine"), sort_keys=True) for row in found.rows})
    if run.output.json:
        counts = {"repeated": found.repeated, "measured_again": found.again, "choices_differ": found.choices_differ}
        run.output.data({"path": out, "rows": len(found.rows), "machines": machines} | counts)
    run.output.text(
        f"{len(found.rows)} rows of {machines} machine{'s' if machines != 1 else ''} in {out}; left out: "
        f"{found.repeated} repeated, {found.again} measured again ({found.choices_differ} with another choice; the "
        "newest is kept)"
    )


@app.command("compare")
@common
def compare_rows(
    run: Run,
    a: Annotated[Path, typer.Argument(help="File of rows to compare with.")],
    b: Annotated[Path, typer.Argument(help="File of rows that is compared.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the Markdown here as well.")] = None,
) -> None:
    """Show what B does otherwise than A on the same questions: another machine, model or version."""
    from ..comparing import build, markdown
    from ..rows import read_rows

    found = build(read_rows([a]), read_rows([b]))
    text = markdown(found, a.name, b.name)
    if out:
        write_text(out, text)
    if run.output.json:
        run.output.data(found)
    run.output.text(text, end="")


def _ask_all(work: ArmsRun, rows: Path, out: Output) -> None:
    expected = work.estimate.left_s
    about = "no estimate before the first one" if expected is None else left(expected)
    out.note(f"{work.total} rows to do, {about}")
    for step in work.steps():
        out.note(_answered(step))
    if out.json:
        out.data({"rows": rows, "run": work.done})
    out.text(f"{work.done} rows added to {rows}; edgemem bench report {rows} --out FOLDER shows them")


def _answered(step: Step) -> str:
    row = step.row
    if row["kind"] == "session":
        what = f"learned in {row['seconds']:.1f} s, memory of {row['memory_tokens']} tokens"
    elif row["status"] != "ok":
        what = row["status"]
    else:
        right = row["forced"] if row["strict"] is None else row["strict"]
        what = f"{'right' if right else 'wrong'}, {row['prompt_tokens']} tokens, {row['total_s']:.1f} s"
    rest = "" if step.left_s is None else f"; {left(step.left_s)}"
    return f"{step.done}/{step.total} {row['task']} {row['case']} {row['arm']}: {what}{rest}"


def _mem0_setup(run: Run, name: str, engine: Engine) -> Mem0Setup:
    """Where mem0 runs: with the model that writes."""
    from edgemem.catalogue import resolve
    from edgemem.cli.open import places_for
    from edgemem.errors import EdgememError

    from ..peers.mem0.client import Mem0Setup

    where, settings = places_for(run), run.settings
    try:
        file = resolve(name, cache=where.cache, config=where.config, offline=settings.offline).path
    except EdgememError:  # `scripted:`, which is no file
        file = None
    return Mem0Setup(
        where.cache / "peers",
        file,
        engine.info.digest,
        _encoder_folder(run),
        engine.info.threads,
        settings.gpu_layers or 0,
        settings.offline,
    )


def _encoder_folder(run: Run) -> Path | None:
    """Where the encoder's files are; None where they are not on this machine."""
    from edgemem.catalogue import resolve
    from edgemem.cli.open import places_for
    from edgemem.errors import ModelMissing

    from ..encoder import CARD

    where = places_for(run)
    try:
        return resolve(CARD, cache=where.cache, config=where.config, offline=run.settings.offline).path.parent
    except ModelMissing:
        return None
