"""The matcher of `bench write`: who says what, turned around or not, stale or not, of whom; and its own validation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgemem.bench.jsonl import objects
from edgemem.bench.writing.cases import TEXTS, trap_kind
from edgemem.bench.writing.language import guess_language
from edgemem.bench.writing.matcher import can_be_mistaken, conveys, has_keys, is_stale, is_third_party, springs
from edgemem.bench.writing.validation import PAIRS, Agreement, agreements, disagreements, read_pairs
from edgemem.bench.writing.values import Gold, Stale, ThirdParty, Trap

EGGS = Gold("Does not tolerate eggs", "implied", ("egg",))
HIVES = Gold("Keeps four hives", "explicit", ("hive|bee", "4|four"))


@pytest.mark.parametrize(
    ("keys", "line", "expected"),
    [
        (("hive|bee", "four"), "Keeps four beehives.", True),
        (("hive|bee", "four"), "Keeps bees.", False),
        (("clínica",), "Trabaja en una CLINICA.", True),
        (("größe",), "Schuhgroesse 40", False),
        (("6",), "Is 16 years old.", False),
        (("6",), "Is 6 years old.", True),
        (("11",), "On 2026-10-11.", True),
        (("4",), "On 2026-04-12.", True),
    ],
)
def test_keys_must_all_occur_in_one_line(keys: tuple[str, ...], line: str, expected: bool) -> None:
    assert has_keys(keys, line) is expected


@pytest.mark.parametrize(
    ("gold", "line", "expected"),
    [
        (EGGS, "Allergic to eggs.", True),
        (EGGS, "Likes eggs for breakfast.", False),
        (EGGS, "Is not allergic to eggs.", True),  # known weakness: nothing here is liked
        (Gold("Tolerates eggs", "explicit", ("egg",)), "Is not allergic to eggs.", True),
        (Gold("Tolerates eggs", "explicit", ("egg",)), "Does not tolerate eggs.", False),
        (Gold("Usa Linux", "explicit", ("linux",)), "Ya no usa Linux.", False),
        (Gold("Trinkt Mate", "explicit", ("mate",)), "Trinkt Mate, keinen Kaffee.", True),
        (Gold("Wants tabs, not spaces", "explicit", ("tabs",)), "Prefers tabs over spaces.", True),
        (Gold("Is a chemist", "explicit", ("chemist",)), "His father is a chemist.", False),
        (Gold("Is a chemist", "explicit", ("chemist",)), "Kasia's grandmother is a chemist.", False),
        (Gold("No conduce", "explicit", ("conduc",)), "Su hermano conduce la furgoneta.", False),
        (Gold("Has a daughter Liv", "implied", ("liv",)), "Daughter Liv is six.", True),
        (Gold("Ana sold her bakery in Lund", "explicit", names=("Ana",)), "Sold the bakery in Lund.", True),
        (Gold("Ana sold her bakery in Lund", "explicit", names=("Ana",)), "Likes the town of Lund.", False),
        (Gold("Dislikes group tours", "implied"), "Likes group tours.", False),
        (Gold("Likes group tours", "implied"), "Avoids group tours.", False),
    ],
)
def test_a_line_conveys_a_fact_of_the_right_person_and_the_right_way_round(
    gold: Gold, line: str, expected: bool
) -> None:
    assert conveys(gold, line) is expected


@pytest.mark.parametrize(
    ("old", "lines", "expected"),
    [
        (Stale("Lives in Lund", ("lund",)), ["Lives in Lund."], True),
        (Stale("Lives in Lund", ("lund",)), ["No longer lives in Lund."], False),
        (Stale("Lives in Lund", ("lund",)), ["Used to live in Lund."], False),
        (Stale("Wohnt in Bonn", ("bonn",)), ["Wohnt nicht mehr in Bonn."], False),
        (Stale("Vive en Gijón", ("gijón",)), ["Ya no vive en Gijón."], False),
        (Stale("Habite à Dole", ("dole",)), ["N'habite plus à Dole."], False),
        (Stale("Habite à Dole", ("dole",)), ["Habite à Dijon."], False),
        (Stale("Does not tolerate eggs", ("egg",)), ["Does not tolerate eggs."], True),
        (Stale("Dislikes long layovers"), ["Dislikes long layovers."], True),
        (Stale("Dislikes long layovers"), ["Likes long layovers now."], False),
        (Stale("Lives in Lund", ("lund",)), [], False),
    ],
)
def test_an_old_value_is_stale_unless_it_is_gone_or_denied(old: Stale, lines: list[str], expected: bool) -> None:
    assert is_stale(old, lines) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Hat Gicht.", True),
        ("Die Nachbarin hat Gicht.", False),
        ("Frau Yilmaz hat Gicht.", False),
        ("Kocht dienstags.", False),
    ],
)
def test_another_persons_fact_counts_where_it_stands_as_the_users(line: str, expected: bool) -> None:
    fact = ThirdParty("Frau Yilmaz hat Gicht", ("yilmaz|nachbarin", "gicht"), "Nachbarin Frau Yilmaz")
    assert is_third_party(fact, line) is expected


def test_a_fact_whose_keys_only_name_its_owner_says_nothing() -> None:
    fact = ThirdParty("Halina", ("halina",), "Grandma Halina")
    assert not can_be_mistaken(fact)
    assert not is_third_party(fact, "Likes Halina.")


def test_a_trap_springs_unless_the_line_names_whose_it_is() -> None:
    trap = Trap("Is vegan", "third_party", ("vegan",), ("not", "ana"))
    assert springs(trap, "Is vegan.")
    assert not springs(trap, "Is not vegan.")
    assert not springs(trap, "Ana is vegan.")
    assert not springs(trap, "The cousin is vegan.")


@pytest.mark.parametrize(
    ("why", "style", "kind"),
    [
        ("the colleague is", "request", "third_party"),
        ("la prima fuma", "third", "third_party"),
        ("role play, his brother", "roleplay", "role_play"),
        ("hypothetisch", "hypothetical", "hypothetical"),
        ("simple demande", "request", "question"),
        ("only a text to translate", "translation", "task"),
    ],
)
def test_the_kind_of_a_trap_is_read_from_its_reason(why: str, style: str, kind: str) -> None:
    assert trap_kind(why, style) == kind


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("Works as a school librarian.", "en"),
        ("Wohnt mit der Schwester in Bonn.", "de"),
        ("Vive en un piso de Zaragoza.", "es"),
        ("N'habite plus à Dole.", "fr"),
        ("Sa fille a dix-huit ans.", "fr"),
        ("Python", ""),
    ],
)
def test_the_language_of_a_line_is_guessed_or_left_open(line: str, language: str) -> None:
    assert guess_language(line) == language


def test_lines_of_our_own_texts_are_mostly_guessed_right() -> None:
    rows = [row for row in objects(TEXTS / "chats.jsonl") if row["split"] == "dev"]
    facts = [(fact["fact"], row["language"]) for row in rows for fact in row["gold"]]
    guesses = [(guess_language(fact), language) for fact, language in facts]
    decided = [(guess, language) for guess, language in guesses if guess]
    assert len(decided) > 0.75 * len(guesses)
    assert sum(guess == language for guess, language in decided) > 0.96 * len(decided)


def test_pairs_repeat_the_gold_of_our_texts_and_none_of_the_frozen_half() -> None:
    chats = {row["id"]: row for row in objects(TEXTS / "chats.jsonl")}
    pairs = list(objects(PAIRS))
    own = [pair for pair in pairs if pair["case"]]
    for pair in own:
        gold = {fact["fact"]: fact["keys"] for fact in chats[pair["case"]]["gold"]}
        assert gold[pair["fact"]] == pair["keys"]
        assert chats[pair["case"]]["split"] == "dev"
    assert len({pair["id"] for pair in pairs}) == len(pairs) >= 200
    assert len(pairs) - len(own) >= 90


def test_the_matcher_is_as_good_as_is_said() -> None:
    """Least values, a little under what was measured, so that a change that costs something is seen."""
    found = {agreement.group: agreement for agreement in agreements(read_pairs())}
    assert found["all"].precision >= 0.77
    assert found["all"].recall >= 0.88
    assert found["half b"].pairs == 169


def test_agreement_counts_each_outcome(tmp_path: Path) -> None:
    base = {"half": "b", "case": "", "language": "en", "fact": "Keeps bees", "keys": ["bee"]}
    lines = [("Has bees.", True), ("Fears bees.", False), ("Is an apiarist.", True), ("Likes tea.", False)]
    file = tmp_path / "pairs.jsonl"
    rows = [base | {"id": line, "line": line, "label": label} for line, label in lines]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = read_pairs(file)
    assert agreements(pairs)[0] == Agreement("all", right=1, wrong=1, missed=1, rejected=1)
    assert (agreements(pairs)[0].precision, agreements(pairs)[0].recall) == (0.5, 0.5)
    assert [pair.line for pair in disagreements(pairs, "b")] == ["Fears bees.", "Is an apiarist."]
