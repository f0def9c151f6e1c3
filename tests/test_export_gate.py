"""What a quantization may lose: pure decisions over measured values, and the skill's judge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgemem.assistant import UpdateReport
from edgemem.export.own_texts import skill_chats
from edgemem.export.verify import gate
from edgemem.export.verify.skill import _Learned, judge
from edgemem.export.verify.texts import COUNT, tokenizer_texts
from edgemem.export.verify.values import Check, Closeness, Skill, Verdict

CLOSE = Closeness(768, 0.01, 0.95, 0.5, 12.0, 11.9, 20.0)
GOOD = Skill(12, 0, 20, 18, 24, 22, 0, 1, 22, 22, 10, True, 2.5)


def test_a_divergence_above_the_bound_fails_with_both_numbers() -> None:
    assert gate.judge_logits(CLOSE, 60, 64).status == "passed"
    failed = gate.judge_logits(replace(CLOSE, kl=0.3134567), 3, 64)
    assert failed.reason == "the divergence from the reference is 0.313 nats per token, 0.2 is allowed"
    assert failed.measured["kl"] == 0.313457
    assert gate.judge_logits(replace(CLOSE, kl=float("nan")), 64, 64).status == "failed"


@pytest.mark.parametrize(
    ("difference", "equal", "largest", "status"),
    [(9e-4, 64, 5.0, "passed"), (1.1e-3, 64, 5.0, "failed"), (1.1e-3, 64, 20.0, "passed"), (1e-6, 63, 5.0, "failed")],
)
def test_the_conversion_is_held_to_a_thousandth_and_every_greedy_token(
    difference: float, equal: int, largest: float, status: str
) -> None:
    found = replace(CLOSE, max_difference=difference, largest_logit=largest)
    assert gate.judge_torch(found, equal, 64).status == status
    assert gate.judge_torch(replace(found, max_difference=float("nan")), 64, 64).status == "failed"


LOST = {
    "facts": (replace(GOOD, kept=15), "keeps 15 of 20 planted facts, the reference 18"),
    "usable edits": (replace(GOOD, accepted=10), "42% of its edits are usable, 92% of the reference's"),
    "language": (replace(GOOD, in_language=15), "68% of its lines are in the user's words, 100% of the reference's"),
    "notes": (replace(GOOD, own_notes=2), "9% of its lines are notes of its own, 45% of the reference's"),
    "wrong lines": (replace(GOOD, wrong_lines=3), "leaves 4 wrong or outdated lines, the reference 1"),
    "updates": (replace(GOOD, failed=1), "1 of 12 updates failed, 0 of the reference's"),
    "budget": (replace(GOOD, budget_kept=False), "a memory grew beyond the budget"),
}


@pytest.mark.parametrize("what", LOST)
def test_a_lost_skill_is_named(what: str) -> None:
    found, reason = LOST[what]
    check = gate.judge_skill(found, GOOD)
    assert (check.status, check.reason) == ("failed", reason)


def test_a_small_loss_is_allowed() -> None:
    assert gate.judge_skill(replace(GOOD, kept=16, wrong_lines=2, own_notes=6), GOOD).status == "passed"


def test_a_reference_without_the_skill_proves_nothing() -> None:
    nothing = replace(GOOD, kept=0, added=0, in_language=0, own_notes=0, proposed=0, accepted=0)
    assert gate.judge_skill(nothing, nothing).status == "skipped"


def test_a_verdict_passes_unless_a_check_failed() -> None:
    checks = (Check("a", "passed"), Check("b", "skipped", reason="no torch"))
    assert Verdict("Q8_0", "", checks).passed
    failed = Verdict("Q2_K", "", (*checks, Check("c", "failed", reason="too far")))
    assert (failed.passed, failed.reasons) == (False, ["c: too far"])


def test_the_judge_counts_facts_traps_and_what_is_outdated() -> None:
    chats = tuple(chat for chat in skill_chats() if chat.id in ("s02", "s06"))
    moved = _Learned(UpdateReport(), ("I live in Cork",), ("I live in Cork", "We moved to Sligo last week"))
    imagined = _Learned(UpdateReport(memory_tokens=5000), (), ("Is a lighthouse keeper in 1890",))
    found = judge(chats, [moved, imagined], 1.0)
    assert (found.planted, found.kept, found.stale_left, found.wrong_lines, found.added) == (2, 1, 1, 1, 2)
    assert (found.in_language, found.own_notes, found.budget_kept) == (2, 2, False)
    foreign = _Learned(UpdateReport(), (), ("Er ist Zahnarzt in Leith",))
    assert judge(chats[1:], [foreign], 1.0).in_language == 0


def test_the_texts_to_tokenize_are_many_different_and_the_same_each_time() -> None:
    texts = list(tokenizer_texts(("<|im_end|>",)))
    assert len(texts) == COUNT
    assert texts == list(tokenizer_texts(("<|im_end|>",)))
    assert len(set(texts)) > 1700
    assert sum("<|im_end|>" in text for text in texts) > 100
