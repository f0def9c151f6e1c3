"""Encryption at rest: nothing of a user is in clear on disk, everything still works, and nothing is lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the extra encryption has no wheel for this system")
pytest.importorskip("sqlcipher3", reason="the extra encryption has no wheel for this system")

from edgemem.__main__ import run
from edgemem.assistant import Assistant, open_assistant
from edgemem.cli import passphrase
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput, JournalUnusable, MemoryLocked, StoreBusy
from edgemem.store import UserStore, open_store, sealing
from edgemem.store.sealing import Seal, new_vault, read_vault
from edgemem.store.typed_history import FILE_NAME, add_entry, read_entries
from edgemem.values import Operation

WORDS = "correct horse battery"
MARKER = "marzipan"


@pytest.fixture(autouse=True)
def _quick_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "SCRYPT_N", 1 << 4)


def opened(data: Path, words: str = WORDS) -> UserStore:
    return open_store(data, "ada", passphrase=lambda vault: words)


def assistant(data: Path) -> Assistant:
    engine = ScriptedEngine(["I noted the marzipan."], scores=lambda prompt, option: -3.0 if option == "NONE" else 0.0)
    return open_assistant("ada", engine=engine, data_dir=data, policy="edits", passphrase=lambda vault: WORDS)


def chatted(data: Path, text: str) -> None:
    with assistant(data) as ready:
        chat = ready.open_chat()
        add_entry(ready.store.folder / FILE_NAME, text, ready.store.seal)
        list(chat.reply(text))
        chat.remember()
        chat.close()


def in_clear(data: Path) -> list[str]:
    files = [path for path in (data / "users").rglob("*") if path.is_file()]
    return [path.name for path in files if MARKER in path.read_bytes().decode("utf-8", "replace").casefold()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    chatted(tmp_path, "I love marzipan cake.")
    return tmp_path


def test_no_file_of_the_user_says_anything_in_clear_and_all_of_it_is_there(data: Path) -> None:
    assert set(in_clear(data)) >= {"memory.md", "journal.db", FILE_NAME}
    with opened(data) as store:
        before = (store.text(), store.revisions(), store.turns(1))
        store.encrypt(WORDS)
        assert in_clear(data) == []
        assert (store.text(), store.revisions(), store.turns(1)) == before
    chatted(data, "My brother Tom brings marzipan from Oslo.")
    assert in_clear(data) == []
    with opened(data) as store:
        assert [line.text for line in store.read().lines] == [
            "I love marzipan cake",
            "My brother Tom brings marzipan from Oslo",
        ]
        assert read_entries(store.folder / FILE_NAME, store.seal)[-1] == "My brother Tom brings marzipan from Oslo."
        assert list(store.kv_folder.glob("*.kv"))
        store.decrypt()
        assert read_entries(store.folder / FILE_NAME)[-1] == "My brother Tom brings marzipan from Oslo."
    assert {"memory.md", "journal.db", FILE_NAME} <= set(in_clear(data))
    with open_store(data, "ada") as store:
        assert len(store.read().lines) == 2
        assert len(store.turns(1)) == 2


def test_a_computed_prompt_is_of_use_though_it_is_sealed(data: Path) -> None:
    with opened(data) as store:
        store.encrypt(WORDS)
    with assistant(data) as ready:
        ready.add_line("Lives in Bern")
    with assistant(data) as ready:
        chat = ready.open_chat()
        (*_, last) = chat.reply("Where do I live?")
        assert last.stats is not None
        assert last.stats.cached_tokens > 0
    assert in_clear(data) == []


def test_another_passphrase_opens_it_and_the_old_one_no_longer(data: Path) -> None:
    with opened(data) as store:
        store.encrypt(WORDS)
        key = store.seal.key
        store.encrypt("other words than before")
    with pytest.raises(MemoryLocked, match="not the passphrase"):
        opened(data)
    with opened(data, "other words than before") as store:
        assert store.seal.key == key
        assert len(store.read().lines) == 1


def test_without_a_passphrase_with_a_wrong_one_and_without_the_key_file(data: Path) -> None:
    with opened(data) as store:
        store.encrypt(WORDS)
    with pytest.raises(MemoryLocked, match="is encrypted"):
        open_store(data, "ada")
    with pytest.raises(MemoryLocked, match="not the passphrase"):
        opened(data, "wrong horse battery")
    vault = data / "users/ada/vault.json"
    kept = vault.read_bytes()
    for damaged in (b"", b"{}", b"[1]", kept[:-40], kept.replace(b'"n": 16', b'"n": 99999999'), b"\xff"):
        vault.write_bytes(damaged)
        with pytest.raises(MemoryLocked, match=r"vault\.json is damaged"):
            opened(data)
    vault.unlink()
    with pytest.raises((MemoryLocked, JournalUnusable)) as error:
        open_store(data, "ada").read()
    assert "backup" in error.value.hint
    vault.write_bytes(kept)
    with opened(data) as store:
        assert len(store.read().lines) == 1


def test_a_damaged_file_is_said_and_left_as_it_is(data: Path) -> None:
    with opened(data) as store:
        store.encrypt(WORDS)
    path = data / "users/ada/memory.md"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(MemoryLocked, match="damaged"), opened(data) as store:
        store.read()
    assert path.read_bytes()[:-1] == whole[:-1]
    path.write_bytes(Seal(b"k" * 32).seal(b"## Plans\n- Injected\n", "memory.md"))
    with pytest.raises(MemoryLocked, match="another key"), opened(data) as store:
        store.read()


def test_a_plain_file_in_an_encrypted_ones_place_is_refused(data: Path) -> None:
    """Who can write to the disk but has no key must not be able to plant a memory."""
    plain = {name: (data / "users/ada" / name).read_bytes() for name in ("memory.md", "journal.db", FILE_NAME)}
    with opened(data) as store:
        store.encrypt(WORDS)
    for name in ("memory.md", "journal.db"):
        path = data / "users/ada" / name
        sealed = path.read_bytes()
        path.write_bytes(plain[name])
        with pytest.raises(MemoryLocked, match="in plain text"), opened(data) as store:
            store.read()
        path.write_bytes(sealed)
    add_entry(data / "users/ada" / FILE_NAME, "planted")
    with opened(data) as store:
        assert len(store.read().lines) == 1
        assert read_entries(store.folder / FILE_NAME, store.seal) == ["I love marzipan cake."]


def test_one_sealed_file_cannot_stand_in_for_another() -> None:
    seal = Seal(b"k" * 32)
    with pytest.raises(MemoryLocked):
        seal.open(seal.seal(b"text", "memory.md"), "typed.jsonl")
    assert seal.seal(b"text", "a") != seal.seal(b"text", "a")
    assert seal.row_text(seal.row("typed", "a"), "a") == "typed"


def test_a_passphrase_must_be_long_enough(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least 8"):
        new_vault(tmp_path, "seven77")
    assert read_vault(tmp_path) is None


def test_nobody_is_encrypted_while_a_chat_is_open(data: Path) -> None:
    with opened(data) as store:
        store.start_chat()
        with pytest.raises(StoreBusy, match="chat of ada is open"):
            store.encrypt(WORDS)
    assert not (data / "users/ada/vault.json").exists()


def test_forgetting_searches_what_is_behind_the_encryption(data: Path) -> None:
    with opened(data) as store:
        store.encrypt(WORDS)
        receipt = store.forget(words=MARKER)
        assert (receipt.lines, receipt.bytes_left, receipt.typed) == (1, 0, 1)
        assert receipt.bytes_searched > 1000
        text = "\n".join(store._folder.ask(lambda journal: list(journal.whole_text()), []))
        assert MARKER not in text
        assert "forget" in text


def test_a_wish_of_two_processes_at_once_is_refused_not_mixed(data: Path) -> None:
    with opened(data) as other:
        other.read()
        with opened(data) as store:
            store.encrypt(WORDS)
        with pytest.raises(StoreBusy, match="meanwhile"):
            other.commit([Operation("add", None, "Plans", "late")], base=store.read(), cause="command")
    with opened(data) as store:
        assert len(store.read().lines) == 1


def test_the_command_turns_it_on_changes_the_passphrase_and_turns_it_off(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def edgemem(*words: str) -> tuple[int, str, str]:
        code = run([*words])
        return (code, *capsys.readouterr())

    monkeypatch.delenv("EDGEMEM_PASSPHRASE", raising=False)
    assert edgemem("memory", "import", str(written(data_dir)))[0] == 0
    assert edgemem("memory", "encrypt")[0] == 14  # nobody can be asked here
    monkeypatch.setenv("EDGEMEM_PASSPHRASE", WORDS)
    assert edgemem("memory", "encrypt")[1] == "the memory of default is encrypted\n"
    assert in_clear(data_dir) == []
    assert "marzipan" in edgemem("memory", "show")[1]
    assert edgemem("memory", "encrypt")[0] == 2
    monkeypatch.setenv("EDGEMEM_PASSPHRASE_NEW", "other words than before")
    assert edgemem("memory", "encrypt", "--change")[0] == 0
    assert edgemem("memory", "show")[0] == 14
    monkeypatch.setenv("EDGEMEM_PASSPHRASE", "other words than before")
    archive = json.loads(edgemem("memory", "export", "--json")[1])
    assert archive["lines"][0]["text"] == "Loves marzipan"
    assert json.loads(edgemem("memory", "encrypt", "--status", "--json")[1])["encrypted"] is True
    assert edgemem("memory", "encrypt", "--off")[0] == 0
    assert in_clear(data_dir)
    monkeypatch.delenv("EDGEMEM_PASSPHRASE")
    assert "marzipan" in edgemem("memory", "show")[1]


def written(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.parent / "list.md"
    path.write_text("- Loves marzipan\n", "utf-8")
    return path


def test_an_edit_leaves_no_plain_text_on_disk(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with opened(data) as store:
        store.encrypt(WORDS)
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\npath = pathlib.Path(sys.argv[1])\n"
        f"pathlib.Path({str(tmp_path / 'where')!r}).write_text(str(path))\n"
        "path.write_text(path.read_text().replace('cake', 'bread'))\n"
        "path.with_name('memory.md~').write_text('a backup of the editor')\n"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor}")
    monkeypatch.setenv("EDGEMEM_PASSPHRASE", WORDS)
    assert run(["memory", "edit", "--user", "ada", "--data-dir", str(data)]) == 0
    where = Path((tmp_path / "where").read_text())
    assert not where.parent.exists()
    assert not where.is_relative_to(data)
    assert in_clear(data) == []
    with opened(data) as store:
        assert [(line.text, line.origin) for line in store.read().lines] == [("I love marzipan bread", "edited")]


def test_a_lost_keyring_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring like the library's own: it keeps, gives back, and may lose or refuse."""

    class KeyringError(Exception):
        pass

    class Errors:
        pass

    class Keyring:
        errors = Errors

        def __init__(self) -> None:
            self.kept: dict[tuple[str, str], str] = {}

        def set_password(self, service: str, user: str, words: str) -> None:
            self.kept[service, user] = words

        def get_password(self, service: str, user: str) -> str | None:
            return self.kept.get((service, user))

    Errors.KeyringError = KeyringError  # type: ignore[attr-defined]
    keyring = Keyring()
    monkeypatch.setattr(passphrase, "_keyring", lambda: keyring)
    passphrase.into_keyring("ada", WORDS)
    assert passphrase.from_keyring("ada") == WORDS
    keyring.kept.clear()
    with pytest.raises(MemoryLocked, match="has no passphrase for ada any more"):
        passphrase.from_keyring("ada")
