"""`bench speed`: samples are taken side by side, once, and become ratios."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_support import answers_file, call
from notes_support import NOTES

from edgemem.bench.speed.chats import forty_chats
from edgemem.bench.speed.formula import kept_ratio, prefill_flops
from edgemem.bench.speed.llama_bench import LlamaBench, built
from edgemem.bench.speed.report import build, interval, markdown
from edgemem.bench.speed.run import ROWS, chosen_rows, measure
from edgemem.bench.writing.run import Setup
from edgemem.catalogue.gguf import GGUFHeader
from edgemem.engines.base import EngineInfo
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import EngineFailed, InvalidInput
from edgemem.prompting.prompts import load_prompts


def setup() -> Setup:
    answers = lambda prompt: "NONE" if NOTES in prompt else "- [About] Lives in Lund"  # noqa: E731
    return Setup(ScriptedEngine(answers, context_tokens=20_000), load_prompts(), "edits")


def sample(row: str, arm: str, repeat: int, value: float, **more: Any) -> dict[str, Any]:
    return {"row": row, "arm": arm, "repeat": repeat, "value": value, "model": "m", **more}


def test_samples_alternate_and_are_taken_once(tmp_path: Path) -> None:
    file = tmp_path / "speed.jsonl"
    first = list(measure(setup(), ["1", "2", "3", "6"], file, repeats=2))
    names = ["1", "2 copy", "2 new", "3", "6"]
    assert [(one["row"], one["arm"]) for one in first] == [(name, arm) for name in names for arm in "abab"]
    assert list(measure(setup(), ["3"], file, repeats=2)) == []
    more = list(measure(setup(), ["3"], file, repeats=3))
    assert [(one["row"], one["arm"], one["repeat"]) for one in more] == [("3", "a", 2), ("3", "b", 2)]
    stored = [json.loads(line) for line in file.read_text().splitlines()]
    assert stored == [*first, *more]
    assert all(one["model_digest"] and one["threads"] and one["cpu"] and one["ram_bytes"] for one in stored)
    third = {one["arm"]: one["prefilled"] for one in more}
    assert third["a"] > 20 * third["b"]
    report = build(stored, ["1", "2", "3", "6"])
    assert [line["row"] for line in report["lines"]] == names
    assert "| 3 | first token" in markdown(report)


def test_forty_chats_read_less_than_their_history() -> None:
    chats = forty_chats(setup(), chats=6, tokens=300)
    assert [one["chat"] for one in chats] == [1, 2, 3, 4, 5, 6]
    assert chats[-1]["history_tokens"] > 5 * 150
    assert [one["kept_prefilled"] > 0 for one in chats] == [one["memory_tokens"] > 0 for one in chats]
    assert all(one["first_token_s"] > 0 and one["update_s"] > 0 and one["prefilled"] > 0 for one in chats)


def test_a_ratio_leaves_the_first_repeat_out() -> None:
    slow = [sample("3", "a", repeat, value, prefilled=100) for repeat, value in enumerate([90.0, 10.0, 12.0, 11.0])]
    fast = [sample("3", "b", repeat, value, prefilled=10) for repeat, value in enumerate([9.0, 1.0, 1.0, 1.0])]
    other = [{**slow[1], "model": "another", "value": 1000.0}]
    (line,) = build([*other, *slow, *fast], ["3"])["lines"]
    assert (line["ratio"], line["n"], line["a"]["median"], line["a"]["p95"]) == (11.0, 3, 11.0, 12.0)
    assert line["interval"] == (10.0, 12.0)
    assert line["counts"]["tokens read A / B"] == 10


def test_an_interval_is_the_same_every_time() -> None:
    a, b = [1.0, 2.0, 3.0, 4.0], [1.0, 1.5]
    assert interval(a, b) == interval(a, b)


def test_rows_are_chosen_by_number() -> None:
    assert chosen_rows("") == list(ROWS)
    assert chosen_rows("1, 3") == ["1", "3"]
    with pytest.raises(InvalidInput):
        chosen_rows("1,11")
    assert build([], ["1"])["lines"] == []


def header(**more: int) -> GGUFHeader:
    """Of Qwen2.5-0.5B, whose sums are known."""
    values = {"parameters": 630_167_424, "embedding_parameters": 272_269_312, "embedding": 896, "blocks": 24, **more}
    texts = dict.fromkeys(("architecture", "name", "chat_template", "tokenizer", "pre_tokenizer", "file_type"), "")
    numbers = dict.fromkeys(("version", "context_tokens", "heads", "kv_heads", "vocabulary", "size_bytes"), 0)
    return GGUFHeader(**{**texts, **numbers, **values})  # type: ignore[arg-type]


def test_the_formula_gives_the_known_ratios() -> None:
    flops = {tokens: prefill_flops(header(), tokens) for tokens in (2048, 8192, 32768)}
    assert flops[2048] == pytest.approx(1.65e12, rel=0.01)
    assert flops[8192] / flops[2048] == pytest.approx(5.3, rel=0.02)
    assert flops[32768] / flops[2048] == pytest.approx(42.2, rel=0.01)
    assert kept_ratio(header(), 1500, 1500) == 1
    assert 60 < kept_ratio(header(), 1500, 20) < 75


def test_a_bar_may_be_a_share_of_the_formula_and_is_shown_beside_it() -> None:
    slow = [sample("4 8k", "a", repeat, 50.0, prefilled=8000, formula=5.0) for repeat in range(3)]
    fast = [sample("4 8k", "b", repeat, 10.0, prefilled=1500, formula=5.0) for repeat in range(3)]
    report = build([*slow, *fast], ["4"])
    (line,) = report["lines"]
    assert (line["ratio"], line["formula"], line["must"]) == (5.0, 5.0, 4.0)
    assert "| 5.00 | 5.00 | 4 |" in markdown(report)


def test_what_must_not_be_exceeded_says_so() -> None:
    samples = [sample("9", arm, repeat, value) for repeat in range(2) for arm, value in (("a", 11.0), ("b", 10.0))]
    (line,) = build(samples, ["9"])["lines"]
    assert line["title"].endswith("(at most)")
    assert (line["ratio"], line["must"]) == (1.1, 1.2)


@pytest.mark.parametrize("row", ["4", "5", "9", "10"])
def test_a_row_of_a_real_model_is_left_out_for_a_scripted_one_and_the_others_go_on(tmp_path: Path, row: str) -> None:
    file = tmp_path / "speed.jsonl"
    taken = list(measure(setup(), [row, "6"], file, repeats=2))
    left_out = {one["row"]: one["left_out"] for one in taken if "left_out" in one}
    assert {name.split()[0] for name in left_out} == {row}
    assert all("needs a GGUF model" in why for why in left_out.values())
    stored = [json.loads(line) for line in file.read_text().splitlines()]
    assert [one["row"] for one in stored] == ["6"] * 4
    report = build(stored, [row, "6"], left_out)
    assert [line["row"] for line in report["lines"]] == ["6"]
    assert f"Row {row}" in markdown(report)


def test_nothing_measured_is_an_error_that_says_why(tmp_path: Path) -> None:
    model, samples = answers_file(tmp_path, "NONE"), str(tmp_path / "speed.jsonl")
    said = call("bench", "speed", "--model", model, "--rows", "9", "--samples", samples, code=2)
    assert "row 9: " in said.err
    assert "needs a GGUF model" in said.err


SPEEDS = [
    *(sample("5 read", arm, 1, 0.01) for arm in "ab"),
    *(sample("5 200", arm, 1, 0.05) for arm in "ab"),
]


@pytest.mark.parametrize(
    ("row", "a", "b", "formula"),
    [
        ("1", {"prefilled": 2000, "written": 1000}, {"prefilled": 1000, "written": 0}, 7.0),
        ("2 copy", {"tokens": 100}, {"tokens": 100, "accepted": 80, "drafted": 100}, 2.5),
        ("6", {}, {}, 1.0),
        ("10", {"behind": 100}, {}, 2.0),
    ],
)
def test_counts_and_the_speeds_of_row_5_predict_a_ratio(
    row: str, a: dict[str, int], b: dict[str, int], formula: float
) -> None:
    samples = [sample(row, "a", 1, 3.0, **a), sample(row, "b", 1, 1.0, **b)]
    (line,) = build([*SPEEDS, *samples], [row.split()[0]])["lines"]
    assert line["formula"] == pytest.approx(formula)
    (alone,) = build(samples, [row.split()[0]])["lines"]
    assert alone["formula"] == (1.0 if row == "6" else 0.0)


def test_a_reference_that_is_there_is_not_built_again(tmp_path: Path) -> None:
    program = tmp_path / "llama-bench-1.0" / "llama-bench"
    program.parent.mkdir()
    program.touch()
    assert built(tmp_path, "1.0", pytest.fail) == program


def test_building_the_reference_without_cmake_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if (Path(sys.executable).parent / "cmake").exists():
        pytest.skip("cmake stands beside this Python")
    with pytest.raises(InvalidInput, match="cmake was not found") as raised:
        built(tmp_path / "tools", "1.0", pytest.fail)
    assert "pip install cmake" in raised.value.hint


REFERENCE = """#!/bin/sh
echo "$@" >> {log}
echo '[{{"avg_ns": 4000000000, "n_gen": 200}}]'
"""


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for llama-bench")
def test_the_reference_runs_with_our_flags(tmp_path: Path) -> None:
    program, log = tmp_path / "llama-bench", tmp_path / "log"
    program.write_text(REFERENCE.format(log=log))
    program.chmod(0o755)
    details = {"batch_tokens": "128", "flash_attention": "on", "kv_type": "q8_0"}
    info = EngineInfo("llama", "m", "d", 1024, "cpu", 3, details=details)
    reference = LlamaBench(program, Path("model.gguf"), info)
    assert reference.seconds_each(written=200) == 4 / 200
    assert reference.seconds_each(read=400) == 4 / 400
    assert reference.load_and_one_token_s() > 0
    first, second, third = log.read_text().splitlines()
    ours = "-m model.gguf -r 1 -t 3 -b 128 -ub 128 -fa on -ctk q8_0 -ctv q8_0 -lm none -ngl 0"
    assert (first, second) == (f"{ours} -p 0 -n 200 -o json", f"{ours} -p 400 -n 0 -o json")
    assert third == f"{ours} -p 0 -n 1 --no-warmup"
    program.write_text("#!/bin/sh\necho no such model >&2\nexit 1\n")
    with pytest.raises(EngineFailed, match="no such model"):
        reference.seconds_each(written=1)


@pytest.mark.engine
def test_a_process_tells_what_memory_it_took(smollm2_path: Path) -> None:
    command = [sys.executable, "-m", "edgemem.bench.speed.peak", str(smollm2_path), '{"context_tokens": 1024}']
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    buffers = sum(size for name, size in found.items() if name != "peak_bytes")
    assert found["model_bytes"] > 90e6
    assert 0.5 * buffers < found["peak_bytes"] < 3 * buffers
