"""What would make edgemem slow again without a wrong answer: counts, no seconds (issue #5)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from notes_support import noting
from ties_support import agree

from edgemem.assistant import Assistant, Chat, open_assistant
from edgemem.engines.base import Engine, Session
from edgemem.engines.scripted import ScriptedEngine
from edgemem.machine import allowed_cpus, cgroup_cpus, physical_cores, usable_threads
from edgemem.memory.copying import CopyDrafter
from edgemem.values import GREEDY, Stats

FACTS = ("Works as a baker in Porto", "Sister Ana lives in Halifax", "Plays the cello on Thursdays")
LIST = "\n".join(f"- [About] {fact}." for fact in FACTS)
PENALISED = replace(GREEDY, repeat_penalty=1.1)  # the sampling that looks back


# --- threads


def test_all_cores_that_may_be_used_are_used() -> None:
    quota = cgroup_cpus()
    assert usable_threads() == max(1, min(physical_cores(), allowed_cpus(), int(quota) if quota else 1024))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_no_more_threads_than_this_process_may_use() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import edgemem.machine as m; "
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(m.usable_threads())"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1", done.stderr


# --- long answers


class Letters:
    """As much of a binding as choosing tokens needs; counts what is asked."""

    def __init__(self) -> None:
        self.pieces = 0

    def piece(self, token: int) -> bytes:
        self.pieces += 1
        return b"word "

    def is_end(self, token: int) -> bool:
        return False


def work_of(tokens: int) -> tuple[int, int]:
    """Pieces turned into text and function calls made for an answer of so many tokens."""
    from edgemem.engines.writing import Writing

    letters, calls = Letters(), 0
    writing = Writing(letters, tokens, PENALISED, ["\nUser:"], None)  # type: ignore[arg-type]
    logits = np.zeros(8, dtype=np.float32)

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        while writing.step(lambda: logits) is not None:
            pass
    finally:
        sys.setprofile(None)
    assert writing.reason == "length"
    return letters.pieces, calls


def test_an_answer_of_2000_tokens_is_twice_the_work_of_1000() -> None:
    half, whole = work_of(1000), work_of(2000)
    assert (half[0], whole[0]) == (1000, 2000)
    assert whole[1] <= 2.05 * half[1]


def test_an_answer_of_2000_tokens_asks_for_each_guess_once() -> None:
    engine = ScriptedEngine(lambda prompt: "word " * 2000, context_tokens=4096)
    session = engine.open()
    session.feed(engine.tokenize("Go on"))
    asked: list[int] = []

    class Counting:
        def draft(self, ids: Sequence[int]) -> list[int]:
            asked.append(len(ids))
            return []

    stats = list(session.generate(2000, drafter=Counting()))[-1].stats
    assert stats is not None
    assert len(asked) == len(set(asked)) <= stats.output_tokens


# --- nothing is read twice


def said(chat: Chat, text: str) -> Stats:
    stats = list(chat.reply(text))[-1].stats
    assert stats is not None
    return stats


def known(folder: Path) -> Assistant:
    assistant = open_assistant("ana", engine=ScriptedEngine(noting), data_dir=folder)
    for fact in FACTS if not assistant.memory().lines else ():
        assistant.add_line(fact)
    return assistant


def test_a_chat_goes_on_after_an_update_with_what_it_had(tmp_path: Path) -> None:
    with known(tmp_path) as assistant:
        chat = assistant.open_chat()
        said(chat, "I like mountain tea")
        held = chat.tokens
        assert chat.remember().added == 1
        stats = said(chat, "and my dog is called Pilot")
        assert stats.cached_tokens >= 0.95 * held
        assert stats.prompt_tokens - stats.cached_tokens <= 0.05 * held + 20


def test_the_chat_after_an_update_has_the_memory_it_had(tmp_path: Path) -> None:
    with known(tmp_path) as assistant:
        chat = assistant.open_chat()
        before = said(chat, "I like mountain tea").prompt_tokens
        chat.remember()
        chat.close()
    with known(tmp_path) as assistant:
        stats = said(assistant.open_chat(), "hello")
        assert stats.cached_tokens >= 0.95 * (before - 20)


def test_a_line_added_leaves_the_others_read(tmp_path: Path) -> None:
    with known(tmp_path) as assistant:
        before = said(assistant.open_chat(), "hello").prompt_tokens
        assistant.kept.finish()
    with known(tmp_path) as assistant:
        assistant.add_line("Likes mountain tea")
        assert said(assistant.open_chat(), "hello").cached_tokens >= before - 20


# --- the same answer in every way (the small real model)

Open = Callable[..., Engine]


@pytest.fixture
def opened(smollm2_path: Path) -> Iterator[Open]:
    from edgemem.engines.llama import LlamaEngine
    from edgemem.engines.llama_binding import Binding, LoadOptions

    engines: list[Engine] = []

    def start(digest: str = "d" * 64, **more: object) -> Engine:
        options = replace(LoadOptions(1024, 2, "cpu"), **more)  # type: ignore[arg-type]
        engines.append(LlamaEngine(Binding(smollm2_path, options), digest=digest))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def written(session: Session, tokens: int = 16, drafter: CopyDrafter | None = None) -> tuple[int, ...]:
    before = len(session.ids)
    list(session.generate(tokens, drafter=drafter))
    return session.ids[before:]


@pytest.mark.engine
def test_drafted_restored_and_continued_text_is_the_plain_one(opened: Open, tmp_path: Path) -> None:
    engine = opened()
    prompt = engine.tokenize(f"{LIST}\n{LIST}\n")
    session = engine.open()
    session.feed(prompt)
    plain = written(session, 32)
    session.close()

    drafting = engine.open()
    drafting.feed(prompt)
    drafter = CopyDrafter(engine.tokenize(f"{LIST}\n"), lambda token: engine.detokenize([token]))
    assert agree(engine, [*prompt, *plain], [*prompt, *(written(drafting, 32, drafter))])

    saved = engine.open()
    saved.feed(prompt[:-5])
    saved.save(tmp_path / "one.kv")
    restored = engine.open()
    assert restored.load(tmp_path / "one.kv")
    fed = restored.feed(prompt)
    assert fed.prompt_tokens - fed.cached_tokens == 5
    assert agree(engine, [*prompt, *plain], [*prompt, *(written(restored, 32))])

    continued = engine.open()
    continued.feed(prompt)
    first = written(continued, 12)
    assert continued.feed(continued.ids).cached_tokens == len(prompt) + 12
    assert agree(engine, [*prompt, *plain], [*prompt, *(first + written(continued, 20))])


@pytest.mark.engine
@pytest.mark.parametrize(
    "change",
    [
        {"digest": "e" * 64},  # another model, or the same one quantized otherwise
        {"context_tokens": 768},
        {"flash_attention": True},
        {"kv_type": "q8_0", "flash_attention": True},
    ],
    ids=["model", "context", "attention", "KV type"],
)
def test_what_was_saved_otherwise_is_read_anew_with_the_same_answer(
    opened: Open, tmp_path: Path, change: dict[str, object]
) -> None:
    first = opened()
    prompt = first.tokenize(f"{LIST}\n{LIST}\n")
    session = first.open()
    session.feed(prompt)
    session.save(tmp_path / "one.kv")

    engine = opened(**change)
    plain = engine.open()
    plain.feed(prompt)
    expected = written(plain)
    plain.close()  # with flash attention the place in the cache decides how sums are rounded
    other = engine.open()
    assert not other.load(tmp_path / "one.kv")
    assert other.feed(prompt).cached_tokens == 0
    assert written(other) == expected
