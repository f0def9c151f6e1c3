"""`edgemem config`: which settings hold, and where each one comes from."""

from __future__ import annotations

import typer

from edgemem.cli.options import Run, common

app = typer.Typer(help="Show the settings and where they come from.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
@common
def show(run: Run) -> None:
    """Show each setting with its value and its source."""
    settings = run.settings
    if run.output.json:
        run.output.data(
            {key: {"value": value, "source": settings.sources[key]} for key, value in settings.values().items()}
        )
        return
    rows = [(key, _shown(value), settings.sources[key]) for key, value in settings.values().items()]
    run.output.table(("setting", "value", "from"), rows)


@app.command("path")
@common
def path(run: Run) -> None:
    """Show where your own settings file is looked for."""
    file = run.settings.user_file
    if run.output.json:
        run.output.data({"path": file, "exists": file.exists()})
        return
    run.output.text(str(file))
    if not file.exists():
        run.output.note("(not there yet; every setting has a default)")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "auto" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
