"""The store of one user: what a person and a model do to the memory, and how it is taken back."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_checks import child

from edgemem.errors import InvalidInput, StoreBusy, StoreWriteFailed
from edgemem.memory.document import parse, without_stamp
from edgemem.store import FORGOTTEN, UserStore, open_store
from edgemem.store.journal import GONE_LINES_REMEMBERED, open_journal
from edgemem.values import SECTIONS, Line, Operation, Revision, Stats, Turn

NOON = datetime(2026, 7, 31, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UserStore]:
    with open_store(tmp_path, "ada") as opened:
        yield opened


def add(store: UserStore, section: str, text: str, *sources: Turn) -> Revision:
    operation = Operation("add", None, section, text, sources=tuple(turn.id for turn in sources), origin="stated")
    return store.commit([operation], base=store.read(), cause="update", folded=[turn.id for turn in sources])


def exchange(store: UserStore, chat: int, text: str, reply: str = "I see.") -> Turn:
    return store.add_exchange(chat, text, reply, NOON, NOON, Stats(output_tokens=2))[0]


def hand_edit(store: UserStore, old: str, new: str) -> None:
    path = store.folder / "memory.md"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def told(store: UserStore) -> list[tuple[int, str, str]]:
    return [(line.id, line.section, line.text) for line in store.read().lines]


# Reading and committing ------------------------------------------------------------------------------------------


def test_looking_at_a_user_with_nothing_yet_makes_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path / "data", "ada") as store:
        assert (store.read().lines, store.text(), store.revisions(), store.chats(), store.pending()) == (
            (), "", [], [], [],
        )  # fmt: skip
        assert store.text_of(0) == ""
        for question in (lambda: store.why(1), lambda: store.revision(1), lambda: store.diff(0, 1)):
            with pytest.raises(InvalidInput):
                question()
    assert not (tmp_path / "data").exists()


def test_the_first_commit_writes_a_private_folder_and_a_readable_file(store: UserStore) -> None:
    revision = add(store, "Health", "Allergic to peanuts.")
    text = store.text()
    assert without_stamp(parse(text)) == ("---\nedgemem: 1\nuser: ada\n---\n\n## Health\n- Allergic to peanuts.\n")
    assert (revision.state, revision.result_digest) == ("done", store.read().digest)
    assert store.text_of(revision.id) == text
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [store.folder, *store.folder.rglob("*")]}
    assert {name: mode for name, mode in modes.items() if name in ("ada", "locks")} == {
        "ada": 0o700,
        "locks": 0o700,
    }
    assert {mode for name, mode in modes.items() if name not in ("ada", "locks")} == {0o600}


def test_lines_survive_reopening(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        add(store, "Plans", "Oslo in May")
        add(store, "About", "Lives in Bern")
        store.set_pinned(1, True)
        before = store.read()
    with open_store(tmp_path, "ada") as store:
        assert store.read() == before
        assert before.lines == (
            Line(2, "About", "Lives in Bern", origin="stated"),
            Line(1, "Plans", "Oslo in May", pinned=True, origin="stated"),
        )


def test_a_line_knows_how_often_and_when_it_was_spoken_of(store: UserStore) -> None:
    chat = store.start_chat("scripted")
    first, second = exchange(store, chat, "I like tea"), exchange(store, chat, "tea again")
    add(store, "Preferences", "I like tea", first)
    (line,) = store.read().lines
    assert (line.mentions, line.last_turn) == (1, first.id)
    store.commit([], base=store.read(), cause="update", folded=[second.id], mentions=[(line.id, second.id)])
    (line,) = store.read().lines
    assert (line.mentions, line.last_turn) == (2, second.id)


def test_users_do_not_see_each_other(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as ada, open_store(tmp_path, "Zoë") as zoe:
        add(ada, "About", "Lives in Bern")
        assert zoe.read().lines == ()


def test_a_commit_that_changes_nothing_leaves_the_file_byte_for_byte(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    before = (store.folder / "memory.md").stat()
    turn = exchange(store, store.start_chat(), "Hello")
    revision = store.commit((), base=store.read(), cause="update", folded=[turn.id], note="nothing to keep")
    assert (revision.operations, revision.base_digest) == ((), revision.result_digest)
    after = (store.folder / "memory.md").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_commit_records_what_it_did_and_what_it_refused(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    operations = [Operation("update", 1, text="Lives in Basel"), Operation("delete", 99)]
    revision = store.commit(
        operations, base=store.read(), cause="update", policy="edits", model_digest="m", prompt_digest="p",
        stats=Stats(prompt_tokens=7),
    )  # fmt: skip
    assert store.revision(revision.id) == revision
    assert [(one.kind, one.line_id, one.old_text, one.text) for one in revision.operations] == [
        ("update", 1, "Lives in Bern", "Lives in Basel")
    ]
    assert [(one.operation.line_id, one.reason) for one in revision.rejected] == [(99, "nothing_to_do")]
    assert (revision.policy, revision.model_digest, revision.prompt_digest) == ("edits", "m", "p")
    assert revision.stats == Stats(prompt_tokens=7)


def test_operations_on_an_older_base_are_carried_over_by_line_id(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    add(store, "Plans", "Oslo in May")
    base = store.read()
    add(store, "Health", "Left knee hurts")
    hand_edit(store, "Oslo in May", "Oslo in June")
    operations = [
        Operation("update", 1, text="Lives in Basel"),
        Operation("update", 2, text="Oslo is cancelled"),
        Operation("add", None, "Health", "left knee  HURTS"),
        Operation("add", None, "Health", "Sleeps badly"),
    ]
    revision = store.commit(operations, base=base, cause="update")
    assert told(store) == [
        (1, "About", "Lives in Basel"),
        (3, "Health", "Left knee hurts"),
        (4, "Health", "Sleeps badly"),
        (2, "Plans", "Oslo in June"),
    ]
    assert [one.reason for one in revision.rejected] == ["edited_meanwhile", "added_meanwhile"]


# Hand edits ------------------------------------------------------------------------------------------------------


def test_a_hand_edit_becomes_a_revision_of_its_own(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    hand_edit(store, "Lives in Bern", "Lives in Basel\n- Plays the cello")
    memory = store.read()
    assert told(store) == [(1, "About", "Lives in Basel"), (2, "About", "Plays the cello")]
    assert [line.origin for line in memory.lines] == ["edited", "edited"]
    edit = store.revisions(1)[0]
    assert (edit.cause, edit.state, edit.result_digest) == ("edit", "done", memory.digest)
    assert [(one.kind, one.line_id) for one in edit.operations] == [("update", 1), ("add", 2)]
    assert store.text_of(edit.id) == store.text()
    assert len(store.revisions()) == 2


def test_a_hand_edit_is_recorded_before_anything_is_written_over_it(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    base = store.read()
    hand_edit(store, "- Lives in Bern\n", "- Lives in Bern\n\nMy own words.\n")
    store.commit([Operation("add", None, "About", "Has a cat")], base=base, cause="update")
    assert [revision.cause for revision in store.revisions()] == ["update", "edit", "update"]
    assert "\nMy own words.\n\n- Has a cat\n" in store.text()


def test_a_file_written_before_any_journal_is_the_memory(store: UserStore) -> None:
    store.folder.mkdir(parents=True)
    (store.folder / "memory.md").write_bytes(b"- Likes tea\r\n* Hates rain\r\n")
    assert told(store) == [(1, "", "Likes tea"), (2, "", "Hates rain")]
    add(store, "Plans", "Oslo")
    assert store.text().endswith("---\n\n- Likes tea\n* Hates rain\n\n## Plans\n- Oslo\n")


def test_a_deleted_file_is_an_empty_memory_that_can_be_undone(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    text = store.text()
    (store.folder / "memory.md").unlink()
    assert store.read().lines == ()
    assert store.revisions(1)[0].cause == "edit"
    store.undo()
    assert without_stamp(parse(store.text())) == without_stamp(parse(text))


def test_a_line_cut_and_put_back_by_hand_keeps_id_and_pin(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    store.set_pinned(1, True)
    hand_edit(store, "- Lives in Bern\n", "")
    assert store.read().lines == ()
    hand_edit(store, "## About\n", "## About\n- Lives in Bern\n")
    assert store.read().lines == (Line(1, "About", "Lives in Bern", pinned=True, origin="stated"),)


def test_line_endings_alone_are_no_edit(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    path = store.folder / "memory.md"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    store.read()
    assert len(store.revisions()) == 1


def test_a_linked_file_stays_a_link(store: UserStore, tmp_path: Path) -> None:
    add(store, "About", "Lives in Bern")
    elsewhere = tmp_path / "notes.md"
    (store.folder / "memory.md").rename(elsewhere)
    (store.folder / "memory.md").symlink_to(elsewhere)
    add(store, "About", "Has a cat")
    assert (store.folder / "memory.md").is_symlink()
    assert elsewhere.read_text(encoding="utf-8").endswith("- Lives in Bern\n- Has a cat\n")


# Undo, history ---------------------------------------------------------------------------------------------------


def test_undo_of_the_last_revision_gives_back_the_file_byte_for_byte(store: UserStore) -> None:
    add(store, "Health", "Allergic to peanuts")
    hand_edit(store, "## Health\n", "## Health\n\n\nprose   with odd spaces\n\n")
    store.read()
    before = store.text()
    turn = exchange(store, store.start_chat(), "x")
    change = [Operation("delete", 1), Operation("add", None, "About", "Lives in Bern")]
    store.commit(change, base=store.read(), cause="update", folded=[turn.id])
    store.undo()
    assert without_stamp(parse(store.text())) == without_stamp(parse(before))
    assert store.pending(turn.chat_id) == []  # what was learned and taken back is not learned again


def test_undo_of_an_older_revision_keeps_what_came_later(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    second = add(store, "Plans", "Oslo")
    store.commit([Operation("update", 1, text="Lives in Basel")], base=store.read(), cause="update")
    undo = store.undo(second.id)
    assert told(store) == [(1, "About", "Lives in Basel")]
    assert (undo.cause, undo.undoes) == ("undo", second.id)


def test_reading_does_not_grow_with_lines_that_left_and_forgetting_still_finds_them_all(store: UserStore) -> None:
    texts = [f"Once liked dish {number}" for number in range(GONE_LINES_REMEMBERED + 5)]
    adds = [Operation("add", None, "Preferences", text) for text in texts]
    added = store.commit(adds, base=store.read(), cause="update")
    store.commit([Operation("delete", op.line_id) for op in added.operations], base=store.read(), cause="update")
    with closing(open_journal(store.folder / "journal.db")) as journal:
        assert [line.text for line in journal.memory_view().gone] == texts[:4:-1]
    assert store.forget(words="Once liked dish 0").bytes_left == 0
    assert b"Once liked dish 0" not in (store.folder / "journal.db").read_bytes()


def test_an_undo_can_be_undone_and_brings_back_id_pin_and_origin(store: UserStore) -> None:
    first = add(store, "About", "Lives in Bern")
    store.set_pinned(1, True)
    before = store.read().lines
    undo = store.undo(first.id)
    assert store.read().lines == ()
    store.undo(undo.id)
    assert store.read().lines == before


def test_undo_without_an_id_walks_back(store: UserStore) -> None:
    for text in ("one", "two", "three"):
        add(store, "About", text)
    assert [store.undo().undoes for _ in range(3)] == [3, 2, 1]
    assert store.read().lines == ()
    with pytest.raises(InvalidInput, match="nothing of any revision"):
        store.undo()


@pytest.mark.parametrize("revision_id", [0, 99, -1])
def test_undo_of_a_revision_that_never_was(store: UserStore, revision_id: int) -> None:
    add(store, "About", "Lives in Bern")
    with pytest.raises(InvalidInput, match="there is no revision"):
        store.undo(revision_id)


def test_undoing_twice_is_refused(store: UserStore) -> None:
    first = add(store, "About", "Lives in Bern")
    store.undo(first.id)
    with pytest.raises(InvalidInput, match="nothing of revision 1 is left to undo"):
        store.undo(first.id)


CHANGES = st.lists(
    st.one_of(
        st.builds(Operation, st.just("add"), st.none(), st.sampled_from(SECTIONS), st.sampled_from("abcdefg")),
        st.builds(Operation, st.just("delete"), st.integers(1, 6)),
        st.builds(Operation, st.just("update"), st.integers(1, 6), text=st.sampled_from("tuvwxyz")),
        st.tuples(st.integers(0, 5), st.sampled_from(["- by hand", "prose", "## Garden", ""])),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
def test_any_history_can_be_walked_back(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Operation | tuple[int, str]]
) -> None:
    with open_store(tmp_path_factory.mktemp("data"), "ada") as store:
        for change in changes:
            if isinstance(change, Operation):
                store.commit([change], base=store.read(), cause="update")
            else:
                row, what = change
                rows = store.text().split("\n")
                place = min(len(rows), 7 + row)  # below the front matter
                store.folder.mkdir(parents=True, exist_ok=True)
                (store.folder / "memory.md").write_text("\n".join([*rows[:place], what, *rows[place:]]))
                store.read()
        done = [revision for revision in store.revisions() if revision.operations]
        for revision in done:
            facts = [(fact.section, fact.text) for fact in parse(store.text_of(revision.id - 1)).facts]
            assert store.undo().undoes == revision.id
            assert sorted((line.section, line.text) for line in store.read().lines) == sorted(facts)


def test_a_heading_put_above_bullets_by_hand_can_be_undone(store: UserStore) -> None:
    store.folder.mkdir(parents=True)
    memory = store.folder / "memory.md"
    memory.write_text("- by hand\n- by hand\n\n## About\n- a\n")
    store.read()
    memory.write_text("## Garden\n" + memory.read_text())
    store.read()
    edit = store.revisions()[0]
    assert store.undo().undoes == edit.id
    assert sorted((line.section, line.text) for line in store.read().lines) == [
        ("", "by hand"),
        ("", "by hand"),
        ("About", "a"),
    ]


def test_diff_is_unified(store: UserStore) -> None:
    add(store, "About", "Lives in Bern")
    add(store, "About", "Has a cat")
    rows = store.diff(1, 2).split("\n")
    assert rows[:2] == ["--- revision 1", "+++ revision 2"]
    assert [row for row in rows if row.startswith("+- ")] == ["+- Has a cat"]
    assert store.diff(2, 2) == ""
    with pytest.raises(InvalidInput):
        store.diff(1, 7)


def test_why_names_turns_and_revisions_of_a_line(store: UserStore) -> None:
    chat = store.start_chat()
    turn = exchange(store, chat, "I moved to Bern in May")
    first = add(store, "About", "Lives in Bern", turn)
    second = store.commit([Operation("delete", 1)], base=store.read(), cause="command")
    add(store, "About", "Another line")
    history = store.why(1)
    assert (history.line.text, history.present, history.origin) == ("Lives in Bern", False, "stated")
    assert history.revisions == (first, second)
    assert history.turns == (turn,)
    with pytest.raises(InvalidInput, match="no line 9"):
        store.why(9)
    with pytest.raises(InvalidInput, match="no line 9"):
        store.set_pinned(9, True)


# Chats and pending turns -----------------------------------------------------------------------------------------


def test_pending_turns_are_those_of_closed_chats_and_ones_own(tmp_path: Path, store: UserStore) -> None:
    with open_store(tmp_path, "ada") as other:
        closed, own, others = store.start_chat(), store.start_chat(), other.start_chat()
        for chat, one in ((closed, store), (own, store), (others, other)):
            exchange(one, chat, f"in {chat}")
        store.end_chat(closed)
        assert [store.is_open(chat) for chat in (closed, own, others)] == [False, True, True]
        assert [turns[0].chat_id for turns in store.pending()] == [closed]
        assert [turns[0].chat_id for turns in store.pending(own)] == [closed, own]
        assert [turns[0].chat_id for turns in store.pending(skip_open_of_others=False)] == [closed, own, others]
        assert [(chat.open, chat.pending, chat.turns) for chat in store.chats()] == [
            (False, 1, 2), (True, 1, 2), (True, 1, 2),
        ]  # fmt: skip
    assert [turns[0].chat_id for turns in store.pending(own)] == [closed, own, others]


def test_pending_starts_at_the_first_turn_that_was_not_folded(store: UserStore) -> None:
    chat = store.start_chat()
    turns = [exchange(store, chat, text, f"reply to {text}") for text in ("one", "two", "three")]
    add(store, "About", "a fact", turns[0])
    assert [[turn.text for turn in turns] for turns in store.pending(chat)] == [
        ["two", "reply to two", "three", "reply to three"]
    ]
    add(store, "About", "another fact", turns[2])
    assert [[turn.text for turn in turns] for turns in store.pending(chat)] == [["two", "reply to two"]]


def test_a_turn_cannot_be_folded_twice(store: UserStore) -> None:
    turn = exchange(store, store.start_chat(), "I live in Bern")
    add(store, "About", "Lives in Bern", turn)
    before = store.text()
    with pytest.raises(StoreBusy):
        add(store, "About", "Lives in Berne", turn)
    assert store.text() == before
    assert len(store.revisions()) == 1
    assert not list(store.folder.glob(".memory*"))


def test_turns_of_an_unknown_chat_are_refused(store: UserStore) -> None:
    with pytest.raises(InvalidInput):
        exchange(store, 7, "hello")
    with pytest.raises(InvalidInput):
        store.commit((), base=store.read(), cause="update", folded=[77])
    assert store.revisions() == []


def test_turns_come_back_as_they_were(store: UserStore) -> None:
    chat = store.start_chat("import")
    texts = ["Grüezi 😀\n\x00 tab\t", "", "a" * 100_000]
    kept = [store.add_turn(chat, "user", text, NOON) for text in texts]
    assert store.turns(chat) == kept
    assert [turn.text for turn in kept] == texts
    assert store.add_turn(chat, "user", "from a latin-1 terminal: \udce9", NOON).text.endswith(": ?")


def test_turns_that_cannot_be_learned_are_set_aside_and_tried_again(store: UserStore) -> None:
    turns = [exchange(store, chat, "hm") for chat in (store.start_chat(), store.start_chat())]
    for turn in turns:
        store.end_chat(turn.chat_id)
    assert [store.note_failure([turns[0].id], "no usable answer") for _ in range(3)] == [1, 2, 3]
    revision = store.set_aside([turns[0].id], "three tries")
    assert (revision.cause, revision.operations) == ("set_aside", ())
    assert [chat[0] for chat in store.pending()] == [turns[1]]
    assert store.set_aside_turns() == [turns[0]]
    assert store.retry_set_aside() == 1
    assert [chat[0] for chat in store.pending()] == turns
    assert store.note_failure([turns[0].id], "again") == 1
    assert store.retry_set_aside() == 0


def test_only_one_learns_at_a_time(tmp_path: Path, store: UserStore) -> None:
    with open_store(tmp_path, "ada") as other:
        with store.learning(), pytest.raises(StoreBusy), other.learning():
            pass
        with other.learning():
            pass


def test_rebuild_empties_what_turns_can_bring_back(store: UserStore) -> None:
    chat = store.start_chat()
    turn = exchange(store, chat, "I live in Bern")
    store.end_chat(chat)
    add(store, "About", "Lives in Bern", turn)
    add(store, "Health", "Pinned")
    store.set_pinned(2, True)
    asked = Operation("add", None, "Plans", "Asked by command", origin="asked")
    store.commit([asked], base=store.read(), cause="command")
    hand_edit(store, "- Asked by command\n", "- Asked by command\n- By hand\n")
    store.reset_for_rebuild()
    assert [text for _, _, text in told(store)] == ["Pinned", "Asked by command", "By hand"]
    assert store.pending() == [store.turns(chat)]
    store.undo()
    assert [text for _, _, text in told(store)] == ["Lives in Bern", "Pinned", "Asked by command", "By hand"]


# Forgetting ------------------------------------------------------------------------------------------------------


def everything(store: UserStore) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store.folder.rglob("*")) if path.is_file()).lower()


def test_forgotten_words_are_in_no_file_any_more(store: UserStore) -> None:
    chat = store.start_chat()
    turn = exchange(store, chat, "My sister Philippa\nhas diabetes", "Sorry to hear about PHILIPPA.")
    other = exchange(store, chat, "I like tea", "Noted.")
    add(store, "People", "Sister Philippa has diabetes", turn)
    add(store, "Preferences", "Likes tea", other)
    hand_edit(store, "has diabetes", "(philippa!)\n  has type 1 diabetes")
    store.read()
    store.note_failure([other.id], "the model said: Philippa")
    failed = Operation("add", None, "People", "Philippa is ill")
    store.commit([failed, Operation("update", 99, text="Philippa")], base=store.read(), cause="update", note="philippa")
    assert b"philippa" in everything(store)
    forgotten = store.forget(words="philippa")
    assert (forgotten.lines, forgotten.turns, forgotten.bytes_left) == (2, 2, 0)
    assert b"philippa" not in everything(store)
    assert told(store) == [(2, "Preferences", "Likes tea")]
    assert [turn.text for turn in store.turns(chat)] == [FORGOTTEN, FORGOTTEN, "I like tea", "Noted."]
    assert store.revisions(1)[0].cause == "forget"
    with pytest.raises(InvalidInput):
        store.undo(1)
    assert store.undo().undoes == 2


def test_a_forgotten_line_takes_its_history_and_turns_along(store: UserStore) -> None:
    turn = exchange(store, store.start_chat(), "I take Zoloft", "Take care with that.")
    add(store, "Health", "Takes medication", turn)
    store.commit([Operation("update", 1, text="Takes Zoloft daily")], base=store.read(), cause="update")
    store.commit([Operation("delete", 1)], base=store.read(), cause="command")
    forgotten = store.forget([1])
    assert forgotten.bytes_left == 0
    assert not [word for word in (b"zoloft", b"medication", b"take care") if word in everything(store)]
    assert store.why(1).line.text == FORGOTTEN


def test_forgotten_turns_are_not_learned(store: UserStore) -> None:
    chat = store.start_chat()
    exchange(store, chat, "My therapist is called Iris")
    store.forget(words="Iris")
    assert store.pending(chat) == []


@pytest.mark.parametrize(("line_ids", "words"), [((), ""), ((), " x "), ((1,), "x"), ((5,), "")])
def test_forgetting_nothing_in_particular_is_refused(store: UserStore, line_ids: tuple[int, ...], words: str) -> None:
    add(store, "About", "Lives in Bern")
    before = everything(store)
    with pytest.raises(InvalidInput):
        store.forget(line_ids, words)
    assert everything(store) == before


# Reading only ----------------------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


def use_read_only(data: Path) -> list[tuple[int, str, str]]:
    with open_store(data, "ada", read_only=True) as store:
        lines = told(store)
        store.revisions(), store.chats(), store.pending(), store.turns(1), store.text()
        with pytest.raises(StoreWriteFailed):
            store.start_chat()
        with pytest.raises(StoreWriteFailed):
            store.commit((), base=store.read(), cause="update")
    return lines


@pytest.mark.parametrize("writer", ["alive", "closed", "killed"])
def test_reading_only_changes_no_byte(tmp_path: Path, writer: str) -> None:
    store = open_store(tmp_path, "ada")
    exchange(store, store.start_chat(), "hello")
    add(store, "About", "Lives in Bern")
    if writer != "alive":
        store.close()
    if writer == "killed":  # it leaves its write-ahead log, and a change that is not finished
        assert child(tmp_path, "die", "replaced", "commit").wait() == -signal.SIGKILL
    assert (store.folder / "journal.db-wal").exists() == (writer != "closed")
    before = snapshot(tmp_path)
    learned = [(2, "About", "hello")] if writer == "killed" else []
    assert use_read_only(tmp_path) == [(1, "About", "Lives in Bern"), *learned]
    assert snapshot(tmp_path) == before
    store.close()


def test_reading_only_sees_a_hand_edit_and_does_not_record_it(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as writer:
        add(writer, "About", "Lives in Bern")
        hand_edit(writer, "in Bern", "in Basel\n- Has a cat")
    before = snapshot(tmp_path)
    assert use_read_only(tmp_path) == [(1, "About", "Lives in Basel"), (2, "About", "Has a cat")]
    assert snapshot(tmp_path) == before


def test_reading_only_makes_nothing(tmp_path: Path) -> None:
    assert use_read_only(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
