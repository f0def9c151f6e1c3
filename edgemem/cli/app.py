"""The command tree. Each command lives in its own module; the extras' commands are mounted when they are there."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any

import typer

from edgemem.cli import (
    ask,
    chat,
    config,
    doctor,
    memory,
    memory_change,
    memory_encrypt,
    memory_move,
    memory_review,
    model,
    show_demo,
)
from edgemem.cli.options import COMMON, Run, common
from edgemem.errors import InvalidInput

EXTRAS = {"export": "Convert and quantize a checkpoint.", "bench": "Measure accuracy, speed and memory."}

app = typer.Typer(
    name="edgemem",
    help="A private assistant that gets to know one person and runs on that person's machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"edgemem {version('edgemem-runtime')}")
        raise typer.Exit


def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    **given: Any,
) -> None:
    context.obj = Run({name: value for name, value in given.items() if value is not None})


def _mount(name: str, help_text: str) -> None:
    """The commands of an extra, or one command that says how to get it."""
    module = f"edgemem.{name}.cli"
    if find_spec(f"edgemem.{name}") is not None and find_spec(module) is not None:
        from importlib import import_module

        app.add_typer(import_module(module).app, name=name, help=help_text)
        return

    def missing(run: Run, rest: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        raise InvalidInput(
            f"`edgemem {name}` is not installed", f'install the extra: pip install "edgemem-runtime[{name}]"'
        )

    app.command(name, help=f"{help_text} (extra [{name}] is not installed)")(common(missing))


def _build() -> None:
    import inspect

    own = list(inspect.signature(root, eval_str=True).parameters.values())[:2]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in COMMON.items()
    ]
    root.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    root.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
    app.callback()(root)
    app.command("chat")(chat.chat)
    app.command("ask")(ask.ask)
    memory.app.add_typer(memory_move.app)
    memory.app.add_typer(memory_review.app)
    memory.app.add_typer(memory_encrypt.app)
    memory.app.add_typer(memory_change.app)  # without a name: its commands stand beside those that only look
    app.add_typer(memory.app, name="memory")
    app.add_typer(model.app, name="model")
    app.command("doctor")(doctor.doctor)
    app.add_typer(config.app, name="config")
    app.command("demo")(show_demo.demo)
    for name, help_text in EXTRAS.items():
        _mount(name, help_text)


_build()
