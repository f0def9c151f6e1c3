"""What arithmetic predicts, to print beside what was measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgemem.catalogue.gguf import GGUFHeader


def prefill_flops(model: GGUFHeader, tokens: int) -> float:
    """Of reading a prompt from nothing: 2 P N for the weights and 2 L d N^2 for causal attention, with P the weights
    without embeddings, L layers, d the width of the queries (here the model's), N tokens."""
    weights = model.parameters - model.embedding_parameters
    return 2.0 * weights * tokens + 2.0 * model.blocks * model.embedding * tokens**2


def kept_ratio(model: GGUFHeader, read: int, asked: int) -> float:
    """First token with a prompt of `read` tokens over one with `asked` new tokens behind a start from disk, as far as
    arithmetic goes; reading the file is not in it."""
    whole = prefill_flops(model, read)
    return whole / (whole - prefill_flops(model, read - asked))


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds for a token that is read in a long prompt, and for one that is written alone, as row 5 measured them."""

    read_s: float
    write_s: float


def predicted(row: str, a: Mapping[str, float], b: Mapping[str, float], rates: Rates | None) -> float:
    """The ratio A / B by counting tokens, from the median counts of both sides; 0 where nothing predicts it.

    Row 1: tokens read and written, at the speeds of row 5. Row 2: a step for each token that was not guessed, and the
    guesses read beside it. Row 10: llama-bench's own start, and reading what stands behind the kept memory. Rows 5, 6
    and 9 compare a thing with itself: 1.
    """
    if row.split()[0] in ("5", "6", "9"):
        return 1.0
    if rates is None:
        return 0.0
    if row == "1" and "prefilled" in a and "prefilled" in b:
        cost = [side["prefilled"] * rates.read_s + side["written"] * rates.write_s for side in (a, b)]
        return cost[0] / cost[1]
    if row.startswith("2") and b.get("tokens"):
        steps = b["tokens"] - b["accepted"]
        return b["tokens"] * rates.write_s / (steps * rates.write_s + b["drafted"] * rates.read_s)
    if row == "10" and "behind" in a:
        return 1.0 + a["behind"] * rates.read_s / b["value"]
    return 0.0
