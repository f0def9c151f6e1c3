"""What identifies a row of `bench write`, and reading such rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..jsonl import Row, RowKey, read_unique

KEY = ("set", "set_version", "case", "policy", "variant", "model_digest", "prompt_digest", "code_digest", "matcher")
"""What makes two rows the same measurement."""

RUN = ("policy", "variant", "model", "model_digest", "prompt_digest", "code_digest", "matcher")
"""What makes two rows the same run."""


def key_of(row: Mapping[str, Any]) -> RowKey:
    """The identity of a row."""
    return tuple(str(row.get(name, "")) for name in KEY)


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """All rows of the files, a repeated one once (the last). Raises InvalidInput for a file that holds no rows."""
    return read_unique(paths, key_of, lambda row: "case" in row and "set" in row, "bench write")


def lines_file(rows: Path) -> Path:
    """Where the written lines of a rows file stand."""
    return rows.with_name(rows.name + ".lines.jsonl")
