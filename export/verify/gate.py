"""What a quantization may lose. Pure: measured values in, checks out. Every bound stands here, with its reason."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .values import Check, Closeness, Skill

F32_DIFFERENCE = 1e-3
"""Largest difference of a logit between torch and llama.cpp, both in 32 bits; tiny models differ by 1e-4 to 1e-6. It
grows with the logits, so above 10 it is a ten-thousandth of the largest one."""
ADAPTER_TOP1 = 0.98
"""Share of prompts with the same first token, weights in 32 bits (issue 6)."""
MOST_KL = 0.2
"""Nats per token. Published 4-bit files stay below 0.06; at 0.5 (2 bits) a model writes visibly other text."""
MOST_LOST = 0.10
"""Of planted facts, accepted edits and lines in the user's language, against the reference: 2 of 19 facts are noise."""
MOST_NOTES_LOST = 0.25
"""Of lines that the model words itself: where its notes are no good, the user's own sentence stands instead."""
MOST_MORE_WRONG = 2
"""Lines that should not be there, and old facts that still stand, beyond the reference's."""


def judge_torch(found: Closeness, equal_tokens: int, tokens: int) -> Check:
    """The converted weights in 32 bits against torch."""
    most = F32_DIFFERENCE * max(1.0, found.largest_logit / 10)
    measured = _rounded(asdict(found)) | {"greedy_equal": equal_tokens, "greedy": tokens}
    allowed = {"max_difference": most, "top1": 0.999, "greedy_equal": tokens}
    reasons = []
    if not found.max_difference <= most:  # also true for NaN
        reasons.append(f"a logit differs by {found.max_difference:.2g}, {most:.2g} is allowed")
    if equal_tokens < tokens:
        reasons.append(f"greedy answers part after {equal_tokens} of {tokens} tokens")
    return Check("torch", "failed" if reasons else "passed", measured, allowed, "; ".join(reasons))


def judge_adapter(prompts: int, equal: int, kl: float) -> Check:
    """Base with the adapter at run time against base with the adapter merged (issue 6, must show 5)."""
    top1 = equal / prompts
    measured, allowed = _rounded({"prompts": prompts, "top1": top1, "kl": kl}), {"top1": ADAPTER_TOP1}
    if top1 >= ADAPTER_TOP1:
        return Check("adapter", "passed", measured, allowed)
    reason = f"{equal} of {prompts} first tokens are those of the merged weights, {ADAPTER_TOP1:.0%} are needed"
    return Check("adapter", "failed", measured, allowed, reason)


def judge_logits(found: Closeness, equal_tokens: int, tokens: int) -> Check:
    """A quantization against the reference. That greedy answers part somewhere is normal, where is told."""
    allowed = {"kl": MOST_KL}
    measured = _rounded(asdict(found)) | {"greedy_equal": equal_tokens, "greedy": tokens}
    if found.kl <= MOST_KL:
        return Check("logits", "passed", measured, allowed)
    reason = f"the divergence from the reference is {found.kl:.3g} nats per token, {MOST_KL} is allowed"
    return Check("logits", "failed", measured, allowed, reason)


def judge_skill(found: Skill, reference: Skill) -> Check:
    """The memory skill of a quantization against that of the reference, which has to have it itself."""
    measured = _rounded(asdict(found))
    allowed = {
        "kept": f">= {reference.kept_share - MOST_LOST:.2f} of planted",
        "accepted": f">= {reference.accepted_share - MOST_LOST:.2f} of proposed",
        "in_language": f">= {reference.language_share - MOST_LOST:.2f} of added",
        "own_notes": f">= {reference.notes_share - MOST_NOTES_LOST:.2f} of added",
        "wrong": f"<= {reference.wrong_lines + reference.stale_left + MOST_MORE_WRONG}",
        "failed": f"<= {reference.failed}",
        "budget_kept": True,
    }
    reasons = list(_lost(found, reference))
    status: Any = "failed" if reasons else "passed"
    if not reasons and reference.kept == 0:
        return Check("skill", "skipped", measured, allowed, "the reference keeps no planted fact: nothing to lose")
    return Check("skill", status, measured, allowed, "; ".join(reasons))


def _lost(found: Skill, reference: Skill) -> list[str]:
    reasons = []
    if found.kept_share < reference.kept_share - MOST_LOST:
        reasons.append(f"keeps {found.kept} of {found.planted} planted facts, the reference {reference.kept}")
    if found.accepted_share < reference.accepted_share - MOST_LOST:
        shares = (
            f"{found.accepted_share:.0%} of its edits are usable, {reference.accepted_share:.0%} of the reference's"
        )
        reasons.append(shares)
    if found.language_share < reference.language_share - MOST_LOST:
        shares = f"{found.language_share:.0%} of its lines are in the user's words, {reference.language_share:.0%}"
        reasons.append(f"{shares} of the reference's")
    if found.notes_share < reference.notes_share - MOST_NOTES_LOST:
        shares = f"{found.notes_share:.0%} of its lines are notes of its own, {reference.notes_share:.0%}"
        reasons.append(f"{shares} of the reference's")
    wrong, before = found.wrong_lines + found.stale_left, reference.wrong_lines + reference.stale_left
    if wrong > before + MOST_MORE_WRONG:
        reasons.append(f"leaves {wrong} wrong or outdated lines, the reference {before}")
    if found.failed > reference.failed:
        reasons.append(f"{found.failed} of {found.updates} updates failed, {reference.failed} of the reference's")
    if not found.budget_kept:
        reasons.append("a memory grew beyond the budget")
    return reasons


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Six significant digits: the rest is noise, and files should not differ by it."""
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in values.items()}
