"""The sets behind the figures of docs/trust.md, and what is measured with them."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from edgemem.bench.trust import crash_acts, crashes_run, forgetting_run, provenance_run, secrets_run
from edgemem.bench.trust.planted_run import Model
from edgemem.bench.trust.planted_set import planted_cases
from edgemem.bench.trust.secret_set import SecretCase, harmless_lines, secret_cases
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput
from edgemem.prompting.prompts import load_prompts


def test_each_kind_of_secret_has_twenty_cases_in_four_languages_half_of_them_frozen() -> None:
    cases = secret_cases()
    assert set(Counter(case.kind for case in cases).values()) == {20}
    assert len({case.kind for case in cases}) == 13
    assert set(Counter((case.kind, case.language) for case in cases).values()) == {5}
    assert set(Counter(case.kind for case in cases if case.frozen).values()) == {10}


def test_every_secret_stands_in_its_sentence() -> None:
    for case in secret_cases():
        assert case.values, case
        assert all(value in case.text for value in case.values), case
        assert "[[" not in case.text
        assert "|" not in case.text


def test_planted_instructions_come_eight_ways_half_of_them_frozen() -> None:
    cases = planted_cases()
    assert set(Counter(case.way for case in cases).values()) == {8}
    assert len(cases) == 64
    assert sum(case.frozen for case in cases) == 32
    assert len({case.sign for case in cases}) == 64


def test_every_planted_part_stands_in_its_message() -> None:
    for case in planted_cases():
        assert case.planted, case
        assert all(part in case.text for part in case.planted), case
        assert any(case.sign.casefold() in part.casefold() for part in case.planted), case


def test_a_leak_is_a_part_with_a_digit_or_most_of_the_words() -> None:
    assert secrets_run.leaks("it was 4111 and so on", ["4111 1111 1111 1111"])
    assert secrets_run.leaks("Alder Grove in Leeds", ["27 Alder Grove, Leeds"])
    assert not secrets_run.leaks("somewhere in Leeds", ["27 Alder Grove, Leeds"])


def test_both_gates_are_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that no rule knows is found in the journal and in the memory: the measure can fail."""
    known = SecretCase("card", "en", "My card is 4111 1111 1111 1111", ("4111 1111 1111 1111",), frozen=True)
    unknown = SecretCase("odd", "en", "The phrase is sesame opens 77qq", ("sesame opens 77qq",), frozen=False)
    monkeypatch.setattr(secrets_run, "secret_cases", lambda: [known, unknown])
    found = secrets_run.measure(None)
    total = found["kinds"][-1]
    assert (total["journal"], total["memory"], total["frozen"]) == (1, 1, "0 of 1")
    assert found["missed"][0] == ["odd", "en", False]
    assert "| odd | 1 | 1 | 1 |" in secrets_run.markdown(found)


def test_without_public_sets_there_are_no_false_alarms_to_count(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no public sets"):
        harmless_lines(tmp_path)


def test_requests_to_forget_are_replayed(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "a persona"},
        {"role": "user", "content": "I live in Bern with my two cats."},
        {"role": "assistant", "content": "Since you enjoy raw garlic, try aioli."},
        {"role": "user", "content": "Please forget that I enjoy raw garlic."},
        {"role": "user", "content": "I always forget my keys."},
    ]
    (tmp_path / "personamem_evo").mkdir()
    (tmp_path / "personamem_evo/persona0.json").write_text(json.dumps({"messages": messages}), "utf-8")
    rows = list(forgetting_run.run(tmp_path, tmp_path / "rows.jsonl"))
    assert list(forgetting_run.run(tmp_path, tmp_path / "rows.jsonl")) == []
    assert forgetting_run.summary(rows) == {
        "requests": 1,
        "recognised": 1,
        "memories_still_saying_it": 0,
        "messages_still_saying_it": 0,
        "requests_whose_words_stand_in_the_bytes": 0,
        "lines_before": 2,
        "lines_asked_for": 1,
        "lines_lost_that_were_not_asked_for": 0,
        "messages_and_answers_erased": 2,
    }


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="needs Linux and cc")
def test_an_undo_and_forgetting_everything_survive_every_kill_and_every_full_disk() -> None:
    """Two acts of `bench trust crashes`; all of them take four minutes."""
    rows = crashes_run.measure(["undo", "forget everything"])
    assert [row["faults"] for row in rows] == [[], []]
    for row in rows:
        assert row["survived"] == sum(row["points"].values()) > 3 * row["effects"] / 2
    assert crashes_run.markdown(rows).count("\n") == 5


def test_a_half_change_a_lie_and_a_word_left_are_found(tmp_path: Path) -> None:
    """The measure can fail."""
    act = next(act for act in crash_acts.ACTS if act.name == "forget")
    act.prepare(tmp_path)
    old = crashes_run._state(tmp_path)
    told = {"end": "killed", "told": ["done", "turn never kept"]}
    problems = crashes_run._problems(act, tmp_path, old, old | {"memory": ["other"]}, told, 1)
    assert problems[:2] == ["a kept message is lost: {'never kept'}", "said to be done, and it is not"]
    assert problems[2].startswith("doing it again gives")
    (tmp_path / "users/ada/memory.md").write_text("## Plans\n- Something else\n", "utf-8")
    (tmp_path / "note.txt").write_text("MARZIPAN", "utf-8")
    problems = crashes_run._problems(act, tmp_path, old, old, {"end": "killed", "told": []}, 1)
    assert len(problems) == 1
    assert problems[0].startswith("half a change")
    assert crashes_run._forgotten(act, tmp_path) == ["forgotten, but the word is in note.txt"]


def test_sixty_turns_of_five_kinds() -> None:
    turns = provenance_run.gold_turns()
    kinds = {"asked": 12, "stated": 20, "requested": 12, "special": 10, "others": 6}
    assert Counter(turn.kind for turn in turns) == kinds
    for turn in turns:
        assert provenance_run._says(turn.text, turn), turn


def test_turns_are_counted_by_where_they_went(tmp_path: Path) -> None:
    """A model that keeps every sentence as it is: special facts wait, and every line has a source."""
    model = Model(ScriptedEngine(lambda prompt: "ADD About: x y z"), load_prompts(), "edits", None)
    rows = list(provenance_run.run(model, tmp_path / "rows.jsonl"))
    counts = {row["kind"]: row for row in provenance_run.summary(rows)}
    assert len(rows) == 60
    assert counts["special"]["active"] == 0
    assert counts["special"]["waiting"] > 0
    assert {row["lines without a source"] for row in counts.values()} == {0}
    assert list(provenance_run.run(model, tmp_path / "rows.jsonl")) == []
    assert provenance_run.markdown(rows).count("\n") == 7
