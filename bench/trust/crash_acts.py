"""What is killed and starved in `bench trust crashes`: each act with the state before it, and what was told after it.

Every act runs the shipped code on real files. The model is scripted, so that an act has the same effects each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgemem.assistant import Assistant, open_assistant
from edgemem.engines.scripted import ScriptedEngine
from edgemem.store import UserStore, open_store, sealing
from edgemem.store.archive import read_archive
from edgemem.store.typed_history import add_entry
from edgemem.values import Stats

USER = "ada"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECRET = "marzipan"
"""The word that is to be forgotten, and nowhere in any file afterwards."""

PASSPHRASE = "correct horse battery"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Act:
    """`prepare` makes the state before, `run` does it and tells what a person would then be told. `forgets`: the word
    SECRET must be in no file once the memory is the new one. `hides`: it is in none of the user's files in clear,
    always, or once that was told."""

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path, Tell], None]
    forgets: bool = False
    hides: str = ""


def opened(data: Path) -> UserStore:
    return open_store(data, USER, passphrase=lambda vault: PASSPHRASE, now=_clock())


def assistant(data: Path) -> Assistant:
    engine = ScriptedEngine(["Noted."], scores=lambda prompt, option: 0.0 if option.startswith("ADD") else -3.0)
    return open_assistant(
        USER,
        engine=engine,
        data_dir=data,
        policy="edits",
        review="sensitive",
        passphrase=lambda vault: PASSPHRASE,
        now=_clock(),
    )


def _clock() -> Callable[[], datetime]:
    """A second later at each look, the same in every run."""
    ticks = iter(range(1_000_000))
    return lambda: NOON + timedelta(days=1, seconds=next(ticks))


def _nothing(data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True)


def _known(data: Path) -> None:
    """A memory of three lines, two learned chats, a computed prompt, a typed history and an export."""
    with assistant(data) as ready:
        chat = ready.open_chat()
        for text in (f"I love {SECRET} cake.", "I live in Bern with my two cats."):
            add_entry(ready.store.folder / "typed.jsonl", text)
            list(chat.reply(text))
        chat.remember()
        chat.close()
        ready.add_line("My sister Ana lives in Porto", "People")
        ready.store.export_to(data / "export.json", "json", lambda path, text: _written(path, text))


def _written(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _said(data: Path, text: str) -> None:
    _known(data)
    with opened(data) as store:
        chat = store.start_chat()
        store.add_exchange(chat, text, "Noted.", NOON, NOON, Stats())
        store.end_chat(chat)


def _reply(data: Path, tell: Tell) -> None:
    with opened(data) as store:
        add_entry(store.folder / "typed.jsonl", "I play the cello.")
        chat = store.start_chat()
        store.add_exchange(chat, "I play the cello.", "Nice.", NOON, NOON, Stats())
        tell("turn I play the cello.")
        store.end_chat(chat)


def _update(data: Path, tell: Tell) -> None:
    with assistant(data) as ready:
        report = ready.remember()
        if report.error:
            raise AssertionError(report.error)
        tell("done")


def _read(data: Path, tell: Tell) -> None:
    with opened(data) as store:
        if any(line.text.startswith("Rides") for line in store.read().lines):
            tell("done")


def _by_hand(data: Path) -> None:
    _known(data)
    path = data / "users" / USER / "memory.md"
    path.write_text(path.read_text("utf-8") + "\n## Plans\n- Rides a bicycle to work\n", "utf-8")


def _undo(data: Path, tell: Tell) -> None:
    with opened(data) as store:
        store.undo()
        tell("done")


def _forget(data: Path, tell: Tell) -> None:
    with opened(data) as store:
        if store.forget(words=SECRET).bytes_left:
            raise AssertionError("the receipt says that the words are left")
        tell("done")


def _forget_all(data: Path, tell: Tell) -> None:
    with opened(data) as store:
        store.forget_everything()
        tell("done")


def _review_waits(data: Path) -> None:
    _said(data, "I am allergic to peanuts.")
    with assistant(data) as ready:
        ready.remember()


def _review(data: Path, tell: Tell) -> None:
    with opened(data) as store:
        waiting = store.waiting()
        accepted = [one.operation for one in waiting]
        store.review(accepted, base=store.read(), decided=[one.id for one in waiting])
        tell("done")


def _archived(data: Path) -> None:
    """Another memory's export, with a pinned line and one that waits, beside an empty data folder."""
    other = data / "elsewhere"
    _review_waits(other)
    with opened(other) as store:
        store.set_pinned(1, True)
        _written(data / "taken.json", store.archive(NOON))
    for path in sorted(other.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    other.rmdir()


def _import(data: Path, tell: Tell) -> None:
    archive = read_archive(json.loads((data / "taken.json").read_text("utf-8")))
    with opened(data) as store:
        made = store.take_in_turns(archive.turns)
        store.restore(archive, archive.operations(made))
        tell("done")


def _conversations(data: Path, tell: Tell) -> None:
    with opened(data) as store:
        for number in range(2):
            said = f"I play the cello, and I have {number + 2} dogs."
            store.take_in_chat(f"claude:{number}", "claude", [("user", said, NOON), ("assistant", "Nice.", NOON)])
            tell(f"turn {said}")


def _encrypt(data: Path, tell: Tell) -> None:
    sealing.SCRYPT_N = 1 << 4  # the files' fate is tried here, not how long a guess takes
    with opened(data) as store:
        if not store.seal.on:  # else a dead process began it, and opening the store finished it
            store.encrypt(PASSPHRASE)
        tell("sealed")


def _encrypted(data: Path) -> None:
    _said(data, "I play the cello. My brother Tom moved to Oslo.")
    _encrypt(data, lambda _: None)


def _decrypt(data: Path, tell: Tell) -> None:
    with opened(data) as store:
        if store.seal.on:
            store.decrypt()
        tell("plain")


def _change_passphrase(data: Path, tell: Tell) -> None:
    sealing.SCRYPT_N = 1 << 4
    with opened(data) as store:
        store.encrypt(PASSPHRASE)
        tell("sealed")


ACTS = (
    Act("first chat", _nothing, _reply),
    Act("reply", _known, _reply),
    Act("update", lambda data: _said(data, "I play the cello. My brother Tom moved to Oslo."), _update),
    Act("hand edit", _by_hand, _read),
    Act("undo", _known, _undo),
    Act("review", _review_waits, _review),
    Act("import", _archived, _import),
    Act("conversations", _known, _conversations),
    Act("forget", _known, _forget, forgets=True),
    Act(
        "forget in a chat", lambda data: _said(data, f"Please forget that I love {SECRET} cake."), _update, forgets=True
    ),
    Act("forget everything", _known, _forget_all, forgets=True),
    Act("encrypt", _known, _encrypt, hides="sealed"),
    Act("update, encrypted", _encrypted, _update, hides="always"),
    Act("change passphrase", _encrypted, _change_passphrase, hides="always"),
    Act("decrypt", _encrypted, _decrypt),
)
