"""The sets `crowd` and `cost` of `bench write`: how they are made of our texts, run, and reported."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_bench_write_report import gold, row

from edgemem.bench.writing.cases import load_cases
from edgemem.bench.writing.cost import LINE_CHARS, cost
from edgemem.bench.writing.crowd import crowd, topic
from edgemem.bench.writing.report import build, markdown
from edgemem.bench.writing.run import Setup, run_cases
from edgemem.bench.writing.scoring import score
from edgemem.bench.writing.values import Asked, Gold, ThirdParty, Trap, WriteCase
from edgemem.engines.scripted import ScriptedEngine
from edgemem.prompting.prompts import load_prompts

TOWNS = ("Lund", "Porto", "Graz", "Brest", "Turku", "Cadiz")


def chat(number: int, town: str, **changes: Any) -> WriteCase:
    case = WriteCase(
        id=f"w{number}",
        set="own",
        split="dev",
        language="en",
        style="smalltalk",
        user=f"u{number}",
        time=datetime(2026, 1, number, tzinfo=UTC),
        memory_before=(),
        turns=(("user", f"I really like the town of {town}."), ("assistant", "Noted.")),
        gold=(Gold(f"Likes {town}", "explicit", (town.casefold(),), section="Preferences"),),
        own=True,
    )
    return replace(case, **changes)


CHATS = [chat(number, town) for number, town in enumerate(TOWNS, 1)]


def test_the_crowd_is_one_chain_of_all_our_chats_and_of_questions() -> None:
    cases = load_cases(["crowd"])
    asking = [case for case in cases if case.asks]
    assert (len(cases), len(asking)) == (200, 54)
    assert [case.chains_on for case in cases] == [None, *(case.id for case in cases[:-1])]
    assert [case.id for case in cases] == sorted({case.id for case in cases})
    assert {after.time - before.time for before, after in pairwise(cases)} == {timedelta(days=2)}
    told = {case.turns for case in cases if not case.asks}
    assert told == {case.turns for case in load_cases(["own", "retention"])}
    assert not any(case.memory_before or case.stale or case.replaced or case.hidden for case in cases)
    assert cases == load_cases(["crowd"])


def test_asked_facts_are_told_in_the_first_half_and_asked_for_three_times_in_the_second() -> None:
    cases = load_cases(["crowd"])
    facts = {f"{case.id}.{index}": fact for case in cases for index, fact in enumerate(case.gold)}
    asked = Counter(case.asks.fact for case in cases if case.asks)
    others = [name for case in cases if case.asks for name in case.asks.others]
    assert (len(asked), set(asked.values())) == (18, {3})
    assert all(name < "c101" and facts[name].kind == "explicit" for name in [*asked, *others])
    assert not {facts[name].section for name in [*asked, *others]} & {"Plans", "About"}
    assert all(case.id > "c100" for case in cases if case.asks)
    assert len(set(others)) == len(others) >= 40
    assert not set(others) & set(asked)


def test_questions_are_in_the_language_of_the_fact_and_tell_nothing() -> None:
    cases = [case for case in load_cases(["crowd"]) if case.asks]
    assert {case.language for case in cases} == {"en", "de", "es", "fr"}
    assert all(case.turns[0][1].endswith("?") and len(case.turns) == 2 for case in cases)
    assert not any(case.gold or case.traps or case.third_party for case in cases)
    assert {question for case in cases if case.language == "de" for _, question in case.turns[:1]} == {
        "Was habe ich dir über Backt und Hefe erzählt?",
        "Weißt du noch, was ich über Backt und Hefe gesagt habe?",
        "Erinnere mich bitte, was habe ich zu Backt und Hefe gesagt?",
    }


@pytest.mark.parametrize(
    ("fact", "language", "expected"),
    [
        ("Works as a school librarian", "en", "school and librarian"),
        ("Repairs violins, cellos and bows for a living (luthier)", "en", "repairs, violins, cellos and bows"),
        ("Hat Höhenangst", "de", "Höhenangst"),
        ("Likes it", "en", ""),
    ],
)
def test_a_topic_is_the_first_words_of_meaning(fact: str, language: str, expected: str) -> None:
    assert topic(fact, language) == expected


def test_plans_names_and_dated_facts_are_not_asked_for() -> None:
    kinds = [{"section": "Plans"}, {"section": "About"}, {"fact": "Likes Graz since 2026"}, {"kind": "implied"}]
    left = [replace(case, gold=(replace(case.gold[0], **kinds[at % 4]),)) for at, case in enumerate(CHATS)]
    assert not [case for case in crowd(left, 1, 2) if case.asks]
    assert sum(case.asks is not None for case in crowd(CHATS, 1, 2)) == 2


def forgetful(cases: list[WriteCase]) -> Setup:
    """Writes down all towns that the memory and the chat name, and loses one of those nobody asks for at the end."""
    facts = {f"{case.id}.{index}": fact.keys[0] for case in cases for index, fact in enumerate(case.gold)}
    first = next(case.asks for case in cases if case.asks)
    lost = facts[first.others[0]]

    def answer(prompt: str) -> str:
        last = cases[-1].turns[0][1] in prompt
        said = [town for town in TOWNS if town in prompt and not (last and town.casefold() == lost)]
        return "\n".join(f"- [Preferences] Likes {town}" for town in said)

    return Setup(ScriptedEngine(answer), load_prompts(), "naive")


def without_clock(rows: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
    return [{key: value for key, value in entry.items() if key not in ("at", "seconds")} for entry in found]


def test_a_crowd_runs_goes_on_after_a_stop_and_is_counted(tmp_path: Path) -> None:
    cases = crowd(CHATS, 1, 2)
    assert [case.asks is not None for case in cases] == [False] * 4 + [True, False, True, False]
    cases = [*cases[:5], cases[5], cases[7], replace(cases[6], chains_on=cases[7].id)]  # the last one asks
    cases[6] = replace(cases[6], chains_on=cases[5].id)
    whole, stopped = tmp_path / "whole.jsonl", tmp_path / "stopped.jsonl"
    for rows, limits in ((whole, (None,)), (stopped, (3, 2, None))):
        for limit in limits:
            list(run_cases(forgetful(cases), cases, rows, limit))
    rows = without_clock(whole)
    assert without_clock(stopped) == rows
    asks = [entry["asks"] for entry in rows if "asks" in entry]
    assert [entry["known"] for entry in asks] == [True, True]
    assert ([other["known"] for other in asks[0]["others"]], asks[1]["others"]) == ([True] * 3, [])
    assert not (tmp_path / "whole.jsonl.homes").exists()
    counted = build([{**entry, "seconds": 1.0, "case": f"c{at}"} for at, entry in enumerate(rows)])["crowd"][0]
    assert counted["asked"] == {"facts": 1, "known": 1, "there": 1}
    assert counted["others"] == {"facts": 3, "known": 3, "there": 2}
    assert [chat["others"]["there"] for chat in counted["per_chat"]] == [0, 0, 0, 0, 3, 3, 3, 2]


def crowd_row(number: int, found: dict[str, bool], **changes: Any) -> dict[str, Any]:
    earlier = [{"fact": name, "hidden": False, "style": "x", "found": there} for name, there in found.items()]
    return row(f"c{number:03}-x", set="crowd", split="frozen", memory_tokens=100 * number, earlier=earlier, **changes)


def crowd_rows() -> list[dict[str, Any]]:
    beside = [{"fact": "c001-w2.0", "known": True}, {"fact": "c001-w3.0", "known": False}]
    first = {"fact": "c001-w1.0", "known": True, "others": beside}
    unknown = {"fact": "c001-w4.0", "known": False, "others": []}
    here, gone = {"c001-w1.0": True, "c001-w2.0": True}, {"c001-w1.0": True, "c001-w2.0": False}
    return [
        crowd_row(1, {}),
        crowd_row(2, here, asks=first),
        crowd_row(3, gone, asks=unknown, lines_added=2),
        crowd_row(4, gone | {"c001-w3.0": True}, asks=first | {"known": False}, budget_kept=False),
    ]


def test_what_was_known_when_first_asked_is_followed_to_the_end() -> None:
    (counted,) = build(crowd_rows()[::-1])["crowd"]
    assert counted["asked"] == {"facts": 2, "known": 1, "there": 1}
    assert counted["others"] == {"facts": 2, "known": 1, "there": 0}
    assert counted["memory_tokens"] == {"mean": 250, "highest": 400, "last": 400}
    assert (counted["lost"], counted["over_budget"], counted["lines_of_questions"]) == ([], 1, 2)
    assert [chat["asked"]["known"] for chat in counted["per_chat"]] == [0, 1, 1, 1]


CROWD_TABLE = """\
## What stays in a crowd

| run | chats | asked for: known at first | asked for: still there | never asked for: still there | \
memory tokens, mean | highest | last | chats over budget | lines made of the questions |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| edits, tiny (abcdef) | 4, last c004-x | 1 of 2 (50 %) | 1 of 1 (100 %) | 0 of 1 (0 %) | 250 | 400 | 400 | 1 | 2 |
"""


def test_the_crowd_has_a_table_of_its_own() -> None:
    assert CROWD_TABLE in markdown(crowd_rows())


def test_long_chats_upon_a_large_memory_are_made_of_our_own() -> None:
    cases = load_cases(["cost"])
    assert [case.id for case in cases] == [f"cost{number}" for number in range(1, 6)]
    assert all(abs(sum(len(text) for _, text in case.turns) / 4 - 1500) < 50 for case in cases)
    sizes = [sum(len(line) + LINE_CHARS for line in case.memory_before) / 4 for case in cases]
    assert all(1450 < size <= 1500 for size in sizes)
    assert all([role for role, _ in case.turns] == ["user", "assistant"] * (len(case.turns) // 2) for case in cases)
    assert len({turn for case in cases for turn in case.turns}) > 0.98 * sum(len(case.turns) for case in cases)
    assert all(len(case.gold) > 15 and case.chains_on is None and case.own for case in cases)


def test_a_large_memory_holds_what_the_chat_changes_and_nothing_that_it_teaches() -> None:
    fish, lund = Trap("Eats fish", "task", ("fish",)), Trap("Likes Lund", "task", ("lund",))
    short = [
        replace(CHATS[0], memory_before=("Likes Oslo",), replaced=(0,)),
        replace(CHATS[1], traps=(lund, fish), replaced=(0,)),
    ]
    long = [replace(chat(at, town), turns=(("user", "x" * 500),)) for at, town in ((7, "Lund"), (8, "Brest"))]
    (case,) = cost([*long, *short, chat(9, "Turku", language="de")], 1, 19)
    assert sorted(case.turns) == sorted(turn for part in short for turn in part.turns)
    assert (case.memory_before, case.traps, case.replaced) == (("Likes Oslo", "Likes Brest"), (fish,), (0, 1))
    assert [case.id for case in cost(short, 2, 19)] == ["cost1"]


def test_what_an_update_costs_stands_beside_what_it_learns() -> None:
    sizes = {"chat_tokens": 1480, "memory_tokens_before": 1510, "memory_tokens": 1600}
    rows = [row("cost1", set="cost", split="frozen", gold=[gold("explicit", True)], **sizes)]
    text = markdown(rows)
    assert (
        "## What an update costs\n\n"
        "| run | chats | chat tokens | memory tokens before | memory tokens after | s per update | tokens in "
        "| tokens out | explicit |\n" in text
    )
    assert "| 1480 [1480, 1480] | 1510 [1510, 1510] | 1600 [1600, 1600] | 2.0 [2.0, 2.0] | 400 [400, 400] |" in text
    assert build(rows)["cost"][0]["found"]["explicit_recall"]["value"] == 1


def test_a_row_has_the_true_sizes(tmp_path: Path) -> None:
    setup = Setup(ScriptedEngine(["- [About] Likes fish"]), load_prompts(), "naive")
    case = replace(CHATS[0], memory_before=("Has a dog",))
    (step,) = run_cases(setup, [case], tmp_path / "rows.jsonl")
    assert step.row["chat_tokens"] == sum(setup.engine.count(text) for _, text in case.turns)
    assert step.row["memory_tokens_before"] == setup.engine.count("[1 About] Has a dog")


def test_wrong_lines_are_counted_of_all_that_were_added() -> None:
    case = replace(
        CHATS[0],
        third_party=(ThirdParty("Ana sings", ("ana", "sing"), "Ana"),),
        traps=(Trap("Plays chess", "third_party", ("chess",)), Trap("Wants a boat", "question", ("boat",))),
    )
    row_part = score(case, [], ["Likes Lund", "Likes singing", "Plays chess and sings", "Wants a boat", "Has a dog"])
    assert (row_part["third_party_lines"], row_part["question_lines"], row_part["lines_added"]) == (2, 1, 5)
    rows = [row("a", **row_part), row("b", lines_added=7)]  # the other from before these were counted
    found = build(rows)["groups"][0]["found"]
    assert (found["third_party_lines"]["value"], found["third_party_lines"]["of"]) == (0.4, 5)
    assert found["question_lines"]["value"] == 0.2
    assert "| third-party lines of all added lines | question lines of all added lines |" in markdown(rows)


def step_rows() -> list[dict[str, Any]]:
    whole = [row(name, gold=[gold("explicit", True)], lines_added=2) for name in ("a", "b")]
    less = [row("a", variant="-model", gold=[gold("explicit", False)], lines_added=3, seconds=0.5)]
    trap = {"traps": [{"kind": "task", "stored": True}]}
    return [*whole, *less, row("a", policy="naive"), row("a", variant="-notes", **trap)]


STEPS_TABLE = """\
## What each step buys

In brackets: the difference to the whole policy, over the chats that both have.

| set, run | chats | explicit | implied | traps | stale gone | lines per chat | s per update |
| --- | --- | --- | --- | --- | --- | --- | --- |
| own dev, edits, tiny (abcdef) | 2 | 100 % |  |  |  | 2.0 | 2.0 |
| own dev, edits -model, tiny (abcdef) | 1 | 0 % (-100) |  |  |  | 3.0 (+1.0) | 0.5 (-1.5) |
| own dev, edits -notes, tiny (abcdef) | 1 |  |  | 100 % |  | 0.0 (-2.0) | 2.0 (+0.0) |
"""


def test_the_report_ends_with_what_each_step_buys() -> None:
    assert markdown(step_rows()).endswith(STEPS_TABLE)
    assert markdown(step_rows()[::-1]).endswith(STEPS_TABLE)


def test_steps_are_compared_within_the_same_code_only() -> None:
    other = [row("a", variant="-model", code_digest="f" * 16)]
    assert build([row("a"), *other])["steps"] == []
    assert "What each step buys" not in markdown([row("a"), *other])


def test_asked_facts_are_named_by_case_and_index() -> None:
    first = next(case for case in crowd(CHATS, 1, 2) if case.asks)
    assert isinstance(first.asks, Asked)
    assert first.asks.fact in {f"{case.id}.0" for case in crowd(CHATS, 1, 2)}
