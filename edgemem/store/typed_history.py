"""What a person typed in earlier chats, for the arrow keys: one JSON text per line, readable by its owner only.

Lives in the user's folder and is scrubbed by `forget`. Knows nothing about terminals.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

FILE_NAME = "typed.jsonl"
MOST_ENTRIES = 1000


def read_entries(path: Path) -> list[str]:
    """The entries, oldest first; damaged lines are skipped, a missing file is empty."""
    try:
        rows = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [entry for row in rows[-MOST_ENTRIES:] if (entry := _entry(row))]


def add_entry(path: Path, text: str) -> None:
    """Keep one entry. A full or read-only disk costs the entry, not the chat."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(text, ensure_ascii=False) + "\n")
    except OSError:
        return


def scrub(path: Path, unwanted: Callable[[str], bool]) -> int:
    """Remove the entries that are unwanted; how many. Raises OSError when the file cannot be replaced."""
    entries = read_entries(path)
    kept = [entry for entry in entries if not unwanted(entry)]
    if len(kept) == len(entries):
        return 0
    temporary = path.with_name(path.name + ".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)
    temporary.replace(path)
    return len(entries) - len(kept)


def _entry(row: str) -> str:
    try:
        value = json.loads(row)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""
