"""`edgemem bench speed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgemem.cli.options import Run, common

from .shared import write_text
from .writing import setup_of

app = typer.Typer(rich_markup_mode=None)


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
    from ..jsonl import read_objects
    from ..speed.report import build, markdown
    from ..speed.run import chosen_rows, measure

    chosen = chosen_rows(rows)
    with setup_of(run, (), "") as setup:
        for one in measure(setup, chosen, samples, repeats):
            value = f" {one['value']:.3g} s" if "value" in one else ""
            run.output.note(f"row {one['row']} {one['arm']} {one['repeat']}{value}")
    found = build(read_objects(samples) if samples.exists() else [], chosen)
    text = markdown(found)
    if out:
        write_text(out, text)
    if run.output.json:
        run.output.data(found)
    run.output.text(text, end="")
