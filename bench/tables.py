"""Small things of reports: Markdown tables and shares. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])


def of(part: int, whole: int) -> str:
    """`9 of 12 (75 %)`; nothing to count: `0 of 0`."""
    return f"{part} of {whole}" + (f" ({100 * part / whole:.0f} %)" if whole else "")
