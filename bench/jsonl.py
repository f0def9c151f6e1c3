"""JSONL files: rows on disk, one object per line, appended and durable. A line cut off by a kill is dropped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgemem.errors import InvalidInput, StoreWriteFailed

Row = dict[str, Any]
RowKey = tuple[str, ...]


def objects(path: Path) -> Iterator[Row]:
    """The objects of a whole JSONL file (data that is read, not rows that grow)."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def read_objects(path: Path) -> list[Row]:
    """The objects of a JSONL file without a torn last line. Raises InvalidInput where it cannot be read."""
    try:
        text = path.read_text("utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read rows from {path}: {error}", "give a JSONL file") from error


def read_unique(
    paths: Iterable[Path], key_of: Callable[[Row], RowKey], is_row: Callable[[Row], bool], command: str
) -> list[Row]:
    """All rows of the files, a repeated one once (the last). Raises InvalidInput for a line that is no row."""
    found: dict[RowKey, Row] = {}
    for path in paths:
        for row in read_objects(path):
            if not isinstance(row, dict) or not is_row(row):
                raise InvalidInput(f"{path} has a line that is no row of `{command}`", "give the files of --rows")
            found[key_of(row)] = row
    return list(found.values())


def append_object(path: Path, value: Mapping[str, Any]) -> None:
    """Add a line and wait until the disk has it. What a killed run left unfinished at the end goes first."""
    line = json.dumps(value, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            _cut_torn_line(file.fileno(), path)
            file.write(line.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreWriteFailed(f"cannot write to {path}: {error}", "check the disk and the folder") from error


def check_writable(path: Path) -> None:
    """Raises StoreWriteFailed where rows could not be appended, before anything costly is done for them."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise StoreWriteFailed(f"cannot write to {path}: {error}", "check the disk and the folder") from error


def _cut_torn_line(number: int, path: Path) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.ftruncate(number, content.rfind(b"\n") + 1)
