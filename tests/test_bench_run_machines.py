"""Rows of several machines, models and versions: joined unmixed, compared in pairs; one writes for another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_run_child import chosen
from cli_support import answers_file, edgemem
from test_bench_run_report import Row, question, rows, session

from edgemem.bench.comparing import build, markdown
from edgemem.bench.merging import merge
from edgemem.bench.report import build as report
from edgemem.bench.rows import Setup, Writer, read_rows
from edgemem.bench.run import Run
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput
from edgemem.prompting.prompts import load_prompts

OTHER = {"machine": {"cpu": "D", "cores": 8}}


def test_rows_of_two_machines_stay_apart() -> None:
    merged = merge([rows(), [row | OTHER for row in rows()]])
    assert (len(merged.rows), merged.repeated, merged.again) == (2 * len(rows()), 0, 0)
    assert [group["machine"]["cpu"] for group in report(merged.rows)] == ["C", "D"]


def test_what_one_machine_measured_twice_is_kept_once_the_newest_and_counted() -> None:
    old = question("a1", "memory", False, at="2026-01-01T00:00:00", choice=0)
    new = question("a1", "memory", True, at="2026-01-02T00:00:00", choice=1)
    for order in ([new], [old, new]), ([old, new], [new]), ([new, old], [old]):
        merged = merge(order)
        assert merged.rows == [new]
        assert (merged.again >= 1 or order == ([new], [new]), merged.choices_differ >= 1) == (True, True)
    assert (merge([[old], [old]]).repeated, merge([[old], [old]]).again) == (1, 0)


def test_the_command_says_what_it_left_out_and_overwrites_nothing(tmp_path: Path) -> None:
    one, two, out = (tmp_path / name for name in ("one.jsonl", "two.jsonl", "out.jsonl"))
    write(one, rows())
    write(two, [*rows()[:2], *(row | OTHER for row in rows())])
    said = edgemem("bench", "merge", str(one), str(two), "--out", str(out)).stdout
    assert f"{2 * len(rows())} rows of 2 machines in {out}; left out: 2 repeated, 0 measured again" in said
    assert len(read_rows([out])) == 2 * len(rows())
    assert "there already" in edgemem("bench", "merge", str(one), "--out", str(out), code=2).stderr


def write(path: Path, found: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))


def part(found: dict[str, Any], arm: str) -> dict[str, Any]:
    return next(one for one in found["parts"] if one["arm"] == arm)


def test_only_questions_that_both_answered_are_compared() -> None:
    theirs = [row | OTHER | {"total_s": row.get("total_s", 0) * 2} for row in rows() if row["case"] != "a2"]
    found = build(rows(), theirs)
    memory, full = part(found, "memory"), part(found, "full_history")
    assert (memory["asked"], memory["answered"], memory["same_choice"]) == (2, 2, 2)
    assert (full["asked"], full["answered"]) == (2, 1)  # the other one did not fit
    assert (full["costs"]["total_s"]["a"], full["costs"]["total_s"]["difference"]) == (6.5, 6.5)
    assert (found["only_a"], found["only_b"], found["paired_within"]) == (3, 0, [])
    assert memory["scores"]["strict"]["difference"] == 0
    assert found["sessions"][0]["seconds"]["of"] == 3


def test_the_interval_is_of_the_differences_not_of_the_means() -> None:
    """Questions that are hard on both sides say nothing against a side."""
    ours = [question(f"{number}1", "memory", number % 2 == 0) for number in range(40)]
    theirs = [row | {"strict": True if row["case"] == "11" else row["strict"]} for row in ours]
    strict = part(build(ours, theirs), "memory")["scores"]["strict"]
    assert strict["difference"] == pytest.approx(1 / 40)
    assert 0 <= strict["low"] <= strict["high"] <= 4 / 40


def test_two_models_on_both_sides_are_paired_within_a_model_else_across() -> None:
    small = [row | {"model_digest": "s" * 64, "model": "small"} for row in rows()]
    assert build(rows(), small)["paired_within"] == []
    both = build([*rows(), *small], [*rows(), *small])
    assert both["paired_within"] == ["model", "model_digest"]
    assert part(both, "memory")["asked"] == 6


def test_the_comparison_names_what_differs(tmp_path: Path) -> None:
    text = markdown(build(rows(), [row | OTHER | {"model": "n"} for row in rows()]), "a.jsonl", "b.jsonl")
    assert "| machine | C, 2 cores,  | D, 8 cores,  | differs |" in text
    assert "| model | m | n | differs |" in text
    assert "| memory | 3 of 3 | 67 -> 67: +0 [+0, +0] | 100 -> 100: +0 [+0, +0] | 3 of 3 |" in text
    one, two = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    write(one, rows())
    write(two, [row | OTHER for row in rows()])
    assert "# b.jsonl (B) compared with a.jsonl (A)" in edgemem("bench", "compare", str(one), str(two)).stdout
    found = json.loads(edgemem("bench", "compare", str(one), str(two), "--json").stdout)
    assert part(found, "none")["answered"] == 3
    write(two, [session("z", 1, 1.0), question("z1", "none", True)])
    assert "no question in common" in edgemem("bench", "compare", str(one), str(two), code=2).stderr
    with pytest.raises(InvalidInput):
        build(rows(), [])


def test_one_model_writes_and_another_reads(tmp_path: Path) -> None:
    reader = ScriptedEngine(lambda prompt: "(a)", name="reader")
    writer = ScriptedEngine(lambda prompt: "NONE", name="writer")
    alone = Setup(reader, load_prompts())
    other = Setup(reader, load_prompts(), writer=Writer(writer, load_prompts()))
    cases = chosen()[:2]
    added = [step.row for step in Run(other, cases, ["memory", "none"], tmp_path / "rows.jsonl").steps()]
    asked = [row for row in added if row["kind"] == "question"]
    assert {(row["arm"], row["model"], row["write_model"]) for row in asked} == {
        ("memory", "reader", "writer"),
        ("none", "reader", ""),
    }
    assert len(reader.prompts) == len(asked)
    assert writer.prompts or writer.scored
    again = [step.row for step in Run(alone, cases, ["memory", "none"], tmp_path / "rows.jsonl").steps()]
    assert {row["arm"] for row in again if row["kind"] == "question"} == {"memory"}  # `none` writes nothing
    names = {arm["name"].rpartition(" by ")[2] for arm in report([*added, *again])[0]["arms"]}
    assert "writer)" in names


def test_the_command_opens_both_models(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    words = ("bench", "run", "--tasks", "memoryctrl", "--arms", "memory", "--rows", str(tmp_path / "rows.jsonl"))
    models = ("--read-model", answers_file(tmp_path, "(a)"), "--write-model", answers_file(tmp_path / "w", "NONE"))
    edgemem(*words, *models, "--limit", "1")
    asked = [row for row in read_rows([tmp_path / "rows.jsonl"]) if row["kind"] == "question"]
    assert [row["strict"] is not None for row in asked] == [True]
