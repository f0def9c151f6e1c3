"""Lines: ids survive hand edits, operations apply or are skipped, and can be taken back."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edgemem.memory.document import Document, parse
from edgemem.memory.lines import apply_all, apply_operations, difference, inverse, match_lines, prompt_view
from edgemem.values import Line, Operation

KNOWN = (
    Line(3, "About", "Lives in Bern.", origin="stated"),
    Line(7, "Health", "Allergic to peanuts.", pinned=True, origin="asked", sensitivity="health"),
    Line(9, "Plans", "Trip to Oslo in May 2026.", origin="inferred"),
)
TEXT = "## About\n- Lives in Bern.\n\n## Health\n- Allergic to peanuts.\n\n## Plans\n- Trip to Oslo in May 2026.\n"

OPERATIONS = st.lists(
    st.builds(
        Operation,
        kind=st.sampled_from(["add", "update", "delete"]),
        line_id=st.one_of(st.none(), st.integers(0, 15)),
        section=st.sampled_from(["", "About", "Health", "Garden", "# ", "plans"]),
        text=st.one_of(st.sampled_from(["Lives in Bern.", "- x", "", "---", "two\nrows"]), st.text(max_size=8)),
    ),
    max_size=8,
)


def matched(text: str, known: tuple[Line, ...] = KNOWN, gone: tuple[Line, ...] = ()) -> tuple[Line, ...]:
    return match_lines(parse(text).facts, known, 10, gone)


def test_an_unchanged_file_keeps_ids_origins_and_pins() -> None:
    assert matched(TEXT) == KNOWN


def test_a_line_edited_by_hand_keeps_its_id_and_is_known_as_edited() -> None:
    assert matched(TEXT.replace("in Bern", "in Basel"))[0] == Line(3, "About", "Lives in Basel.", origin="edited")


def test_a_line_moved_to_another_section_keeps_its_id() -> None:
    assert matched("## People\n- Allergic to peanuts.\n") == (
        Line(7, "People", "Allergic to peanuts.", pinned=True, origin="edited", sensitivity="health"),
    )


def test_new_lines_get_new_ids_and_prose_is_marked() -> None:
    assert matched("A person wrote this.\n\n- Collects stamps\n", known=()) == (
        Line(10, "", "A person wrote this.", prose=True, origin="edited"),
        Line(11, "", "Collects stamps", origin="edited"),
    )


def test_the_same_section_wins_between_two_near_lines() -> None:
    known = (Line(1, "About", "Likes green tea"), Line(2, "Preferences", "Likes green teas a lot"))
    assert matched("## Preferences\n- Likes green tea.\n", known)[0].id == 2


def test_equal_lines_keep_their_own_ids() -> None:
    known = (Line(1, "About", "same"), Line(2, "About", "same"), Line(4, "Plans", "same"))
    assert [line.id for line in matched("## Plans\n- same\n## About\n- same\n- same\n", known)] == [4, 1, 2]


def test_a_line_put_back_by_hand_gets_its_old_id() -> None:
    gone = (Line(5, "Plans", "Learn Norwegian", pinned=True, origin="stated"),)
    assert matched("## Plans\n- Learn Norwegian\n", (), gone) == gone


def test_prompt_view_is_in_the_order_of_ids() -> None:
    lines = (
        Line(12, "Work and study", "Nurse\nat night"),
        Line(3, "", "Likes tea"),
        Line(7, "Health", "Left knee"),
    )
    assert prompt_view(lines) == "[3] Likes tea\n[7 Health] Left knee\n[12 Work and study] Nurse at night"


def test_operations_change_text_and_lines_together() -> None:
    operations = [
        Operation("update", 3, text="Lives in\nBasel."),
        Operation("delete", 7),
        Operation("add", None, "Health", "Wears glasses.", sources=(4,), origin="stated"),
        Operation("update", 9, section="About", text="Has been to Oslo."),
    ]
    document, lines = apply_operations(parse(TEXT), KNOWN, operations, 10)
    assert document.text == (
        "## About\n- Lives in Basel.\n- Has been to Oslo.\n\n## Health\n- Wears glasses.\n\n## Plans\n"
    )
    assert lines == (
        Line(3, "About", "Lives in Basel."),
        Line(9, "About", "Has been to Oslo."),
        Line(10, "Health", "Wears glasses.", origin="stated"),
    )


def test_operations_without_anything_to_act_on_are_skipped() -> None:
    operations = (
        Operation("update", 99, text="no such line"),
        Operation("delete", None),
        Operation("update", 3, text="Lives in Bern."),
        Operation("update", 3, text="---"),
        Operation("add", None, "Plans", " "),
        Operation("add", 7, "Plans", "an id that is there"),
    )
    applied = apply_all(parse(TEXT), KNOWN, operations, 10)
    assert (applied.document.text, applied.lines, applied.done, applied.skipped) == (TEXT, KNOWN, (), operations)


def test_difference_names_what_a_hand_edit_did() -> None:
    after = matched("## About\n- Lives in Basel.\n\n## Plans\n- Trip to Oslo in May 2026.\n- Buy skis\n")
    assert difference(KNOWN, after) == (
        Operation(
            "delete", 7, old_text="Allergic to peanuts.", old_section="Health", origin="asked", old_origin="asked"
        ),
        Operation(
            "update",
            3,
            "About",
            "Lives in Basel.",
            "Lives in Bern.",
            "About",
            origin="edited",
            old_origin="stated",
        ),
        Operation("add", 10, "Plans", "Buy skis", origin="edited"),
    )


def told(lines: Sequence[Line]) -> list[tuple[int, str, str]]:
    return sorted((line.id, line.section, line.text) for line in lines)


def aligned(document: Document, lines: tuple[Line, ...]) -> bool:
    facts = [(fact.section, fact.text, fact.prose) for fact in document.facts]
    return facts == [(line.section, line.text, line.prose) for line in lines]


@given(OPERATIONS)
def test_lines_always_follow_the_document(operations: list[Operation]) -> None:
    applied = apply_all(parse(TEXT), KNOWN, operations, 10)
    assert aligned(applied.document, applied.lines)
    assert len({line.id for line in applied.lines}) == len(applied.lines)
    assert len(applied.done) + len(applied.skipped) == len(operations)


@given(OPERATIONS)
def test_applied_operations_can_be_taken_back(operations: list[Operation]) -> None:
    applied = apply_all(parse(TEXT), KNOWN, operations, 10)
    back = apply_all(applied.document, applied.lines, inverse(applied.done), 50)
    assert back.skipped == ()
    assert told(back.lines) == told(KNOWN)
    assert {line.id: line.origin for line in back.lines} == {line.id: line.origin for line in KNOWN}


@given(OPERATIONS)
def test_difference_leads_from_one_memory_to_the_other(operations: list[Operation]) -> None:
    after = apply_all(parse(TEXT), KNOWN, operations, 10).lines
    again = apply_all(parse(TEXT), KNOWN, difference(KNOWN, after), 50).lines
    assert told(again) == told(after)


def test_a_line_taken_out_of_all_sections_by_hand_keeps_its_id() -> None:
    before = (Line(3, "About", "Lives in Bern."),)
    after = (Line(3, "", "Lives in Bern."),)
    document = parse("## About\n- Lives in Bern.\n")
    assert told(apply_all(document, before, difference(before, after), 50).lines) == told(after)
