"""The importance matrix on disk, in llama.cpp's GGUF form: sums of squares per input column, and how many rows.

Written here, it can be used by llama.cpp's own tools, and theirs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from edgemem.errors import InvalidInput

MAKE_ONE = "make one: edgemem export gguf SRC --imatrix own"
SUMS, COUNTS = ".in_sum2", ".counts"


@dataclass(frozen=True, slots=True)
class Importance:
    """One matrix's inputs: the sum of squares of each column, over `rows` rows."""

    sums: NDArray[np.float64]
    rows: int


def write_imatrix(path: Path, found: Mapping[str, Importance], dataset: str, chunks: int, chunk_tokens: int) -> None:
    """Write what was collected over `chunks` pieces of `chunk_tokens` tokens of `dataset`."""
    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].pop("general.architecture", None)
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", [dataset])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", chunk_tokens)
    for name in sorted(found):
        one = found[name]
        writer.add_tensor(name + SUMS, one.sums.astype(np.float32).reshape(1, -1))
        writer.add_tensor(name + COUNTS, np.array([[one.rows]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_imatrix(path: Path) -> dict[str, NDArray[np.float32]]:
    """Mean square of each input column, by the matrix's name. Raises InvalidInput where it is no such file."""
    try:
        tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    except (OSError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise InvalidInput(f"{path} is no importance matrix: {error}", MAKE_ONE) from error
    names = [name.removesuffix(SUMS) for name in tensors if name.endswith(SUMS)]
    found = {}
    for name in names:
        rows = float(np.ravel(tensors.get(name + COUNTS, np.zeros(1)))[0])
        if rows > 0:
            found[name] = np.asarray(np.ravel(tensors[name + SUMS]) / rows, dtype=np.float32)
    if not found:
        raise InvalidInput(f"{path} is no importance matrix in GGUF form", MAKE_ONE)
    return found
