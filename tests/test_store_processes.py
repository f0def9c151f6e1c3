"""Several processes, or threads, on one user at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from store_checks import check, child, start

from edgemem.store import open_store
from edgemem.values import Operation, Stats

CHATS = 20


def test_two_processes_with_interleaved_chats_both_finish_and_lose_nothing(tmp_path: Path) -> None:
    children = [child(tmp_path, "chats", name, str(CHATS)) for name in ("left", "right")]
    reads = 0
    with open_store(tmp_path, "ada") as reader:
        while any(one.poll() is None for one in children):
            memory = reader.read()
            facts = [(fact.section, fact.text) for fact in memory.document.facts]
            assert facts == [(line.section, line.text) for line in memory.lines]
            reads += 1
    results = [one.communicate() for one in children]
    assert [error for _, error in results] == ["", ""]
    assert [one.returncode for one in children] == [0, 0]
    assert reads > 1
    with open_store(tmp_path, "ada") as store:
        check(store, [row for output, _ in results for row in output.split("\n")])
        for turns in store.pending():  # the last chat of one may have ended while the other was learning
            asked = [turn for turn in turns if turn.role == "user"]
            operations = [Operation("add", None, "About", turn.text) for turn in asked]
            store.commit(operations, base=store.read(), cause="update", folded=[turn.id for turn in asked])
        said = [(name, number) for name in ("left", "right") for number in range(CHATS)]
        assert sorted(line.text for line in store.read().lines) == sorted(
            f"{name} {number} {place}" for name, number in said for place in ("first", "second")
        )
        check(store, [])


def test_changes_of_several_processes_at_the_same_moment_all_arrive(tmp_path: Path) -> None:
    children = [child(tmp_path, "commits", name, "25") for name in ("left", "right")]
    assert [(one.communicate()[1], one.returncode) for one in children] == [("", 0), ("", 0)]
    with open_store(tmp_path, "ada") as store:
        check(store, [])
        expected = sorted(f"{name} {number}" for name in ("left", "right") for number in range(25))
        gone = store.why(1).line.text
        assert sorted([*(line.text for line in store.read().lines), gone]) == expected
        assert len(store.revisions()) == 50


def test_after_forgetting_another_process_leaves_the_write_ahead_log_of_an_open_store_alone(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        store.commit([Operation("add", None, "About", "the marzipan line")], base=store.read(), cause="command")
        assert store.forget(words="marzipan").bytes_left == 0  # reads the journal's own bytes
        store.start_chat()
        log = store.folder / "journal.db-wal"
        before = log.stat().st_ino
        assert child(tmp_path, "commits", "other", "1").wait() == 0  # closes its connection, as the last one if we lost
        assert log.exists()
        assert log.stat().st_ino == before
    with open_store(tmp_path, "ada") as store:
        check(store, [])


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    now = datetime(2026, 7, 31, tzinfo=UTC)
    with open_store(tmp_path, "ada") as store:
        chat = store.start_chat()

        def use(number: int) -> None:
            turn, _ = store.add_exchange(chat, f"fact {number}", "yes", now, now, Stats())
            added = Operation("add", None, "About", turn.text)
            store.commit([added], base=store.read(), cause="update", folded=[turn.id])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(use, range(12)))
        assert sorted(line.text for line in store.read().lines) == sorted(f"fact {number}" for number in range(12))
        check(store, [])


def test_the_open_chat_of_a_dead_process_is_no_longer_open(tmp_path: Path) -> None:
    working = child(tmp_path, "work", "0")
    start(working)
    assert working.stdout is not None
    working.stdout.readline()
    with open_store(tmp_path, "ada") as store:
        assert store.is_open(1)
        working.kill()
        working.communicate()
        assert not store.is_open(1)
        assert not (store.folder / "locks" / "chat-1.lock").exists()
