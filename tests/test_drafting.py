"""Drafting: the same text with and without guesses, copied text is accepted, and what does not pay stops."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from notes_support import NOTES
from ties_support import agree

from edgemem.assistant import open_assistant
from edgemem.engines.base import Drafter, Engine
from edgemem.engines.drafting import BATCH_COSTS, Drafts
from edgemem.engines.scripted import ScriptedEngine
from edgemem.memory.copying import MOST, CopyDrafter
from edgemem.values import GREEDY, Sampling, Stats

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MEMORY = "\n".join(f"- [Plans] {day} is a day of the week." for day in DAYS)
LIST = f"{MEMORY}\n" * 3  # a model goes on with the same list once more
CONTEXT = 2048


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
    assert stats.drafted_tokens <= 7 * 8  # twice at first, then after 1, 3, 7, 15 and 31 tokens


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


def test_a_guess_goes_on_where_the_text_stands(engine: Engine) -> None:
    source = engine.tokenize(f"{MEMORY}\n")
    drafter = copying(engine, f"{MEMORY}\n")
    guess = drafter.draft(engine.tokenize("Here it is:\n"))
    assert guess == source[:MOST]
    assert drafter.draft([*engine.tokenize("Here it is:\n"), *source[:9]]) == source[9 : 9 + MOST]


def test_the_pointer_is_found_again_after_a_change() -> None:
    source = list("one two three\nfour five six\n")
    ids = [ord(letter) for letter in source]
    drafter = CopyDrafter(ids, chr)
    assert "".join(map(chr, drafter.draft(list(map(ord, "new line, then four fi"))))).startswith("ve six\n")
    assert drafter.draft(list(map(ord, "quite another text"))) == []


def test_after_a_wrong_guess_the_next_line_is_waited_for() -> None:
    drafter = CopyDrafter(list(map(ord, "- one two\n- three four\n- five six\n")), chr)
    text = list(map(ord, "\n"))
    assert drafter.draft(text)[0] == ord("-")
    text += map(ord, "- oh")  # agreed on four tokens, then went its own way
    assert drafter.draft(text) == []
    text += map(ord, ", something else\n")
    assert "".join(map(chr, drafter.draft(text))).startswith("- three four\n")


def test_guesses_grow_while_they_are_right_and_stop_where_they_are_wrong() -> None:
    drafts = Drafts(Copy())
    sizes = []
    for _ in range(6):
        sizes.append(len(drafts.guess([1], 99)))
        assert all(drafts.came(5) for _ in range(sizes[-1]))
        assert not drafts.came(6)
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (7, 15)
    guesses = [len(drafts.guess([1], 99)) for _ in range(60) if not drafts.came(6)]
    assert sum(map(bool, guesses[30:])) <= 1
    while not (guess := drafts.guess([1], 99)):  # now and then one more is tried
        pass
    assert [drafts.came(5) for _ in guess] == [True] * 7
    assert not drafts.came(6)
    assert len(drafts.guess([1], 99)) >= 7


def test_longer_guesses_where_batches_cost_little() -> None:
    drafts = Drafts(Copy(), {8: 1.1, 16: 1.2, 48: 1.5})
    for _ in range(6):
        guess = drafts.guess([1], 99)
        assert [drafts.came(5) for _ in guess] == [True] * len(guess)
        assert not drafts.came(6)
    assert len(guess) == 47


def test_a_guess_is_no_longer_than_what_is_wanted() -> None:
    assert Drafts(Copy()).guess([1], 3) == [5, 5, 5]
    assert Drafts(Copy()).guess([1], 0) == []
    assert Drafts(Copy(), {}).guess([1], 9) == []  # a machine where no batch pays


class Copy:
    """Always has a long guess."""

    def draft(self, ids: Sequence[int]) -> Sequence[int]:
        return [5] * MOST


@pytest.mark.parametrize(
    ("change", "least"), [("nothing", 3.0), ("a fifth of the lines", 2.0), ("every line", 0.97), ("another text", 0.97)]
)
def test_what_drafting_gains_by_the_measured_costs(change: str, least: float) -> None:
    """Rows' worth of time that a text takes with guesses, by BATCH_COSTS, for a memory of 80 lines of 14 words."""
    chance = random.Random(1)
    words = [f"w{number}" for number in range(3000)]
    line = lambda: ["-", "[", "About", "]", *chance.choices(words, k=10), "\n"]  # noqa: E731
    old = [line() for _ in range(80)]
    every = {"nothing": 99, "a fifth of the lines": 5, "every line": 1}.get(change, 1)
    new = [line() if number % every == every - 1 else kept for number, kept in enumerate(old)]
    if change == "another text":
        new = [[*chance.choices(words, k=40), "\n"] for _ in range(30)]
    texts = {word: number for number, word in enumerate(["-", "[", "About", "]", "\n", *words])}
    back = list(texts)
    ids = lambda lines: [texts[word] for one in lines for word in one]  # noqa: E731
    drafts, target, done, cost = Drafts(CopyDrafter(ids(old), lambda token: back[token])), ids(new), [], 0.0
    for token in target:
        if not drafts.came(token):
            size = len(drafts.guess([*done, token], len(target) - len(done) - 1))
            cost += 1.0 if size == 0 else min(price for rows, price in BATCH_COSTS.items() if rows > size)
        done.append(token)
    assert len(target) / cost >= least


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
