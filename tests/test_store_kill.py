"""A process that dies at any moment loses nothing it had promised, and the next one finishes its work."""

from __future__ import annotations

import random
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store_checks import check, child, start

from edgemem.store import open_store
from edgemem.values import Operation, Revision, Stats

KILLS = 52
NOON = datetime(2026, 7, 31, 12, tzinfo=UTC)


class Stop(BaseException):
    """Ends a change between two of its steps, as a dying process does, but within this one."""


def test_killed_at_random_moments_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    chance = random.Random(20260731)
    said: list[str] = []
    waiting = child(tmp_path, "work", "0")
    for number in range(1, KILLS + 1):
        running, waiting = waiting, child(tmp_path, "work", str(number))
        start(running)
        assert running.stdout is not None
        said += [running.stdout.readline() for _ in range(chance.randrange(6))]
        time.sleep(chance.uniform(0.0, 0.03))  # a change takes 5 to 20 ms
        running.send_signal(signal.SIGKILL)
        said += running.stdout.read().split("\n")[:-1]  # a row cut short was not said
        running.communicate()
        assert running.returncode == -signal.SIGKILL
        if number % 5 == 0:
            with open_store(tmp_path, "ada") as store:
                store.end_chat(store.start_chat())  # makes the journal if the first five had no time to
                check(store, said)
    waiting.kill()
    waiting.communicate()
    assert sum(row.startswith("folded") for row in said) > KILLS / 3  # it did get work done in between


def prepared_user(data: Path) -> Revision:
    """A memory of one line, a second one of a turn that is still to be learned."""
    with open_store(data, "ada") as store:
        chat = store.start_chat()
        store.add_exchange(chat, "exchange to learn", "yes", NOON, NOON, Stats())
        store.end_chat(chat)
        return store.commit([Operation("add", None, "Plans", "the marzipan line")], base=store.read(), cause="command")


@pytest.mark.parametrize("act", ["commit", "undo", "forget"])
@pytest.mark.parametrize("step", ["staged", "prepared", "replaced", "done"])
def test_killed_at_each_step_the_change_is_whole_or_not_there(tmp_path: Path, step: str, act: str) -> None:
    prepared_user(tmp_path)
    dying = child(tmp_path, "die", step, act)
    output, _ = dying.communicate()
    assert (dying.returncode, output) == (-signal.SIGKILL, "")
    happened = step != "staged"
    with open_store(tmp_path, "ada") as store:
        check(store, [])
        texts = [line.text for line in store.read().lines]
        expected = {"commit": ["exchange to learn", "the marzipan line"], "undo": [], "forget": []}[act]
        assert texts == (expected if happened else ["the marzipan line"])
        assert bool(store.pending()) == (act != "commit" or not happened)
        assert len(store.revisions()) == 1 + happened
        if act == "forget":
            assert store.forget(words="marzipan").bytes_left == 0
            assert b"marzipan" not in b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())


def stopped(data: Path, step: str) -> None:
    """Learn the pending turn and stop at `step`."""

    def stop(name: str) -> None:
        if name == step:
            raise Stop

    with open_store(data, "ada", step=stop) as store:
        turn = store.pending()[0][0]
        operations = [
            Operation("add", None, "About", "learned", sources=(turn.id,)),
            Operation("update", 1, text="the marzipan line, changed"),
        ]
        with pytest.raises(Stop):
            store.commit(operations, base=store.read(), cause="update", folded=[turn.id])


def edit(data: Path, old: str, new: str) -> None:
    path = data / "users" / "ada" / "memory.md"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_an_edit_of_the_old_file_after_a_crash_is_kept_and_the_change_made_on_it(tmp_path: Path) -> None:
    prepared_user(tmp_path)
    stopped(tmp_path, "prepared")
    edit(tmp_path, "- the marzipan line\n", "- the marzipan line\n- by hand\n")
    with open_store(tmp_path, "ada") as store:
        check(store, [])
        assert [(line.id, line.text) for line in store.read().lines] == [
            (2, "learned"),
            (1, "the marzipan line, changed"),
            (3, "by hand"),
        ]
        assert [revision.cause for revision in store.revisions()] == ["update", "edit", "command"]
        assert store.pending() == []
        assert [turn.text for turn in store.why(2).turns] == ["exchange to learn"]


def test_an_edit_of_the_same_line_after_a_crash_wins(tmp_path: Path) -> None:
    prepared_user(tmp_path)
    stopped(tmp_path, "prepared")
    edit(tmp_path, "the marzipan line", "the marzipan line by hand")
    with open_store(tmp_path, "ada") as store:
        check(store, [])
        assert [line.text for line in store.read().lines] == ["learned", "the marzipan line by hand"]
        assert [one.reason for one in store.revisions(1)[0].rejected] == ["edited_meanwhile"]


def test_a_new_line_deleted_by_hand_after_a_crash_stays_deleted(tmp_path: Path) -> None:
    prepared_user(tmp_path)
    stopped(tmp_path, "replaced")
    edit(tmp_path, "- learned\n", "")
    with open_store(tmp_path, "ada") as store:
        check(store, [])
        assert [line.text for line in store.read().lines] == ["the marzipan line, changed"]
        assert [revision.cause for revision in store.revisions()] == ["edit", "update", "command"]


@pytest.mark.parametrize("step", ["staged", "prepared"])
def test_an_edit_while_a_change_is_under_way_is_kept(tmp_path: Path, step: str) -> None:
    prepared_user(tmp_path)

    def at(name: str) -> None:
        if name == step and "by hand" not in store.text():
            edit(tmp_path, "- the marzipan line\n", "- the marzipan line\n- by hand\n")

    with open_store(tmp_path, "ada", step=at) as store:
        turn = store.pending()[0][0]
        learned = Operation("add", None, "About", "learned", sources=(turn.id,))
        revision = store.commit([learned], base=store.read(), cause="update", folded=[turn.id])
        check(store, [])
        assert store.revisions()[0] == revision
        assert [line.text for line in store.read().lines] == ["learned", "the marzipan line", "by hand"]
        assert [one.cause for one in store.revisions()] == ["update", "edit", "command"]
