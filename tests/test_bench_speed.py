"""`bench speed`: samples are taken side by side, once, and become ratios."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from notes_support import NOTES

from edgemem.bench.speed.chats import forty_chats
from edgemem.bench.speed.report import build, interval, markdown
from edgemem.bench.speed.run import ROWS, chosen_rows, measure
from edgemem.bench.writing.run import Setup
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput
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
