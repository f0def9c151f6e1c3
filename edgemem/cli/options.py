"""The options that commands share, declared once, and the decorator that gives them to a command.

A common option may stand before or after the command; after beats before. Settings are read on first use, so that
a command that needs none works with a broken settings file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from edgemem.cli.output import Output
from edgemem.settings import Settings, load_settings

P = ParamSpec("P")
PANEL = "Common options"


def _option(*names: str, text: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, show_default=False, rich_help_panel=PANEL, **more)


COMMON: dict[str, Any] = {
    "user": Annotated[str | None, _option("--user", text="Whose memory (a name you choose).")],
    "model": Annotated[
        str | None, _option("--model", text="Card name, path of a .gguf or an export folder, org/repo:QUANT.")
    ],
    "data_dir": Annotated[Path | None, _option("--data-dir", text="Keep everything in this folder.")],
    "device": Annotated[str | None, _option("--device", text="auto, cpu or gpu.")],
    "gpu_layers": Annotated[int | None, _option("--gpu-layers", text="Layers on the GPU (-1: all).")],
    "context_tokens": Annotated[int | None, _option("--context", text="Context window in tokens.")],
    "threads": Annotated[int | None, _option("--threads", text="Threads to compute with.")],
    "policy": Annotated[str | None, _option("--policy", text="How memory is written: edits or overwrite.")],
    "tune": Annotated[bool | None, _option("--tune/--no-tune", text="Test once per model what is fastest here.")],
    "offline": Annotated[bool | None, _option("--offline/--online", text="Never open a network connection.")],
    "as_json": Annotated[bool | None, _option("--json", text="Results as JSON on stdout.")],
    "quiet": Annotated[bool | None, _option("--quiet", "-q", text="Only results and errors.")],
    "verbose": Annotated[bool | None, _option("--verbose", "-v", text="Say more.")],
}
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and change nothing.")]


@dataclass
class Run:
    """One run of a command: its flags, where it prints, what it closes at the end, its settings when asked for.

    `subcommand` is the one that runs next, where the command is a group ('' otherwise).
    """

    flags: dict[str, object] = field(default_factory=dict)
    subcommand: str = ""
    closing: ExitStack = field(default_factory=ExitStack)
    _settings: Settings | None = None

    @property
    def output(self) -> Output:
        loud = 1 if self.flags.get("verbose") else 0
        return Output(bool(self.flags.get("as_json")), -1 if self.flags.get("quiet") else loud)

    @property
    def settings(self) -> Settings:
        """Raises InvalidInput for a value or a file that cannot be used."""
        if self._settings is None:
            shown = ("as_json", "quiet", "verbose")
            self._settings = load_settings({k: v for k, v in self.flags.items() if k not in shown})
        return self._settings


def common(function: Callable[Concatenate[Run, P], None]) -> Callable[..., None]:
    """Make a command of a function that takes a `Run` first: all common options are added to its own."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in COMMON.items()
    ]
    parameters = [context, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *shared]

    call: Callable[..., None] = function

    def command(**given: Any) -> None:
        context = given.pop("context")
        after = {name: given.pop(name) for name in COMMON}
        before = context.obj.flags if isinstance(context.obj, Run) else {}
        flags = before | {name: value for name, value in after.items() if value is not None}
        context.obj = Run(flags, context.invoked_subcommand or "")
        with context.obj.closing:
            call(context.obj, **given)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command
