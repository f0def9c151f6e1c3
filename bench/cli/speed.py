"""`edgemem bench speed`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.options import Run, common

from .shared import write_text
from .writing import setup_of

if TYPE_CHECKING:
    from ..writing.run import Setup

app = typer.Typer(rich_markup_mode=None)


@app.command("speed")
@common
def speed(
    run: Run,
    rows: Annotated[str, typer.Option("--rows", help="Rows of the table, separated by commas: 1 to 10.")] = "",
    samples: Annotated[Path, typer.Option("--samples", help="File that samples are kept in.")] = Path("speed.jsonl"),
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="Of each side; the first one is left out.")] = 6,
    out: Annotated[Path | None, typer.Option("--out", help="Write the Markdown here as well.")] = None,
) -> None:
    """Measure how fast updates and first tokens are, as ratios side by side. Stop it at any time: it goes on."""
    from edgemem.errors import InvalidInput

    from ..jsonl import read_objects
    from ..speed.report import build, markdown
    from ..speed.run import chosen_rows, measure

    chosen = chosen_rows(rows)
    left_out: dict[str, str] = {}
    with setup_of(run, (), {}, "", tune=True) as plain:
        for one in measure(_with_model(run, plain), chosen, samples, repeats):
            if "left_out" in one:
                left_out[one["row"]] = one["left_out"]
                run.output.note(f"row {one['row']} left out: {one['left_out']}")
                continue
            value = f" {one['value']:.3g}" if "value" in one else ""
            run.output.note(f"row {one['row']} {one['arm']} {one['repeat']}{value}")
    found = build(read_objects(samples) if samples.exists() else [], chosen, left_out)
    if left_out and not found["lines"]:
        raise InvalidInput("nothing was measured", "; ".join(f"row {row}: {why}" for row, why in left_out.items()))
    text = markdown(found)
    if out:
        write_text(out, text)
    if run.output.json:
        run.output.data(found)
    run.output.text(text, end="")


def _with_model(run: Run, setup: Setup) -> Setup:
    """The setup with what rows of a real model need; as it is for a scripted one."""
    from edgemem.catalogue import resolve
    from edgemem.cli.open import places_for
    from edgemem.opening import tunings_folder

    from ..speed.setup import SpeedSetup

    settings, where = run.settings, places_for(run)
    if settings.model.startswith("scripted:"):
        return setup
    found = resolve(settings.model, cache=where.cache, config=where.config, offline=settings.offline)
    return SpeedSetup(
        **{one.name: getattr(setup, one.name) for one in fields(setup)},
        model_path=found.path,
        opening={"device": settings.device, "gpu_layers": settings.gpu_layers, "threads": settings.threads},
        tools=where.cache / "tools",
        tunings=tunings_folder(where) if settings.tune else None,
        say=run.output.note,
    )
