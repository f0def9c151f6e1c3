"""The importance matrix: how large the inputs of each matrix are on text of our domain, read out of llama.cpp.

A quantizer that knows them spends its error where inputs are small. The model runs in llama.cpp, which calls us after
each matrix product; so a model needs no more memory here than in a chat, and no torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llama_cpp as lib
import numpy as np

from edgemem.engines import open_engine
from edgemem.engines.llama_binding import load_adapter, use_adapter
from edgemem.errors import EngineFailed
from edgemem.prompting.prompts import load_prompts

from .apart import Progress
from .imatrix_file import Importance, write_imatrix
from .own_texts import calibration_chats

CHUNK_TOKENS = 512
MOST_CHUNKS = 64
DATASET = "edgemem: memory updates and answers"
F32_TYPE = 0


class _Tensor(ctypes.Structure):
    """ggml_tensor of llama.cpp as in llama-cpp-python 0.3.36, up to its name."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(_Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
]


def measure_importance(
    model: Path, adapter: Path | None, prompts: str, threads: int, most_chunks: int, out: Path, report: Progress
) -> tuple[int, int]:
    """Write the importance matrix of the GGUF `model` to `out`; returns how many matrices and chunks of text.

    `adapter` is used with it; `prompts` is the folder with the model's own prompt texts ('' for ours). For `run_apart`.
    Raises EngineFailed.
    """
    chunks = calibration_chunks(model, prompts, threads)[:most_chunks]
    sums = _Sums()
    _run(model, adapter, chunks, threads, sums, report)
    if not sums.found:
        raise EngineFailed("llama.cpp showed no matrix product, so there is no importance matrix", "report this")
    write_imatrix(out, sums.found, DATASET, len(chunks), CHUNK_TOKENS)
    return len(sums.found), len(chunks)


def calibration_chunks(model: Path, prompts: str, threads: int) -> list[list[int]]:
    """Our chats as the model's ids, one after the other, in pieces of CHUNK_TOKENS (the last one is left out)."""
    engine = open_engine(model, device="cpu", context_tokens=256, threads=threads)
    try:
        ids = [number for chat in calibration_chats(load_prompts(prompts)) for number in engine.render(chat)]
    finally:
        engine.close()
    pieces = [ids[at : at + CHUNK_TOKENS] for at in range(0, len(ids), CHUNK_TOKENS)]
    return [piece for piece in pieces if len(piece) == CHUNK_TOKENS] or pieces


class _Sums:
    """Adds up squares as llama.cpp computes; asked twice for each result: whether it is wanted, and when it is there.

    Only the layers' matrices, as llama.cpp's own tool does: the output is kept in 6 bits or more anyway.
    """

    def __init__(self) -> None:
        self.found: dict[str, Importance] = {}

    def __call__(self, address: int, ask: bool, _: Any) -> bool:
        result = ctypes.cast(address, ctypes.POINTER(_Tensor)).contents
        if not result.src[0] or not result.src[1]:
            return not ask
        matrix, inputs = result.src[0].contents, result.src[1].contents
        name = matrix.name.decode("utf-8", "replace")
        product = inputs.ne[0] == matrix.ne[0] and result.ne[0] == matrix.ne[1] and inputs.type == F32_TYPE
        ours = name.startswith("blk.") and ".lora_" not in name
        if not (product and ours and matrix.ne[1] > 1):
            return not ask
        if not ask:
            self._add(name, inputs)
        return True

    def _add(self, name: str, inputs: Any) -> None:
        columns, rows = inputs.ne[0], inputs.ne[1] * inputs.ne[2] * inputs.ne[3]
        if inputs.nb[1] != 4 * columns:  # never seen; such inputs would be read wrongly
            return
        floats = ctypes.cast(inputs.data, ctypes.POINTER(ctypes.c_float))
        values = np.ctypeslib.as_array(floats, shape=(rows, columns)).astype(np.float64)
        before = self.found.get(name)
        sums = (values * values).sum(0)
        self.found[name] = Importance(sums + before.sums, rows + before.rows) if before else Importance(sums, rows)


def _run(
    model: Path,
    adapter: Path | None,
    chunks: Sequence[Sequence[int]],
    threads: int,
    seen: Callable[[int, bool, Any], bool],
    report: Progress,
) -> None:
    """Decode every chunk from an empty cache, showing `seen` each result on the way."""
    callback = lib.ggml_backend_sched_eval_callback(seen)  # must live as long as the context
    opened = lib.llama_model_load_from_file(str(model).encode(), _model_params())
    if not opened:
        raise EngineFailed(f"llama.cpp cannot load {model.name}", "see what the file holds: edgemem model info")
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = CHUNK_TOKENS
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cb_eval = callback
    context = lib.llama_init_from_model(opened, params)
    if adapter:
        use_adapter(context, load_adapter(opened, adapter))
    batch = lib.llama_batch_init(CHUNK_TOKENS, 0, 1)
    try:
        for number, chunk in enumerate(chunks, 1):
            lib.llama_memory_clear(lib.llama_get_memory(context), True)
            _fill(batch, chunk)
            if lib.llama_decode(context, batch):
                raise EngineFailed("llama.cpp could not decode the calibration text", "report this")
            report("importance", number, len(chunks))
    finally:
        lib.llama_batch_free(batch)
        lib.llama_free(context)
        lib.llama_model_free(opened)


def _model_params() -> Any:
    params = lib.llama_model_default_params()
    params.n_gpu_layers = 0
    params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
    return params


def _fill(batch: Any, ids: Sequence[int]) -> None:
    """All logits are wanted: otherwise the last layer's feed-forward part sees one token only."""
    batch.n_tokens = len(ids)
    for index, token in enumerate(ids):
        batch.token[index] = token
        batch.pos[index] = index
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = 0
        batch.logits[index] = 1
