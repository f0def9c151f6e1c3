"""What arithmetic predicts, to print beside what was measured. Pure."""

from __future__ import annotations

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
