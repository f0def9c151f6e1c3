"""`edgemem bench`: the commands around the measurements. They parse, call and print, and measure nothing themselves.

Loaded at every start of edgemem, so whatever is heavy is imported where it is used.
"""

from __future__ import annotations

import typer

from . import answering, speed, trust, writing

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(answering.app)
app.add_typer(writing.app, name="write", help="Measure how well a model writes memories.")
app.add_typer(speed.app)
app.add_typer(trust.app, name="trust", help="Measure what of the promises about privacy holds.")
