"""Running `bench write`: the shipped assistant learns, rows are durable, a run goes on where it was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_write_child import chained_cases, setup

from edgemem.bench.chains import Chains
from edgemem.bench.writing import run as running
from edgemem.bench.writing.cases import load_cases
from edgemem.bench.writing.run import Setup, run_cases
from edgemem.bench.writing.values import ThirdParty, Trap, WriteCase
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput
from edgemem.prompting.prompts import load_prompts

VARYING = ("at", "seconds")


def scripted(*answers: str, policy: str = "edits") -> Setup:
    return Setup(ScriptedEngine(answers), load_prompts(), policy, card_thresholds={"notes": 1.0})


def rows_in(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in VARYING} for row in found]


def chat(**changes: Any) -> WriteCase:
    return replace(chained_cases()[0], **changes)


def run(setup: Setup, *cases: WriteCase, rows: Path, limit: int | None = None) -> list[dict[str, Any]]:
    return [step.row for step in run_cases(setup, cases, rows, limit)]


def test_a_row_says_what_was_learned_and_what_it_cost(tmp_path: Path) -> None:
    case = chat(
        memory_before=("Has a dog",),
        traps=(Trap("Lives in Lund", "task", ("lives",)),),
        third_party=(ThirdParty("Ana sings", ("ana", "sing"), "Ana"),),
    )
    case = replace(case, turns=(*case.turns, ("user", "Please remember my card number, it is 4111 1111 1111 1111.")))
    engine = ScriptedEngine(lambda prompt: "ADD Preferences: Likes the town of Lund" if "Lund." in prompt else "NONE")
    run(replace(scripted("NONE"), engine=engine), case, rows=tmp_path / "rows.jsonl")
    (row,) = rows_in(tmp_path / "rows.jsonl")
    assert row["gold"] == [{"kind": "explicit", "found": True, "known": False, "change": False}]
    assert row["lines"] == ["Has a dog", "Likes the town of Lund"]
    assert row["refused"] == [
        {"reason": "secret", "text": "Please remember my card number, it is [masked card number]"}
    ]
    assert row["operations"] == {"add": 1, "update": 0, "delete": 0}
    assert row["rejected"] == {"secret": 1}
    assert (row["traps"], row["third_party"]) == ([{"kind": "task", "stored": False}], [False])
    assert row["languages"] == {"right": 1, "other": 0, "undecided": 0}
    assert (row["policy"], row["variant"], row["model"], row["matcher"]) == ("edits", "", "scripted", 1)
    assert row["budget_kept"]
    assert row["prompt_tokens"] > 0
    assert row["output_tokens"] > 0


def test_a_fact_that_the_memory_had_before_is_known(tmp_path: Path) -> None:
    run(scripted("NONE"), chat(memory_before=("Likes Lund",)), rows=tmp_path / "rows.jsonl")
    assert rows_in(tmp_path / "rows.jsonl")[0]["gold"][0]["known"]


def test_rows_of_sets_that_are_not_ours_hold_no_text(tmp_path: Path) -> None:
    run(scripted("ADD Preferences: Likes the town of Lund"), chat(own=False), rows=tmp_path / "rows.jsonl")
    assert "Lund" not in (tmp_path / "rows.jsonl").read_text()
    assert "Likes the town of Lund" in (tmp_path / "rows.jsonl.lines.jsonl").read_text()


def test_the_naive_way_takes_the_reply_as_it_is(tmp_path: Path) -> None:
    case = chat(memory_before=("Has a dog",))
    reply = "- [About] Lives on the moon\n- [About] Lives on the moon"
    run(scripted(reply, policy="naive"), case, rows=tmp_path / "rows.jsonl")
    (row,) = rows_in(tmp_path / "rows.jsonl")
    assert row["lines"] == ["Lives on the moon", "Lives on the moon"]
    assert (row["policy"], row["rejected"]) == ("naive", {})


def test_the_naive_way_loses_everything_with_a_reply_that_has_no_points(tmp_path: Path) -> None:
    run(scripted("Sorry.", policy="naive"), chat(memory_before=("Has a dog",)), rows=tmp_path / "rows.jsonl")
    assert rows_in(tmp_path / "rows.jsonl")[0]["lines"] == []


def test_the_overwrite_policy_is_checked(tmp_path: Path) -> None:
    reply = "- [About] Has a dog\n- [Preferences] Likes the town of Lund\n- [About] Lives on the moon"
    run(scripted(reply, policy="overwrite"), chat(memory_before=("Has a dog",)), rows=tmp_path / "rows.jsonl")
    assert rows_in(tmp_path / "rows.jsonl")[0]["lines"] == ["Has a dog", "Likes the town of Lund"]


def test_what_is_there_is_not_run_again_and_limits_count_new_cases(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    cases = [chat(id=name) for name in ("a", "b", "c")]
    assert [row["case"] for row in run(scripted("NONE"), *cases, rows=rows, limit=2)] == ["a", "b"]
    assert [row["case"] for row in run(scripted("NONE"), *cases, rows=rows, limit=2)] == ["c"]
    assert run(scripted("NONE"), *cases, rows=rows) == []
    assert len(run(scripted("- x", policy="naive"), *cases, rows=rows)) == 3


def test_rows_of_changed_code_are_not_mixed_with_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.jsonl"
    run(scripted("NONE"), chat(), rows=rows)
    monkeypatch.setattr(running, "code_digest", lambda: "0123456789abcdef")
    assert len(run(scripted("NONE"), chat(), rows=rows)) == 1


def test_a_chain_goes_on_with_the_memory_of_the_chat_before(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    last = run(setup(), *chained_cases(), rows=rows)[-1]
    assert last["lines"] == [f"Likes the town of {town}" for town in ("Lund", "Porto", "Graz", "Brest")]
    assert [fact["fact"] for fact in last["earlier"]] == ["c1.0", "c2.0", "c3.0"]
    assert all(fact["found"] for fact in last["earlier"])
    assert not (tmp_path / "rows.jsonl.homes").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    run(setup(), *chained_cases(), rows=whole)
    child = [sys.executable, str(Path(__file__).with_name("bench_write_child.py")), str(torn), "Graz"]
    done = subprocess.run(child, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["c1", "c2"])
    with torn.open("a") as file:
        file.write('{"set": "retention", "case": "c3", "po')  # as a kill within a write would leave it
    assert [row["case"] for row in run(setup(), *chained_cases(), rows=torn)] == ["c3", "c4"]
    assert rows_in(torn) == rows_in(whole)


def test_a_kill_between_home_and_row_does_no_harm(tmp_path: Path) -> None:
    chains = Chains(tmp_path / "homes", ("run",))
    first, second = chained_cases()[:2]
    for case, content in ((first, "one"), (second, "one two"), (second, "one two again")):
        with chains.home(case, True) as home:
            home.mkdir(exist_ok=True)
            if case is second:
                assert (home / "file").read_text() == "one"
            (home / "file").write_text(content)
    chains.done(second, True)
    with chains.home(chained_cases()[2], True) as home:
        assert (home / "file").read_text() == "one two again"


def test_a_home_that_a_kill_left_behind_goes_with_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.jsonl"
    with monkeypatch.context() as killed:
        killed.setattr(Chains, "done", lambda *arguments: None)
        run(setup(), *chained_cases(), rows=rows, limit=2)
    run(setup(), *chained_cases(), rows=rows)
    assert not (tmp_path / "rows.jsonl.homes").exists()


def test_a_chain_that_has_no_start_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="c2 goes on where c1 ended"):
        run(setup(), *chained_cases()[1:], rows=tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "magic"}, "there is no way to write called 'magic'"),
        ({"policy": "naive", "without": ("check",)}, "naive has no steps that can be left out"),
        ({"without": ("check",)}, "edits has no step 'check'"),
    ],
)
def test_what_cannot_be_run_is_said(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        run(replace(scripted("NONE"), **changes), chat(), rows=tmp_path / "rows.jsonl")


def test_steps_left_out_reach_the_policy_and_name_the_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, float], set[str]]] = []

    def opener(name: str, *, thresholds: dict[str, float], without: tuple[str, ...]) -> str:
        asked.append((name, thresholds, set(without)))
        return "policy"

    monkeypatch.setattr(running, "open_policy", opener)
    chosen = replace(scripted("NONE"), without=("wording", "changes"), card_thresholds={"keep": 0.5})
    assert (running.writer(chosen), asked) == ("policy", [("edits", {"keep": 0.5}, {"wording", "changes"})])
    assert (chosen.variant, replace(chosen, label="second").variant) == ("-changes -wording", "second")


def test_all_our_dev_chats_run(tmp_path: Path) -> None:
    cases = load_cases(["own"], split="dev")
    assert len(run(scripted("NONE"), *cases, rows=tmp_path / "rows.jsonl")) == len(cases)
