"""Only home of onnxruntime: one loaded graph, and key-value caches that it computes into in place.

The graph has ids, mask and past in; logits and present out. That of onnxruntime-genai's model builder has past and
present bound to the same memory, which is ours, so nothing is copied per token. One that asks for positions (optimum's)
copies its past itself. Knows nothing of text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-not-found,import-untyped,unused-ignore]
from numpy.typing import NDArray

from edgemem.errors import EngineFailed, InvalidInput, ModelDamaged, ModelUnsupported

from .onnx_tokenizer import read_json

VERSION: str = ort.__version__
GPU_PROVIDERS = ("CUDAExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider")
SMALLEST_CELLS = 256
"""A cache begins with room for so many tokens and doubles: most branches of an update are short."""
Logits = NDArray[np.float32]
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Cache:
    """Keys and values of one sequence: `length` tokens are in use of the room there is."""

    def __init__(self, binding: OnnxBinding, cells: int = 0) -> None:
        self._binding = binding
        self.length = 0
        self.arrays = binding.new_arrays(cells) if cells else []

    @property
    def room(self) -> int:
        return int(self.arrays[0].shape[2]) if self.arrays else 0

    def reserve(self, cells: int) -> None:
        """Make room for `cells` tokens; what is in use is kept."""
        if cells <= self.room:
            return
        wanted = min(max(cells, SMALLEST_CELLS, 2 * self.room), max(cells, self._binding.context_tokens))
        larger = self._binding.new_arrays(wanted)
        for new, old in zip(larger, self.arrays, strict=False):
            new[:, :, : self.length] = old[:, :, : self.length]
        self.arrays = larger

    def copy(self) -> Cache:
        other = Cache(self._binding, max(SMALLEST_CELLS, self.length + 64))
        for new, old in zip(other.arrays, self.arrays, strict=False):
            new[:, :, : self.length] = old[:, :, : self.length]
        other.length = self.length
        return other

    def state(self) -> bytes:
        """What is in use, as bytes."""
        return b"".join(np.ascontiguousarray(array[:, :, : self.length]).tobytes() for array in self.arrays)

    def restore(self, state: bytes, length: int) -> bool:
        """Put saved bytes in; False (and an empty cache) when they have another size."""
        self.length = 0
        self.reserve(length)
        each = [array[:, :, :length] for array in self.arrays]
        if sum(part.nbytes for part in each) != len(state):
            return False
        at = 0
        for part in each:
            part[...] = np.frombuffer(state, part.dtype, part.size, at).reshape(part.shape)
            at += part.nbytes
        self.length = length
        return True


class OnnxBinding:
    """One loaded model."""

    def __init__(self, path: Path, *, context_tokens: int, threads: int, device: str = "auto") -> None:
        self.config = read_json(path.parent / "genai_config.json").get("model", {})
        self.provider = _provider(device)
        self._session = _open(path, threads, self.provider)
        inputs = {one.name: one for one in self._session.get_inputs()}
        self.layers = sum(name.startswith("past_key_values.") and name.endswith(".key") for name in inputs)
        past = inputs.get("past_key_values.0.key")
        logits = next((one for one in self._session.get_outputs() if one.name == "logits"), None)
        if past is None or logits is None or "input_ids" not in inputs or "attention_mask" not in inputs:
            raise ModelUnsupported(f"{path.name} is no text model with a cache", "make one: edgemem export onnx SRC")
        if past.type not in _FLOATS or logits.type != "tensor(float)":
            raise ModelUnsupported(f"{path.name} computes in {past.type}", "export it again for this machine")
        self._kind, self._shape = _FLOATS[past.type], past.shape
        self._in_place = "position_ids" not in inputs
        self.vocabulary = int(logits.shape[2])
        trained = self.config.get("context_length")
        self.train_context = trained if isinstance(trained, int) and trained > 0 else context_tokens
        self.context_tokens = min(context_tokens, self.train_context)

    def new_arrays(self, cells: int) -> list[NDArray[Any]]:
        """Keys and values of every layer for `cells` tokens. (Cells beyond the length are masked, not unread.)"""
        heads, size = int(self._shape[1]), self._head_size()
        return [np.zeros((1, heads, cells, size), self._kind) for _ in range(2 * self.layers)]

    def _head_size(self) -> int:
        found = self._shape[3] if isinstance(self._shape[3], int) else self.config.get("decoder", {}).get("head_size")
        if not isinstance(found, int) or not 0 < found <= 4096:
            raise ModelDamaged("genai_config.json names no head_size.", "Export the model again.")
        return found

    def run(self, cache: Cache, tokens: Sequence[int]) -> Logits:
        """Compute `tokens` after what `cache` holds; returns the logits after the last one (`rows` of them, where the
        graph gives all). Raises EngineFailed."""
        total = cache.length + len(tokens)
        cache.reserve(total)
        ids = np.array([list(tokens)], np.int64)
        mask = np.ones((1, total), np.int64)
        compute = self._run_in_place if self._in_place else self._run_copying
        try:
            rows = compute(cache, ids, mask)
        except Exception as error:
            raise EngineFailed(f"onnxruntime could not compute: {str(error)[:300]}", "report this model") from error
        cache.length = total
        return rows

    def _run_in_place(self, cache: Cache, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Logits:
        io = self._session.io_binding()
        self._bind_in(io, "input_ids", ids)
        self._bind_in(io, "attention_mask", mask)
        for name, array in zip(self._cache_names(), cache.arrays, strict=True):
            self._bind_in(io, f"past_key_values.{name}", array)
            io.bind_output(f"present.{name}", "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        io.bind_output("logits", "cpu")
        self._session.run_with_iobinding(io)
        rows: Logits = io.get_outputs()[-1].numpy()[0]
        return rows

    def _run_copying(self, cache: Cache, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Logits:
        """For a graph that takes the past alone and gives it back with what is new behind it."""
        names, held, total = self._cache_names(), cache.length, mask.shape[1]
        feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": np.arange(held, total)[None]}
        for name, array in zip(names, cache.arrays, strict=True):
            feeds[f"past_key_values.{name}"] = np.ascontiguousarray(array[:, :, :held])
        logits, *present = self._session.run(["logits", *(f"present.{name}" for name in names)], feeds)
        for array, new in zip(cache.arrays, present, strict=True):
            array[:, :, held:total] = new[:, :, held:]
        rows: Logits = logits[0]
        return rows

    def _cache_names(self) -> list[str]:
        """In the order of a cache's arrays."""
        return [f"{layer}.{part}" for layer in range(self.layers) for part in ("key", "value")]

    @staticmethod
    def _bind_in(io: Any, name: str, array: NDArray[Any]) -> None:
        io.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def _provider(device: str) -> str:
    there = ort.get_available_providers()
    gpu = next((name for name in GPU_PROVIDERS if name in there), None)
    if device == "gpu" and gpu is None:
        raise InvalidInput(
            "the installed onnxruntime has no GPU provider",
            "install one (pip install onnxruntime-gpu, onnxruntime-directml), or use --device cpu",
        )
    return gpu if gpu and device == "gpu" else "CPUExecutionProvider"


def _open(path: Path, threads: int, provider: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Threads that spin while they wait collapse on a busy machine, as in llama.cpp.
    spin = "0" if os.environ.get("OMP_WAIT_POLICY") == "PASSIVE" else "1"
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    providers = [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise ModelUnsupported(f"onnxruntime cannot load {path.name}: {str(error)[:300]}", "export it again") from error
