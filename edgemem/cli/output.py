"""One sink for all that is said: data to stdout, progress and notices to stderr. Nothing else prints.

Knows terminals, colour and JSON; knows nothing about memory or models.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from edgemem.errors import EdgememError

if TYPE_CHECKING:
    from rich.progress import Progress

Report = Callable[[str, int, int], None]
"""Progress: what is being done, how much is done, how much there is (0: unknown)."""

Unit = Literal["bytes", "steps"]
STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
GAP, NARROWEST = 2, 12
"""Characters between columns, and the least that a wrapped column keeps."""

PLAIN_STEPS = 10
"""Without a terminal, progress is a line each tenth of the way."""

_CONTROL = {code: None for code in [*range(0x20), *range(0x7F, 0xA0)] if code not in (0x09, 0x0A)}


def printable(text: str) -> str:
    """`text` without control characters, so that a model or a file cannot steer the terminal."""
    return text.translate(_CONTROL)


@dataclass
class Output:
    """Where to and how much. `verbosity`: -1 quiet, 0 normal, 1 verbose."""

    json: bool = False
    verbosity: int = 0

    def text(self, text: str, end: str = "\n") -> None:
        """The result for people; silent in JSON mode."""
        if not self.json:
            _write(sys.stdout, text + end)

    def data(self, value: object) -> None:
        """The result for programs: JSON on one line of stdout."""
        _write(sys.stdout, json.dumps(value, ensure_ascii=False, default=_plain) + "\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns; the widest cells are wrapped where the terminal is narrower."""
        self.text(table(header, rows, shutil.get_terminal_size((120, 24)).columns))

    def note(self, text: str, style: str = "dim") -> None:
        """Something worth knowing, for people; silent with -q and in JSON mode."""
        if self.verbosity >= 0 and not self.json:
            _write(sys.stderr, self.styled(text, style, sys.stderr) + "\n")

    def detail(self, text: str) -> None:
        """Something only -v wants to know."""
        if self.verbosity > 0:
            self.note(text)

    def warn(self, text: str) -> None:
        """Something that went wrong without ending the command; said even with -q."""
        if self.json:
            _write(sys.stderr, json.dumps({"warning": text}, ensure_ascii=False) + "\n")
        else:
            _write(sys.stderr, self.styled("note: ", "yellow", sys.stderr) + text + "\n")

    def error(self, error: EdgememError) -> None:
        """The one form of an error: text and next step on stderr, or an object on stdout in JSON mode."""
        self.failure(error.code, error.message, error.hint)

    def failure(self, code: str, message: str, hint: str = "") -> None:
        """As `error`, from its parts."""
        if self.json:
            self.data({"error": {"code": code, "message": message, "hint": hint}})
            return
        next_step = f"\n  next: {hint}" if hint else ""
        _write(sys.stderr, self.styled("error: ", "red", sys.stderr) + printable(message + next_step) + "\n")

    def styled(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """`text` in a style where the stream is a terminal that wants colour, else as it is."""
        if not text or not in_colour(stream or sys.stdout):
            return text
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m"

    @contextmanager
    def progress(self, unit: Unit = "steps") -> Iterator[Report]:
        """A progress reporter: a bar on a terminal, else lines; JSON lines on stderr in JSON mode."""
        if self.verbosity < 0:
            yield lambda label, done, total: None
        elif self.json:
            yield _stepwise(lambda label, done, total: _json_line(label, done, total, unit))
        elif not sys.stderr.isatty():
            yield _stepwise(lambda label, done, total: self.note(_plain_line(label, done, total, unit)))
        else:
            with _bars(unit) as bars:
                yield _on_bars(bars)


def in_colour(stream: TextIO) -> bool:
    """Does this stream show colour? NO_COLOR and TERM=dumb switch it off."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """Rows in aligned columns of at most `width` characters in all (as far as single words allow)."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(1, *(len(row[column]) for row in cells)) for column in range(len(header))]
    while sum(widths) + GAP * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return "\n".join(line for row in cells for line in _row_lines(row, widths))


def _row_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
    lines = zip_longest(*wrapped, fillvalue="")
    padded = ((part.ljust(width) for part, width in zip(parts, widths, strict=True)) for parts in lines)
    return [(" " * GAP).join(parts).rstrip() for parts in padded]


def plural(number: int, word: str) -> str:
    """`1 line`, `2 lines`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def local_time(time: datetime) -> str:
    """A moment in the local zone, to the minute."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M")


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _amount(count: int, unit: Unit) -> str:
    return size(count) if unit == "bytes" else str(count)


def _plain_line(label: str, done: int, total: int, unit: Unit) -> str:
    if not done and not total:  # something that takes a while and does not say how long
        return label
    return f"{label}: {_amount(done, unit)}" + (f" of {_amount(total, unit)}" if total else "")


def _json_line(label: str, done: int, total: int, unit: Unit) -> None:
    line = {"progress": {"label": label, "done": done, "total": total, "unit": unit}}
    _write(sys.stderr, json.dumps(line, ensure_ascii=False) + "\n")


def _stepwise(say: Report) -> Report:
    """Pass on the first report of a label, then one per tenth, so that a log stays short."""
    last: dict[str, int] = {}

    def report(label: str, done: int, total: int) -> None:
        step = done * PLAIN_STEPS // total if total else 0
        if last.get(label) != step:
            last[label] = step
            say(label, done, total)

    return report


def _bars(unit: Unit) -> Progress:
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Amount(progress.DownloadColumn):
        """Nothing where there is no amount."""

        def render(self, task: progress.Task) -> Text:
            return super().render(task) if task.total or task.completed else Text()

    columns: tuple[str | progress.ProgressColumn, ...] = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    if unit == "bytes":
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            Amount(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
        )
    return progress.Progress(*columns, console=Console(stderr=True), transient=True)


def _on_bars(bars: Progress) -> Report:
    from rich.markup import escape

    tasks = {}

    def report(label: str, done: int, total: int) -> None:
        if label not in tasks:
            tasks[label] = bars.add_task(escape(label), total=total or None)
        bars.update(tasks[label], completed=done, total=total or None)

    return report
