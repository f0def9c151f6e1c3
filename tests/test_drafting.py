"""Drafting: the same text with and without guesses, copied text is accepted, and what does not pay stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from notes_support import NOTES

from edgemem.assistant import open_assistant
from edgemem.engines.base import Drafter, Engine
from edgemem.engines.drafting import Drafts
from edgemem.engines.scripted import ScriptedEngine
from edgemem.memory.copying import MOST, CopyDrafter
from edgemem.values import GREEDY, Sampling, Stats

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MEMORY = "\n".join(f"- [Plans] {day} is a day of the week." for day in DAYS)
LIST = f"{MEMORY}\n" * 3  # a model goes on with the same list once more
CONTEXT = 2048
NEAR_TIE = 0.6
"""Log-odds. Batches of another size round differently (quantized activations), so a guess may decide such a tie."""


@pytest.fixture(scope="module", params=["scripted", pytest.param("llama", marks=pytest.mark.engine)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    opened: Engine
    if request.param == "scripted":
        opened = ScriptedEngine(lambda prompt: f"{MEMORY}\n- [Plans] Goes to Graz.", context_tokens=CONTEXT)
    else:
        from edgemem.engines import open_engine

        path: Path = request.getfixturevalue("smollm2_path")
        opened = open_engine(path, digest="d1", context_tokens=CONTEXT, threads=2)
    yield opened
    opened.close()


def written(
    engine: Engine, drafter: Drafter | None, *, before: str = "", tokens: int = 60, sampling: Sampling = GREEDY
) -> tuple[str, Stats, tuple[int, ...]]:
    session = engine.open()
    session.feed(engine.tokenize(f"{before}{LIST}"))
    pieces = list(session.generate(tokens, sampling, drafter=drafter))
    ids = session.ids
    session.close()
    assert pieces[-1].stats is not None
    return "".join(piece.text for piece in pieces), pieces[-1].stats, ids


def agree(engine: Engine, plain: Sequence[int], drafted: Sequence[int]) -> bool:
    """Whether the ids are the same, or part where the model itself is undecided."""
    if plain == drafted:
        return True
    at = next((i for i, (a, b) in enumerate(zip(plain, drafted, strict=False)) if a != b), None)
    assert at is not None, "one of the texts ended early"
    session = engine.open()
    session.feed(plain[:at])
    one, other = session.score([[plain[at]], [drafted[at]]])
    session.close()
    return abs(one - other) < NEAR_TIE


def copying(engine: Engine, text: str) -> CopyDrafter:
    return CopyDrafter(engine.tokenize(text), lambda token: engine.detokenize([token]))


class Wrong:
    """Always guesses the same token."""

    def __init__(self, token: int) -> None:
        self._token = token
        self.asked = 0

    def draft(self, ids: Sequence[int]) -> Sequence[int]:
        self.asked += 1
        return [self._token] * 7


def test_copied_text_is_accepted_and_the_text_stays_the_same(engine: Engine) -> None:
    plain, without, ids = written(engine, None)
    _, stats, drafted_ids = written(engine, copying(engine, f"{plain}\n"))
    assert agree(engine, ids, drafted_ids)
    assert (without.drafted_tokens, without.accepted_tokens) == (0, 0)
    assert stats.output_tokens == without.output_tokens
    assert stats.accepted_tokens >= 0.8 * stats.output_tokens - 4
    assert stats.accepted_tokens >= 0.8 * stats.drafted_tokens - 4


def test_wrong_guesses_change_nothing_and_become_rare(engine: Engine) -> None:
    plain, without, ids = written(engine, None)
    text, stats, drafted_ids = written(engine, Wrong(engine.tokenize(" zebra")[0]))
    assert agree(engine, ids, drafted_ids)
    assert (text == plain) == (ids == drafted_ids)
    assert stats.output_tokens == without.output_tokens
    assert stats.accepted_tokens == 0
    assert stats.drafted_tokens <= 7 * 6  # after 1, 3, 7, 15, 31 tokens


def test_nothing_to_copy_drafts_little(engine: Engine) -> None:
    _, _, ids = written(engine, None)
    other = "\n".join(f"{number} zebras ran over hill {number}" for number in range(40))
    _, stats, drafted_ids = written(engine, copying(engine, other))
    assert agree(engine, ids, drafted_ids)
    assert stats.drafted_tokens <= stats.output_tokens


def test_a_prompt_longer_than_one_batch_drafts_as_well(engine: Engine) -> None:
    before = "word " * 700
    plain, stats, ids = written(engine, None, before=before, tokens=24)
    text, drafted, drafted_ids = written(engine, copying(engine, f"{plain}\n"), before=before, tokens=24)
    assert stats.prompt_tokens > 512
    assert agree(engine, ids, drafted_ids)
    assert (text == plain) == (ids == drafted_ids)
    assert drafted.accepted_tokens > 0


@pytest.mark.parametrize("tokens", [1, 5, 9])
def test_an_answer_never_grows_beyond_its_length(engine: Engine, tokens: int) -> None:
    _, _, ids = written(engine, None, tokens=tokens)
    _, stats, drafted_ids = written(engine, copying(engine, MEMORY), tokens=tokens)
    assert agree(engine, ids, drafted_ids)
    assert stats.output_tokens == tokens


def test_a_sampled_text_is_not_drafted(engine: Engine) -> None:
    drafter = Wrong(0)
    written(engine, drafter, sampling=Sampling(temperature=0.7, seed=3), tokens=4)
    assert drafter.asked == 0


def test_a_closed_generation_leaves_the_session_usable(engine: Engine) -> None:
    plain, _, _ = written(engine, None)
    session = engine.open()
    prompt = engine.tokenize(LIST)
    session.feed(prompt)
    pieces = session.generate(40, drafter=copying(engine, f"{plain}\n"))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert session.ids[: len(prompt)] == tuple(prompt)
    held = len(session.ids)
    assert session.feed([*session.ids, *engine.tokenize(" and more")]).cached_tokens == held
    assert list(session.generate(3))[-1].stats is not None
    session.close()


def test_a_guess_is_a_line_in_whole_fours(engine: Engine) -> None:
    source = engine.tokenize(f"{MEMORY}\n")
    drafter = copying(engine, f"{MEMORY}\n")
    guess = drafter.draft(engine.tokenize("Here it is:\n"))
    assert guess == source[: len(guess)]
    assert (len(guess) + 1) % 4 == 0
    assert engine.detokenize(guess).startswith(MEMORY.split("\n")[0])
    assert len(guess) <= MOST


def test_the_pointer_is_found_again_after_a_change() -> None:
    source = list("one two three\nfour five six\n")
    ids = [ord(letter) for letter in source]
    drafter = CopyDrafter(ids, chr)
    assert "".join(map(chr, drafter.draft(list(map(ord, "new line, then four fi"))))).startswith("ve six\n")
    assert drafter.draft(list(map(ord, "quite another text"))) == []


def test_drafting_begins_again_where_a_guess_is_right() -> None:
    drafts = Drafts(Wrong(5))
    assert drafts.guess([1], 7)
    assert not drafts.came(6)
    assert drafts.guess([1], 7) == []
    assert drafts.guess([1], 3) == [5, 5, 5]
    assert [drafts.came(5), drafts.came(5), drafts.came(6)] == [True, True, False]
    assert drafts.guess([1], 7)
    assert (drafts.drafted, drafts.accepted) == (17, 2)


def test_overwrite_drafts_from_the_old_memory(tmp_path: Path) -> None:
    def model(prompt: str) -> str:
        listed = [line for line in prompt.split("\n") if line.startswith("- [")]
        if NOTES in prompt or "helpful personal assistant" in prompt:
            return "Fine."
        return "\n".join([*dict.fromkeys(listed), "- [Preferences] Likes mountain tea"])

    facts = ["Sister Ana lives in Halifax", "Works as a baker in Porto", "Plays the cello on Thursdays"]
    with open_assistant("ana", engine=ScriptedEngine(model), data_dir=tmp_path, policy="overwrite") as assistant:
        for fact in facts:
            assistant.add_line(fact)
        chat = assistant.open_chat()
        list(chat.reply("I like mountain tea"))
        report = chat.remember()
        assert report.added == 1
        assert {line.text for line in assistant.memory().lines} == {*facts, "Likes mountain tea"}
        assert report.stats.accepted_tokens >= sum(len(fact.split()) for fact in facts) - 3
