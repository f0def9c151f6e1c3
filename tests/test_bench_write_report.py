"""The report of `bench write` compared as a whole, blind judging, and the commands around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_support import answers_file, call

from edgemem.bench.writing.judging import Verdicts, line_digest, read_verdicts, sheet
from edgemem.bench.writing.measures import MEASURES, estimates
from edgemem.bench.writing.report import build, markdown
from edgemem.errors import InvalidInput


def gold(kind: str, found: bool, *, known: bool = False, change: bool = False) -> dict[str, Any]:
    return {"kind": kind, "found": found, "known": known, "change": change}


def row(case: str, **changes: Any) -> dict[str, Any]:
    return {
        "set": "own",
        "set_version": 1,
        "case": case,
        "policy": "edits",
        "variant": "",
        "model": "tiny",
        "model_digest": "m",
        "prompt_digest": "p",
        "code_digest": "abcdef0123456789",
        "matcher": 1,
        "split": "dev",
        "language": "en",
        "style": "email",
        "chained": False,
        "hidden": False,
        "gold": [],
        "third_party": [],
        "traps": [],
        "stale": [],
        "added": [],
        "lines_added": 0,
        "languages": {"right": 0, "other": 0, "undecided": 0},
        "set_aside": 0,
        "budget_kept": True,
        "seconds": 2.0,
        "prompt_tokens": 500,
        "cached_tokens": 100,
        "output_tokens": 20,
    } | changes


ROWS = [
    row(
        "a",
        gold=[gold("explicit", True), gold("implied", False), gold("explicit", True, known=True)],
        traps=[{"kind": "question", "stored": True}, {"kind": "task", "stored": False}],
        third_party=[False],
        added=["d1", "d2"],
        lines_added=2,
        languages={"right": 1, "other": 0, "undecided": 1},
    ),
    row(
        "b",
        language="de",
        gold=[gold("explicit", False, change=True)],
        stale=[{"gone": True, "change": True, "was": True}, {"gone": False, "change": False, "was": True}],
        added=["d3"],
        lines_added=1,
        languages={"right": 0, "other": 1, "undecided": 0},
        seconds=4.0,
    ),
]
VERDICT_ROWS = [
    {"case": "a", "line_digest": "d1", "verdict": "supported", "pass": 1},
    {"case": "a", "line_digest": "d2", "verdict": "question", "pass": 1},
    {"case": "b", "line_digest": "d3", "verdict": "trivial", "pass": 1},
    {"case": "a", "line_digest": "d1", "verdict": "unsupported", "pass": 2},
    {"case": "a", "line_digest": "d2", "verdict": "unsupported", "pass": 2},
]

REPORT = """\
# How well memories are written

Value [95 % interval over chats] (of how many). Digits after a model's name: the code that wrote. Judged twice: \
2 lines, 1 of them differently (50.0%).

## own, dev

| run | chats | explicit | implied | unsupported | of which another's | of which a question | trivial | \
another's as user's | questions as likes | other traps | stale gone | forgotten gone | new value | language | \
in budget | set aside | lines per chat | s per update | tokens in | tokens out |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- \
| --- | --- |
| edits, tiny (abcdef) | 2 | 50 % [0, 100] (2) | 0 % [0, 0] (1) | 33 % [0, 50] (3) | 0 % [0, 0] (3) | \
33 % [0, 50] (3) | 33 % [0, 100] (3) | 0 % [0, 0] (1) | 100 % [100, 100] (1) | 0 % [0, 0] (1) | \
100 % [100, 100] (1) | 0 % [0, 0] (1) | 0 % [0, 0] (1) | 50 % [0, 100] (2) | 100 % [100, 100] (2) | \
0 % [0, 0] (2) | 1.5 [1.0, 2.0] | 3.0 [2.0, 4.0] | 400 [400, 400] | 20 [20, 20] |

## By language

| set, language, run | chats | explicit | implied | unsupported | stale gone | language | lines per chat |
| --- | --- | --- | --- | --- | --- | --- | --- |
| own dev, de, edits, tiny (abcdef) | 1 | 0 % [0, 0] (1) |  | 0 % [0, 0] (1) | 100 % [100, 100] (1) | \
0 % [0, 0] (1) | 1.0 [1.0, 1.0] |
| own dev, en, edits, tiny (abcdef) | 1 | 100 % [100, 100] (1) | 0 % [0, 0] (1) | 50 % [50, 50] (2) |  | \
100 % [100, 100] (1) | 2.0 [2.0, 2.0] |

## By style

| set, style, run | chats | explicit | implied | unsupported | stale gone | language | lines per chat |
| --- | --- | --- | --- | --- | --- | --- | --- |
| own dev, email, edits, tiny (abcdef) | 2 | 50 % [0, 100] (2) | 0 % [0, 0] (1) | 33 % [0, 50] (3) | \
100 % [100, 100] (1) | 50 % [0, 100] (2) | 1.5 [1.0, 2.0] |
"""


def test_the_whole_report() -> None:
    assert markdown(ROWS, read_verdicts(VERDICT_ROWS)) == REPORT


def test_the_order_of_rows_changes_nothing() -> None:
    assert markdown(ROWS[::-1]) == markdown(ROWS)
    assert "not judged" in markdown(ROWS)


def test_runs_are_never_mixed() -> None:
    others = [row("a", policy="naive"), row("a", variant="-verify"), row("a", code_digest="f" * 16)]
    names = [group["name"] for group in build([*ROWS, *others])["groups"]]
    assert names == [
        "edits, tiny (abcdef)",
        "edits, tiny (ffffff)",
        "edits -verify, tiny (abcdef)",
        "naive, tiny (abcdef)",
    ]


def test_an_interval_holds_the_value_and_narrows_with_more_chats() -> None:
    def width(count: int) -> float:
        rows = [row(f"c{n:03}", gold=[gold("explicit", n % 2 == 0)]) for n in range(count)]
        found = estimates(rows, Verdicts())["explicit_recall"]
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value == 0.5 <= found.high
        return found.high - found.low

    assert width(200) < width(20)


def test_measures_have_names_of_their_own() -> None:
    assert len({measure.name for measure in MEASURES}) == len({measure.title for measure in MEASURES}) == len(MEASURES)


def test_what_stays_of_planted_and_hidden_facts_is_counted_after_the_last_chat() -> None:
    first = row("r001", set="retention", style="planted", gold=[gold("explicit", True), gold("explicit", False)])
    second = row("r002", set="retention", hidden=True, style="smalltalk", gold=[gold("explicit", True)])
    third = row("r003", set="retention", style="smalltalk")
    planted = {"style": "planted", "hidden": False}
    second["earlier"] = [planted | {"fact": "r001.0", "found": True}, planted | {"fact": "r001.1", "found": False}]
    third["earlier"] = [
        planted | {"fact": "r001.0", "found": False},
        planted | {"fact": "r001.1", "found": False},
        {"fact": "r002.0", "found": True, "style": "smalltalk", "hidden": True},
    ]
    (found,) = build([first, second, third])["retention"]
    assert found["planted"] == {"facts": 2, "there": 0, "learned": 1, "learned_and_there": 0}
    assert found["hidden"] == {"facts": 1, "there": 1, "learned": 1, "learned_and_there": 1}
    assert (found["chats"], found["last"]) == (3, "r003")


def test_a_sheet_is_shuffled_and_does_not_say_who_wrote_a_line() -> None:
    written = [
        {
            "set": "own",
            "case": case,
            "policy": policy,
            "variant": "v",
            "added": [f"line {n}"],
            "turns": [],
            "before": [],
        }
        for n, case in enumerate("abcdefgh")
        for policy in ("edits", "naive")
    ]
    lines = sheet(written, seed=1)
    assert sorted(line["line"] for line in lines) == [f"line {n}" for n in range(8)]
    assert [line["case"] for line in lines] != sorted(line["case"] for line in lines)
    assert lines != sheet(written, seed=2)
    assert lines == sheet(written[::-1], seed=1)
    assert set(lines[0]) == {"set", "case", "line_digest", "turns", "before", "line"}
    assert lines[0]["line_digest"] == line_digest(lines[0]["line"])


def test_the_first_pass_counts_and_the_second_fills_its_gaps() -> None:
    verdicts = read_verdicts([*VERDICT_ROWS, {"case": "c", "line_digest": "d", "verdict": "unsupported", "pass": 2}])
    assert (verdicts.of("a", "d1"), verdicts.of("c", "d"), verdicts.of("c", "x")) == ("supported", "unsupported", "")
    assert (verdicts.judged_twice, verdicts.disagreements) == (2, 1)


@pytest.mark.parametrize("change", [{"verdict": "perhaps"}, {"pass": 3}])
def test_a_verdict_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="this is no verdict"):
        read_verdicts([VERDICT_ROWS[0] | change])


def test_the_commands_run_report_and_make_a_sheet(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "sheet.jsonl"
    model = answers_file(tmp_path, "- [About] Lives in Halifax")
    flags = ("--model", model, "--policy", "overwrite", "--rows", str(rows))
    said = call("bench", "write", *flags, "--only", "w001")
    assert said.out == f"1 cases run, 1 chosen; rows in {rows}\n"
    assert said.err.startswith("1/1 own w001: 1 of 4 facts, 1 lines, ")
    again = call("bench", "write", *flags, "--only", "w001,w002", "--json")
    assert again.values == {"rows": str(rows), "cases": 2, "run": 1}
    shown = call("bench", "write", "report", str(rows), "--out", str(tmp_path / "report.md"))
    assert shown.out.startswith("# How well memories are written")
    assert (tmp_path / "report.md").read_text() == shown.out
    assert call("bench", "write", "report", str(rows), "--json").values["groups"][0]["chats"] == 2
    assert call("bench", "write", "sheet", str(rows), "--out", str(out)).out == f"1 lines to judge in {out}\n"
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.write_text(
        json.dumps({"case": "w001", "line_digest": line["line_digest"], "verdict": "supported", "pass": 1}) + "\n"
    )
    judged = call("bench", "write", "report", str(rows), "--verdicts", str(verdicts), "--json").values
    assert judged["groups"][0]["found"]["unsupported"]["value"] == 0.0


def test_the_matcher_is_checked_by_a_command() -> None:
    found = {entry["group"]: entry for entry in call("bench", "write", "--check-matcher", "--json").values}
    assert set(found) == {"all", "keys", "words", "half a", "half b", "half b, keys", "half b, words"}
    assert "precision" in call("bench", "write", "--check-matcher").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--policy", "magic", "--model", "scripted:x"], "there is no way to write called 'magic'"),
        (["--set", "locomo"], "the set locomo is read from a data folder"),
        (["report", "nowhere.jsonl"], "cannot read rows from nowhere.jsonl"),
    ],
)
def test_wrong_use_is_said(words: list[str], message: str) -> None:
    assert message in call("bench", "write", *words, code=2).err
