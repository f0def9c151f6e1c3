"""Quantizing a GGUF through llama.cpp, and reading back what it really did. Home of llama_cpp's quantizer."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping
from pathlib import Path

import gguf
import llama_cpp as lib
import numpy as np
from numpy.typing import NDArray

from edgemem.errors import EngineFailed

from .apart import Progress
from .imatrix_file import read_imatrix
from .quantizations import NUMBERS, ROW_BUFFER_BYTES

_COUNTER = re.compile(r"^\[ *(\d+)/ *(\d+)\]")


def quantize(source: Path, out: Path, name: str, imatrix: Path | None, threads: int, report: Progress) -> None:
    """Write the quantization `name` of `source` to `out`. For `run_apart`. Raises EngineFailed."""
    problems: list[str] = []

    @lib.llama_log_callback  # type: ignore[untyped-decorator,unused-ignore]
    def listen(level: int, text: bytes, _: ctypes.c_void_p) -> None:
        line = text.decode("utf-8", "replace")
        if found := _COUNTER.match(line):
            report(f"quantize {name}", int(found[1]), int(found[2]))
        elif level >= 4 and line.strip():
            problems.append(line.strip())

    lib.llama_log_set(listen, ctypes.c_void_p(0))
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.max_buf_size = NUMBERS[name], threads, ROW_BUFFER_BYTES
    held = _Importance(read_imatrix(imatrix)) if imatrix else None
    if held:
        params.imatrix = held.entries
    if lib.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(params)):
        raise EngineFailed(f"llama.cpp could not make {name}: {' / '.join(problems[-3:]) or 'no reason given'}")


class _Importance:
    """An importance matrix in llama.cpp's form; it must live until the quantizer is done."""

    def __init__(self, means: Mapping[str, NDArray[np.float32]]) -> None:
        self._kept = [(name.encode(), np.ascontiguousarray(values, np.float32)) for name, values in means.items()]
        self.entries = (lib.llama_model_imatrix_data * (len(self._kept) + 1))()  # the last one, all zero, ends it
        for entry, (name, values) in zip(self.entries, self._kept, strict=False):
            entry.name = name
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            entry.size = values.size


def matrix_types(path: Path) -> dict[str, str]:
    """Name and stored type of every matrix in a GGUF file (vectors stay F32 in all of them)."""
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors if len(tensor.shape) > 1}
