"""The sets of `bench write`: our own texts, and the public sets' schemas on small files of our own writing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edgemem.bench.writing.cases import SETS, load_cases
from edgemem.bench.writing.values import Gold, Stale
from edgemem.errors import InvalidInput


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def message(role: str, content: str, ref: str | None = None) -> dict[str, Any]:
    return {"role": role, "content": content, "ref": ref}


@pytest.fixture
def memoryctrl(tmp_path: Path) -> Path:
    sessions = [
        {
            "stage": "Initial",
            "messages": [
                message("user", "I walked the coast path.", "03/04/2025"),
                message("assistant", "Lovely.", "03/04/2025"),
            ],
        },
        {
            "stage": "Early",
            "messages": [message("user", "I gave up hiking for kayaks.", "05/06/2026"), message("assistant", "Good.")],
        },
    ]
    chat = {
        "sample_id": "travel_persona0",
        "topic": "travel",
        "persona_id": 0,
        "persona": "Name: Ida Berg\nBorn in 1980.",
        "synthetic_pii": {},
        "sessions": sessions,
    }
    update = {
        "sample_id": "travel_persona0",
        "stage": "Early",
        "ref": "05/06/2026",
        "event_id": "E1",
        "new_event": "Ida bought a sea kayak.",
        "old_event": "Ida walked the coast path.",
        "old_date": "03/04/2025",
        "reason": "A bad knee.",
        "old_likes": "hiking",
        "old_dislikes": None,
        "new_likes": None,
        "new_dislikes": "hiking",
        "evolves_from": [],
        "old_event_ref": "03/04/2025",
    }
    elsewhere = update | {"ref": "07/08/2026"}
    write_rows(tmp_path / "memoryctrl" / "conversations.jsonl", [chat, chat | {"persona_id": 4}])
    write_rows(tmp_path / "memoryctrl" / "updates.jsonl", [update, elsewhere])
    return tmp_path


def test_memoryctrl_sessions_are_chained_and_gold_is_what_the_user_says(memoryctrl: Path) -> None:
    first, second = load_cases(["memoryctrl"], data=memoryctrl)
    assert (first.id, first.chains_on, first.gold, first.stale) == ("travel_persona0-1", None, (), ())
    assert (second.id, second.chains_on) == ("travel_persona0-2", "travel_persona0-1")
    assert second.time == datetime(2026, 5, 6, 19, tzinfo=UTC)
    assert second.turns == (("user", "I gave up hiking for kayaks."), ("assistant", "Good."))
    assert second.gold == (
        Gold("Ida bought a sea kayak.", "explicit", names=("Ida", "Berg")),
        Gold("Dislikes hiking", "implied", names=("Ida", "Berg")),
    )
    assert (second.stale, second.replaced) == ((Stale("Likes hiking"),), (1,))


def snippet(number: int, event: str, annotation: dict[str, str], said: str) -> dict[str, Any]:
    return {
        "question_id": f"q{number}",
        "persona_id": 0,
        "topic": "food",
        "evidence_conversation": said,
        "annotation": {"Event": event, **annotation},
    }


def test_personamem_snippets_have_the_old_state_before_and_hide_the_side_note(tmp_path: Path) -> None:
    said = "Side_Note:  [Secret.] 01/15/2024\nUser:  I like soup again.\nAssistant:  Soup it is.\n"
    changed = {"[Old Fact] Dislikes": "soup", "[Updated Fact] Likes": "soup"}
    rows = [
        snippet(1, "Noa cooked soup.", changed, said),
        snippet(2, "Noa ate a pie.", {"[Fact] Likes": "pies"}, said),
        snippet(3, "Noa sold pies.", {"[Fact] Dislikes": "pies", "[Updated Fact] Likes": "pies"}, said),
        snippet(4, "Unused.", {}, "") | {"evidence_conversation": None},
    ]
    write_rows(tmp_path / "personamem_v1" / "validation_mcq.jsonl", rows)
    context = {
        "context_id": "c1",
        "persona_id": 0,
        "session_starts": [0, 2],
        "messages": [message("user", "One."), message("assistant", "Two."), message("user", "Three.")],
    }
    write_rows(tmp_path / "personamem_v1" / "contexts.jsonl", [context])
    cases = load_cases(["personamem_v1"], data=tmp_path)
    assert [case.id for case in cases] == ["snippet-q1", "snippet-q2", "snippet-q3", "context-c1-1", "context-c1-2"]
    assert cases[0].turns == (("user", "I like soup again."), ("assistant", "Soup it is."))
    assert (cases[0].memory_before, cases[0].stale) == (("Dislikes soup",), (Stale("Dislikes soup"),))
    assert cases[0].gold == (
        Gold("Noa cooked soup.", "explicit", names=("Noa",)),
        Gold("Likes soup", "implied"),
    )
    assert (cases[1].memory_before, cases[1].replaced) == ((), ())
    assert (cases[2].memory_before, cases[2].gold[1].fact) == (("Dislikes pies",), "Likes pies")
    assert (cases[3].turns, cases[4].turns) == ((("user", "One."), ("assistant", "Two.")), (("user", "Three."),))
    assert (cases[3].chains_on, cases[4].chains_on, cases[4].gold) == (None, "context-c1-1", ())


def test_locomo_has_each_speaker_as_the_user_in_turn(tmp_path: Path) -> None:
    conversation = {
        "speaker_a": "Ole",
        "speaker_b": "Una",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ole", "dia_id": "D1:1", "text": "I bought a boat."},
            {"speaker": "Una", "dia_id": "D1:2", "text": "I have a cold."},
        ],
        "session_2_date_time": "9:05 am on 9 June, 2023",
        "session_2": [{"speaker": "Una", "dia_id": "D2:1", "text": "Hi!"}],
        "events_session_1": {"Ole": ["Ole buys a boat."], "Una": [], "date": "8 May, 2023"},
        "qa": [],
    }
    folder = tmp_path / "locomo"
    folder.mkdir()
    for name in ("30", "26", "41"):
        (folder / f"{name}.json").write_text(json.dumps(conversation))
    cases = load_cases(["locomo"], data=tmp_path)
    assert [case.id for case in cases[:4]] == ["26-a-1", "26-a-2", "26-b-1", "26-b-2"]
    assert len(cases) == 8
    assert cases[0].turns == (("user", "I bought a boat."), ("assistant", "I have a cold."))
    assert cases[0].gold == (Gold("Ole buys a boat.", "explicit", names=("Ole",)),)
    assert cases[0].time == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    assert cases[2].turns == (("assistant", "I bought a boat."), ("user", "I have a cold."))
    assert (cases[1].chains_on, cases[2].chains_on) == ("26-a-1", None)


def test_our_own_chats_stand_alone_and_half_of_them_is_frozen() -> None:
    cases = load_cases(["own"])
    assert len(cases) >= 60
    assert {case.chains_on for case in cases} == {None}
    assert sum(case.split == "frozen" for case in cases) == len(cases) / 2
    assert {case.language for case in cases} == {"en", "de", "es", "fr"}
    assert all(case.own for case in cases)
    assert sum(stale.change for case in cases for stale in case.stale) >= 30


def test_what_replaces_an_old_fact_is_found() -> None:
    cases = {case.id: case for case in load_cases(["own"], split="dev")}
    new = {name: [cases[name].gold[index].fact for index in cases[name].replaced] for name in ("w061", "w028", "w069")}
    assert new == {
        "w061": ["Usa Linux en el portátil"],
        "w028": ["Signed up for a 10 km run in December 2026"],
        "w069": ["Chorale le jeudi"],
    }
    assert [stale.change for stale in cases["w069"].stale] == [False, True]  # one is to be forgotten


def test_the_retention_chats_are_one_long_chain() -> None:
    cases = load_cases(["retention"])
    assert [case.chains_on for case in cases] == [None, *(case.id for case in cases[:-1])]
    assert sum(len(case.gold) for case in cases if not case.hidden) == 30
    assert sum(len(case.gold) for case in cases if case.hidden) == 10


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["nothing"], {}, "there is no set 'nothing'"),
        (["locomo"], {}, "the set locomo is read from a data folder"),
        (["locomo"], {"data": Path("nowhere")}, "cannot read the set locomo"),
        (["own"], {"split": "half"}, "there is no split 'half'"),
        (["own"], {"only": ["w001", "x"]}, "there is no case x"),
        (["retention"], {"split": "dev"}, "retention have no case in the split dev"),
    ],
)
def test_what_cannot_be_loaded_is_said(names: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_cases(names, **options)
    assert caught.value.message.startswith(message)


def test_every_set_has_a_version_and_a_licence() -> None:
    assert all(found.version >= 1 and found.licence for found in SETS.values())
