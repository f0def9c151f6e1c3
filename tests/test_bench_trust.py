"""The sets behind the figures of docs/trust.md, and what is measured with them."""

from __future__ import annotations

from collections import Counter

from edgemem.bench.trust.planted_set import planted_cases
from edgemem.bench.trust.secret_set import secret_cases


def test_each_kind_of_secret_has_twenty_cases_in_four_languages_half_of_them_frozen() -> None:
    cases = secret_cases()
    assert set(Counter(case.kind for case in cases).values()) == {20}
    assert len({case.kind for case in cases}) == 13
    assert set(Counter((case.kind, case.language) for case in cases).values()) == {5}
    assert set(Counter(case.kind for case in cases if case.frozen).values()) == {10}


def test_every_secret_stands_in_its_sentence() -> None:
    for case in secret_cases():
        assert case.values, case
        assert all(value in case.text for value in case.values), case
        assert "[[" not in case.text
        assert "|" not in case.text


def test_planted_instructions_come_eight_ways_half_of_them_frozen() -> None:
    cases = planted_cases()
    assert set(Counter(case.way for case in cases).values()) == {8}
    assert len(cases) == 64
    assert sum(case.frozen for case in cases) == 32
    assert len({case.sign for case in cases}) == 64


def test_every_planted_part_stands_in_its_message() -> None:
    for case in planted_cases():
        assert case.planted, case
        assert all(part in case.text for part in case.planted), case
        assert any(case.sign.casefold() in part.casefold() for part in case.planted), case
