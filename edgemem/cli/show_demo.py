"""`edgemem demo`: the command around the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgemem.cli.open import model_for, places_for
from edgemem.cli.options import Run, common


@common
def demo(
    run: Run,
    data: Annotated[Path | None, typer.Option("--data", help="A public history instead of the bundled one.")] = None,
) -> None:
    """Replay a chat history, show each memory change, then answer from memory and from the full history."""
    from edgemem.cli.demo import run_demo
    from edgemem.demo.data import bundled, read_history

    history = read_history(data) if data else bundled()
    settings, where = run.settings, places_for(run)
    if not settings.model.startswith("scripted:"):
        from edgemem.catalogue import pull

        with run.output.progress("bytes") as report:
            pull(settings.model, cache=where.cache, config=where.config, offline=settings.offline, progress=report)
    opened = model_for(run)
    run_demo(
        history,
        run.output,
        data_dir=settings.data_dir,
        engine=opened.engine,
        policy=settings.policy or opened.policy,
        budget_tokens=settings.budget_tokens,
    )
