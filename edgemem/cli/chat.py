"""`edgemem chat`: the command around a conversation."""

from __future__ import annotations

from typing import Annotated

import typer

from edgemem.cli.ask import Temporary
from edgemem.cli.options import Run, common


@common
def chat(
    run: Run,
    temp: Temporary = False,
    no_learn: Annotated[
        bool, typer.Option("--no-learn", help="Keep the chat, but learn from it another time.")
    ] = False,
    stdin_whole: Annotated[bool, typer.Option("--stdin-whole", help="All of stdin is one message.")] = False,
) -> None:
    """Chat. /help shows the commands inside; Ctrl-C stops an answer, Ctrl-D leaves."""
    # Here: with the store they take 60 ms, which `--help` need not wait for.
    from edgemem.cli.chat_commands import COMMANDS, carry_out
    from edgemem.cli.conversation import Conversation

    names = [(name, command.help) for name, command in COMMANDS.items()]
    conversation = Conversation(run, names, temporary=temp, learns=not no_learn, whole=stdin_whole)
    try:
        conversation.greet()
        conversation.talk(carry_out)
        conversation.finish()
    finally:
        conversation.close()
    if conversation.exit_code:
        raise typer.Exit(conversation.exit_code)
