"""One suite for every engine: what the seam promises, on the scripted engine and on a real small model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemem.engines.base import Branch, Engine, Question, Session
from edgemem.errors import ContextExceeded
from edgemem.values import Message, Piece, Sampling

CONTEXT = 1024


class Letters:
    """A constraint: lower-case letters, at most twelve."""

    def allows(self, text: str) -> bool:
        return text.isascii() and text.isalpha() and text.islower() and len(text) <= 12

    def complete(self, text: str) -> bool:
        return len(text) >= 3


ENGINES = [
    "scripted",
    pytest.param("llama", marks=pytest.mark.engine),
    pytest.param("onnx", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    opened: Engine
    if request.param == "scripted":
        from edgemem.engines.scripted import ScriptedEngine

        opened = ScriptedEngine(lambda prompt: "abcdef ghi jkl mno pqr stu vwx yz", context_tokens=CONTEXT)
    else:
        from edgemem.engines import open_engine

        path: Path = request.getfixturevalue({"llama": "smollm2_path", "onnx": "tiny_onnx"}[request.param])
        opened = open_engine(path, digest="d1", context_tokens=CONTEXT, threads=2)
    yield opened
    opened.close()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    opened = engine.open()
    yield opened
    opened.close()


def prompt(engine: Engine, text: str = "Say the alphabet.") -> list[int]:
    return engine.render([Message("system", "You are terse."), Message("user", text)])


def whole(pieces: Iterator[Piece]) -> tuple[str, Piece]:
    parts = list(pieces)
    return "".join(piece.text for piece in parts), parts[-1]


def test_tokens_round_trip_and_count(engine: Engine) -> None:
    for text in ("Hello there, world.", "Größe ändern", "日本語と絵文字 🙂", "a\n\nb"):
        ids = engine.tokenize(text)
        assert engine.detokenize(ids) == text
        assert engine.count(text) == len(ids) > 0


def test_text_that_spells_a_control_token_stays_text(engine: Engine) -> None:
    info_control = {"scripted": "<|end|>", "llama": "<|im_end|>", "onnx": "<|im_end|>"}[engine.info.engine]
    plain, hostile = prompt(engine, "hello"), prompt(engine, f"hello {info_control}")
    control_id = plain[-1:] if engine.info.engine == "scripted" else plain[-3:]
    count = {"scripted": engine.render([Message("user", "x")])[-2], "llama": 2, "onnx": 2}[engine.info.engine]
    assert hostile.count(count) == plain.count(count), control_id


def test_feeding_computes_only_what_follows_the_common_prefix(engine: Engine, session: Session) -> None:
    ids = prompt(engine)
    first = session.feed(ids)
    again = session.feed([*ids, *engine.tokenize(" and more")])
    assert (first.prompt_tokens, first.cached_tokens) == (len(ids), 0)
    assert again.cached_tokens == len(ids)
    assert session.ids == tuple(ids + engine.tokenize(" and more"))


def test_greedy_generation_is_deterministic_and_ends_with_stats(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine))
    text, last = whole(session.generate(12))
    other = engine.open()
    other.feed(prompt(engine))
    again, _ = whole(other.generate(12))
    other.close()
    assert text
    assert text == again
    assert last.stats is not None
    assert 0 < last.stats.output_tokens <= 12
    assert last.stats.stop_reason in ("eos", "length")


def test_a_seed_makes_sampling_repeatable(engine: Engine, session: Session) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.95, top_k=40, seed=7)
    ids = prompt(engine)
    texts = []
    for _ in range(2):
        session.feed(ids)
        texts.append(whole(session.generate(10, sampling))[0])
    assert texts[0] == texts[1]


def test_ids_after_a_generation_are_prompt_and_output(engine: Engine, session: Session) -> None:
    ids = prompt(engine)
    session.feed(ids)
    text, _ = whole(session.generate(6))
    assert session.ids[: len(ids)] == tuple(ids)
    assert engine.detokenize(session.ids[len(ids) :]) == text


def test_a_continued_chat_equals_one_rendered_at_once_in_what_is_cached(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine))
    whole(session.generate(6))
    held = session.ids
    stats = session.feed([*held, *engine.render_next(Message("user", "Go on."))])
    assert stats.cached_tokens == len(held)


def test_stop_text_ends_the_answer_and_is_not_part_of_it(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine))
    full, _ = whole(session.generate(12))
    stop = full[3:5]
    session.feed(prompt(engine))
    text, last = whole(session.generate(12, stop=[stop]))
    assert text == full[: full.index(stop)]
    assert last.stats is not None
    assert last.stats.stop_reason == "stop"


def test_a_constraint_holds_for_every_text(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine))
    text, _ = whole(session.generate(12, constraint=Letters()))
    assert text
    assert Letters().allows(text)


def test_max_tokens_stops_with_length(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine))
    _, last = whole(session.generate(2))
    assert last.stats is not None
    assert (last.stats.output_tokens, last.stats.stop_reason) == (2, "length")


def test_cancelling_ends_the_stream_with_its_reason(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine))
    asked = iter([False, False, True])
    _, last = whole(session.generate(12, cancelled=lambda: next(asked, True)))
    assert last.stats is not None
    assert last.stats.stop_reason == "cancelled"
    assert last.stats.output_tokens <= 2


def test_cancelled_branches_write_nothing_and_leave_the_session(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine))
    held = session.ids
    branches = [Branch(session, tuple(engine.tokenize(f"{word} " * 300)), 8) for word in ("red", "blue")]
    done = engine.generate_many(branches, cancelled=lambda: True)
    assert [(one.text, one.stats.stop_reason) for one in done] == [("", "cancelled")] * 2
    assert all(one.stats.first_token_s >= 0 for one in done)
    assert session.ids == held
    assert whole(session.generate(4))[0]


def test_a_fork_goes_its_own_way(engine: Engine, session: Session) -> None:
    ids = prompt(engine)
    session.feed(ids)
    fork = session.fork()
    stats = fork.feed([*ids, *engine.tokenize(" B")])
    fork.close()
    assert stats.cached_tokens == len(ids)
    assert session.ids == tuple(ids)


def test_closing_gives_sequences_back(engine: Engine) -> None:
    ids = prompt(engine)
    for _ in range(100):
        session = engine.open()
        session.feed(ids)
        session.close()
        session.close()


def test_branches_decode_as_one_batch_and_leave_the_session(engine: Engine, session: Session) -> None:
    ids = prompt(engine)
    session.feed(ids)
    branches = [Branch(session, tuple(engine.tokenize(f" {word}")), max_tokens=4) for word in ("one", "two", "six")]
    done = engine.generate_many(branches)
    assert [generation.stats.output_tokens <= 4 for generation in done] == [True] * 3
    assert [generation.stats.cached_tokens for generation in done] == [len(ids)] * 3
    assert session.ids == tuple(ids)


def test_more_branches_than_sequences_run_in_waves(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine))
    suffix = tuple(engine.tokenize(" x"))
    assert len(engine.generate_many([Branch(session, suffix, max_tokens=1)] * 70)) == 70


def test_scores_are_log_probabilities_and_agree_one_by_one_and_together(engine: Engine, session: Session) -> None:
    session.feed(prompt(engine, "Answer yes or no: is water wet?"))
    options = tuple(tuple(engine.tokenize(text)) for text in ("Yes", "No", "Perhaps not at all"))
    alone = session.score(options)
    suffix = tuple(engine.tokenize("\n"))
    together = engine.score_many([Question(session, suffix, options)] * 5)
    fork = session.fork()
    fork.feed([*session.ids, *suffix])
    one = fork.score(options)
    fork.close()
    assert all(score <= 0 for score in alone)
    for row in together:  # batches of another size round differently (quantized activations)
        assert row == pytest.approx(one, abs=0.6)


def test_a_prompt_longer_than_the_context_is_an_error_and_changes_nothing(engine: Engine, session: Session) -> None:
    ids = prompt(engine)
    session.feed(ids)
    with pytest.raises(ContextExceeded) as caught:
        session.feed([*ids, *engine.tokenize("word " * 3000)])
    assert caught.value.hint
    assert session.ids == tuple(ids)


def test_a_prompt_longer_than_one_batch_is_fed(engine: Engine, session: Session) -> None:
    ids = prompt(engine, "word " * 700)
    assert 600 < len(ids) < CONTEXT
    assert session.feed(ids).prompt_tokens == len(ids)
    assert whole(session.generate(2))[1].stats is not None


def test_a_saved_sequence_is_restored_and_answers_the_same(engine: Engine, session: Session, tmp_path: Path) -> None:
    ids = prompt(engine)
    session.feed(ids)
    session.save(tmp_path / "a.kv")
    expected, _ = whole(session.generate(8))
    other = engine.open()
    assert other.load(tmp_path / "a.kv") is True
    stats = other.feed(ids)
    text, _ = whole(other.generate(8))
    other.close()
    assert stats.cached_tokens >= len(ids) - 1
    assert text == expected


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped"])
def test_a_damaged_snapshot_is_not_used(engine: Engine, session: Session, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.kv"
    session.feed(prompt(engine))
    session.save(path)
    raw = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(raw[:-7])
    else:
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    other = engine.open()
    assert other.load(path) is False
    assert other.ids == ()
    other.close()
