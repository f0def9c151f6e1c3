"""What must hold for a store whatever happened to the processes that used it; used by several tests."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from edgemem.memory.lines import digest_of
from edgemem.store import UserStore

_CHILD = Path(__file__).with_name("store_child.py")


def child(data: Path, *words: str) -> subprocess.Popen[str]:
    """A process that runs `store_child.py` on the folder `data`."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, str(_CHILD), str(data), *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def start(working: subprocess.Popen[str]) -> None:
    """Wait until the process is ready, and let it work."""
    assert working.stdin is not None
    assert working.stdout is not None
    assert working.stdout.readline() == "ready\n"
    working.stdin.write("go\n")
    working.stdin.flush()


def check(store: UserStore, said: list[str]) -> None:
    """What was said to be durable is there, once; file and journal agree."""
    memory = store.read()
    with closing(sqlite3.connect(store.folder / "journal.db")) as journal:
        assert journal.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert journal.execute("PRAGMA foreign_key_check").fetchall() == []
        turns = {one for (one,) in journal.execute("SELECT id FROM turns")}
        folded = {one for (one,) in journal.execute("SELECT turn_id FROM folded")}
        lines = journal.execute("SELECT section, text FROM lines WHERE removed IS NULL").fetchall()
    newest = store.revisions(1)
    path = store.folder / "memory.md"
    on_disk = path.read_text(encoding="utf-8") if path.exists() else ""
    assert digest_of(on_disk) == memory.digest == (newest[0].result_digest if newest else digest_of(""))
    assert {revision.state for revision in store.revisions()} <= {"done"}
    assert sorted(lines) == sorted((line.section, line.text) for line in memory.lines)
    assert len({line.text for line in memory.lines}) == len(memory.lines)  # nothing folded twice
    assert _numbers(said, "turn") <= turns
    assert _numbers(said, "folded") <= folded
    pending = {turn.id for chat in store.pending() for turn in chat if turn.role == "user"}
    asked = {turn.id for chat in store.chats() for turn in store.turns(chat.id) if turn.role == "user"}
    assert pending.isdisjoint(folded)
    assert pending | folded == asked


def _numbers(said: list[str], kind: str) -> set[int]:
    return {int(word) for row in said if row.startswith(kind) for word in row.split()[1:]}
