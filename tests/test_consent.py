"""Provenance and consent: what waits, what is never kept, and that neither a kill nor an old journal loses it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_support import call

from edgemem.assistant import Assistant, UpdateReport
from edgemem.engines.scripted import ScriptedEngine
from edgemem.memory.consent import sift
from edgemem.memory.sensitivity import sensitivity_of
from edgemem.memory.support import support_of
from edgemem.policies import open_policy
from edgemem.prompting.prompts import load_prompts
from edgemem.store import UserStore, open_store
from edgemem.values import Line, Operation, Origin, Review, Stats, Turn

WHEN = datetime(2026, 11, 25, 12, tzinfo=UTC)
ASTHMA = "I have had asthma since I was six."
BERN = "I live in Bern with my two cats."

SPECIAL = [
    ("I have type 2 diabetes and check my sugar twice a day", "health"),
    ("Ich bin seit drei Jahren in Therapie", "health"),
    ("Soy alérgica a los cacahuetes", "health"),
    ("Je suis enceinte de cinq mois", "health"),
    ("I pray at the mosque on Fridays", "religion"),
    ("Ich bin katholisch aufgewachsen", "religion"),
    ("I always vote for the Greens, I'm an activist", "politics"),
    ("I'm gay and my parents know", "sexuality"),
    ("My family is Kurdish", "ethnicity"),
    ("My DNA test said I carry BRCA1", "health"),
]
ORDINARY = [
    "I live in Bern",
    "I play chess on Fridays",
    "My sister Ana is a teacher",
    "I drive an old Volvo",
    "I like jazz",
]


def operation(text: str, origin: Origin = "stated", section: str = "About", **more: object) -> Operation:
    return Operation("add", section=section, text=text, origin=origin, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "kind"), SPECIAL)
def test_special_categories_are_told_by_their_words_in_four_languages(text: str, kind: str) -> None:
    assert sensitivity_of(text) in (kind, "biometrics" if "DNA" in text else kind)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_lines_have_no_category(text: str) -> None:
    assert sensitivity_of(text) == ""


@pytest.mark.parametrize(
    ("review", "origin", "text", "waits"),
    [
        ("off", "stated", ASTHMA, False),
        ("sensitive", "stated", ASTHMA, True),
        ("sensitive", "inferred", ASTHMA, True),
        ("sensitive", "asked", ASTHMA, False),  # asking is consent
        ("sensitive", "stated", BERN, False),
        ("all", "stated", BERN, True),
        ("all", "asked", BERN, False),
    ],
)
def test_what_waits(review: Review, origin: Origin, text: str, waits: bool) -> None:
    found = sift([operation(text, origin)], (), review=review)
    assert (len(found.active), len(found.waiting)) == ((0, 1) if waits else (1, 0))


def test_none_of_ten_special_facts_is_active_without_consent() -> None:
    found = sift([operation(text) for text, _ in SPECIAL], (), review="sensitive")
    assert (found.active, len(found.waiting)) == ((), 10)


def test_a_line_whose_subject_was_accepted_can_be_updated() -> None:
    lines = [Line(1, "Health", "Has asthma"), Line(2, "About", "Lives in Bern")]
    change = Operation("update", 1, text="Has asthma, uses a spray", old_text="Has asthma", origin="stated")
    other = Operation("update", 2, text="Lives in Bern, has asthma", old_text="Lives in Bern", origin="stated")
    found = sift([change, other], lines, review="sensitive")
    assert (found.active, found.waiting) == ((change,), (other,))


def test_nothing_is_asked_twice() -> None:
    found = sift([operation(ASTHMA), operation(ASTHMA)], (), review="sensitive", asked_before=())
    assert len(found.waiting) == 1
    assert sift([operation(ASTHMA)], (), review="sensitive", asked_before=[ASTHMA]).waiting == ()
    peanuts, walnuts = "I'm badly allergic to peanuts", "I'm badly allergic to walnuts"
    assert len(sift([operation(walnuts)], (), review="sensitive", asked_before=[peanuts]).waiting) == 1


@pytest.mark.parametrize("never", ["Health", "health"])
def test_a_section_can_be_switched_off(never: str) -> None:
    found = sift([operation(ASTHMA), operation(BERN)], (), review="off", never_keep=[never])
    assert [one.text for one in found.active] == [BERN]
    assert [one.reason for one in found.refused] == ["section_off"]


def test_support_says_how_well_the_words_carry_a_line() -> None:
    said = [Turn(1, 1, "user", ASTHMA, WHEN)]
    texts = ["I have had asthma", "Asthma since six", "Has asthma, allergies", "Plays chess"]
    assert [support_of(text, said) for text in texts] == ["word for word", "in other words", "partly", "weakly"]
    assert support_of("Plays chess", []) == "none"


# The store ---------------------------------------------------------------------------------------------------------


def learned(store: UserStore, **options: object) -> UpdateReport:
    """What an assistant that keeps every sentence learned of two."""
    engine = ScriptedEngine(lambda prompt: "NONE")
    policy = open_policy("edits", without=("model",))
    assistant = Assistant("ada", engine, store, policy, load_prompts(), **options)  # type: ignore[arg-type]
    chat = store.start_chat()
    store.add_exchange(chat, f"{BERN} {ASTHMA}", "I see.", WHEN, WHEN, Stats())
    store.end_chat(chat)
    return assistant.remember()


def test_a_learned_special_fact_waits_with_the_turn_it_rests_on(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        report = learned(store)
        assert [line.text for line in store.read().lines] == [BERN.rstrip(".")]
        assert report.waiting == 1
        assert "1 sensitive or to be reviewed" in report.summary()
        (waiting,) = store.waiting()
        assert (waiting.operation.text, waiting.sensitivity) == (ASTHMA.rstrip("."), "health")
        assert [turn.text for turn in waiting.turns] == [f"{BERN} {ASTHMA}"]
        assert store.pending() == []  # learned all the same


def test_with_review_off_everything_is_active_and_marked(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        learned(store, review="off")
        assert store.waiting() == []
        assert {line.sensitivity for line in store.read().lines} == {"", "health"}


def test_never_kept_is_not_even_asked_for(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        learned(store, never_keep=["Health"])
        assert store.waiting() == []
        assert "section_off" in {one.reason for revision in store.revisions() for one in revision.rejected}


def test_why_resolves_every_learned_line_to_a_user_turn(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        learned(store, review="off")
        for line in store.read().lines:
            found = store.why(line.id)
            assert [turn.role for turn in found.turns] == ["user"]
            assert found.support == "word for word"
            assert found.revisions


def test_a_cancelled_change_takes_its_waiting_lines_back(tmp_path: Path) -> None:
    """Killed between prepare and replace with a hand edit in between, the rebased revision keeps what waits."""

    class Stop(BaseException):
        pass

    def stop(name: str) -> None:
        if name == "prepared":
            raise Stop

    with open_store(tmp_path, "ada") as store:
        store.commit([operation("Plays chess")], base=store.read(), cause="command")
    with open_store(tmp_path, "ada", step=stop) as store, pytest.raises(Stop):
        store.commit([operation(BERN)], base=store.read(), cause="update", waiting=[operation(ASTHMA)])
    file = tmp_path / "users/ada/memory.md"
    file.write_text(file.read_text("utf-8").replace("chess", "go"), "utf-8")
    with open_store(tmp_path, "ada") as store:
        assert {line.text for line in store.read().lines} == {"Plays go", BERN.rstrip()}
        assert [one.operation.text for one in store.waiting()] == [ASTHMA]


@pytest.mark.parametrize("step", ["staged", "prepared", "replaced", "done"])
def test_killed_at_each_step_of_a_review_the_line_is_either_there_or_still_waits(tmp_path: Path, step: str) -> None:
    class Stop(BaseException):
        pass

    def stop(name: str) -> None:
        if name == step:
            raise Stop

    with open_store(tmp_path, "ada") as store:
        store.commit((), base=store.read(), cause="update", waiting=[operation(ASTHMA), operation("I am gay")])
    with open_store(tmp_path, "ada", step=stop) as store, pytest.raises(Stop):
        store.review([operation(ASTHMA)], base=store.read(), decided=[1, 2], refused=["I am gay"])
    with open_store(tmp_path, "ada") as store:
        lines, waits = [line.text for line in store.read().lines], [one.id for one in store.waiting()]
        assert (lines, waits) == (([], [1, 2]) if step == "staged" else ([ASTHMA], []))
        assert bool(store.buried(["I am gay"])) is (step != "staged")


def test_an_old_journal_is_migrated_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "users/ada"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "journal.db")) as old:
        old.executescript(Path(__file__).with_name("journal_v1.sql").read_text("utf-8"))
        (text,) = old.execute("SELECT result_text FROM revisions WHERE result_text IS NOT NULL").fetchone()
    (folder / "memory.md").write_text(text, "utf-8")
    with open_store(tmp_path, "ada") as store:
        lines = store.read().lines
        assert [(line.id, line.text, line.pinned, line.sensitivity) for line in lines] == [
            (1, "Lives in Bern", True, ""),
            (2, "Has asthma", False, "health"),
        ]
        assert [turn.text for turn in store.why(2).turns] == ["I live in Bern and I have asthma"]
        assert [revision.cause for revision in store.revisions()] == ["update"]
        store.commit([operation(BERN)], base=store.read(), cause="update", waiting=[operation(ASTHMA)])
        assert len(store.waiting()) == 1


# The command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(data_dir: Path) -> Path:
    with open_store(data_dir, "default") as store:
        texts = ["I have asthma", "I am gay", "I pray daily"]
        store.commit((), base=store.read(), cause="update", waiting=[operation(text) for text in texts])
    return data_dir


def shown() -> list[str]:
    return [line["text"] for line in call("memory", "show", "--json").values["lines"]]


def test_review_lists_accepts_edits_and_rejects_in_one_go(waiting: Path) -> None:
    said = call("memory", "review")
    assert "1 About: + I have asthma" in said.out
    assert "health" in said.out
    values = call("memory", "review", "--json").values
    assert [one["number"] for one in values["waiting"]] == [1, 2, 3]
    revision = call("memory", "review", "--accept", "1", "--edit", "2=I date men", "--reject", "3", "--json").values
    assert (revision["cause"], revision["note"]) == ("review", "2 accepted, 1 rejected")
    assert shown() == ["I have asthma", "I date men"]
    assert call("memory", "review", "--json").values == {"waiting": []}
    assert call("memory", "why", "2", "--json").values["origin"] == "edited"


def test_review_in_bulk(waiting: Path) -> None:
    call("memory", "review", "--reject", "2", "--accept-all")
    assert shown() == ["I have asthma", "I pray daily"]
    assert "nothing waits" in call("memory", "review").err


def test_what_was_rejected_is_not_asked_again_for_a_mention(waiting: Path) -> None:
    call("memory", "review", "--reject", "1")
    with open_store(waiting, "default") as store:
        assert list(store.buried(["I have asthma", "I like jazz"])) == ["I have asthma"]


def test_an_accepted_line_can_be_undone(waiting: Path) -> None:
    call("memory", "review", "--accept", "1")
    call("memory", "undo")
    assert shown() == []


@pytest.mark.parametrize(
    "options",
    [
        ("--accept", "9"),
        ("--accept", "1", "--reject", "1"),
        ("--edit", "1"),
        ("--edit", "1=My password is: hunter22"),
        ("--accept-all", "--reject-all"),
    ],
)
def test_a_wrong_review_changes_nothing(waiting: Path, options: tuple[str, ...]) -> None:
    call("memory", "review", *options, code=2)
    assert shown() == []
    assert len(call("memory", "review", "--json").values["waiting"]) == 3


def test_settings_of_review_are_read_and_checked(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEMEM_REVIEW", "all")
    monkeypatch.setenv("EDGEMEM_NEVER_KEEP", "health, People")
    values = call("config", "show", "--json").values
    assert (values["review"]["value"], values["never_keep"]["value"]) == ("all", ["health", "People"])
    assert "health, People" in call("config", "show").out
    monkeypatch.setenv("EDGEMEM_NEVER_KEEP", "Helth")
    assert "sections or kinds" in call("config", "show", code=2).err
