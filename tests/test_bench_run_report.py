"""The report of `bench run` is a function of its rows: intervals, differences, break-even, one page on its own."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from bench_run_child import ARMS, chosen, setup
from cli_support import edgemem

from edgemem.bench.intervals import Mean, difference, mean, unit
from edgemem.bench.plots import Series, bars, chart, ticks
from edgemem.bench.report import as_html, as_markdown, build
from edgemem.bench.run import Run

Row = dict[str, Any]
HEAD: Row = {
    **{"task": "t", "task_version": 1, "miniature": False, "model": "m", "model_digest": "d" * 64},
    **{"context_tokens": 10240, "device": "cpu", "threads": 2, "machine": {"cpu": "C", "cores": 2}},
    **{"prompt_digest": "p" * 64, "protocol": 1},
}


def question(case: str, arm: str, strict: bool | None, **more: Any) -> Row:
    written = arm in ("memory", "swap", "recent")
    return {
        **HEAD,
        **{"kind": "question", "case": case, "arm": arm, "persona": case[0], "history": case[0], "category": "k"},
        **{"policy": "edits" if written else "", "budget_tokens": 2048 if written else 0},
        **{"code_digest": "c0de" if written else "", "content": "x", "status": "ok", "cold": case.endswith("1")},
        **{"prompt_tokens": 100, "cached_tokens": 10, "output_tokens": 2, "first_token_s": 1.0, "total_s": 1.5},
        **{"rss_peak": 2**20, "memory_tokens": 50, "history_tokens": 800},
        **{"strict": strict, "parsed": True, "forced": True, "f1": None},
        **more,
    }


def session(history: str, number: int, seconds: float) -> Row:
    return {
        **HEAD,
        **{"kind": "session", "case": f"{history}#{number}", "arm": "memory", "persona": history, "history": history},
        **{"policy": "edits", "budget_tokens": 2048, "code_digest": "c0de", "content": "x", "session": number},
        **{"seconds": seconds, "prompt_tokens": 400, "cached_tokens": 100, "output_tokens": 20},
        **{"memory_tokens": 30 * number, "session_tokens": 400},
    }


def rows() -> list[Row]:
    slow = {"prompt_tokens": 900, "total_s": 6.5, "first_token_s": 6.0}
    return [
        *(question(case, "memory", right) for case, right in (("a1", True), ("a2", True), ("b1", False))),
        *(question(case, "full_history", right, **slow) for case, right in (("a1", True), ("a2", False))),
        question("b1", "full_history", None, status="does not fit", prompt_tokens=12000),
        *(question(case, "none", False) for case in ("a1", "a2", "b1")),
        *(session("a", number, 10.0) for number in (1, 2)),
        session("b", 1, 10.0),
    ]


def test_scores_differences_and_costs() -> None:
    (group,) = build(rows())
    memory, full, none = group["arms"]
    assert [arm["name"] for arm in group["arms"]] == ["memory", "full_history", "none"]
    assert memory["scores"]["strict"]["value"] == pytest.approx(2 / 3)
    assert (full["asked"], full["answered"], full["problems"]) == (3, 2, {"does not fit": 1})
    assert full["difference"]["strict"] | {"low": 0, "high": 0} == {"value": -0.5, "low": 0, "high": 0, "of": 2}
    assert (none["scores"]["strict"]["value"], none["difference"]["strict"]["of"]) == (0.0, 3)
    assert memory["difference"] == {}
    assert full["cost"]["input_tokens"] == pytest.approx((900 + 900 + 12000) / 3)
    assert (full["cost"]["cold_total_s"], memory["cost"]["rss_peak"]) == (6.5, 2**20)


def test_break_even_counts_the_updates_of_a_history() -> None:
    (group,) = build(rows())
    found = group["break_even"]
    assert found["update_s"] == 15.0
    assert found["seconds"] == pytest.approx(15 / (6.5 - 1.5))
    assert found["tokens"] == pytest.approx(1.5 * 320 / (890 - 90))


def test_break_even_says_why_there_is_none() -> None:
    only = [row for row in rows() if row["arm"] != "full_history"]
    assert build(only)[0]["break_even"] == {"why": "memory, full history and updates are not all here"}
    small = [row | {"status": "does not fit"} if row["arm"] == "full_history" else row for row in rows()]
    assert build(small)[0]["break_even"] == {"why": "the full history does not fit the context"}


def test_memories_of_other_code_are_arms_of_their_own() -> None:
    newer = [row | {"code_digest": "beef"} for row in rows() if row["arm"] == "memory"]
    names = [arm["name"] for arm in build([*rows(), *newer])[0]["arms"]]
    assert names == ["memory (edits 2048 pppp beef)", "memory (edits 2048 pppp c0de)", "full_history", "none"]


def test_intervals_are_over_persons_where_there_are_ten() -> None:
    few = {f"q{number}": f"p{number % 9}" for number in range(40)}
    many = {f"q{number}": f"p{number % 10}" for number in range(40)}
    assert (unit(few), unit(many)) == ("questions", "persons")
    by_person = {name: float(person < "p5") for name, person in many.items()}
    narrow, wide = mean(by_person, {name: name[:2] for name in many}), mean(by_person, many)
    assert wide.value == narrow.value == 0.5
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.low < narrow.low


def test_the_order_of_rows_changes_nothing() -> None:
    assert as_markdown(rows()[::-1]) == as_markdown(rows())
    assert as_html(rows()[::-1]) == as_html(rows())


def test_a_question_asked_with_several_numbers_of_orders_counts_once_with_the_most() -> None:
    more = [{**row, "rotations": 4} for row in rows() if row["kind"] == "question"]
    fewer = [{**row, "rotations": 1, "forced": False} for row in more]
    assert as_markdown([*fewer, *more, *fewer]) == as_markdown(more)


def test_differences_are_of_the_same_questions() -> None:
    found = difference({"a": 1.0, "b": 0.0}, {"b": 1.0, "c": 0.0}, {"a": "p", "b": "p", "c": "p"})
    assert found == Mean(-1.0, -1.0, -1.0, 1)
    assert difference({}, {}, {}) == Mean(None, None, None, 0)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "rect", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line", "circle", "polyline"):
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(tmp_path: Path) -> None:
    steps = Run(setup(), chosen(), ARMS, tmp_path / "rows.jsonl").steps()
    text = as_html([step.row for step in steps])
    page = Page()
    page.feed(text)
    assert (page.open, page.links) == ([], [])
    assert page.seen.count("svg") >= 6
    assert "script" not in page.seen
    assert re.search(r"https?://|url\(|@import", text) is None
    assert "Miniature data" in text


def test_none_and_swap_stand_beside_every_score(tmp_path: Path) -> None:
    steps = Run(setup(), chosen(), ARMS, tmp_path / "rows.jsonl").steps()
    text = as_markdown([step.row for step in steps])
    scores = text.split("| arm | answered |")[1].split("\n\n")[0]
    assert all(f"\n| {arm} | 8 of 8 |" in scores for arm in ARMS)


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (0, [0, 1]),
        (0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (7, [0, 2, 4, 6, 8]),
        (100, [0, 20, 40, 60, 80, 100]),
        (950, None),
    ],
)
def test_ticks_are_round_and_reach_the_top(top: float, expected: list[float] | None) -> None:
    found = ticks(top)
    assert found[-1] >= top
    assert 2 <= len(found) <= 6
    assert expected is None or found == pytest.approx(expected)


def test_plots_show_names_as_text() -> None:
    assert "&lt;b&gt;" in bars("t", [("<b>", 1.0, 0.5, 1.5)])
    line = chart("t", "x", "y", [Series("memory", [(0, 0, None, None), (10, 5, None, None)])], joined=True)
    assert line.count("<polyline") == 1
    assert "<svg" in bars("nothing", [])


def test_the_command_writes_both_forms(tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    edgemem("bench", "report", str(file), "--out", str(out))
    assert (out / "report.md").read_text() == as_markdown(rows())
    assert (out / "report.html").read_text() == as_html(rows())
    assert json.loads(edgemem("bench", "report", str(file), "--json").stdout)[0]["questions"] == 3
    assert "## t (version 1)" in edgemem("bench", "report", str(file)).stdout
    file.write_text('{"set": "own"}\n')
    assert "no row of" in edgemem("bench", "report", str(file), code=2).stderr
