"""What `bench run` measures beside time: energy, memory peaks, drift, and what was lost in writing or in reading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_run_child import chosen, setup
from test_bench_run_report import question, session

from edgemem.bench.drift import drift
from edgemem.bench.energy import Energy
from edgemem.bench.report import as_markdown, build
from edgemem.bench.retention import holds, kept_at_end, losses, memory_lines, retained
from edgemem.bench.run import Run
from edgemem.bench.tasks import load_task
from edgemem.bench.usage import measured
from edgemem.bench.writing.values import Gold


def zone(folder: Path, name: str, joules: float, turn: float = 1000.0) -> Path:
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "energy_uj").write_text(str(int(joules * 1e6)))
    (place / "max_energy_range_uj").write_text(str(int(turn * 1e6)))
    return place


def test_packages_are_counted_but_not_their_parts_nor_twice(tmp_path: Path) -> None:
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0", "intel-rapl-mmio:0", "intel-rapl"):
        zone(tmp_path, name, 10)
    energy = Energy(tmp_path)
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0", "intel-rapl-mmio:0"):
        zone(tmp_path, name, 12.5)
    assert energy.source.startswith("rapl")
    assert energy.joules() == pytest.approx(5.0, abs=1)  # a GPU of this machine would count as well


def test_a_counter_that_turned_over_is_followed(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 995)
    energy = Energy(tmp_path)
    zone(tmp_path, "intel-rapl:0", 5)
    assert energy.joules() == pytest.approx(10.0, abs=1)


def test_what_may_not_be_read_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    energy = Energy(tmp_path)
    if energy.source == "":
        assert energy.joules() is None
    assert "rapl" not in energy.source


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_peaks_see_what_was_there_only_for_a_while() -> None:
    import time

    with measured() as before:
        pass
    with measured() as found:
        block = bytearray(b"x") * (200 << 20)
        time.sleep(0.2)
        del block
    assert found["rss_anon_peak"] - before["rss_anon_peak"] > 150 << 20
    assert found["rss_peak"] >= found["rss_anon_peak"]
    assert found["rss_file_peak"] > 1 << 20


def test_a_machine_that_slows_down_shows_in_the_same_arm_and_run() -> None:
    def at(number: int, arm: str, per_token: float, run: str = "r") -> dict[str, Any]:
        more = {"elapsed_s": 10.0 * number, "run": run, "first_token_s": 90 * per_token, "cold": False}
        return question(f"c{number}", arm, True, **more)

    slower = [at(number, "none", 0.01 if number < 3 else 0.02) for number in range(9)]
    few = [at(number, "memory", 0.01) for number in range(5)]
    other = [at(0, "none", 5.0, run="short")]
    (found,) = drift([*slower, *few, *other])
    assert (found["arm"], found["questions"], found["cold"]) == ("none", 9, False)
    assert found["ratio"] == pytest.approx(2.0)
    assert found["minutes"] == pytest.approx(80 / 60)
    assert "| none, warm | 9 in 1.3 min | 10.00 | 20.00 | 2.00 |" in as_markdown([*slower, *few])


def test_numbers_and_sections_are_no_part_of_a_fact() -> None:
    assert memory_lines("[1 Health] Gets sick on buses\n[12] Lives in Oslo\n\n") == [
        "Gets sick on buses",
        "Lives in Oslo",
    ]


def test_wrong_with_the_fact_at_hand_is_lost_in_reading_else_in_writing() -> None:
    case = replace(chosen()[0], facts=(Gold("The hotel in Oslo may cost 120 euros", "explicit"),))
    assert holds(case, "[3 Plans] Wants a hotel in Oslo for 120 euros")["gold_in_memory"] is True
    assert holds(case, "[3 Plans] Likes lighthouses")["gold_in_memory"] is False
    assert holds(replace(case, facts=()), "[3] anything") == {}
    asked = [
        question(f"q{number}", "memory", right, gold_in_memory=kept)
        for number, (right, kept) in enumerate([(True, True), (False, True), (False, True), (False, False)])
    ]
    assert losses(asked) == {"kept_right": 1, "kept_wrong": 2, "lost_right": 0, "lost_wrong": 1}
    assert losses([question("q", "none", True)]) == {}
    assert "| memory | 1 | 2 | 0 | 1 |" in as_markdown(asked)


def test_facts_of_a_history_are_counted_after_its_last_session() -> None:
    history = load_task("prefeval", None)[0].history
    told = [fact.fact for session in history.sessions for fact in session.facts]
    assert len(told) == 10
    whole = "\n".join(f"[{number} Preferences] {text}" for number, text in enumerate(told))
    found = retained(history, len(history.sessions), whole)
    assert (found["facts_told"], found["facts_kept"]) == (10, 10)
    assert retained(history, len(history.sessions), "")["facts_kept"] == 0
    assert retained(chosen()[0].history, 4, whole) == {}
    counted = [session("a", 1, 1.0) | {"facts_told": 3, "facts_kept": 3}, session("b", 1, 1.0)]
    later = session("a", 2, 1.0) | {"facts_told": 5, "facts_kept": 2}
    assert kept_at_end([later, *counted]) == (2, 5)
    assert "| 2 of 5 (40 %) |" in as_markdown([question("a1", "memory", True), later, *counted])


def test_facts_change_no_digest() -> None:
    case = load_task("prefeval", None)[0]
    assert repr(replace(case, facts=())) == repr(case)


def test_a_run_writes_all_that_it_measured(tmp_path: Path) -> None:
    cases = load_task("prefeval", None)[:2]
    added = [step.row for step in Run(setup(), cases, ["memory"], tmp_path / "rows.jsonl").steps()]
    asked = [row for row in added if row["kind"] == "question"]
    learned = [row for row in added if row["kind"] == "session"]
    assert {row["gold_in_memory"] for row in asked} <= {True, False}
    assert learned[-1]["facts_told"] == 10
    assert {row["run"] for row in added} == {asked[0]["run"]}
    elapsed = [row["elapsed_s"] for row in added]
    assert elapsed == sorted(elapsed)
    assert all({"rss_peak", "rss_anon_peak", "rss_file_peak", "joules", "energy_source"} <= set(row) for row in added)
    (group,) = build(added)
    assert group["learning"][0]["facts_kept"][1] == 10
    assert "not measured" in as_markdown(added)  # the scripted engine has no KV


def test_the_cache_of_a_real_model_is_counted(smollm2_path: Path) -> None:
    from edgemem.engines import open_engine

    engine = open_engine(smollm2_path, context_tokens=512)
    try:
        # 30 layers, 3 KV heads of 64 numbers, keys and values of 16 bits
        expected = 30 * 3 * 64 * 2 * 2 if engine.info.details["kv_type"] == "f16" else 30 * 3 * 64 * 2 * 8.5 / 8
        assert int(engine.info.details["kv_bytes_per_token"]) == int(expected)
    finally:
        engine.close()
