"""`edgemem bench`: the commands around the measurements. Parses, calls, prints; measures nothing itself.

Loaded at every start of edgemem, so whatever is heavy is imported where it is used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.options import Run, common
from edgemem.cli.output import Output
from edgemem.errors import InvalidInput, StoreWriteFailed

if TYPE_CHECKING:
    from edgemem.opening import OpenedModel

    from .run import Run as ArmsRun
    from .run import Step as AnswerStep
    from .writing.run import Setup, Step
    from .writing.values import WriteCase

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
write_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
trust_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(write_app, name="write", help="Measure how well a model writes memories.")
app.add_typer(trust_app, name="trust", help="Measure what of the promises about privacy holds.")

RowFiles = Annotated[list[Path], typer.Argument(help="Files of rows (what --rows wrote).")]


@app.command("run")
@common
def run_arms(
    run: Run,
    preset: Annotated[str, typer.Option("--preset", help="quick, standard or full.")] = "quick",
    tasks: Annotated[str, typer.Option("--tasks", help="Tasks in place of the preset's, with commas.")] = "",
    arms: Annotated[str, typer.Option("--arms", help="Arms in place of all, with commas.")] = "",
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the public sets.")] = None,
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("bench-rows.jsonl"),
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most this many questions.")] = None,
) -> None:
    """Ask about users: from the memory, the full history and others. Adds the rows that are missing; stop it any time.

    Without --data miniature sets of our own text are run, which show that everything works and what it costs.
    """
    from .arms import ARMS
    from .choosing import choose
    from .rows import Setup
    from .run import Run as ArmsRun

    cases = choose(preset, _names(tasks), data)
    with _model(run) as (opened, cache):
        settings = run.settings
        policy = settings.policy or opened.policy
        budget, thresholds = settings.budget_tokens, opened.thresholds
        setup = Setup(opened.engine, opened.prompts, policy, budget, thresholds, cache, miniature=data is None)
        _ask_all(ArmsRun(setup, cases, _names(arms) or list(ARMS), rows, limit), rows, run.output)


@app.command("report")
@common
def report_arms(
    run: Run,
    files: RowFiles,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for report.md and report.html.")] = None,
) -> None:
    """Show what the rows of `bench run` say: scores beside costs, as Markdown and as one page that opens offline."""
    from .report import as_html, as_markdown, build
    from .rows import read_rows

    rows = read_rows(files)
    if not rows:
        raise InvalidInput("there are no rows in these files", "make some: edgemem bench run")
    text = as_markdown(rows)
    if out:
        _write_text(out / "report.md", text)
        _write_text(out / "report.html", as_html(rows))
    if run.output.json:
        run.output.data(build(rows))
    run.output.text(f"report.md and report.html in {out}" if out else text.rstrip())


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _ask_all(work: ArmsRun, rows: Path, out: Output) -> None:
    left = work.estimate.left_s
    out.note(f"{work.total} rows to do, {_left(left) if left is not None else 'no estimate before the first one'}")
    for step in work.steps():
        out.note(_answered(step))
    if out.json:
        out.data({"rows": rows, "run": work.done})
    out.text(f"{work.done} rows added to {rows}; edgemem bench report {rows} --out FOLDER shows them")


def _answered(step: AnswerStep) -> str:
    row = step.row
    if row["kind"] == "session":
        what = f"learned in {row['seconds']:.1f} s, memory of {row['memory_tokens']} tokens"
    elif row["status"] != "ok":
        what = row["status"]
    else:
        right = row["forced"] if row["strict"] is None else row["strict"]
        what = f"{'right' if right else 'wrong'}, {row['prompt_tokens']} tokens, {row['total_s']:.1f} s"
    left = "" if step.left_s is None else f"; {_left(step.left_s)}"
    return f"{step.done}/{step.total} {row['task']} {row['case']} {row['arm']}: {what}{left}"


def _left(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


@write_app.callback()
@common
def write(
    run: Run,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="own, retention, crowd, cost, memoryctrl, personamem_v1, locomo (repeat)."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="dev, frozen or all.")] = "dev",
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the public sets.")] = None,
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("write-rows.jsonl"),
    only: Annotated[str | None, typer.Option("--only", help="Case ids, separated by commas.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most this many cases, then stop.")] = None,
    without: Annotated[list[str] | None, typer.Option("--without", help="A step of the policy to leave out.")] = None,
    label: Annotated[str, typer.Option("--label", help="Name of this variant in rows and report.")] = "",
    check_matcher: Annotated[bool, typer.Option("--check-matcher", help="Judge the matcher, run nothing.")] = False,
) -> None:
    """Run cases that rows are still missing for. --policy may be edits, overwrite or naive. Stop it at any time."""
    if run.subcommand:
        return
    if check_matcher:
        _check_matcher(run.output)
        return
    from .writing.cases import load_cases

    chosen = [part.strip() for part in only.split(",")] if only else []
    cases = load_cases(sets or ["own"], split=split, data=data, only=chosen)
    with _setup(run, tuple(without or ()), label) as setup:
        _run(setup, cases, rows, limit, run.output)


@write_app.command("report")
@common
def report(
    run: Run,
    files: RowFiles,
    verdicts: Annotated[list[Path] | None, typer.Option("--verdicts", help="Files of verdicts (repeat).")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the Markdown here as well.")] = None,
) -> None:
    """Show what the rows say: recall, wrong lines, changes, language, cost."""
    from .jsonl import read_objects
    from .writing.judging import read_verdicts
    from .writing.report import build, markdown
    from .writing.rows import read_rows

    rows = read_rows(files)
    judged = read_verdicts([row for path in verdicts or () for row in read_objects(path)])
    text = markdown(rows, judged)
    if out:
        _write_text(out, text)
    if run.output.json:
        run.output.data(build(rows, judged))
    run.output.text(text, end="")


@write_app.command("sheet")
@common
def sheet(
    run: Run,
    files: RowFiles,
    out: Annotated[Path, typer.Option("--out", help="Where the sheet goes (JSONL).")],
    seed: Annotated[int, typer.Option("--seed", help="Order of the lines; another one for a second pass.")] = 1,
) -> None:
    """Write every line that an update added, shuffled and without its maker, for a person to judge."""
    import json

    from .writing.judging import sheet as build_sheet
    from .writing.rows import lines_file, read_rows

    lines = build_sheet(read_rows(lines_file(path) for path in files), seed)
    _write_text(out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    if run.output.json:
        run.output.data({"path": out, "lines": len(lines)})
    run.output.text(f"{len(lines)} lines to judge in {out}")


@app.command("speed")
@common
def speed(
    run: Run,
    rows: Annotated[str, typer.Option("--rows", help="Rows of the table, separated by commas: 1,2,3,6,7,8.")] = "",
    samples: Annotated[Path, typer.Option("--samples", help="File that samples are kept in.")] = Path("speed.jsonl"),
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="Of each side; the first one is left out.")] = 6,
    out: Annotated[Path | None, typer.Option("--out", help="Write the Markdown here as well.")] = None,
) -> None:
    """Measure how fast updates and first tokens are, as ratios side by side. Stop it at any time: it goes on."""
    from .jsonl import read_objects
    from .speed.report import build, markdown
    from .speed.run import chosen_rows, measure

    chosen = chosen_rows(rows)
    with _setup(run, (), "") as setup:
        for one in measure(setup, chosen, samples, repeats):
            value = f" {one['value']:.3g} s" if "value" in one else ""
            run.output.note(f"row {one['row']} {one['arm']} {one['repeat']}{value}")
    found = build(read_objects(samples) if samples.exists() else [], chosen)
    text = markdown(found)
    if out:
        _write_text(out, text)
    if run.output.json:
        run.output.data(found)
    run.output.text(text, end="")


@trust_app.command("secrets")
@common
def trust_secrets(
    run: Run,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the public sets, for false alarms.")] = None,
) -> None:
    """Count the secrets of our own set that reach journal or memory, and false alarms on harmless lines."""
    from .trust.secrets_run import markdown, measure

    found = measure(data)
    if run.output.json:
        run.output.data(found)
    run.output.text(markdown(found), end="")
    for kind, language, frozen in found["missed"]:
        run.output.note(f"missed: {kind}, {language}, {'frozen' if frozen else 'tuning'} half")


@trust_app.command("planted")
@common
def trust_planted(
    run: Run,
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("planted.jsonl"),
) -> None:
    """Say our own planted instructions to a real model: how many are stored, how many obeyed. Stop it at any time."""
    from .jsonl import read_objects
    from .trust.planted_run import Model, markdown, summary
    from .trust.planted_run import run as run_planted

    with _model(run) as (opened, cache):
        policy = run.settings.policy or opened.policy
        for row in run_planted(Model(opened.engine, opened.prompts, policy, cache), rows):
            came = [name for name in ("stored", "obeyed", "stored_without", "obeyed_without") if row[name]]
            run.output.note(f"{row['way']} {row['sign']}: {', '.join(came) or 'nothing'}, {row['seconds']} s")
    found = read_objects(rows)
    if run.output.json:
        run.output.data(summary(found))
    run.output.text(markdown(found), end="")


@trust_app.command("provenance")
@common
def trust_provenance(
    run: Run,
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("provenance.jsonl"),
) -> None:
    """Learn 60 turns of our own: asked, stated, only requested, special, about others. Stop it at any time."""
    from .jsonl import read_objects
    from .trust.planted_run import Model
    from .trust.provenance_run import markdown, summary
    from .trust.provenance_run import run as run_turns

    with _model(run) as (opened, cache):
        policy = run.settings.policy or opened.policy
        for row in run_turns(Model(opened.engine, opened.prompts, policy, cache), rows):
            run.output.note(f"{row['kind']}: {'; '.join(row['lines']) or '-'}{' (waits)' if row['waiting'] else ''}")
    found = read_objects(rows)
    if run.output.json:
        run.output.data(summary(found))
    run.output.text(markdown(found), end="")


@trust_app.command("forgetting")
@common
def trust_forgetting(
    run: Run, data: Annotated[Path, typer.Option("--data", help="Folder of the public sets.")]
) -> None:
    """Replay public requests to forget, without a model: what is left of it, and what else was lost."""
    from .trust.forgetting_run import markdown, measure

    found = measure(data)
    if run.output.json:
        run.output.data(found)
    run.output.text(markdown(found), end="")


def _check_matcher(out: Output) -> None:
    from .writing.validation import agreements, disagreements, read_pairs

    pairs = read_pairs()
    found = agreements(pairs)
    if out.json:
        out.data(
            [
                {"group": one.group, "pairs": one.pairs, "precision": one.precision, "recall": one.recall}
                for one in found
            ]
        )
    table = [[one.group, str(one.pairs), f"{one.precision:.3f}", f"{one.recall:.3f}"] for one in found]
    out.table(["pairs", "number", "precision", "recall"], table)
    for pair in disagreements(pairs, "a"):  # of half b nobody should see the single ones
        out.detail(
            f"{'missed' if pair.label else 'wrong'}: {pair.line!r} for {pair.gold.fact!r} {list(pair.gold.keys)}"
        )


def _run(setup: Setup, cases: list[WriteCase], rows: Path, limit: int | None, out: Output) -> None:
    from .writing.run import run_cases

    started = time.monotonic()
    done = 0
    for step in run_cases(setup, cases, rows, limit):
        done = step.done
        out.note(_progress(step, time.monotonic() - started))
    if out.json:
        out.data({"rows": rows, "cases": len(cases), "run": done})
    out.text(f"{done} cases run, {len(cases)} chosen; rows in {rows}")


def _progress(step: Step, elapsed_s: float) -> str:
    row = step.row
    asked = [fact for fact in row["gold"] if not fact["known"]]
    found = sum(fact["found"] for fact in asked)
    left_s = elapsed_s / step.done * (step.total - step.done)
    what = f"{found} of {len(asked)} facts, {row['lines_added']} lines, {row['seconds']:.1f} s"
    return f"{step.done}/{step.total} {row['set']} {row['case']}: {what}; {_left(left_s)}"


@contextmanager
def _setup(run: Run, without: tuple[str, ...], label: str) -> Iterator[Setup]:
    """The engine, opened once and closed at the end, and how to write. `naive` is no setting of the assistant's."""
    from .writing.run import POLICIES, Setup

    policy = run.flags.pop("policy", None)
    if policy is not None and policy not in POLICIES:
        raise InvalidInput(f"there is no way to write called {policy!r}", f"use {', '.join(POLICIES)}")
    with _model(run) as (opened, cache):
        settings = run.settings
        chosen = str(policy or settings.policy or opened.policy)
        yield Setup(
            opened.engine, opened.prompts, chosen, without, label, settings.budget_tokens, opened.thresholds, cache
        )


@contextmanager
def _model(run: Run) -> Iterator[tuple[OpenedModel, Path]]:
    """The model, opened once and closed at the end, and where prompts that were read may be kept."""
    from edgemem.cli.open import places_for
    from edgemem.opening import open_model

    settings, where = run.settings, places_for(run)
    with run.output.progress("bytes") as report_bytes:
        opened = open_model(
            settings.model,
            where=where,
            device=settings.device,
            gpu_layers=settings.gpu_layers,
            context_tokens=settings.context_tokens,
            threads=settings.threads,
            offline=settings.offline,
            progress=report_bytes,
        )
    try:
        yield opened, where.cache / "kv" / "prompts"
    finally:
        opened.engine.close()


def _write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise StoreWriteFailed(f"cannot write {path}: {error}", "check the folder") from error
