"""`edgemem bench write` and what belongs to it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.options import Run, common
from edgemem.cli.output import Output
from edgemem.errors import InvalidInput

from .shared import RowFiles, kept_prompts, left, model, write_text

if TYPE_CHECKING:
    from ..writing.run import Setup, Step
    from ..writing.values import WriteCase

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
@common
def write(
    run: Run,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="own, retention, planted, changes, crowd, cost, memoryctrl, personamem_v1, locomo (repeat)."
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="dev, frozen or all.")] = "dev",
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the public sets.")] = None,
    rows: Annotated[Path, typer.Option("--rows", help="File that rows are appended to.")] = Path("write-rows.jsonl"),
    only: Annotated[str | None, typer.Option("--only", help="Case ids, separated by commas.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most this many cases, then stop.")] = None,
    without: Annotated[list[str] | None, typer.Option("--without", help="A step of the policy to leave out.")] = None,
    thresholds: Annotated[
        list[str] | None, typer.Option("--threshold", help="NAME=VALUE in place of the card's (repeat).")
    ] = None,
    label: Annotated[str, typer.Option("--label", help="Name of this variant in rows and report.")] = "",
    check_matcher: Annotated[bool, typer.Option("--check-matcher", help="Judge the matcher, run nothing.")] = False,
) -> None:
    """Run cases that rows are still missing for. --policy may be edits, overwrite or naive. Stop it at any time."""
    if run.subcommand:
        return
    if check_matcher:
        _check_matcher(run.output)
        return
    from ..writing.cases import load_cases

    chosen = [part.strip() for part in only.split(",")] if only else []
    cases = load_cases(sets or ["own"], split=split, data=data, only=chosen)
    with setup_of(run, tuple(without or ()), numbers_of(thresholds or ()), label) as setup:
        _run(setup, cases, rows, limit, run.output)


@app.command("report")
@common
def report(
    run: Run,
    files: RowFiles,
    verdicts: Annotated[list[Path] | None, typer.Option("--verdicts", help="Files of verdicts (repeat).")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the Markdown here as well.")] = None,
) -> None:
    """Show what the rows say: recall, wrong lines, changes, language, cost."""
    from ..jsonl import read_objects
    from ..writing.judging import read_verdicts
    from ..writing.report import build, markdown
    from ..writing.rows import read_rows

    rows = read_rows(files)
    judged = read_verdicts([row for path in verdicts or () for row in read_objects(path)])
    text = markdown(rows, judged)
    if out:
        write_text(out, text)
    if run.output.json:
        run.output.data(build(rows, judged))
    run.output.text(text, end="")


@app.command("sheet")
@common
def sheet(
    run: Run,
    files: RowFiles,
    out: Annotated[Path, typer.Option("--out", help="Where the sheet goes (JSONL).")],
    seed: Annotated[int, typer.Option("--seed", help="Order of the lines; another one for a second pass.")] = 1,
) -> None:
    """Write every line that an update added, shuffled and without its maker, for a person to judge."""
    import json

    from ..writing.judging import sheet as build_sheet
    from ..writing.rows import lines_file, read_rows

    lines = build_sheet(read_rows(lines_file(path) for path in files), seed)
    write_text(out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    if run.output.json:
        run.output.data({"path": out, "lines": len(lines)})
    run.output.text(f"{len(lines)} lines to judge in {out}")


def _check_matcher(out: Output) -> None:
    from ..writing.validation import agreements, disagreements, read_pairs

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
    from ..writing.run import run_cases

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
    return f"{step.done}/{step.total} {row['set']} {row['case']}: {what}; {left(left_s)}"


@contextmanager
def setup_of(
    run: Run, without: tuple[str, ...], instead: Mapping[str, float], label: str, *, tune: bool = False
) -> Iterator[Setup]:
    """The engine, opened once and closed at the end, and how to write. `naive` is no setting of the assistant's."""
    from ..writing.run import POLICIES, Setup

    policy = run.flags.pop("policy", None)
    if policy is not None and policy not in POLICIES:
        raise InvalidInput(f"there is no way to write called {policy!r}", f"use {', '.join(POLICIES)}")
    with model(run, tune=tune) as opened:
        settings = run.settings
        chosen = str(policy or settings.policy or opened.policy)
        budget, cache = settings.budget_tokens, kept_prompts(run)
        yield Setup(opened.engine, opened.prompts, chosen, without, label, budget, opened.thresholds, instead, cache)


def numbers_of(texts: Iterable[str]) -> dict[str, float]:
    """`name=value` pairs. Raises InvalidInput for what is none."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise InvalidInput(f"{text!r} is no threshold", "write NAME=NUMBER, like keep=-0.9") from None
    return found
