"""The program: runs the command line and turns errors into messages and exit codes, here and nowhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemem.cli.output import Output

INTERRUPTED = 130
USAGE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # Windows consoles and LANG=C would otherwise fail on the first accent; what cannot be shown is replaced.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        code = run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) is gone: nothing more can be said, also not by the flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; its exit code. Unknown errors pass through, so that they are seen."""
    import typer

    from edgemem.cli.app import app
    from edgemem.cli.output import Output
    from edgemem.errors import EdgememError

    # typer carries its own click or uses the installed one, by version: take the base class from its public error.
    usage_error = typer.BadParameter.__mro__[2]
    output = Output(json="--json" in arguments)
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="edgemem", standalone_mode=False)
    except EdgememError as error:
        output.error(error)
        return error.exit_code
    except usage_error as error:  # type: ignore[misc]
        return _usage(error, output)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _usage(error: BaseException, output: Output) -> int:
    from edgemem.errors import InvalidInput

    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "edgemem"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    output.failure(InvalidInput.code, message, f"see {command} --help")
    return USAGE


if __name__ == "__main__":
    main()
