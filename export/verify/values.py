"""What a check measured, and what the gate says about it. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one file. `reason` says in words why it failed or was left out."""

    name: str
    status: Status
    measured: dict[str, Any] = field(default_factory=dict)
    allowed: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of one file; `name` is its quantization."""

    name: str
    sha256: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.status != "failed" for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        return [f"{check.name}: {check.reason}" for check in self.checks if check.status == "failed"]

    def measured(self, check: str) -> dict[str, Any]:
        return next((one.measured for one in self.checks if one.name == check), {})


@dataclass(frozen=True, slots=True)
class Closeness:
    """How close rows of logits are to those of the reference, over `positions` next-token distributions.

    `kl` is the mean Kullback-Leibler divergence in nats from the reference, `top1` the share of equal first choices;
    perplexities are of the text itself.
    """

    positions: int
    kl: float
    top1: float
    max_difference: float
    perplexity: float
    reference_perplexity: float
    largest_logit: float


@dataclass(frozen=True, slots=True)
class Skill:
    """The memory skill over the fixed chats. Counts are of facts, lines and updates; seconds are per update."""

    updates: int
    failed: int
    planted: int
    kept: int
    proposed: int
    accepted: int
    wrong_lines: int
    stale_left: int
    added: int
    in_language: int
    own_notes: int
    budget_kept: bool
    seconds: float

    @property
    def kept_share(self) -> float:
        return self.kept / self.planted if self.planted else 1.0

    @property
    def accepted_share(self) -> float:
        return self.accepted / self.proposed if self.proposed else 1.0

    @property
    def notes_share(self) -> float:
        """Of added lines, those that the model worded: the others are the user's own sentences."""
        return self.own_notes / self.added if self.added else 1.0

    @property
    def language_share(self) -> float:
        return self.in_language / self.added if self.added else 1.0
