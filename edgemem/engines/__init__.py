"""Engines behind one seam (`base`). One home per model library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.errors import InvalidInput

if TYPE_CHECKING:
    from edgemem.engines.base import Engine

DEFAULT_CONTEXT_TOKENS = 10_240
"""A 5,000-token chunk, two memories of 2,048 and the prompts around them need about 9,700 tokens."""


def open_engine(
    path: Path,
    *,
    digest: str = "",
    device: str = "auto",
    gpu_layers: int | None = None,
    context_tokens: int = DEFAULT_CONTEXT_TOKENS,
    threads: int | None = None,
    quantized: bool = True,
) -> Engine:
    """Load the model at `path`: a GGUF file, or a `.json` list of answers for the scripted engine.

    `device` is auto, cpu or gpu; `quantized` False says that the weights are floats. Model libraries are imported
    here and nowhere earlier.
    Raises ModelUnsupported, EngineFailed, InvalidInput.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise InvalidInput(f"there is no device {device!r}", "use auto, cpu or gpu")
    if not 256 <= context_tokens <= 1_000_000:
        raise InvalidInput(f"a context of {context_tokens} tokens cannot be used", "use 2048 to 131072")
    if path.suffix == ".json":
        from edgemem.engines.scripted import ScriptedEngine

        return ScriptedEngine.from_file(path)
    from edgemem.engines.llama import LlamaEngine
    from edgemem.engines.llama_binding import LoadOptions
    from edgemem.machine import usable_threads

    options = LoadOptions(context_tokens, threads or usable_threads(), device, gpu_layers, quantized)
    return LlamaEngine(path, options, digest=digest)
