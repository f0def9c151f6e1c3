"""Off the record: what a person wants not kept is written nowhere; whole topics are forgotten on request."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_support import answers_file, call

from edgemem.bench.trust import wishes_run, worlds_run
from edgemem.bench.trust.planted_run import Model
from edgemem.engines.scripted import ScriptedEngine
from edgemem.memory.forget_requests import forget_requests, lines_meant, turns_meant
from edgemem.memory.off_record import off_record
from edgemem.prompting.prompts import load_prompts
from edgemem.store import FORGOTTEN, open_store
from edgemem.store.masking import Masking
from edgemem.values import Line, Operation, Rejected, Stats, Turn

WHEN = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "I owe Iris 900 euros. Please don't save this.",
        "No need to note that, but I failed the test.",
        "Off the record: my sister is expecting.",
        "I'd rather you did not keep this in memory. I was fired.",
        "Ich wurde entlassen. Bitte merk dir das nicht.",
        "Me despidieron ayer, no guardes nada de esto.",
        "Je me suis fait virer, ne garde pas ça en mémoire.",
        "Polish this for me:\nDear Iris, I am late.\nAfter you respond, please do not keep what I just shared.",
    ],
)
def test_what_is_off_the_record(text: str) -> None:
    assert off_record(text)


@pytest.mark.parametrize(
    "text",
    [
        "I don't remember where I put the tyres.",
        "Do you store what I tell you?",
        "Please remember that I row.",
        'Translate: "Please do not keep this key."',
        "Translate: 'Please do not keep this key.'",
        "Don't keep going if it hurts, she said.",
        "Please forget that I row and don't store it in memory.",  # is to be carried out
        "Ich kann mir keine Namen merken.",
        "No me acuerdo de nada.",
        "Je ne retiens jamais les noms.",
    ],
)
def test_what_is_not(text: str) -> None:
    assert not off_record(text)


def test_nothing_of_it_is_written_and_later_answers_that_name_it_go_too(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        chat = store.start_chat()
        for text, answer in [
            ("I see a Doctor Brandauer at 4711 Elm Road. Please don't save this.", "Doctor Brandauer, I see."),
            ("What should I wear?", "Something warm, Brandauer's rooms are cold."),
            ("I live in Bern.", "Nice place."),
        ]:
            store.add_exchange(chat, text, answer, WHEN, WHEN, Stats())
        texts = [turn.text for turn in store.turns(chat)]
        store.end_chat(chat)
        assert texts == [FORGOTTEN, FORGOTTEN, "What should I wear?", FORGOTTEN, "I live in Bern.", "Nice place."]
        assert [turn.text for group in store.pending() for turn in group if turn.role == "user"] == [
            "What should I wear?",
            "I live in Bern.",
        ]
    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Brandauer" not in held
    assert b"4711" not in held


def test_a_name_that_is_told_again_openly_may_be_kept() -> None:
    masking = Masking(on=True)
    masking.turn(1, "user", "I see Iris Brandauer, but don't save that.")
    masking.turn(1, "user", "I had lunch with Iris Brandauer today.")
    assert masking.turn(1, "assistant", "How is Brandauer?") == "How is Brandauer?"


def test_it_does_not_depend_on_the_setting_for_secrets_and_is_not_typed_history() -> None:
    assert Masking(on=False).turn(1, "user", "I was fired, don't save this.") == FORGOTTEN
    assert Masking(on=False).typed("I was fired, don't save this.") == ""
    assert Masking(on=False).typed("I was hired.") == "I was hired."


def test_the_person_is_told(data_dir: Path, tmp_path: Path) -> None:
    model = ("--model", answers_file(tmp_path, "Sorry.", "Good."))
    assert "not written down" in call("ask", "I was fired. Please don't save this.", *model).err
    assert "not written down" not in call("ask", "I was hired.", *model).err


def turn(number: int, text: str, role: str = "user") -> Turn:
    return Turn(number, 1, "user" if role == "user" else "assistant", text, WHEN)


TOLD = [
    turn(1, "The kitchen people want 4,000 euros for the Hallmark cabinets."),
    turn(2, "For Hallmark cabinets that is usual.", "assistant"),
    turn(3, "I row on Sundays."),
    turn(4, "Nice, far from Hallmark.", "assistant"),
]


@pytest.mark.parametrize(
    "request_text",
    [
        "Please delete everything I told you about the kitchen.",
        "Forget anything I shared earlier about the kitchen.",
        "I do not want you to keep anything I said about the kitchen in memory anymore.",
        "Can you wipe all I said about the kitchen?",
    ],
)
def test_a_whole_topic_is_meant_with_the_answers_that_repeat_what_only_it_told(request_text: str) -> None:
    asked = turn(9, request_text)
    requests = forget_requests([asked])
    assert [(one.topic, sorted(one.about)) for one in requests] == [(True, ["kitch"])]
    assert turns_meant(requests, [*TOLD, asked]) == {1, 2, 4, 9}
    lines = [Line(1, "Plans", "The kitchen people want 4,000 euros"), Line(2, "Interests", "I row on Sundays")]
    assert lines_meant(requests, lines, TOLD) == {1}


def test_rare_words_name_a_topic_more_than_common_ones() -> None:
    told = [turn(n, f"My trip to {place} needs a plan.") for n, place in enumerate(("Rome", "Oslo", "Porto"), 1)]
    asked = turn(9, "Forget everything about the Oslo trip.")
    assert turns_meant(forget_requests([asked]), [*told, asked]) == {2, 9}


def test_what_was_refused_of_a_forgotten_message_is_forgotten_too(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        chat = store.start_chat()
        told, _ = store.add_exchange(chat, "My code is Zebra.", "ok", WHEN, WHEN, Stats())
        store.end_chat(chat)
        operation = Operation("add", section="About", text="The code is Zebra", sources=(told.id,))
        refused = [Rejected(operation, "budget", "Zebra")]
        store.commit((), base=store.read(), cause="update", folded=[told.id], rejected=refused)
        store.forget(turn_ids=[told.id])
    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Zebra" not in held


def test_control_worlds_are_measured_as_shipped_and_heedless(tmp_path: Path, source_root: Path) -> None:
    model = Model(ScriptedEngine(lambda prompt: "NONE"), load_prompts(), "edits", None)
    rows = tmp_path / "worlds.jsonl"
    found = list(worlds_run.run(model, source_root / "bench" / "tasks" / "fixtures", rows, histories=1))
    ways = ("shipped", "heedless", "guessing")
    assert [(row["world"], row["way"]) for row in found] == [(w, way) for w in ("forget", "no_store") for way in ways]
    assert list(worlds_run.run(model, source_root / "bench" / "tasks" / "fixtures", rows, histories=1)) == []
    for row in found:
        assert row["keys"] + row["probes"] == 4
        if row["way"] != "guessing":
            assert row["messages"] > 0
            assert row["messages_left"] == (0 if row["way"] == "shipped" else row["messages"])
    table = worlds_run.markdown([json.loads(line) for line in rows.read_text().splitlines()])
    assert "| no_store, guessing | 1 |  |" in table


def test_our_own_wishes_are_counted_in_both_halves() -> None:
    tuning, frozen = wishes_run.measure()
    assert (tuning["wishes"], tuning["look_alikes"], tuning["requests"]) == (32, 28, 16)
    assert (frozen["about"], frozen["others"]) == (32, 64)
    assert tuning["seen"] >= 28
    assert tuning["false"] <= 6
    assert "| frozen |" in wishes_run.markdown([tuning, frozen])
