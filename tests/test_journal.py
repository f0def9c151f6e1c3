"""journal.db: its tables are a contract, its settings keep promises, its transactions are whole."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgemem.errors import JournalUnusable, StoreBusy
from edgemem.store import journal as journal_module
from edgemem.store import open_store
from edgemem.store.journal import Journal, open_connection, open_journal
from edgemem.store.schema import SCHEMA_VERSION
from edgemem.values import Operation, Rejected, Revision, Stats

NOON = datetime(2026, 7, 31, 12, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = open_journal(tmp_path / "journal.db")
    opened.migrate()
    yield opened
    opened.close()


def tables(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
            for name in sorted(names)
            if not name.startswith(("sqlite_", "_"))
        }


def test_the_tables_are_the_contract(journal: Journal, tmp_path: Path) -> None:
    assert tables(tmp_path / "journal.db") == {
        "attempts": ["turn_id", "tries", "error"],
        "chats": ["id", "kind", "started", "ended"],
        "exports": ["path", "created", "form"],
        "folded": ["turn_id", "revision_id"],
        "imports": ["source", "chat_id", "created"],
        "lines": ["id", "section", "text", "origin", "sensitivity", "pinned", "removed"],
        "pending": ["id", "revision_id", "created", "operation", "sensitivity", "decided"],
        "revisions": [
            "id", "created", "cause", "state", "operations", "base_digest", "result_digest", "result_text",
            "policy",
            "model_digest", "prompt_digest", "undoes", "stats", "rejected", "note",
        ],
        "sources": ["line_id", "turn_id"],
        "tombstones": ["id", "created", "digests"],
        "turns": ["id", "chat_id", "role", "text", "time", "stats"],
    }  # fmt: skip


def test_migrations_have_names_and_happen_once(journal: Journal, tmp_path: Path) -> None:
    journal.migrate()
    assert journal.is_current()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        assert db.execute("SELECT name FROM _sqlite_migrations ORDER BY id").fetchall() == [
            ("first_tables",),
            ("consent_tables",),
        ]
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = open_journal(tmp_path / "journal.db")
    monkeypatch.setattr(journal_module, "FIRST_TABLES", "CREATE TABLE chats (id INTEGER); CREATE NONSENSE;")
    with pytest.raises(JournalUnusable):
        broken.migrate()
    monkeypatch.undo()
    assert not broken.is_current()
    broken.migrate()
    assert broken.is_current()
    broken.close()


def test_connections_are_durable_strict_and_erase_what_they_delete(journal: Journal, tmp_path: Path) -> None:
    with closing(open_connection(tmp_path / "journal.db")) as db:
        settings = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "temp_store", "busy_timeout")
        assert {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in settings} == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "secure_delete": 1,
            "temp_store": 2,
            "busy_timeout": journal_module.BUSY_WAIT_MS,
        }


def test_a_change_that_is_interrupted_did_not_happen(journal: Journal) -> None:
    def interrupted() -> None:
        with journal.change():
            journal.add_chat("chat", NOON)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with journal.view():
        assert journal.chats() == []


def test_a_change_inside_a_change_is_part_of_it(journal: Journal) -> None:
    def interrupted() -> None:
        with journal.change():
            with journal.change():
                journal.add_chat("chat", NOON)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with journal.view():
        assert journal.chats() == []


def test_a_journal_kept_busy_by_another_is_said(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "BUSY_WAIT_MS", 10)
    impatient = open_journal(tmp_path / "journal.db")
    with journal.change(), pytest.raises(StoreBusy), impatient.change():
        pass
    impatient.close()


def test_a_revision_comes_back_as_it_was(journal: Journal) -> None:
    operation = Operation("update", 3, "Über", 'a "b" \\ \n', "old", "About", (1, 2), "edited", "asked")
    revision = Revision(
        0, NOON, "update", "prepared", (operation,), "b", "r", "edits", "m", "p", None,
        Stats(1, 2, 3, 4, 5, 0.5, 1.5, "eos"), (Rejected(operation, "secret", "why"),), "a note",
    )  # fmt: skip
    with journal.change():
        kept = journal.prepare(revision, "text", ())
        assert journal.revision(kept.id) == kept
        assert journal.prepared() == kept
        assert journal.text_of(kept.id) == "text"


OPENS_A_MEMORY = """
import sys, time
from pathlib import Path
from edgemem.store import open_store
with open_store(Path(sys.argv[1]), "ada") as store:
    print(store.read().lines[0].text)
print(sorted({"sqlite_utils", "filelock", "rapidfuzz", "platformdirs", "difflib", "asyncio"} & set(sys.modules)))
"""


def test_reading_a_memory_imports_little(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        store.commit([Operation("add", None, "About", "a fact")], base=store.read(), cause="command")
    command = [sys.executable, "-c", OPENS_A_MEMORY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "a fact\n['difflib']\n"
