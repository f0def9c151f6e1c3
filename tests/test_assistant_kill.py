"""SIGKILL in the middle of replies and updates: after a restart nothing said is lost and nothing is learned twice."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from edgemem.assistant import open_assistant

from assistant_child import slowly  # isort: skip

KILLS = 50


def killed_at_random(folder: Path, first: int, chance: random.Random) -> list[str]:
    """Words that the child had stored (and said so) before it was killed."""
    child = Path(__file__).with_name("assistant_child.py")
    with subprocess.Popen(
        [sys.executable, str(child), str(folder), str(first)], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        head = run.stdout.readline()  # it is at work
        time.sleep(chance.uniform(0, 0.12))
        run.send_signal(signal.SIGKILL)
        rows = [head.strip(), *run.stdout.read().split("\n")]
    return [row.split()[1] for row in rows if row.startswith("said ")]


def test_fifty_kills_lose_no_turn_and_learn_none_twice(tmp_path: Path) -> None:
    chance = random.Random(11)
    said: list[str] = []
    for number in range(KILLS):
        said += killed_at_random(tmp_path, 1000 * (number + 1), chance)
    assert len(said) >= KILLS
    with open_assistant("ana", engine=slowly(), data_dir=tmp_path) as assistant:
        assistant.remember()
        assert assistant.store.pending() == []
        journalled = [
            turn.text.split()[-1]
            for chat in assistant.store.chats()
            for turn in assistant.store.turns(chat.id)
            if turn.role == "user"
        ]
        learned = [
            op.text.split()[-1] for rev in assistant.store.revisions() for op in rev.operations if op.kind == "add"
        ]
        assert set(said) <= set(journalled)
        assert set(learned) == set(journalled)
        assert len(journalled) == len(set(journalled))
        assert len(learned) == len(set(learned))
        newest = assistant.store.revisions(1)[0]
        assert newest.state == "done"
        assert newest.result_digest == assistant.memory().digest
    (database,) = tmp_path.rglob("journal.db")
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (folded, turns) = connection.execute("SELECT count(*), count(DISTINCT turn_id) FROM folded").fetchone()
    assert folded == turns == len(journalled)
