"""`edgemem ask`: one question, one answer."""

from __future__ import annotations

from typing import Annotated

import typer

from edgemem.cli.learning import learn, text_from
from edgemem.cli.memory_view import report_values
from edgemem.cli.open import assistant_for
from edgemem.cli.options import Run, common
from edgemem.cli.replying import show_answer, stats_text
from edgemem.errors import Cancelled

Temporary = Annotated[bool, typer.Option("--temp", help="Leave no trace: nothing is kept and nothing is learned.")]


@common
def ask(
    run: Run,
    question: Annotated[list[str] | None, typer.Argument(help="The question; stdin without it or with -.")] = None,
    temp: Temporary = False,
    learn_now: Annotated[bool, typer.Option("--learn", help="Update the memory from it at once.")] = False,
) -> None:
    """Ask one question and leave. It is learned with the next chat, or at once with --learn."""
    text = text_from(question or [])
    output = run.output
    with assistant_for(run, temporary=temp) as assistant:
        chat = assistant.open_chat(temporary=temp)
        answer = show_answer(output, chat, text)
        if answer.stopped:
            raise Cancelled("answer stopped, nothing stored")
        output.detail(stats_text(answer.stats))
        result = {"answer": answer.text, "stats": answer.stats, "model": assistant.engine.info.model}
        result["chat_id"] = chat.id
        if learn_now and not temp:
            report = learn(run, lambda stop, progress: chat.remember(cancelled=stop, progress=progress))
            output.note(report.summary())
            result["update"] = report_values(report)
        if output.json:
            output.data(result)
