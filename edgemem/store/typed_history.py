"""What a person typed in earlier chats, for the arrow keys: one JSON text per line, readable by its owner only.

Lives in the user's folder and is scrubbed by `forget`. Knows nothing about terminals.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from edgemem.errors import MemoryLocked
from edgemem.kv_files import private_folder
from edgemem.store.files import FILE_MODE, replace_whole
from edgemem.store.sealing import PLAIN, Seal

FILE_NAME = "typed.jsonl"
MOST_ENTRIES = 1000


def read_entries(path: Path, seal: Seal = PLAIN) -> list[str]:
    """The entries, oldest first; damaged lines are skipped, a missing file is empty."""
    return [entry for row in _rows(path)[-MOST_ENTRIES:] if (entry := _entry(row, seal))]


def add_entry(path: Path, text: str, seal: Seal = PLAIN) -> None:
    """Keep one entry. A full or read-only disk costs the entry, not the chat."""
    try:
        private_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE_MODE)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            cut = _last_byte(handle) not in (b"", b"\n")  # a full disk ended the entry before
            file.write("\n" * cut + seal.row(json.dumps(text, ensure_ascii=False), FILE_NAME) + "\n")
    except OSError:
        return


def _last_byte(handle: int) -> bytes:
    if os.fstat(handle).st_size == 0:
        return b""
    os.lseek(handle, -1, os.SEEK_END)
    return os.read(handle, 1)


def scrub(path: Path, unwanted: Callable[[str], bool], seal: Seal = PLAIN) -> int:
    """Remove the entries that are unwanted, and damaged ones, which may hold a part of anything; how many. Raises
    StoreWriteFailed."""
    rows = _rows(path)
    kept = [row for row in rows if (entry := _entry(row, seal)) and not unwanted(entry)]
    if len(kept) < len(rows):
        replace_whole(path, "".join(f"{row}\n" for row in kept).encode())
    return len(rows) - len(kept)


def reseal(path: Path, before: Seal, after: Seal) -> None:
    """Write the file anew with another key, or none. Raises StoreWriteFailed."""
    if path.exists():
        entries = [entry for row in _rows(path) if (entry := _entry(row, before))]
        rows = [after.row(json.dumps(entry, ensure_ascii=False), FILE_NAME) for entry in entries]
        replace_whole(path, "".join(f"{row}\n" for row in rows).encode())


def _rows(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8", "replace").removesuffix("\n").split("\n") if path.exists() else []
    except OSError:
        return []


def _entry(row: str, seal: Seal) -> str:
    try:
        value = json.loads(seal.row_text(row, FILE_NAME))
    except (ValueError, MemoryLocked):
        return ""
    return value if isinstance(value, str) else ""
