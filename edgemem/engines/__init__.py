"""Engines behind one seam (`base`). One home per model library."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.errors import InvalidInput

if TYPE_CHECKING:
    from edgemem.engines.base import Engine
    from edgemem.engines.tuning import Tuning

DEFAULT_CONTEXT_TOKENS = 10_240
"""A 5,000-token chunk, two memories of 2,048 and the prompts around them need about 9,700 tokens."""


def known_tuning(
    path: Path, digest: str, tunings: Path, *, device: str, gpu_layers: int | None, threads: int | None
) -> Tuning | None:
    """What the self-test chose for a model on this machine; None where it has not run yet. Loads no model."""
    from edgemem.engines.llama_binding import LoadOptions
    from edgemem.engines.llama_tuning import tuning_file
    from edgemem.engines.tuning import read_tuning

    options = LoadOptions(DEFAULT_CONTEXT_TOKENS, threads or 1, device, gpu_layers)
    return read_tuning(tuning_file(tunings, options, digest or path.name, threads is not None))


def open_engine(
    path: Path,
    *,
    digest: str = "",
    device: str = "auto",
    gpu_layers: int | None = None,
    context_tokens: int = DEFAULT_CONTEXT_TOKENS,
    threads: int | None = None,
    quantized: bool = True,
    adapter: Path | None = None,
    tunings: Path | None = None,
    may_test: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> Engine:
    """Load the model at `path`: a GGUF file, an ONNX graph in its folder, or a `.json` list of answers for the scripted
    engine.

    `device` is auto, cpu or gpu; `quantized` False says that the weights are floats; `adapter` is a LoRA adapter in
    GGUF form (GGUF models only), which `digest` is to cover, too. `tunings` is the folder where the
    results of self-tests are kept: what is not there is measured first, in seconds, if it `may_test`, and `progress` is
    told. Without it the defaults hold. Model libraries are imported here and nowhere earlier.
    Raises ModelUnsupported, EngineFailed, InvalidInput.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise InvalidInput(f"there is no device {device!r}", "use auto, cpu or gpu")
    if not 256 <= context_tokens <= 1_000_000:
        raise InvalidInput(f"a context of {context_tokens} tokens cannot be used", "use 2048 to 131072")
    if adapter and path.suffix != ".gguf":
        raise InvalidInput(f"{path.name} cannot have an adapter beside it", "merge the adapter into the model first")
    if path.suffix == ".json":
        from edgemem.engines.scripted import ScriptedEngine

        return ScriptedEngine.from_file(path)
    from edgemem.machine import usable_threads

    if path.suffix == ".onnx":
        if find_spec("onnxruntime") is None or find_spec("tokenizers") is None:
            raise InvalidInput("onnxruntime is not installed", 'install it: pip install "edgemem-runtime[onnx]"')
        from edgemem.engines.onnx_engine import OnnxEngine

        threads = threads or usable_threads()
        return OnnxEngine(path, context_tokens=context_tokens, threads=threads, device=device, digest=digest)
    from edgemem.engines.llama import LlamaEngine
    from edgemem.engines.llama_binding import Binding, LoadOptions

    options = LoadOptions(context_tokens, threads or usable_threads(), device, gpu_layers, quantized, adapter=adapter)
    if tunings is None:
        return LlamaEngine(Binding(path, options), digest=digest)
    from edgemem.engines.llama_tuning import open_tuned

    given = threads is not None
    binding = open_tuned(
        path, options, tunings, digest=digest, threads_given=given, may_test=may_test, progress=progress
    )
    return LlamaEngine(binding, digest=digest)
