"""Small things of reports: Markdown tables, names of runs, shares. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])


def run_name(run: Mapping[str, Any]) -> str:
    """A run for people: policy, steps left out, model and the code that wrote."""
    variant = f" {run['variant']}" if run["variant"] else ""
    return f"{run['policy']}{variant}, {run['model']} ({run['code_digest'][:6]})"


def of(part: int, whole: int) -> str:
    """`9 of 12 (75 %)`; nothing to count: `0 of 0`."""
    return f"{part} of {whole}" + (f" ({100 * part / whole:.0f} %)" if whole else "")
