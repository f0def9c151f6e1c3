"""Forgetting: asked for in a chat, by chat, by time, everything; nothing is left, and nothing is learned again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_support import call

from edgemem.assistant import Assistant, UpdateReport
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput, StoreBusy
from edgemem.memory.forget_requests import forget_requests, lines_meant, said_anew
from edgemem.policies import open_policy
from edgemem.prompting.prompts import load_prompts
from edgemem.store import UserStore, open_store
from edgemem.store.tombstones import TombstoneKey
from edgemem.store.typed_history import FILE_NAME, add_entry, read_entries
from edgemem.values import Line, Operation, Stats, Turn

WHEN = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOLD = "I see a therapist called Iris Brandauer every Tuesday."
OTHER = "I live in Bern with my two cats."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UserStore]:
    times = (WHEN + timedelta(minutes=step) for step in range(10_000))
    with open_store(tmp_path, "ada", now=lambda: next(times)) as opened:
        yield opened


def say(store: UserStore, *texts: str, day: int = 0, answer: str = "I see.") -> int:
    chat = store.start_chat()
    for text in texts:
        when = WHEN + timedelta(days=day)
        store.add_exchange(chat, text, answer, when, when, Stats())
    store.end_chat(chat)
    return chat


def learn(store: UserStore) -> UpdateReport:
    """What an assistant that keeps every fitting sentence learns."""
    policy = open_policy("edits", without=("model",))
    engine = ScriptedEngine(lambda prompt: "NONE")
    return Assistant("ada", engine, store, policy, load_prompts(), review="off").remember()


def lines(store: UserStore) -> list[str]:
    return [line.text for line in store.read().lines]


def held(folder: Path) -> str:
    data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return data.decode("utf-8", "replace").casefold()


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Please forget that I see a therapist.", True),
        ("Bitte vergiss, dass ich zur Therapie gehe.", True),
        ("Delete everything about my therapist.", True),
        ("Delete the part about my therapist, it is too long.", False),
        ("Streich den Satz mit der Therapie.", False),
        ("I always forget my keys.", False),
        ("Don't forget that I see a therapist.", False),
        ('He wrote: "please forget that I see a therapist"', False),
    ],
)
def test_what_is_a_request_to_forget(text: str, asked: bool) -> None:
    assert bool(forget_requests([Turn(1, 1, "user", text, WHEN)])) is asked


def test_a_request_means_lines_that_say_it_and_no_others() -> None:
    known = [Line(1, "Health", "Sees a therapist on Tuesdays"), Line(2, "About", "Plays football on Tuesdays")]
    asked = forget_requests([Turn(1, 1, "user", "Please forget that I see a therapist.", WHEN)])
    assert lines_meant(asked, known) == {1}


def test_asked_in_a_chat_it_goes_everywhere_even_without_an_answer(store: UserStore, tmp_path: Path) -> None:
    say(store, TOLD, OTHER, answer="Iris Brandauer sounds kind.")
    learn(store)
    assert len(lines(store)) == 2
    add_entry(store.folder / FILE_NAME, TOLD)
    add_entry(store.folder / FILE_NAME, OTHER)
    chat = store.start_chat()
    store.add_turn(chat, "user", "Please forget that I see a therapist called Iris Brandauer.", WHEN)  # no reply
    store.end_chat(chat)
    report = learn(store)
    assert report.forgotten is not None
    assert (report.forgotten.lines, report.forgotten.bytes_left, report.forgotten.typed) == (1, 0, 1)
    assert report.forgotten.files_searched > 2
    assert "forgotten as you asked" in report.summary()
    assert lines(store) == [OTHER.rstrip(".")]
    assert read_entries(store.folder / FILE_NAME) == [OTHER]
    assert "brandauer" not in held(tmp_path)
    assert "therapist" not in held(tmp_path)


def test_a_mention_does_not_bring_it_back_and_saying_it_anew_does(store: UserStore, tmp_path: Path) -> None:
    store.commit([Operation("add", section="About", text="I am vegan")], base=store.read(), cause="command")
    store.forget([1])
    say(store, "What can I cook for my vegan dinner on Friday?", day=1)
    learn(store)
    assert lines(store) == []
    assert "i am vegan" not in held(tmp_path)
    say(store, "I am vegan again.", day=2)
    learn(store)
    assert lines(store) == ["I am vegan again"]


def test_what_was_said_before_and_is_learned_later_stays_forgotten(store: UserStore) -> None:
    say(store, TOLD)
    store.commit([Operation("add", section="Health", text=TOLD)], base=store.read(), cause="command")
    store.forget([1], turn_ids=())
    say(store, TOLD, day=-1)  # from an older chat that is learned only now
    learn(store)
    assert [one for one in lines(store) if "Iris" in one] == []


def test_undo_does_not_bring_it_back(store: UserStore) -> None:
    store.commit([Operation("add", section="About", text=OTHER)], base=store.read(), cause="command")
    store.commit([Operation("update", 1, text="Lives in Basel now")], base=store.read(), cause="command")
    store.forget([1])
    for revision in store.revisions():
        with suppress(InvalidInput):  # nothing is left to undo
            store.undo(revision.id)
    assert lines(store) == []


def test_a_tombstone_holds_no_words_and_needs_its_key(store: UserStore, tmp_path: Path) -> None:
    store.commit([Operation("add", section="About", text=OTHER)], base=store.read(), cause="command")
    store.forget([1])
    assert "bern" not in held(tmp_path)
    assert store.buried([OTHER]) != {}
    key = tmp_path / "keys" / "ada.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert TombstoneKey(key).digests(OTHER) != TombstoneKey(tmp_path / "keys" / "other.key").digests(OTHER)


def test_waiting_lines_are_forgotten_too(store: UserStore, tmp_path: Path) -> None:
    store.commit((), base=store.read(), cause="update", waiting=[Operation("add", section="Health", text=TOLD)])
    done = store.forget(words="Brandauer")
    assert (done.waiting, done.bytes_left) == (1, 0)
    assert store.waiting() == []
    assert "brandauer" not in held(tmp_path)


def test_a_chat_is_forgotten_with_the_lines_that_rest_on_it_alone(store: UserStore, tmp_path: Path) -> None:
    first, _ = say(store, TOLD), say(store, OTHER)
    learn(store)
    turns = [turn.id for turn in store.turns(first)]
    done = store.forget(turn_ids=turns)
    assert (done.lines, done.turns, done.bytes_left) == (1, 2, 0)
    assert lines(store) == [OTHER.rstrip(".")]
    assert "brandauer" not in held(tmp_path)


def test_said_anew_needs_a_later_plain_statement() -> None:
    later = WHEN + timedelta(hours=1)
    for text, anew in [
        ("I live in Bern.", True),
        ("Is it true that I live in Bern?", False),
        ("Write: I live in Bern.", False),
    ]:
        assert said_anew("Lives in Bern", [Turn(1, 1, "user", text, later)], WHEN) is anew
    assert not said_anew("Lives in Bern", [Turn(1, 1, "user", "I live in Bern.", WHEN)], later)


# The command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def two_days(data_dir: Path) -> Path:
    with open_store(data_dir, "default") as store:
        for day, text in ((20, TOLD), (22, OTHER)):
            when = datetime(2026, 11, day, 12, tzinfo=UTC)
            chat = store.start_chat()
            turn, _ = store.add_exchange(chat, text, "ok", when, when, Stats())
            new = Operation("add", section="About", text=text, sources=(turn.id,), origin="stated")
            store.commit([new], base=store.read(), cause="update", folded=[turn.id])
            store.end_chat(chat)
    return data_dir


@pytest.mark.parametrize(
    "options", [("--chat", "1"), ("--before", "2026-11-21"), ("--since", "2026-11-19", "--before", "2026-11-21")]
)
def test_by_chat_and_by_time(two_days: Path, options: tuple[str, ...]) -> None:
    assert "1 line of the memory, 1 message of yours, 1 answer" in call("memory", "forget", *options, "--dry-run").out
    done = json.loads(call("memory", "forget", *options, "--yes", "--json").out)
    assert (done["lines"], done["turns"], done["bytes_left"]) == (1, 2, 0)
    assert [line["text"] for line in call("memory", "show", "--json").values["lines"]] == [OTHER]
    assert "brandauer" not in held(two_days)


def test_the_receipt_says_what_was_searched(two_days: Path) -> None:
    said = call("memory", "forget", "brandauer", "--yes")
    assert "forgotten: 1 line, 2 turns" in said.out
    assert "nothing of it is left" in said.err
    assert "bytes) afterwards" in said.err


def test_everything(two_days: Path) -> None:
    assert "would erase all: 2 lines and 2 chats" in call("memory", "forget", "--everything", "--dry-run").out
    assert "add --yes" in call("memory", "forget", "--everything", code=2).err
    file = two_days.parent / "kept.json"
    call("memory", "export", "--json", "-o", str(file))
    assert str(file) in call("memory", "forget", "--everything", "--yes").err
    assert file.exists()
    assert "brandauer" not in held(two_days)
    assert [path for path in two_days.rglob("*") if path.is_file() and path.stat().st_size] == []
    assert call("memory", "show", "--json").values["lines"] == []


def test_everything_waits_for_an_open_chat(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        store.start_chat()
        with pytest.raises(StoreBusy):
            store.forget_everything()


@pytest.mark.parametrize("options", [(), ("--chat", "9"), ("--since", "soon"), ("bern", "--chat", "1")])
def test_what_cannot_be_meant_is_refused(two_days: Path, options: tuple[str, ...]) -> None:
    call("memory", "forget", *options, "--yes", code=2)
    assert len(call("memory", "show", "--json").values["lines"]) == 2
