"""Bad files, full and read-only disks, unusable names: a clear error with the next step, and nothing lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_checks import check

from edgemem.errors import InvalidInput, JournalUnusable, MemoryUnreadable, StoreWriteFailed
from edgemem.memory.lines import digest_of
from edgemem.store import UserStore, check_user_name, open_store
from edgemem.store.files import MEMORY_MAX_BYTES, MemoryFile
from edgemem.store.sealing import PLAIN
from edgemem.values import Operation

ADD = Operation("add", None, "About", "a new fact")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UserStore]:
    with open_store(tmp_path, "ada") as opened:
        opened.commit([Operation("add", None, "About", "Lives in Bern")], base=opened.read(), cause="update")
        yield opened


# Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["ada", "Zoë", "李小龍", "анна", "ada.lovelace@example.org", "a-b_c+d e", "नमस्ते", "x" * 64]
)
def test_usable_names(name: str, tmp_path: Path) -> None:
    with open_store(tmp_path, name) as store:
        store.commit([ADD], base=store.read(), cause="command")
        assert (tmp_path / "users" / store.user / "memory.md").is_file()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "/etc", "a\0b", "a\nb", "\x1b[31m", ".hidden", " a", "a ", "a.", "-rf", "~",
     "a:b",     "a*", "nul", "COM1.txt", "x" * 65, "x" * 300, "\U00020000" * 64, "a\u202eb", "\ud800", "\u0301a"],
)  # fmt: skip
def test_unusable_names_are_refused_and_make_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_store(tmp_path, name)
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert list(tmp_path.iterdir()) == []


def test_composed_and_decomposed_names_are_one_user() -> None:
    assert check_user_name("Zoe\u0308") == check_user_name("Zo\u00eb")


# memory.md -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"- caf\xe9\n", b"\xff\xfe-\x00 \x00a\x00", b"# ok\n" * (2 << 20)])
def test_a_memory_that_is_no_text_is_left_as_it_is(store: UserStore, data: bytes) -> None:
    path = store.folder / "memory.md"
    path.write_bytes(data)
    changes: list[Callable[[], object]] = [
        store.text,
        store.read,
        store.undo,
        store.reset_for_rebuild,
        lambda: store.forget(words="Bern"),
        lambda: store.commit([ADD], base=base, cause="update"),
    ]
    base = open_store(store.folder.parent.parent, "someone").read()
    for change in changes:
        with pytest.raises(MemoryUnreadable) as caught:
            change()
        assert caught.value.hint
    assert path.read_bytes() == data
    assert len(store.revisions()) == 1
    path.write_bytes(store.text_of(1).encode())
    assert store.read().lines[0].text == "Lives in Bern"


def test_a_file_that_changed_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.md", PLAIN)
    file.stage("new\n")
    file.path.write_text("edited by hand meanwhile\n")
    assert not file.replace(digest_of("old\n"))
    assert file.read() == "edited by hand meanwhile\n"
    assert file.replace(digest_of("edited by hand meanwhile\n"))
    assert file.read() == "new\n"
    assert list(tmp_path.iterdir()) == [file.path]


def test_a_folder_in_place_of_the_memory(store: UserStore) -> None:
    (store.folder / "memory.md").unlink()
    (store.folder / "memory.md").mkdir()
    with pytest.raises(MemoryUnreadable):
        store.read()


def test_a_large_hand_made_memory_is_read_in_reasonable_time(store: UserStore) -> None:
    rows = "".join(f"- fact number {number} of very many\n" for number in range(20_000))
    (store.folder / "memory.md").write_text(rows)
    assert len(rows) < MEMORY_MAX_BYTES
    assert len(store.read().lines) == 20_000


@pytest.mark.parametrize(
    "text", ["no front matter\n", "---\nedgemem: 9\nstrange\n---\n- a\n", "## Unknown\n- b\n", "\0\n- c\n"]
)
def test_any_text_is_kept_and_can_be_added_to(store: UserStore, text: str) -> None:
    (store.folder / "memory.md").write_text(text)
    store.commit([ADD], base=store.read(), cause="update")
    assert text.rstrip("\n") in store.text()
    assert [line.text for line in store.read().lines].count("a new fact") == 1


# journal.db ------------------------------------------------------------------------------------------------------


def broken_journal(store: UserStore, break_it: Callable[[Path], object]) -> bytes:
    store.close()
    break_it(store.folder / "journal.db")
    return (store.folder / "journal.db").read_bytes()


def read_all(data: Path, *, read_only: bool) -> None:
    with open_store(data, "ada", read_only=read_only) as store:
        store.read()
        store.revisions()


def set_version(path: Path) -> None:
    code = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('PRAGMA user_version = 999'); c.close()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (set_version, "newer edgemem"),
        (lambda path: path.write_bytes(b"this is no database, not at all" * 100), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:9000]), "damaged"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xa5" * (path.stat().st_size - 4096)),
            "damaged",
        ),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_an_unusable_journal_is_said_and_left_alone(
    store: UserStore, break_it: Callable[[Path], object], message: str, read_only: bool
) -> None:
    data = broken_journal(store, break_it)
    with pytest.raises(JournalUnusable, match=message) as caught:
        read_all(store.folder.parent.parent, read_only=read_only)
    assert caught.value.hint
    assert (store.folder / "journal.db").read_bytes() == data
    assert "Lives in Bern" in (store.folder / "memory.md").read_text()


def test_without_its_journal_the_memory_is_all_there(store: UserStore) -> None:
    store.close()
    for path in store.folder.glob("journal.db*"):
        path.unlink()
    with open_store(store.folder.parent.parent, "ada") as again:
        assert [(line.id, line.text) for line in again.read().lines] == [(1, "Lives in Bern")]


# Disks -----------------------------------------------------------------------------------------------------------


def grow(store: UserStore) -> None:
    """Change the memory until the disk refuses."""
    for number in range(2000):
        text = f"a long fact {number} " + "x" * 2000
        store.commit([Operation("add", None, "Plans", text)], base=store.read(), cause="update")


def refused(data: Path, act: Callable[[UserStore], None]) -> None:
    """`act` ends in StoreWriteFailed, and the memory is what it was before the change that failed."""
    with open_store(data, "ada") as store:
        with pytest.raises(StoreWriteFailed) as caught:
            act(store)
        assert caught.value.hint
        memory = store.read()
        assert "Lives in Bern" in memory.text
        assert store.revisions(1)[0].result_digest == memory.digest
        assert not list(store.folder.glob(".memory*"))


def test_a_full_disk_leaves_the_memory_as_it_was(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small disk is not permitted here: {mounted.stderr.strip()}")
    try:
        (tmp_path / "filler").write_bytes(b"x" * 300_000)
        with open_store(tmp_path, "ada") as store:
            store.commit([Operation("add", None, "About", "Lives in Bern")], base=store.read(), cause="update")
        refused(tmp_path, grow)
        (tmp_path / "filler").unlink()
        with open_store(tmp_path, "ada") as store:
            store.commit([ADD], base=store.read(), cause="update")
            check(store, [])
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def in_child(act: Callable[[], None]) -> None:
    """Run `act` in a forked process, for what cannot be taken back in this one."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_a_file_size_limit_leaves_the_memory_as_it_was(store: UserStore) -> None:
    store.close()
    data = store.folder.parent.parent

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        refused(data, grow)

    in_child(limited)
    with open_store(data, "ada") as again:
        again.commit([ADD], base=again.read(), cause="update")
        assert "Lives in Bern" in again.text()
        check(again, [])


def test_a_read_only_folder_can_be_read_and_refuses_changes(store: UserStore) -> None:
    store.close()
    data = store.folder.parent.parent
    before = store.text()
    parts = [data, *data.rglob("*")]
    for path in parts:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def as_nobody() -> None:
        with open_store(data, "ada") as reader:
            assert reader.read().lines[0].text == "Lives in Bern"
            with pytest.raises(StoreWriteFailed) as caught:
                reader.commit([ADD], base=reader.read(), cause="update")
            assert caught.value.hint
            with pytest.raises(StoreWriteFailed):
                reader.start_chat()

    def drop_rights() -> None:
        if os.geteuid() == 0:
            for path in [data, *data.parents]:
                path.chmod(path.stat().st_mode | 0o055)
            os.setgid(65534)
            os.setuid(65534)
        as_nobody()

    in_child(drop_rights)
    assert store.text() == before


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    with open_store(tmp_path / "data", "ada") as store, pytest.raises(StoreWriteFailed):
        store.start_chat()
