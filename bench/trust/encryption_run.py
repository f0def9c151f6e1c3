"""What encryption at rest costs one update, and whether a marker can be read in any file. The model is scripted.

The same chats are learned plain and encrypted, in turn, on the same machine; a scripted model takes no time, so the
difference is what encryption adds. It is compared with the time of a real update, measured elsewhere.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from edgemem.store import open_store
from edgemem.store.sealing import Seal, new_vault

from .crash_acts import PASSPHRASE, USER, assistant

MARKER = "zanzibarine"
REAL_UPDATE_S = 1.1
"""qwen2.5-coder-1.5b, policy `edits`, no notes, 2 cores: docs/log.md, 2026-11-25."""


def measure(updates: int, progress: Any = lambda *_: None) -> dict[str, Any]:
    """Median seconds of an update plain and encrypted, with a computed prompt written after each; files in clear."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as sealed:
        with open_store(Path(sealed), USER) as store:
            store.encrypt(PASSPHRASE)
        for number in range(updates):
            progress("updating", number + 1, updates)
            for folder, encrypted in ((plain, False), (sealed, True)):
                seconds[encrypted].append(_updated(Path(folder), number))
        files = [path for path in (Path(sealed) / "users").rglob("*") if path.is_file()]
        clear = sum(MARKER.encode() in path.read_bytes() for path in files)
        journal = (Path(sealed) / "users" / USER / "journal.db").stat().st_size
    without, with_it = median(seconds[False]), median(seconds[True])
    return {
        "updates": updates,
        "plain_ms": round(1000 * without, 1),
        "encrypted_ms": round(1000 * with_it, 1),
        "added_ms": round(1000 * (with_it - without), 1),
        "share_of_a_real_update_percent": round(100 * (with_it - without) / REAL_UPDATE_S, 2),
        "scrypt_once_per_start_ms": _ms(lambda: new_vault(Path(), PASSPHRASE)),
        "sealing_a_computed_prompt_of_60_mb_ms": _ms(lambda: Seal(b"k" * 32).seal(bytes(60_000_000), "kv")),
        "journal_kib": journal // 1024,
        "files": len(files),
        "files_with_the_marker_in_clear": clear,
    }


def _ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - started))
    return round(median(taken), 1)


def _updated(folder: Path, number: int) -> float:
    with assistant(folder) as ready:
        chat = ready.open_chat()
        for turn in range(4):
            list(chat.reply(f"My {MARKER} friend number {number} likes the {turn}th garden in Bern."))
        started = time.perf_counter()
        chat.remember()
        chat.close()
        ready.kept.finish()
        return time.perf_counter() - started
