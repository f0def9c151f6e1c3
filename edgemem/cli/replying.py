"""Showing an answer while it is made."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgemem.cli.interrupt import stoppable
from edgemem.cli.output import Output, printable
from edgemem.values import Piece, Stats

if TYPE_CHECKING:
    from edgemem.assistant import Chat

WAITING, CLEAR = "…", "\r\x1b[K"


@dataclass(frozen=True)
class Answer:
    """What came. `stopped`: by Ctrl-C, so nothing of it was stored."""

    text: str
    stats: Stats
    stopped: bool = False


def show_answer(output: Output, chat: Chat, question: str) -> Answer:
    """Stream the answer to stdout. The first Ctrl-C stops it and keeps the part on the screen; the second one
    raises KeyboardInterrupt."""
    with stoppable() as stop, closing(_pieces(chat.reply(question, cancelled=stop.is_set))) as pieces:
        answer = _show(output, pieces)
    if not (answer.stopped or chat.temporary) and _off_record(question):
        output.note("as you asked, this message and its answer are not written down and not learned")
    return answer


def _off_record(text: str) -> bool:
    from edgemem.memory.off_record import off_record  # 7 ms that `--help` need not wait for

    return off_record(text)


def stats_text(stats: Stats) -> str:
    """The cost of an answer, in a line."""
    cached = f" ({stats.cached_tokens} cached)" if stats.cached_tokens else ""
    return (
        f"{stats.prompt_tokens} tokens in{cached}, {stats.output_tokens} out, "
        f"{stats.total_s:.1f} s, the first after {stats.first_token_s:.1f} s"
    )


def _pieces(pieces: Iterator[Piece]) -> Generator[Piece, None, None]:
    yield from pieces


def _show(output: Output, pieces: Iterator[Piece]) -> Answer:
    waiting = not output.json and sys.stdout.isatty()
    if waiting:
        output.text(output.styled(WAITING, "dim"), end="")
    parts: list[str] = []
    stats = Stats()
    try:
        for piece in pieces:
            stats = piece.stats or stats
            if waiting and piece.text:
                output.text(CLEAR, end="")
                waiting = False
            output.text(printable(piece.text), end="")
            parts.append(piece.text)
    finally:
        if waiting:
            output.text(CLEAR, end="")
        if shown := "".join(parts):
            output.text("", end="" if shown.endswith("\n") else "\n")
    return Answer("".join(parts), stats, stats.stop_reason == "cancelled")
