"""memory.md as a value: any text survives, facts are found, edits touch nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgemem.memory.document import (
    Document,
    clean_text,
    is_fact_text,
    new_document,
    parse,
    render,
    section_name,
    updated_stamp,
    with_added,
    with_removed,
    with_replaced,
    with_updated_stamp,
    without_stamp,
)
from edgemem.values import SECTIONS

HAND_WRITTEN = """---
edgemem: 1
user: ada
tags: [a, b]
---

# My memory

Some prose a person wrote
over two lines.

## about
- Lives in Bern
  since 2019.
* Plays the cello
+ Has two children:
  - Mia
  - Tom, born 2020
1. Works from home

## Recipes I like
| dish | note |
|------|------|
| soup | hot  |

```
- not a bullet
## not a heading
```

---

## Plans
-
- Trip to Oslo
"""

MARKDOWN = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "",
                "---",
                "- a",
                "  - b",
                "* c d",
                "1. e",
                "## About",
                "# x",
                "```",
                "~~~",
                "text",
                "  more",
                "***",
                "\t- f",
            ]
        ),
        st.text(max_size=12).filter(lambda row: "\n" not in row),
    ),
    max_size=20,
).map("\n".join)
TEXT = st.one_of(st.text(max_size=20), st.sampled_from(["new fact", "- dashed", "# hashed", "1", "---", "```"]))
SECTION = st.one_of(st.sampled_from([*SECTIONS, "", "plans"]), st.text(max_size=10))


def told(document: Document) -> list[tuple[str, str]]:
    return [(fact.section, fact.text) for fact in document.facts]


@given(st.one_of(MARKDOWN, st.text()))
@example(HAND_WRITTEN)
def test_any_text_with_lf_endings_survives_reading_and_writing(text: str) -> None:
    text = parse(text).text  # LF, no byte order mark
    assert render(parse(text)) == text


@given(st.one_of(MARKDOWN, st.text()))
def test_every_line_of_a_fact_belongs_to_one_fact_only(text: str) -> None:
    document = parse(text)
    ends = [0, *(fact.end for fact in document.facts)]
    assert all(fact.first >= ends[fact.position] and fact.end > fact.first for fact in document.facts)
    assert [fact.position for fact in document.facts] == list(range(len(document.facts)))


def test_facts_of_a_hand_written_file() -> None:
    assert [(fact.section, fact.text, fact.prose) for fact in parse(HAND_WRITTEN).facts] == [
        ("My memory", "Some prose a person wrote over two lines.", True),
        ("About", "Lives in Bern since 2019.", False),
        ("About", "Plays the cello", False),
        ("About", "Has two children: Mia; Tom, born 2020", False),
        ("About", "Works from home", False),
        ("Recipes I like", "| dish | note | |------|------| | soup | hot  |", True),
        ("Recipes I like", "- not a bullet ## not a heading", True),
        ("Plans", "Trip to Oslo", False),
    ]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", []),
        ("---\nedgemem: 1\nuser: ada\n---\n", []),
        ("---\nNot front matter but prose.\n---\n- b", [("", "Not front matter but prose."), ("", "b")]),
        ("---\nuser: never closed\n- a", [("", "user: never closed"), ("", "a")]),
        ("\ufeff- a\r\n- b\r\n", [("", "a"), ("", "b")]),
        ("```\n- a fence nobody closed\n\n## Plans\n- b", [("", "a fence nobody closed"), ("Plans", "b")]),
        ("## HEALTH ##\n- a", [("Health", "a")]),
        ("##About\n", [("", "##About")]),
        ("* * *\n- - -\n___\n- ", []),
        ("- a\n\n  - b", [("", "a"), ("", "b")]),
        ("- a\n\t- b\n - c", [("", "a; b"), ("", "c")]),
    ],
)
def test_facts_of_small_texts(text: str, facts: list[tuple[str, str]]) -> None:
    assert told(parse(text)) == facts


@given(MARKDOWN, SECTION, TEXT)
@example("- x", "", "y")
@example("## About", "Plans", "y")
@example("prose", "", "y")
def test_adding_gives_one_more_fact_and_keeps_every_line(text: str, section: str, fact: str) -> None:
    before = parse(text)
    after = with_added(before, section, fact)
    if not is_fact_text(fact):
        assert after == before
        return
    added = (section_name(section), clean_text(fact))
    remaining = told(after)
    remaining.remove(added)
    assert remaining == told(before)
    rows = iter(after.rows)
    assert all(row in rows for row in before.rows if row.strip())  # a subsequence, in order


@given(MARKDOWN, st.integers(0, 30))
def test_removing_takes_one_fact_and_keeps_the_others(text: str, pick: int) -> None:
    document = parse(text)
    if document.facts:
        position = pick % len(document.facts)
        left = told(with_removed(document, position))
        assert left == [fact for place, fact in enumerate(told(document)) if place != position]


@given(MARKDOWN, st.integers(0, 30), TEXT)
def test_replacing_changes_one_fact(text: str, pick: int, fact: str) -> None:
    document = parse(text)
    if document.facts and is_fact_text(fact):
        position = pick % len(document.facts)
        expected = [clean_text(fact) if place == position else old for place, (_, old) in enumerate(told(document))]
        assert [new for _, new in told(with_replaced(document, position, fact))] == expected


@given(MARKDOWN, st.datetimes(timezones=st.just(UTC)))
def test_the_stamp_changes_no_fact(text: str, when: datetime) -> None:
    document = parse(text)
    stamped = with_updated_stamp(document, "ada", when)
    assert told(stamped) == told(document)
    assert updated_stamp(stamped) != ""
    assert without_stamp(with_updated_stamp(stamped, "ada", None)) == without_stamp(stamped)


def test_our_sections_come_in_our_order_and_others_last() -> None:
    document = with_updated_stamp(new_document("ada"), "ada", datetime(2026, 7, 31, 10, tzinfo=UTC))
    for section in ("Plans", "Recipes", "Health", "About", "health"):
        document = with_added(document, section, f"a fact of\n{section}")
    assert (
        document.text
        == """---
edgemem: 1
user: ada
updated: 2026-07-31T10:00:00.000Z
---

## About
- a fact of About

## Health
- a fact of Health
- a fact of health

## Plans
- a fact of Plans

## Recipes
- a fact of Recipes
"""
    )


def test_edits_of_a_hand_written_file_leave_the_rest_alone() -> None:
    document = parse(HAND_WRITTEN)
    document = with_replaced(document, 4, "Works in an office")
    document = with_removed(document, 3)
    document = with_added(document, "Preferences", "Tea, not coffee")
    document = with_added(document, "about", "Left-handed")
    assert document.text == HAND_WRITTEN.replace(
        "1. Works from home\n", "1. Works in an office\n- Left-handed\n"
    ).replace("+ Has two children:\n  - Mia\n  - Tom, born 2020\n", "").replace(
        "## Plans\n", "## Preferences\n- Tea, not coffee\n\n## Plans\n"
    )
