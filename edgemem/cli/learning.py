"""Learning in the foreground: progress on the screen, Ctrl-C stops it with nothing written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from edgemem.cli.interrupt import stoppable
from edgemem.cli.options import Run
from edgemem.errors import InvalidInput
from edgemem.memory.lines import Memory, apply_operations, prompt_view
from edgemem.values import Operation

if TYPE_CHECKING:
    from edgemem.assistant import Cancel, Progress, UpdateReport


def learn(run: Run, work: Callable[[Cancel, Progress], UpdateReport]) -> UpdateReport:
    """Run `work` with a progress bar. Ctrl-C makes it raise Cancelled: nothing was written then."""
    with run.output.progress("steps") as report, stoppable() as stop:
        return work(stop.is_set, report)


@contextmanager
def counter_for(run: Run, memory: Memory, operations: Sequence[Operation]) -> Iterator[Callable[[str], int]]:
    """How to count tokens for a change by hand: an upper estimate while it fits the budget, else the model's own.

    Loading a model for one added line would take seconds, so that happens only near the budget.
    """
    from edgemem.cli.open import assistant_for

    next_id = max((line.id for line in memory.lines), default=0) + 1
    _, lines = apply_operations(memory.document, memory.lines, operations, next_id)
    if most_tokens(prompt_view(lines)) <= run.settings.budget_tokens:
        yield most_tokens
        return
    run.output.note("close to the memory's budget: counting with the model")
    with assistant_for(run) as assistant:
        yield assistant.engine.count


def most_tokens(text: str) -> int:
    """At least as many tokens as a tokenizer makes of `text`: 1.6 letters each (as in random ones), digits and marks
    (and a space before them) singly, other scripts as bytes. For English that is 1.5 to 2.3 times too high."""
    letters = sum(c.isascii() and c.isalpha() for c in text)
    single = sum(c.isascii() and not c.isalpha() and c != " " for c in text)
    spaces = sum(a == " " and not b.isalpha() for a, b in pairwise(text))
    foreign = sum(len(c.encode("utf-8", "replace")) for c in text if not c.isascii())
    return -(-letters * 5 // 8) + single + spaces + foreign


def text_from(words: Sequence[str]) -> str:
    """The words of an argument, or stdin for none or `-`. Raises InvalidInput when neither says anything."""
    text = " ".join(words)
    if text in ("", "-"):
        if sys.stdin.isatty():
            raise InvalidInput("there is nothing to work on", "give a text, or pipe one in")
        text = sys.stdin.read().removeprefix("\ufeff")
    if not text.strip():
        raise InvalidInput("the text is empty", "give some words")
    return text
