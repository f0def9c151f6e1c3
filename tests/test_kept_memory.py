"""A new chat does not read its memory again: what is kept on disk, when it is used, and when it is gone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from notes_support import noting
from ties_support import agree

from edgemem.assistant import REPLY_TOKENS, Assistant, Chat, open_assistant
from edgemem.engines.scripted import ScriptedEngine
from edgemem.kept_memory import stable_ids
from edgemem.kv_files import kv_name, make_room, of_model
from edgemem.memory.lines import prompt_view
from edgemem.store import open_store
from edgemem.values import Message, Operation, Stats

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
FACTS = (
    "Works as a baker in Porto",
    "Sister Ana lives in Halifax",
    "Allergic to peanuts since childhood",
    "Plays the cello on Thursdays",
    "Is learning Finnish with an app",
    "Keeps two old greyhounds",
)

Opener = Callable[..., Assistant]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    def start(**more: object) -> Assistant:
        engine = more.pop("engine", None) or ScriptedEngine(noting)
        return open_assistant("ana", engine=engine, data_dir=tmp_path, **more)  # type: ignore[arg-type]

    return start


def said(chat: Chat, text: str) -> Stats:
    stats = list(chat.reply(text))[-1].stats
    assert stats is not None
    return stats


def kept_files(folder: Path) -> list[Path]:
    return sorted((folder / "users").rglob("kv/*"))


def unchanged_part(assistant: Assistant) -> int:
    view = prompt_view(assistant.memory().lines)
    return len(stable_ids(assistant.engine, assistant.prompts, view, assistant.now()))


def learned(opened: Opener, **more: object) -> int:
    """A user with a memory and a chat that was learned; the tokens of the part that stays."""
    with opened(**more) as assistant:
        for fact in FACTS:
            assistant.add_line(fact)
        chat = assistant.open_chat()
        said(chat, "I like mountain tea")
        assert chat.remember().added == 1
        return unchanged_part(assistant)


def test_the_chat_after_an_update_reads_only_the_question(opened: Opener) -> None:
    unchanged = learned(opened)
    with opened() as assistant:
        first = said(assistant.open_chat(), "hello")
        assert first.cached_tokens == unchanged
        assert first.prompt_tokens - first.cached_tokens < 20


def test_another_day_reads_the_day_and_not_the_memory(opened: Opener) -> None:
    unchanged = learned(opened, now=lambda: NOON)
    with opened(now=lambda: NOON + timedelta(days=3)) as assistant:
        assert said(assistant.open_chat(), "hello").cached_tokens == unchanged


def test_a_line_added_by_hand_costs_that_line(opened: Opener, tmp_path: Path) -> None:
    unchanged = learned(opened)
    file = tmp_path / "users" / "ana" / "memory.md"
    file.write_text(file.read_text() + "\n## Work and study\n- Wants to open a shop\n")
    with opened() as assistant:
        assert said(assistant.open_chat(), "hello").cached_tokens == unchanged
        assert "Wants to open a shop" in assistant.engine.prompts[-1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["removed", "undone", "edited"])
def test_text_that_a_person_took_away_is_in_no_file_at_once(opened: Opener, tmp_path: Path, how: str) -> None:
    learned(opened)
    assert len(kept_files(tmp_path)) == 1
    with open_store(tmp_path, "ana") as store:
        memory = store.read()
        if how == "removed":
            line = next(line for line in memory.lines if "cello" in line.text)
            store.commit([Operation("delete", line.id)], base=memory, cause="command")
        elif how == "undone":
            store.undo()
        else:
            file = tmp_path / "users" / "ana" / "memory.md"
            file.write_text(file.read_text().replace("cello", "oboe"))
            store.read()
        assert kept_files(tmp_path) == []
    with opened() as assistant:
        assert said(assistant.open_chat(), "hello").cached_tokens == 0
    assert len(kept_files(tmp_path)) == 1


@pytest.mark.parametrize("change", ["model", "context", "damaged", "missing"])
def test_what_does_not_fit_is_read_anew_with_the_same_prompt(opened: Opener, tmp_path: Path, change: str) -> None:
    learned(opened)
    with opened() as assistant:
        said(assistant.open_chat(), "hello")
        expected = assistant.engine.prompts[-1]  # type: ignore[attr-defined]
    (file,) = kept_files(tmp_path)
    engine = ScriptedEngine(noting)
    if change == "model":
        engine = ScriptedEngine(noting, name="another")
    elif change == "context":
        engine = ScriptedEngine(noting, context_tokens=9_000)
    elif change == "damaged":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    else:
        file.unlink()
    with opened(engine=engine) as assistant:
        assert said(assistant.open_chat(), "hello").cached_tokens == 0
        assert engine.prompts[-1] == expected


def test_nothing_is_computed_while_a_reply_runs(opened: Opener, tmp_path: Path) -> None:
    with opened() as assistant:
        pieces = assistant.open_chat().reply("hello there")
        next(pieces)
        assistant.add_line("Likes mountain tea")
        time.sleep(0.05)
        assert kept_files(tmp_path) == []
        list(pieces)
    assert len(kept_files(tmp_path)) == 1


def test_a_full_context_leaves_it_to_the_end(opened: Opener, tmp_path: Path) -> None:
    with opened(engine=ScriptedEngine(noting, context_tokens=2 * REPLY_TOKENS + 100)) as assistant:
        said(assistant.open_chat(), "hello")
        assistant.add_line("Likes mountain tea")
        time.sleep(0.05)
        assert kept_files(tmp_path) == []
    assert len(kept_files(tmp_path)) == 1


def test_forgetting_removes_it_and_says_so(opened: Opener, tmp_path: Path) -> None:
    learned(opened)
    leftover = kept_files(tmp_path)[0].with_name(".kv-dead")
    leftover.write_bytes(b"cello")
    with opened() as assistant:
        forgotten = assistant.forget(words="cello")
        assert (forgotten.lines, forgotten.computed, forgotten.bytes_left) == (1, 2, 0)
        assert kept_files(tmp_path) == []
        assert said(assistant.open_chat(), "hello").cached_tokens == 0
    assert not any(b"cello" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_was_computed_from_a_memory_that_changed_is_not_kept(opened: Opener, tmp_path: Path) -> None:
    learned(opened)
    with opened() as assistant:
        before = assistant.memory().digest
        assistant.add_line("Likes the sea")
        assert assistant.store.keep_computed(before, lambda: pytest.fail("written")) is False


def test_a_kill_leaves_a_file_that_is_whole(tmp_path: Path) -> None:
    child = Path(__file__).with_name("assistant_child.py")
    chance = random.Random(5)
    for number in range(8):
        with subprocess.Popen(
            [sys.executable, str(child), str(tmp_path), str(1000 * number)], stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout is not None
            assert any(line.startswith("learned") for line in run.stdout)
            time.sleep(chance.uniform(0, 0.05))
            run.send_signal(signal.SIGKILL)
        for file in (tmp_path / "users" / "ana" / "kv").glob("*.kv"):
            session = ScriptedEngine().open()
            assert session.load(file)


def test_the_folder_stays_within_its_size(tmp_path: Path) -> None:
    for age, name in enumerate(["newest", "used", "old", "oldest"]):
        file = tmp_path / f"{name}.kv"
        file.write_bytes(b"x" * 100)
        os.utime(file, (time.time() - age, time.time() - age))
    for name, age in ((".kv-dead", 7200), (".kv-at-work", 5)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    make_room(tmp_path, tmp_path / "old.kv", most_bytes=250)
    assert {path.name for path in tmp_path.iterdir()} == {"newest.kv", "old.kv", ".kv-at-work"}


def test_removing_a_model_finds_what_it_computed(tmp_path: Path) -> None:
    engines = [ScriptedEngine(name=name) for name in ("one", "two")]
    for engine in engines:
        (tmp_path / kv_name(engine.info)).touch()
        (tmp_path / kv_name(engine.info, [1, 2])).touch()
    found = of_model([tmp_path, tmp_path / "none"], engines[0].info.digest)
    assert {path.name for path in found} == {kv_name(engines[0].info), kv_name(engines[0].info, [1, 2])}


@pytest.mark.engine
def test_a_restored_memory_answers_like_one_that_was_read(tmp_path: Path, smollm2_path: Path) -> None:
    from edgemem.engines import open_engine

    def start() -> Assistant:
        engine = open_engine(smollm2_path, digest="d" * 64, context_tokens=4096, threads=2)
        return open_assistant("ana", engine=engine, data_dir=tmp_path)

    def greedy(assistant: Assistant) -> tuple[tuple[int, ...], int]:
        session = assistant.engine.open()
        assistant.kept.restore(session)
        view = prompt_view(assistant.memory().lines)
        system = assistant.prompts.chat_system(view, NOON)
        cached = session.feed(assistant.engine.render([system, Message("user", "What do I like?")])).cached_tokens
        list(session.generate(24))
        return session.ids, cached

    with start() as assistant:
        for fact in FACTS:
            assistant.add_line(fact)
        assistant.kept.stop()
        for file in kept_files(tmp_path):
            file.unlink()
        plain, none = greedy(assistant)
        unchanged = unchanged_part(assistant)
        assistant.kept.refresh()
    with start() as assistant:
        restored, cached = greedy(assistant)
        assert agree(assistant.engine, plain, restored)
    assert (none, cached) == (0, unchanged)
