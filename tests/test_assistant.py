"""The assistant on the scripted engine: what is asked, what is kept, what is left alone."""

from __future__ import annotations

import hashlib
import random
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from notes_support import NOTES, REQUESTS, last_message, noting

from edgemem.assistant import Assistant, open_assistant
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import Cancelled, ContextExceeded, EdgememError, InvalidInput
from edgemem.memory.lines import prompt_view
from edgemem.policies import CHUNK_TOKENS, open_policy
from edgemem.values import BUDGET_TOKENS

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


Opener = Callable[..., Assistant]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    def start(answers: object = noting, user: str = "ana", *, notes: bool = False, **more: object) -> Assistant:
        """`notes`: as with a card that lets the model write the notes."""
        engine = more.pop("engine", None) or ScriptedEngine(answers)  # type: ignore[arg-type]
        assistant = open_assistant(user, engine=engine, data_dir=tmp_path, **more)  # type: ignore[arg-type]
        if notes:
            assistant.policy = open_policy("edits", thresholds={"notes": 1.0})
        return assistant

    return start


def say(chat: object, text: str) -> str:
    return "".join(piece.text for piece in chat.reply(text))  # type: ignore[attr-defined]


def lines(assistant: Assistant) -> list[str]:
    return [line.text for line in assistant.memory().lines]


def bytes_under(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_chat_is_learned_and_the_next_one_knows_it(opened: Opener) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        assert say(chat, "I like mountain tea") == "Fine."
        report = chat.remember()
        chat.close()
        assert (report.summary(), report.folded_turns) == ("memory updated (+1)", 1)
        say(assistant.open_chat(), "hello")
        assert "[1 About] I like mountain tea" in assistant.engine.prompts[-1]  # type: ignore[attr-defined]


def test_memory_is_frozen_while_a_chat_runs(opened: Opener) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        chat.remember()
        say(chat, "And now?")
        assert lines(assistant) == ["I like mountain tea"]
        assert "mountain tea" not in assistant.engine.prompts[-1].split("Today is")[0]  # type: ignore[attr-defined]


def test_a_chat_only_grows_at_its_end(opened: Opener) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        stats = [list(chat.reply(f"message {number}"))[-1].stats for number in range(4)]
        assert [s.cached_tokens > 0 for s in stats if s] == [False, True, True, True]
        for before, after in pairwise(stats):
            assert before is not None
            assert after is not None
            assert after.cached_tokens == before.prompt_tokens + before.output_tokens


def test_an_update_leaves_the_chats_own_sequence_untouched(opened: Opener) -> None:
    """The next reply reads the new message and nothing else, and the update read none of the chat's prompt."""
    with opened() as assistant:
        chat = assistant.open_chat()
        before = list(chat.reply("I like mountain tea"))[-1].stats
        assert chat.remember().added == 1
        after = list(chat.reply("And now?"))[-1].stats
        assert before is not None
        assert after is not None
        assert after.cached_tokens == before.prompt_tokens + before.output_tokens
        updates = assistant.engine.scored  # type: ignore[attr-defined]
        assert updates
        assert all(NOTES in prompt or REQUESTS in prompt for prompt in updates)
        assert not any("helpful personal assistant" in prompt for prompt in updates)


@pytest.mark.parametrize("notes", [False, True])
def test_an_update_prompt_never_holds_what_is_asked_later(opened: Opener, notes: bool) -> None:
    with opened(notes=notes) as assistant:
        chat = assistant.open_chat()
        asked = [f"QUESTION-{number} I like thing{number} now" for number in range(4)]
        prompts: list[str] = assistant.engine.prompts  # type: ignore[attr-defined]
        scored: list[str] = assistant.engine.scored  # type: ignore[attr-defined]
        for number, text in enumerate(asked):
            say(chat, text)
            heard, judged = len(prompts), len(scored)
            chat.remember()
            updates = prompts[heard:] + scored[judged:]
            assert any(f"QUESTION-{number}" in prompt for prompt in prompts[heard:]) == notes
            assert any(f"QUESTION-{number}" in prompt for prompt in scored[judged:])
            assert not any(later.split()[0] in prompt for prompt in updates for later in asked[number + 1 :])


def test_nothing_is_folded_twice(opened: Opener) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        assert [chat.remember().folded_turns, chat.remember().folded_turns] == [1, 0]


def test_what_a_dead_process_left_is_learned_at_the_next_start(opened: Opener) -> None:
    first = opened()
    say(first.open_chat(), "I like mountain tea")
    first.close()  # without learning
    with opened() as second:
        assert second.remember().summary() == "memory updated (+1)"
        assert lines(second) == ["I like mountain tea"]


def test_an_interrupted_answer_leaves_no_turn(opened: Opener) -> None:
    with opened(lambda prompt: "one two three four five") as assistant:
        chat = assistant.open_chat()
        pieces = chat.reply("hello")
        assert next(pieces).text
        pieces.close()  # type: ignore[attr-defined]
        assert list(chat.reply("again", cancelled=lambda: True))[-1].stats.stop_reason == "cancelled"  # type: ignore[union-attr]
        assert assistant.store.pending(chat.id) == []
        assert say(chat, "third") == "one two three four five"
        assert "hello" not in assistant.engine.prompts[-1]  # type: ignore[attr-defined]


def test_a_cancelled_update_writes_nothing(opened: Opener) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        before = assistant.store.text()
        with pytest.raises(Cancelled):
            chat.remember(cancelled=lambda: True)
        assert assistant.store.text() == before
        assert chat.remember().folded_turns == 1


def test_an_update_that_fails_three_times_is_set_aside_and_retried_on_request(opened: Opener) -> None:
    answers = {"text": "chatter instead of a memory"}

    def model(prompt: str) -> str:
        return answers["text"] if "New memory:" in prompt else "Fine."

    with opened(model, policy="overwrite") as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        before = assistant.store.text()
        report = chat.remember()
        assert (report.set_aside, bool(report.error)) == (1, True)
        assert "--retry" in report.summary()
        assert assistant.store.text() == before
        assert chat.remember().folded_turns == 0
        answers["text"] = "- [Preferences] Likes mountain tea"
        assert assistant.store.retry_set_aside() == 1
        assert chat.remember().summary() == "memory updated (+1)"


def test_an_update_that_does_not_fit_the_context_is_set_aside_and_learned_with_a_larger_one(opened: Opener) -> None:
    with opened(engine=ScriptedEngine(noting, context_tokens=400)) as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        before = assistant.store.text()
        report = chat.remember()
        assert (report.set_aside, "context" in report.error) == (1, True)
        assert assistant.store.text() == before
        assert say(chat, "Are you there?") == "Fine."
    with opened() as assistant:
        assert assistant.store.retry_set_aside() == 1
        assert assistant.remember().added == 1
        assert lines(assistant) == ["I like mountain tea"]


def test_a_model_that_writes_chatter_loses_nothing_that_was_said(opened: Opener) -> None:
    with opened(lambda prompt: "chatter instead of commands", notes=True) as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        assert chat.remember().summary() == "memory updated (+1)"
        assert lines(assistant) == ["I like mountain tea"]
        assert NOTES in assistant.engine.prompts[-1]  # type: ignore[attr-defined]


def test_a_hand_edit_wins_and_stays(opened: Opener, tmp_path: Path) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        chat.remember()
        path = next(tmp_path.rglob("memory.md"))
        path.write_text(path.read_text().replace("mountain tea", "green tea only"))
        say(chat, "I like long walks")
        chat.remember()
        assert lines(assistant) == ["I like green tea only", "I like long walks"]


def test_thinking_is_neither_shown_nor_journalled(opened: Opener) -> None:
    with opened(lambda prompt: "<think>secret plan</think>Hello there") as assistant:
        chat = assistant.open_chat()
        assert say(chat, "hi") == "Hello there"
        assert chat.id is not None
        assert [turn.text for turn in assistant.store.turns(chat.id)] == ["hi", "Hello there"]


def test_users_do_not_see_each_other(opened: Opener) -> None:
    with opened(user="ana") as ana, opened(user="bo") as bo:
        chat = ana.open_chat()
        say(chat, "I like mountain tea")
        chat.remember()
        assert lines(bo) == []


def test_several_chats_of_one_user_are_learned_apart(opened: Opener) -> None:
    with opened() as assistant:
        one, two = assistant.open_chat(), assistant.open_chat()
        say(one, "I like mountain tea")
        say(two, "I like long walks")
        assert one.remember().folded_turns == 1
        assert two.remember().folded_turns == 1
        assert sorted(lines(assistant)) == ["I like long walks", "I like mountain tea"]


def test_a_reply_runs_while_another_thread_learns(opened: Opener) -> None:
    with opened() as assistant:
        one, two = assistant.open_chat(), assistant.open_chat()
        say(one, "I like mountain tea")
        worker = threading.Thread(target=one.remember)
        worker.start()
        assert say(two, "hello") == "Fine."
        worker.join()
        assert lines(assistant) == ["I like mountain tea"]


def test_a_long_chat_drops_its_oldest_turns_in_one_block(opened: Opener) -> None:
    engine = ScriptedEngine(lambda prompt: "word " * 60, context_tokens=3000)
    with opened(engine=engine) as assistant:
        chat = assistant.open_chat()
        cold = 0
        for number in range(40):
            stats = list(chat.reply(f"message {number} " + "long " * 40))[-1].stats
            assert stats is not None
            assert stats.prompt_tokens <= 3000
            cold += stats.cached_tokens < stats.prompt_tokens // 2
        assert cold < 8


def test_a_message_that_cannot_fit_is_an_error_and_the_chat_goes_on(opened: Opener) -> None:
    engine = ScriptedEngine(lambda prompt: "Fine.", context_tokens=800)
    with opened(engine=engine) as assistant:
        chat = assistant.open_chat()
        with pytest.raises(ContextExceeded) as caught:
            say(chat, "word " * 1000)
        assert caught.value.hint
        assert say(chat, "short") == "Fine."


@pytest.mark.parametrize("text", ["", "   \n"])
def test_an_empty_message_is_refused(opened: Opener, text: str) -> None:
    with opened() as assistant, pytest.raises(InvalidInput):
        say(assistant.open_chat(), text)


@pytest.mark.parametrize("cached", [True, False], ids=["with computed prompts", "without"])
def test_a_temporary_chat_changes_no_byte(opened: Opener, tmp_path: Path, cached: bool) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        chat.remember()
    if not cached:
        shutil.rmtree(tmp_path / "cache")
        shutil.rmtree(tmp_path / "users" / "ana" / "kv")
    before = bytes_under(tmp_path)
    assert any(path.endswith(".kv") for path in before) == cached
    with opened(temporary=True) as assistant:
        chat = assistant.open_chat()
        say(chat, "I like long walks now")
        assert "[1 About] I like mountain tea" in assistant.engine.prompts[-1]  # type: ignore[attr-defined]
        chat.remember()
        chat.close()
    with opened() as assistant:
        chat = assistant.open_chat(temporary=True)
        say(chat, "I like long walks now")
        chat.remember()
        chat.close()
    assert bytes_under(tmp_path) == before


def test_a_temporary_chat_of_a_new_user_creates_nothing(tmp_path: Path) -> None:
    engine = ScriptedEngine(noting)
    with open_assistant("nobody", engine=engine, data_dir=tmp_path / "none", temporary=True) as assistant:
        say(assistant.open_chat(), "I like long walks")
    assert not (tmp_path / "none").exists()


def test_forgetting_leaves_no_words_behind(opened: Opener, tmp_path: Path) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        say(chat, "I like zanzibar cloves")
        chat.remember()
        forgotten = assistant.forget(words="zanzibar")
        assert (forgotten.lines, forgotten.bytes_left) == (1, 0)
    assert not any(b"zanzibar" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_line_asked_for_is_kept_and_a_secret_is_not(opened: Opener) -> None:
    with opened() as assistant:
        assistant.add_line("Parks in bay 12", "About")
        with pytest.raises(InvalidInput, match="card number"):
            assistant.add_line("Card 4111 1111 1111 1111")
        assert lines(assistant) == ["Parks in bay 12"]


def test_rebuild_learns_everything_again_and_can_be_undone(opened: Opener) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        chat.remember()
        chat.close()
        report = assistant.rebuild()
        assert report.folded_turns == 1
        assert lines(assistant) == ["I like mountain tea"]


def test_a_chat_longer_than_a_chunk_is_folded_in_parts(opened: Opener) -> None:
    engine = ScriptedEngine(noting, context_tokens=12_000)
    with opened(engine=engine) as assistant:
        chat_id = assistant.store.start_chat("import")
        for number in range(40):
            assistant.store.add_turn(chat_id, "user", f"I like thing{number} " + "word " * 300, NOON)
            assistant.store.add_turn(chat_id, "assistant", "Fine.", NOON)
        assistant.store.end_chat(chat_id)
        report = assistant.remember()
        assert report.folded_turns == 40
        assert len(report.revisions) >= 40 * 300 // CHUNK_TOKENS


def test_overwrite_takes_the_reply_as_the_next_memory(opened: Opener) -> None:
    replies = iter(
        ["- [Preferences] Likes mountain tea", "- [Preferences] Likes mountain tea\n- [About] Lives in Porto"]
    )

    def model(prompt: str) -> str:
        return next(replies) if "New memory:" in prompt else "Fine."

    with opened(model, policy="overwrite") as assistant:
        for text in ("I like mountain tea", "I live in Porto"):
            chat = assistant.open_chat()
            say(chat, text)
            chat.remember()
            chat.close()
        assert sorted(lines(assistant)) == ["Likes mountain tea", "Lives in Porto"]
        prompts = [p for p in assistant.engine.prompts if "New memory:" in p]  # type: ignore[attr-defined]
        assert "No previous memory" in prompts[0]
        assert "Likes mountain tea" in prompts[1]


def test_an_overwrite_that_does_not_end_is_compacted_once_then_given_up(opened: Opener) -> None:
    def model(prompt: str) -> str:
        return "- [About] word " * 4000 if "memory" in prompt and "<conversation>" in prompt else "Fine."

    with opened(model, policy="overwrite") as assistant:
        chat = assistant.open_chat()
        say(chat, "I live in Porto")
        report = chat.remember()
        assert report.set_aside == 1
        assert lines(assistant) == []


def adversarial(prompt: str) -> str:
    """A model that writes as much as it can into memory, partly garbage."""
    random_ = random.Random(len(prompt))
    if NOTES in prompt:
        words = last_message(prompt).split()
        kinds = ["ADD About: ", "ADD Plans: ", "ADD Nonsense: ", "UPDATE 3: ", "DELETE 2\nADD Health: ", ""]
        return "\n".join(random_.choice(kinds) + " ".join(random_.choices(words, k=40)) for _ in range(9))
    if "New memory:" in prompt:
        message = prompt.rsplit("User: ", 1)[1].split("</conversation>")[0].split()
        return "\n".join(f"- [About] {' '.join(random_.choices(message, k=60))}" for _ in range(26))
    return "answer " * random_.randint(1, 400)


@pytest.mark.parametrize(("policy", "notes"), [("edits", False), ("edits", True), ("overwrite", False)])
def test_memory_stays_within_its_budget_over_200_chats(opened: Opener, policy: str, notes: bool) -> None:
    random_ = random.Random(5)
    vocabulary = [
        f"{a}{b}{c}" for a in "bdfglmprst" for b in ("an", "or", "il", "ut") for c in ("ta", "ver", "mo", "dic")
    ]

    def message() -> str:
        kinds = ["I like {}.", "My sister wants {} now.", "{}.", "Remember that I no longer have {}.", "Forget my {}."]
        chosen = random_.choices(kinds, (5, 1, 1, 1, 1), k=4)
        return " ".join(kind.format(" ".join(random_.choices(vocabulary, k=20))) for kind in chosen)

    def scores(prompt: str, option: str) -> float:
        """Mostly `ADD` and `LIFE`, seldom `yes`, so that lines are added faster than they are overtaken."""
        known = {"ADD": -1.0, "NONE": -2.0, "yes": -2.0, "no": -1.0, "TASK": -4.0, "LIFE": -1.0}
        return known.get(option, -9.0 * random_.random()) - (1.5 * random_.random())

    engine = ScriptedEngine(adversarial, scores=scores)
    with opened(engine=engine, policy=policy, notes=notes) as assistant:
        sizes = []
        for _ in range(200):
            chat_id = assistant.store.start_chat("replay")
            assistant.store.add_turn(chat_id, "user", message(), NOON)
            assistant.store.end_chat(chat_id)
            assistant.remember()
            sizes.append(assistant.engine.count(prompt_view(assistant.memory().lines)))
        assert max(sizes) <= BUDGET_TOKENS
        assert max(sizes) > BUDGET_TOKENS * 3 // 4  # the budget was really under pressure
        done = {operation.kind for revision in assistant.store.revisions() for operation in revision.operations}
        assert done == {"add", "delete"} | ({"update"} if policy == "edits" else set())


def test_a_memory_edited_over_the_budget_is_kept_and_brought_back_by_the_next_update(
    opened: Opener, tmp_path: Path
) -> None:
    with opened() as assistant:
        chat = assistant.open_chat()
        say(chat, "I like mountain tea")
        chat.remember()
        path = next(tmp_path.rglob("memory.md"))
        path.write_text(path.read_text() + "".join(f"- Likes item{n} and thing{n} very much\n" for n in range(600)))
        assert assistant.memory_tokens() > BUDGET_TOKENS
        say(chat, "I like long walks")
        chat.remember()
        assert assistant.memory_tokens() <= BUDGET_TOKENS
        assert "I like long walks" in lines(assistant)


def test_relative_dates_become_absolute(opened: Opener) -> None:
    with opened(now=lambda: NOON + timedelta(hours=1)) as assistant:
        chat = assistant.open_chat()
        say(chat, "I like the concert next Tuesday")
        chat.remember()
        assert lines(assistant) == ["I like the concert on 2026-11-24"]


@pytest.mark.parametrize("name", ["a/b", "..", "a\0b", "x" * 300, "", ".hidden"])
def test_bad_user_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EdgememError) as caught:
        open_assistant(name, engine=ScriptedEngine(), data_dir=tmp_path)
    assert caught.value.exit_code == 2
    assert caught.value.hint
