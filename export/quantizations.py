"""The quantizations that can be asked for: their numbers in llama.cpp, and about how large they get. Data only."""

from __future__ import annotations

from collections.abc import Sequence

from edgemem.catalogue.gguf_tables import FILE_TYPES, TENSOR_TYPES
from edgemem.errors import InvalidInput

BITS_PER_WEIGHT = {
    "F32": 32.0,
    "F16": 16.0,
    "BF16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.6,
    "Q5_K_M": 5.8,
    "Q5_K_S": 5.6,
    "Q5_1": 6.1,
    "Q5_0": 5.6,
    "Q4_K_M": 5.0,
    "Q4_K_S": 4.8,
    "Q4_1": 5.1,
    "Q4_0": 4.8,
    "IQ4_NL": 4.8,
    "IQ4_XS": 4.6,
    "Q3_K_L": 4.6,
    "Q3_K_M": 4.2,
    "Q3_K_S": 3.8,
    "IQ3_M": 4.0,
    "IQ3_S": 3.8,
    "Q2_K": 3.5,
    "IQ2_M": 3.1,
}
"""What can be asked for, best first, and bits per weight over a whole file. Small models with large vocabularies need
more, since the embedding keeps 6 bits; so this is an estimate."""
NEED_IMATRIX = ("IQ2_M",)
ROW_BUFFER_BYTES = 1 << 30
"""Rows that the quantizer keeps at once: llama.cpp's own default of 8 GiB is more than a laptop has to spare."""
FLOATS = ("F32", "F16", "BF16")
NUMBERS = {name: number for number, name in FILE_TYPES.items()}
BLOCKS = {kind.name: kind.block for kind in TENSOR_TYPES.values()}


def parse(text: str) -> tuple[str, ...]:
    """Names out of `Q4_K_M,Q8_0` (any case), in order, each once. Raises InvalidInput."""
    names = list(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in BITS_PER_WEIGHT]
    if unknown or not names:
        raise InvalidInput(
            f"there is no quantization {unknown[0]!r}" if unknown else "no quantization is named",
            f"use some of {', '.join(BITS_PER_WEIGHT)}",
        )
    return tuple(names)


def block_of(name: str) -> int:
    """How many weights of a row are stored together: rows that are no multiple of it are stored in another type."""
    if name in FLOATS:
        return 1
    return 256 if "_K" in name or (name.startswith("IQ") and name != "IQ4_NL") else 32


def fallbacks(name: str, matrices: dict[str, str]) -> dict[str, str]:
    """The matrices (name -> type) that are not in a type of the quantization `name`, silently stored otherwise."""
    if name in FLOATS:
        return {tensor: kind for tensor, kind in matrices.items() if kind != name}
    return {tensor: kind for tensor, kind in matrices.items() if BLOCKS[kind] < block_of(name)}


def sort(names: Sequence[str]) -> list[str]:
    """Best first; precisions of ONNX among themselves."""
    order = [*BITS_PER_WEIGHT, "fp32", "int8", "int4"]
    return sorted(names, key=order.index)
