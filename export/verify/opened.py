"""Opens a file that is to be checked, as the runtime does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.catalogue.gguf import check_gguf
from edgemem.engines import DEFAULT_CONTEXT_TOKENS
from edgemem.engines.llama import LlamaEngine
from edgemem.engines.llama_binding import Binding, LoadOptions
from edgemem.machine import usable_threads
from edgemem.opening import FLOAT_FILE_TYPES

if TYPE_CHECKING:
    from edgemem.engines.onnx_engine import OnnxEngine


def open_file(
    path: Path, adapter: Path | None = None, *, exact: bool = False, context_tokens: int | None = None
) -> LlamaEngine:
    """The engine that a chat uses, with the adapter beside the weights; `exact` keeps its cache in 32 bits."""
    header = check_gguf(path)
    quantized = header.file_type not in FLOAT_FILE_TYPES
    wanted = min(context_tokens or DEFAULT_CONTEXT_TOKENS, header.context_tokens or DEFAULT_CONTEXT_TOKENS)
    kv_type = "f32" if exact else "f16"
    options = LoadOptions(wanted, usable_threads(), "cpu", None, quantized, kv_type=kv_type, adapter=adapter)
    return LlamaEngine(Binding(path, options))


def open_onnx(path: Path, context_tokens: int = DEFAULT_CONTEXT_TOKENS) -> OnnxEngine:
    """The `onnx` engine on the CPU."""
    from edgemem.engines.onnx_engine import OnnxEngine  # here: GGUF alone needs no onnxruntime

    return OnnxEngine(path, context_tokens=context_tokens, threads=usable_threads())
