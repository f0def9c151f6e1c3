"""What is recognised as private, what is not, and that neither memory nor journal keeps it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgemem.bench.trust.secret_set import secret_cases
from edgemem.bench.trust.secrets_run import leaks
from edgemem.memory.check import check
from edgemem.memory.document import parse
from edgemem.memory.lines import match_lines, memory_of
from edgemem.memory.private_data import find_private, find_secret, masked
from edgemem.settings import load_settings
from edgemem.store import open_store
from edgemem.values import Operation, Origin, Rejected, Stats, Turn

WHEN = datetime(2026, 11, 25, 12, tzinfo=UTC)
CARD, PHONE = "4111 1111 1111 1111", "0171 2345678"


@pytest.mark.parametrize("kind", sorted({case.kind for case in secret_cases()}))
def test_our_own_set_is_masked(kind: str) -> None:
    for case in secret_cases():
        if case.kind == kind:
            assert not leaks(masked(case.text), case.values), case


@pytest.mark.parametrize(
    "text",
    [
        "My password is too weak",
        "I have 3 passwords and 2 phones since 2019",
        "My account has 120000 followers",
        "I ran 42 km on 2026-11-25 at 10:30, flight LH 4471",
        "version 1.2.3.4, ISBN 978-3-16-148410-0, USB-C 3",
        "Got my driving licence in 2019, my passport ends 2028",
        "see https://github.com/org/repo/blob/main/file.py, and/or he/she/they",
        "Die Nummer 12345678 ist eine Quersumme",
    ],
)
def test_harmless_texts_are_left_alone(text: str) -> None:
    assert find_private(text) == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("GB82 WEST 1234 5698 7654 32", "bank account"),
        ("GB82 WEST 1234 5698 7654 33", ""),  # mod 97 fails and no word says what it is
        ("3782 822463 10005", "card number"),
        ("3782 822463 10006", ""),
        ("1 84 12 76 451 089 46", "social security number"),
        ("12345678Z", "identity card number"),
        ("12345678A", ""),
    ],
)
def test_checksums_decide_where_a_kind_has_one(text: str, kind: str) -> None:
    assert find_secret(text) == kind


def test_a_mask_names_the_kind_and_leaves_the_rest_to_go_on_with() -> None:
    assert masked(f"My card {CARD} was declined, why?") == "My card [masked card number] was declined, why?"


def test_an_answer_that_repeats_a_bare_secret_is_masked_too(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        chat = store.start_chat()
        asked, answered = store.add_exchange(
            chat, "My password is: hunter22", "hunter22 is short.", WHEN, WHEN, Stats()
        )
    assert "hunter22" not in asked.text + answered.text
    assert not any(b"hunter22" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_masking_can_be_switched_off(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada", mask_secrets=False) as store:
        assert store.add_turn(store.start_chat(), "user", f"card {CARD}", WHEN).text == f"card {CARD}"
    settings = load_settings(
        environment={"EDGEMEM_MASK_SECRETS": "off", "EDGEMEM_HOME": str(tmp_path)}, folder=tmp_path
    )
    assert settings.mask_secrets is False


def test_what_was_refused_is_not_kept_in_the_journal_either(tmp_path: Path) -> None:
    with open_store(tmp_path, "ada") as store:
        refused = Rejected(Operation("add", text=f"Card {CARD}"), "secret", "holds a card number")
        store.commit((), base=store.read(), cause="update", rejected=[refused])
        assert "4111" not in repr(store.revisions())


@pytest.mark.parametrize(
    ("said", "text", "origin", "reason"),
    [
        (f"My number is {PHONE}", f"Phone number {PHONE}", "stated", "secret"),
        (f"My number is {PHONE}", "Is called 0171 2345678", "stated", "secret"),
        (f"Remember my number: {PHONE}", f"Phone number {PHONE}", "stated", ""),
        (f"My number is {PHONE}", f"Phone number {PHONE}", "asked", ""),
        (f"Remember my card: {CARD}", f"My card: {CARD}", "asked", "secret"),
        ("Remember my PIN is 4829", "PIN is 4829", "asked", "secret"),
        ("My card is [masked card number] now", "My card is masked card number now", "stated", "secret"),
        ("I got a dog, my number is 0171 2345678", "I got a dog", "stated", ""),
    ],
)
def test_contact_data_is_kept_when_asked_for_and_secrets_never(
    said: str, text: str, origin: Origin, reason: str
) -> None:
    operation = Operation("add", section="About", text=text, sources=(1,), origin=origin)
    found = check([operation], memory_of(parse(""), ()), [Turn(1, 1, "user", said, WHEN)], 2048, len)
    assert [one.reason for one in found.rejected] == ([reason] if reason else [])


def test_contact_data_that_was_asked_for_stays_through_updates_of_its_line() -> None:
    memory = memory_of(parse(f"## About\n- Phone {PHONE}\n"), ())
    lines = match_lines(memory.document.facts, (), 1)
    operation = Operation("update", 1, text=f"Phone {PHONE}, evenings only", old_text=f"Phone {PHONE}", sources=(1,))
    turn = Turn(1, 1, "user", "call my phone in the evenings only", WHEN)
    assert check([operation], memory_of(memory.document, lines), [turn], 2048, len).rejected[:1] == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["1 ", "A1 ", "a.b@c.", "C:\\a\\", "account ", "sk-", "/a", "password is ", "+1 ", "eyJ", "Aa ", "DNI "]
)
def test_a_hostile_text_costs_linear_time(piece: str) -> None:
    def seconds(characters: int) -> float:
        text = piece * (characters // len(piece))
        find_private.cache_clear()
        started = time.process_time()
        find_private(text)
        return time.process_time() - started

    assert seconds(80_000) < 8 * max(0.05, seconds(20_000))
