"""What the commands share: files of rows, opening models, writing reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.options import Run
from edgemem.errors import StoreWriteFailed

if TYPE_CHECKING:
    from edgemem.opening import OpenedModel

RowFiles = Annotated[list[Path], typer.Argument(help="Files of rows (what --rows wrote).")]


@contextmanager
def model(run: Run, name: str | None = None, *, tune: bool = False) -> Iterator[OpenedModel]:
    """The model called `name` (that of the settings without), opened once and closed at the end.

    Accuracy is measured with the same settings on every machine, speed with what suits this one (`tune`).
    """
    from edgemem.cli.open import model_for

    opened = model_for(run, name, tune=tune)
    try:
        yield opened
    finally:
        opened.engine.close()


def kept_prompts(run: Run) -> Path:
    """Where prompts that were read may be kept."""
    from edgemem.cli.open import places_for

    return places_for(run).cache / "kv" / "prompts"


def write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise StoreWriteFailed(f"cannot write {path}: {error}", "check the folder") from error


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def left(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"
