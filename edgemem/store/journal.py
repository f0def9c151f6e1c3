"""journal.db: what happened. All SQL, and the only home of sqlite3 and sqlite_utils.

Knows rows and transactions; does not know the memory file, locks or why a change is made.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from edgemem.errors import EdgememError, InvalidInput, JournalUnusable, MemoryLocked, StoreBusy
from edgemem.memory.lines import digest_of
from edgemem.memory.sensitivity import sensitivity_of
from edgemem.store import rows
from edgemem.store.files import write_failed
from edgemem.store.forgetting import Erasure, turns_to_erase
from edgemem.store.records import FORGOTTEN, ChatInfo, Erased, JournalView, PendingChange
from edgemem.store.schema import CONSENT_TABLES, FIRST_TABLES, SCHEMA_VERSION
from edgemem.store.sealing import INSTALL
from edgemem.store.tombstones import Tombstone
from edgemem.values import Line, Operation, Revision, Role, Stats, Turn

BUSY_WAIT_MS = 20_000
_PRAGMAS = ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON")
EMPTY_DIGEST = digest_of("")
GONE_LINES_REMEMBERED = 500  # whose ids a hand edit brings back with their text; reading must not grow with history
_SQLITE = b"SQLite format 3\0"
_handles: dict[tuple[int, int], int] = {}  # by device and inode, which is not given to another file while one is open
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_ERASED_COLUMNS = ("operations", "result_text", "rejected", "note")
_PRESENT_LINES = """
SELECT lines.*, count(turn_id) AS mentions, ifnull(max(turn_id), 0) AS last_turn
FROM lines LEFT JOIN sources ON line_id = lines.id WHERE removed IS NULL GROUP BY lines.id ORDER BY lines.id
"""
_UNFOLDED = f"role = 'user' AND text <> '{FORGOTTEN}' AND id NOT IN (SELECT turn_id FROM folded)"


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours. Two keys are the caller's business: a turn folded twice, an unknown id."""
    try:
        yield
    except _errors("IntegrityError") as error:
        if "FOREIGN KEY" in str(error):
            raise InvalidInput("no such chat, turn or revision", "see `edgemem memory history`") from error
        raise StoreBusy(
            "these turns were learned meanwhile by another process", "nothing to do: the memory has them"
        ) from error
    except _errors("ProgrammingError"):
        raise  # our mistake, not the disk's
    except _errors("DatabaseError") as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _FULL or code in _DENIED:
            raise write_failed(path, str(error), full=code in _FULL) from error
        if code in _BUSY:
            raise StoreBusy(f"{path} is in use by another process", "try again when it has finished") from error
        raise JournalUnusable(
            f"{path} is damaged: {error}",
            "move journal.db away to start a new one; memory.md keeps everything that was learned (were they encrypted?"
            " restore vault.json from a backup instead)",
        ) from error


def _errors(name: str) -> tuple[type[Exception], ...]:
    """The classes of that name, of sqlite3 and of SQLCipher where it is in use."""
    modules = (sqlite3, sys.modules.get("sqlcipher3.dbapi2"))
    return tuple(getattr(module, name) for module in modules if module is not None)


def is_encrypted(path: Path) -> bool:
    """Whether the file is a database and not one that SQLite can read."""
    try:
        head = raw_bytes(path, len(_SQLITE))
    except OSError:
        return False
    return head not in (b"", _SQLITE)


def raw_bytes(path: Path, most: int | None = None) -> bytes:
    """The first `most` bytes, or all, of a database or a file beside it that this process may have open. OSError.

    The handle stays open as long as the file has a name: closing any handle of a file drops every POSIX lock of the
    process on it, SQLite's too, and another process would then take the write-ahead log away under an open connection
    (committed messages were lost so; tests/test_store_kill.py).
    """
    if not hasattr(os, "pread"):  # Windows has no such locks
        with path.open("rb") as file:
            return file.read(-1 if most is None else most)
    release_removed()
    status = path.stat()
    place = (status.st_dev, status.st_ino)
    if place not in _handles:
        _handles[place] = os.open(path, os.O_RDONLY)
    handle = _handles[place]
    return os.pread(handle, os.fstat(handle).st_size if most is None else most, 0)


def release_removed() -> None:
    """Close the handles of files that were removed: they would keep the bytes on the disk, and nobody locks them."""
    for place, handle in list(_handles.items()):
        if os.fstat(handle).st_nlink == 0:
            os.close(_handles.pop(place))


def _connector(path: Path, key: bytes) -> Any:
    """The library that opens this file: SQLCipher where the file is encrypted, or is to be. Raises MemoryLocked."""
    new = not path.exists() or path.stat().st_size == 0
    if not key or not (new or is_encrypted(path)):
        return sqlite3
    try:
        return import_module("sqlcipher3.dbapi2")
    except ImportError as error:
        raise MemoryLocked("this memory is encrypted, and the library for it is not installed", INSTALL) from error


def open_connection(path: Path, *, read_only: bool = False, key: bytes = b"") -> sqlite3.Connection:
    """The one place that opens the database. `read_only` changes no byte of any file, SQLite's own included. `key` is
    of a database that is encrypted or to be made so."""
    library = _connector(path, key)
    if read_only:
        log = path.with_name(path.name + "-wal")
        in_use = log.exists() and log.stat().st_size > 0 and path.with_name(path.name + "-shm").exists()
        mode = "mode=ro&readonly_shm=1" if in_use else "mode=ro&immutable=1"
        connection = library.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
    else:
        wait_s = BUSY_WAIT_MS / 1000
        connection = library.connect(str(path), timeout=wait_s, isolation_level=None, check_same_thread=False)
    try:
        if library is not sqlite3:
            connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
            connection.execute("PRAGMA cipher_log_level = NONE")  # it would write to the terminal
        for pragma in () if read_only else _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA temp_store = MEMORY")  # no private text in the system's folder for temporary files
    except _errors("Error"):
        connection.close()  # one that stays open would keep this process from reading the file in any other way
        raise
    opened: sqlite3.Connection = connection  # SQLCipher's has the same methods
    return opened


def copy_converted(path: Path, new: Path, key: bytes, *, encrypt: bool) -> None:
    """Write the database, encrypted with `key` or no longer, to the file `new`. Nobody else may have it open."""
    new.unlink(missing_ok=True)
    with _translated(path):
        source: Any = import_module("sqlcipher3.dbapi2").connect(str(path), isolation_level=None)
        with closing(source):
            if not encrypt:
                source.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
            source.execute("PRAGMA cipher_log_level = NONE")
            source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            version = source.execute("PRAGMA user_version").fetchone()[0]
            secret = f"x'{key.hex()}'" if encrypt else ""
            source.execute("ATTACH DATABASE ? AS other KEY ?", (str(new), secret))
            try:
                source.execute("SELECT sqlcipher_export('other')").fetchall()
            except _errors("OperationalError") as error:  # it says no more than that it failed
                raise write_failed(new, str(error), full="full" in str(error)) from error
            source.execute(f"PRAGMA other.user_version = {version}")
            source.execute("PRAGMA other.journal_mode = WAL").fetchall()
            source.execute("DETACH DATABASE other")


def open_journal(path: Path, *, read_only: bool = False, key: bytes = b"") -> Journal:
    """Open the journal and check its schema. Raises JournalUnusable, StoreWriteFailed, StoreBusy.

    A new or older one is not `is_current()` and must be migrated, under the user's lock, before it is used.
    """
    with _translated(path):
        journal = Journal(open_connection(path, read_only=read_only, key=key), path)
    try:
        version = journal.schema_version()
        if version > SCHEMA_VERSION:
            raise JournalUnusable(
                f"{path} was written by a newer edgemem (schema {version}, this one knows {SCHEMA_VERSION})",
                "install the newer edgemem again: pip install --upgrade edgemem-runtime",
            )
    except EdgememError:
        journal.close()
        raise
    return journal


class Journal:
    """Statements on an open journal. Each must be inside `change()` or `view()`, which threads take in turn."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path
        self._threads = threading.RLock()

    def close(self) -> None:
        with self._threads, _translated(self._path):
            self._db.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """One transaction: all of it or nothing, durable at the end. Inside another one it is part of that."""
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    @contextmanager
    def view(self) -> Iterator[None]:
        """Reads that all see the same moment."""
        with self._transaction("BEGIN"):
            yield

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with self._threads, _translated(self._path):
            if self._db.in_transaction:
                yield
                return
            self._db.execute(begin)
            try:
                yield
                self._db.commit()
            finally:
                self._db.rollback()  # nothing to do after a commit

    # Schema ----------------------------------------------------------------------------------------------------

    def schema_version(self) -> int:
        with _translated(self._path):
            return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def is_current(self) -> bool:
        return self.schema_version() == SCHEMA_VERSION

    def migrate(self) -> None:
        """Apply the migrations that are missing, each in one transaction. Others must not have the file open."""
        from sqlite_utils import Database, Migrations  # here: 0.13 s and more, needed once in a journal's life

        migrations = Migrations("edgemem")

        @migrations()
        def first_tables(db: Database) -> None:
            for statement in filter(str.strip, FIRST_TABLES.split(";")):
                db.execute(statement)
            db.execute("PRAGMA user_version = 1")

        @migrations()
        def consent_tables(db: Database) -> None:
            for statement in filter(str.strip, CONSENT_TABLES.split(";")):
                db.execute(statement)
            for line_id, section, text in db.execute("SELECT id, section, text FROM lines").fetchall():
                kind = sensitivity_of(text, section)
                db.execute("UPDATE lines SET sensitivity = ? WHERE id = ?", (kind, line_id))
            db.execute("PRAGMA user_version = 2")

        with self._threads, _translated(self._path):
            self._db.execute("PRAGMA journal_mode = WAL")  # kept in the file
            migrations.apply(Database(self._db))

    # Chats and turns -------------------------------------------------------------------------------------------

    def add_chat(self, kind: str, started: datetime) -> int:
        return self._insert("chats", {"kind": kind, "started": rows.time_text(started)})

    def end_chat(self, chat_id: int, ended: datetime) -> None:
        self._db.execute("UPDATE chats SET ended = ? WHERE id = ? AND ended IS NULL", (rows.time_text(ended), chat_id))

    def add_turn(self, chat_id: int, role: Role, text: str, time: datetime, stats: Stats | None = None) -> Turn:
        row = {
            "chat_id": chat_id,
            "role": role,
            "text": rows.storable(text),
            "time": rows.time_text(time),
            "stats": None if stats is None else rows.stats_text(stats),
        }
        return rows.turn_value({"id": self._insert("turns", row), **row})

    def chats(self) -> list[ChatInfo]:
        found = self._all(
            "SELECT id, kind, started, ended, (SELECT count(*) FROM turns WHERE chat_id = chats.id) AS turns,"
            f" (SELECT count(*) FROM turns WHERE chat_id = chats.id AND {_UNFOLDED}) AS pending"
            " FROM chats ORDER BY id"
        )
        return [
            ChatInfo(
                row["id"],
                row["kind"],
                rows.time_value(row["started"]),
                rows.time_value(row["ended"]) if row["ended"] else None,
                row["turns"],
                row["pending"],
            )
            for row in found
        ]

    def turns(self, chat_id: int) -> list[Turn]:
        return [rows.turn_value(row) for row in self._all("SELECT * FROM turns WHERE chat_id = ? ORDER BY id", chat_id)]

    def unfolded(self) -> dict[int, set[int]]:
        """Chat -> its user turns that no revision has folded."""
        found: dict[int, set[int]] = {}
        for row in self._all(f"SELECT chat_id, id FROM turns WHERE {_UNFOLDED} ORDER BY id"):
            found.setdefault(row["chat_id"], set()).add(row["id"])
        return found

    def note_failure(self, turn_id: int, error: str) -> int:
        row = self._all(
            "INSERT INTO attempts VALUES (?, 1, ?) ON CONFLICT (turn_id)"
            " DO UPDATE SET tries = tries + 1, error = excluded.error RETURNING tries",
            turn_id,
            rows.storable(error),
        )[0]
        return int(row["tries"])

    def fold_with(self, revision_id: int, turn_ids: Iterable[int]) -> None:
        """Mark turns as learned by a revision that is there already."""
        self._db.executemany("INSERT OR IGNORE INTO folded VALUES (?, ?)", [(one, revision_id) for one in turn_ids])

    def set_aside_turns(self) -> list[Turn]:
        return [rows.turn_value(row) for row in self._all(f"SELECT * FROM turns WHERE id IN ({_SET_ASIDE})")]

    def retry_set_aside(self) -> int:
        self._db.execute(f"DELETE FROM attempts WHERE turn_id IN ({_SET_ASIDE})")
        return self._db.execute(f"DELETE FROM folded WHERE turn_id IN ({_SET_ASIDE})").rowcount

    # Taken in and given away -----------------------------------------------------------------------------------

    def taken_in(self, source: str) -> int | None:
        """The chat that was made of an import, if it is here."""
        found = self._all("SELECT chat_id FROM imports WHERE source = ?", source)
        return int(found[0]["chat_id"]) if found else None

    def note_import(self, source: str, chat_id: int, created: datetime) -> None:
        self._insert("imports", {"source": source, "chat_id": chat_id, "created": rows.time_text(created)})

    def note_export(self, path: str, form: str, created: datetime) -> None:
        values = (path, rows.time_text(created), form)
        self._db.execute("INSERT OR REPLACE INTO exports (path, created, form) VALUES (?, ?, ?)", values)

    def exports(self) -> list[tuple[str, str]]:
        """(path, form) of the files that we wrote for the person."""
        return [(row["path"], row["form"]) for row in self._all("SELECT path, form FROM exports ORDER BY path")]

    # Lines -----------------------------------------------------------------------------------------------------

    def memory_view(self) -> JournalView:
        """Digest and lines of the memory as the last finished revision left them."""
        last = self._all("SELECT result_digest FROM revisions WHERE state = 'done' ORDER BY id DESC LIMIT 1")
        return JournalView(
            digest=last[0]["result_digest"] if last else EMPTY_DIGEST,
            unfinished=bool(self._all("SELECT 1 FROM revisions WHERE state = 'prepared'")),
            lines=tuple(map(rows.line_value, self._all(_PRESENT_LINES))),
            gone=self.gone_lines(GONE_LINES_REMEMBERED),
            next_line_id=self._all("SELECT ifnull(max(id), 0) + 1 AS next FROM lines")[0]["next"],
        )

    def gone_lines(self, most: int = -1) -> tuple[Line, ...]:
        """Lines that left the memory and were not forgotten, newest first; all of them, or `most`."""
        statement = "SELECT * FROM lines WHERE removed IS NOT NULL AND text != ? ORDER BY id DESC LIMIT ?"
        return tuple(map(rows.line_value, self._all(statement, FORGOTTEN, most)))

    def line(self, line_id: int) -> tuple[Line, bool]:
        """The line and whether it is in the memory. Raises InvalidInput for an id that never was."""
        found = self._all("SELECT * FROM lines WHERE id = ?", line_id)
        if not found:
            raise InvalidInput(f"there is no line {line_id}", "`edgemem memory show` lists the lines with their ids")
        return rows.line_value(found[0]), found[0]["removed"] is None

    def source_turns(self, line_id: int) -> list[Turn]:
        found = self._all(
            "SELECT turns.* FROM turns JOIN sources ON turn_id = turns.id WHERE line_id = ? ORDER BY turns.id",
            line_id,
        )
        return [rows.turn_value(row) for row in found]

    def set_pinned(self, line_id: int, pinned: bool) -> None:
        self._db.execute("UPDATE lines SET pinned = ? WHERE id = ?", (int(pinned), line_id))

    def pin_coming(self, line_ids: Iterable[int], revision: Revision) -> None:
        """These lines, which `revision` adds, are pinned once it is finished."""
        for line_id in line_ids:
            row = {"id": line_id, "section": "", "text": FORGOTTEN, "origin": "imported", "pinned": 1}
            self._insert("lines", row | {"removed": revision.id})

    # Consent ---------------------------------------------------------------------------------------------------

    def add_pending(self, operations: Iterable[Operation], revision: Revision) -> None:
        """Changes that `revision` learned and that wait for consent."""
        for operation in operations:
            row = {
                "revision_id": revision.id,
                "created": rows.time_text(revision.created),
                "operation": rows.storable(rows.operation_text(operation)),
                "sensitivity": sensitivity_of(operation.text, operation.section),
            }
            self._insert("pending", row)

    def pending_changes(self) -> list[PendingChange]:
        """What waits, oldest first, each with the user turns it rests on."""
        found = self._all("SELECT * FROM pending WHERE decided IS NULL ORDER BY id")
        return [self._pending_value(row) for row in found]

    def decide(self, pending_ids: Iterable[int], revision: Revision) -> None:
        """These were accepted or refused by `revision`; they go when it is finished. Raises InvalidInput."""
        for pending_id in pending_ids:
            statement = "UPDATE pending SET decided = ? WHERE id = ? AND decided IS NULL"
            if self._db.execute(statement, (revision.id, pending_id)).rowcount == 0:
                raise InvalidInput(f"nothing waits under the number {pending_id}", "`edgemem memory review` lists it")

    def _pending_value(self, row: dict[str, Any]) -> PendingChange:
        operation = rows.operation_value(row["operation"])
        marks = ", ".join("?" * len(operation.sources))
        turns = self._all(f"SELECT * FROM turns WHERE id IN ({marks}) ORDER BY id", *operation.sources)
        said = tuple(map(rows.turn_value, turns))
        return PendingChange(row["id"], operation, row["sensitivity"], rows.time_value(row["created"]), said)

    # Revisions -------------------------------------------------------------------------------------------------

    def note_mentions(self, mentions: Iterable[tuple[int, int]]) -> None:
        """Turns that spoke of lines: (line id, turn id)."""
        self._db.executemany("INSERT OR IGNORE INTO sources VALUES (?, ?)", list(mentions))

    def prepare(self, revision: Revision, text: str | None, folded: Iterable[int]) -> Revision:
        """Record a revision to come and fold its turns. `text` is the whole new file, None if it stays as it is.

        Raises StoreBusy (and the caller's transaction ends) when one of the turns is folded already.
        """
        row = {
            "created": rows.time_text(revision.created),
            "cause": revision.cause,
            "state": "prepared",
            "operations": rows.storable(rows.operations_text(revision.operations)),
            "base_digest": revision.base_digest,
            "result_digest": revision.result_digest,
            "result_text": text,
            "policy": revision.policy,
            "model_digest": revision.model_digest,
            "prompt_digest": revision.prompt_digest,
            "undoes": revision.undoes,
            "stats": rows.stats_text(revision.stats),
            "rejected": rows.storable(rows.rejected_text(revision.rejected)),
            "note": rows.storable(revision.note),
        }
        revision_id = self._insert("revisions", row)
        self._db.executemany("INSERT INTO folded VALUES (?, ?)", [(turn_id, revision_id) for turn_id in folded])
        return replace(revision, id=revision_id, state="prepared")

    def finish(self, revision: Revision) -> Revision:
        """The file now is what the revision says: bring the lines up to it and mark it done."""
        for operation in revision.operations:
            self._apply(operation, revision.id)
        if revision.cause == "rebuild":  # everything is to be learned again
            self._db.execute("DELETE FROM folded WHERE revision_id <> ?", (revision.id,))
            self._db.execute("DELETE FROM attempts")
        if revision.cause == "forget":
            self._db.execute("UPDATE lines SET text = ? WHERE removed = ?", (FORGOTTEN, revision.id))
        self._db.execute("DELETE FROM pending WHERE decided = ?", (revision.id,))
        self._db.execute("UPDATE revisions SET state = 'done' WHERE id = ?", (revision.id,))
        return replace(revision, state="done")

    def _apply(self, operation: Operation, revision_id: int) -> None:
        if operation.kind == "delete":
            self._db.execute("UPDATE lines SET removed = ? WHERE id = ?", (revision_id, operation.line_id))
            return
        kind = sensitivity_of(operation.text, operation.section)
        self._db.execute(
            "INSERT INTO lines (id, section, text, origin, sensitivity) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)"
            " DO UPDATE SET section = excluded.section, text = excluded.text, origin = excluded.origin,"
            " sensitivity = excluded.sensitivity, removed = NULL",
            (operation.line_id, operation.section, rows.storable(operation.text), operation.origin, kind),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO sources VALUES (?, ?)",
            [(operation.line_id, turn) for turn in operation.sources],
        )

    def cancel(self, revision_id: int, successor_id: int | None = None) -> None:
        """Take a prepared revision back: its turns are pending again, or folded by `successor_id`."""
        if successor_id is None:
            self._db.execute("DELETE FROM folded WHERE revision_id = ?", (revision_id,))
            self._db.execute("DELETE FROM pending WHERE revision_id = ?", (revision_id,))
            self._db.execute("DELETE FROM lines WHERE removed = ?", (revision_id,))
        else:
            self._db.execute("UPDATE lines SET removed = ? WHERE removed = ?", (successor_id, revision_id))
            self._db.execute("UPDATE pending SET revision_id = ? WHERE revision_id = ?", (successor_id, revision_id))
        self._db.execute("UPDATE pending SET decided = ? WHERE decided = ?", (successor_id, revision_id))
        self._db.execute("UPDATE folded SET revision_id = ? WHERE revision_id = ?", (successor_id, revision_id))
        self._db.execute("DELETE FROM revisions WHERE id = ? AND state = 'prepared'", (revision_id,))

    def prepared(self) -> Revision | None:
        """The revision that was begun and not finished."""
        found = self._all("SELECT * FROM revisions WHERE state = 'prepared' ORDER BY id LIMIT 1")
        return rows.revision_value(found[0]) if found else None

    def revisions(self, limit: int | None = None) -> list[Revision]:
        """Newest first."""
        found = self._all("SELECT * FROM revisions ORDER BY id DESC LIMIT ?", -1 if limit is None else limit)
        return [rows.revision_value(row) for row in found]

    def revision(self, revision_id: int) -> Revision:
        found = self._all("SELECT * FROM revisions WHERE id = ?", revision_id)
        if not found:
            raise InvalidInput(f"there is no revision {revision_id}", "`edgemem memory history` lists them")
        return rows.revision_value(found[0])

    def touching(self, line_id: int) -> list[Revision]:
        """Revisions with an operation on the line, oldest first."""
        found = self._all(
            "SELECT * FROM revisions WHERE EXISTS (SELECT 1 FROM json_each(operations)"
            " WHERE json_extract(value, '$.line_id') = ?) ORDER BY id",
            line_id,
        )
        return [rows.revision_value(row) for row in found]

    def text_of(self, revision_id: int) -> str:
        """The file as it was after the revision; 0 is before the first."""
        found = self._all(
            "SELECT result_text FROM revisions WHERE id <= ? AND result_text IS NOT NULL ORDER BY id DESC LIMIT 1",
            revision_id,
        )
        return str(found[0]["result_text"]) if found else ""

    # Forgetting ------------------------------------------------------------------------------------------------

    def turns_going(self, erasure: Erasure, turn_ids: Collection[int] = ()) -> list[Turn]:
        """The turns that `erase` takes: those that say it, sources of its lines and `turn_ids` with the answers."""
        chats: dict[int, list[Turn]] = {}
        for row in self._all("SELECT * FROM turns ORDER BY id"):
            chats.setdefault(row["chat_id"], []).append(rows.turn_value(row))
        sources = {turn.id for line_id in erasure.line_ids for turn in self.source_turns(line_id)} | {*turn_ids}
        ids = {one for chat in chats.values() for one in turns_to_erase(chat, erasure, sources)}
        return [turn for chat in chats.values() for turn in chat if turn.id in ids]

    def erase(self, erasure: Erasure, turns: Collection[int]) -> Erased:
        """Take what is to be forgotten, and these turns, out of every row. What a revision that is not finished yet
        needs stays: the text of its file, and lines that it takes away (`finish` empties them)."""
        for turn_id in turns:
            self._db.execute("UPDATE turns SET text = ? WHERE id = ?", (FORGOTTEN, turn_id))
        waiting = [one for one in self._all("SELECT * FROM pending") if _goes(one, erasure, turns)]
        for one in waiting:
            self._db.execute("DELETE FROM pending WHERE id = ?", (one["id"],))
        self._db.execute("UPDATE attempts SET error = ''")  # it may quote a turn or a model's answer
        present = {row["id"] for row in self._all("SELECT id FROM lines WHERE removed IS NULL")}
        for line_id in erasure.line_ids - present:
            self._db.execute("UPDATE lines SET text = ? WHERE id = ?", (FORGOTTEN, line_id))
        changed = 0
        for row in self._all("SELECT * FROM revisions WHERE state = 'done'"):
            new = erasure.revision(row, turns)
            if new != row:
                changed += 1
                values = [new[column] for column in _ERASED_COLUMNS]
                sets = ", ".join(f"{column} = ?" for column in _ERASED_COLUMNS)
                self._db.execute(f"UPDATE revisions SET {sets} WHERE id = ?", (*values, row["id"]))
        return Erased(len(turns), changed, len(waiting))

    def lines_only_from(self, turn_ids: Collection[int]) -> set[int]:
        """Lines, present or gone, whose sources are all among these turns."""
        found = self._all("SELECT line_id, turn_id FROM sources")
        others = {row["line_id"] for row in found if row["turn_id"] not in turn_ids}
        return {row["line_id"] for row in found if row["turn_id"] in turn_ids} - others

    def said_turns(self) -> list[Turn]:
        """Every turn that was not forgotten, oldest first."""
        statement = "SELECT * FROM turns WHERE text <> ? ORDER BY id"
        return [rows.turn_value(row) for row in self._all(statement, FORGOTTEN)]

    def add_tombstone(self, created: datetime, digests: Iterable[str]) -> None:
        row = {"created": rows.time_text(created), "digests": rows.to_json(sorted(digests))}
        self._insert("tombstones", row)

    def tombstones(self) -> list[Tombstone]:
        return [
            Tombstone(row["id"], rows.time_value(row["created"]), frozenset(json.loads(row["digests"])))
            for row in self._all("SELECT * FROM tombstones ORDER BY id")
        ]

    def lift_tombstones(self, ids: Iterable[int]) -> None:
        """These things were said anew."""
        self._db.executemany("DELETE FROM tombstones WHERE id = ?", [(one,) for one in ids])

    def whole_text(self) -> Iterator[str]:
        """All that is in the tables, row by row: to be searched where the file's bytes say nothing."""
        for row in self._all("SELECT name FROM sqlite_master WHERE type = 'table'"):
            yield from (repr(tuple(one.values())) for one in self._all(f'SELECT * FROM "{row["name"]}"'))

    def compact(self) -> None:
        """Rewrite the file so that nothing deleted is left in it or in the write-ahead log."""
        with self._threads, _translated(self._path):
            for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                self._db.execute(statement).fetchall()

    def _insert(self, table: str, row: dict[str, Any]) -> int:
        marks = ", ".join("?" * len(row))
        cursor = self._db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        return int(cursor.lastrowid or 0)

    def _all(self, statement: str, *values: object) -> list[dict[str, Any]]:
        cursor = self._db.execute(statement, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def _goes(row: rows.Row, erasure: Erasure, turns: Collection[int]) -> bool:
    """Whether a waiting change is to be forgotten: it says it, or comes from a turn that is."""
    operation = rows.operation_value(row["operation"])
    mentioned = erasure.mentions(operation.text) or erasure.mentions(operation.old_text)
    return mentioned or bool({*operation.sources} & {*turns})


_SET_ASIDE = "SELECT turn_id FROM folded WHERE revision_id IN (SELECT id FROM revisions WHERE cause = 'set_aside')"
