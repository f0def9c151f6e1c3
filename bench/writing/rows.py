"""Rows on disk: one JSON object per line, appended as it comes, durable. A row cut off by a kill is dropped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgemem.errors import InvalidInput, StoreWriteFailed

KEY = ("set", "set_version", "case", "policy", "variant", "model_digest", "prompt_digest", "code_digest", "matcher")
"""What makes two rows the same measurement."""

RUN = ("policy", "variant", "model", "model_digest", "prompt_digest", "code_digest", "matcher")
"""What makes two rows the same run."""

Row = dict[str, Any]
RowKey = tuple[str, ...]


def key_of(row: Mapping[str, Any]) -> RowKey:
    """The identity of a row."""
    return tuple(str(row.get(name, "")) for name in KEY)


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """All rows of the files, a repeated one once (the last). Raises InvalidInput for a file that holds no rows."""
    found: dict[RowKey, Row] = {}
    for path in paths:
        for row in read_objects(path):
            if "case" not in row or "set" not in row:
                raise InvalidInput(f"{path} has a line that is no row of `bench write`", "give the files of --rows")
            found[key_of(row)] = row
    return list(found.values())


def read_objects(path: Path) -> list[Row]:
    """The objects of a JSONL file without a torn last line. Raises InvalidInput where it cannot be read."""
    try:
        text = path.read_text("utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read rows from {path}: {error}", "give a JSONL file") from error


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


def _cut_torn_line(number: int, path: Path) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.ftruncate(number, content.rfind(b"\n") + 1)


def lines_file(rows: Path) -> Path:
    """Where the written lines of a rows file stand."""
    return rows.with_name(rows.name + ".lines.jsonl")
