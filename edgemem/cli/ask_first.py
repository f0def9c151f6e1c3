"""Asking before something is destroyed."""

from __future__ import annotations

import sys

from edgemem.cli.options import Run
from edgemem.errors import Cancelled, InvalidInput


def confirm(run: Run, question: str, yes: bool) -> None:
    """Ask, unless `yes`. Raises Cancelled for a no, InvalidInput where nobody can be asked."""
    if yes:
        return
    if run.output.json or not sys.stdin.isatty():
        raise InvalidInput(
            "this changes what is stored and nobody can be asked here", "add --yes, or look with --dry-run"
        )
    if not answered_yes(question):
        raise Cancelled("nothing was changed")


def answered_yes(question: str) -> bool:
    """The person's answer on the terminal; anything but a yes is a no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
