"""ONNX by the model builder of onnxruntime-genai: one folder for each precision, loaded by the `onnx` engine.

Home of onnxruntime_genai and onnx. The builder itself would load the whole checkpoint; here it sees a network without
weights, and `onnx_stream` fills in the matrices.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from edgemem.catalogue.digests import sha256_of
from edgemem.errors import EngineFailed, InvalidInput

from . import onnx_stream
from .apart import Progress
from .architecture import Network, network_of
from .checkpoint import Checkpoint
from .convert import opened
from .lora import floats
from .torch_model import PROCESS_BYTES, rotations, weightless

VERSION = 2
"""Raise it whenever the bytes change that are written for a checkpoint."""
PRECISIONS: Mapping[str, Mapping[str, str]] = {
    "fp32": {},
    "int8": {},
    "int4": {"algo_config": "k_quant", "matmul_mixed_precision": "last_matmul:int8,mixed_layers:int8"},
}
"""Precisions, best first, and the builder's options for them. int4 so: a third of the divergence of the default and of
GGUF's Q4_K_M, at 1.3 times the size of the default (measured on a tiny and a 0.6B-shaped Qwen3)."""
COMMON = {"prune_lm_head": "true"}
"""A chat needs the logits of the last position only: 512 rows of a vocabulary of 152,000 are 311 MB."""
CLASSES = ("Qwen3Model", "QwenModel", "LlamaModel")
"""The builder's, for what we export."""
TEXTS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
DATA_FILES = ("model.onnx.data", "model.onnx_data")
"""Where the weights are that do not fit the graph's file: the builder's name and optimum's."""
MARK = "edgemem.weights_sha256"
OWN_POSITIONS: Mapping[str, Callable[..., Any]] = {
    "make_rope_init": lambda self, config: None,
    "make_rotary_embedding_caches_from_scratch": lambda self: rotations(self.weights, self.rope_attrs["cache_length"]),
}
"""The builder (0.18) passes over linear and yarn in a Llama without a word; for yarn in a Qwen it divides by zero, or
blends by other steps than transformers and without `attention_factor`; it refuses llama3 there."""


def parse(text: str) -> tuple[str, ...]:
    """Names out of `int4,int8`, in order, each once. Raises InvalidInput."""
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in PRECISIONS]
    if unknown or not names:
        what = f"there is no precision {unknown[0]!r}" if unknown else "no precision is named"
        raise InvalidInput(what, f"use some of {', '.join(PRECISIONS)}")
    return tuple(names)


def ram_bytes(checkpoint: Checkpoint, network: Network) -> int:
    """Estimate of the peak of `build`, whatever the precision."""
    return PROCESS_BYTES + onnx_stream.ram_bytes(checkpoint, network)


def build(source: Path, lora: str, out: Path, precision: str, report: Progress) -> None:
    """Build the folder `out` of the checkpoint in `source`, with the adapter in the folder `lora` added ('' for none).

    For `run_apart`. Raises EngineFailed, and as preflight does.
    """
    checkpoint = opened(source, lora)
    network = network_of(checkpoint.config)
    vectors = {name: floats(checkpoint.tensors[name]) for name, shape in network.tensors() if len(shape) == 1}
    report(f"build {precision}", 0, 1)
    try:
        built = _graph(source, out, precision, weightless(source, vectors))
        found = onnx_stream.matrices(built.model.graph.initializers, checkpoint, network)
        onnx_stream.shrink(built, found)
        super(type(built), built).save_model(str(out))
        onnx_stream.fill(built, found, out, report)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise EngineFailed(f"the model builder could not make {precision}: {error!r}"[:500], "report this") from error
    use_own_texts(source, out)
    mark_weights(out)
    report(f"build {precision}", 1, 1)


def _graph(source: Path, out: Path, precision: str, network: Any) -> Any:
    """The builder's object with its graph of `network` (of torch), complete but for the matrices; nothing is saved but
    the texts beside it."""
    builder: Any = import_module("onnxruntime_genai.models.builder")
    options = [f"{key}={value}" for key, value in {**PRECISIONS[precision], **COMMON}.items()]
    place = (None, str(source), str(out), precision, "cpu", str(out.with_name(out.name + ".cache")))
    made: list[Any] = []
    kept = {"load_weights": lambda self, path: network, "save_model": lambda self, folder: made.append(self)}
    try:
        with _replaced(builder, {**OWN_POSITIONS, **kept}):
            builder.create_model(*place, **builder.parse_extra_options(*place, options))
    finally:
        shutil.rmtree(out.with_name(out.name + ".cache"), ignore_errors=True)
    return made[0]


@contextmanager
def _replaced(builder: Any, methods: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """The builder's classes with some of their methods replaced. Raises AttributeError where one has no such method."""
    kinds = {name: getattr(builder, name) for name in CLASSES}
    for kind in kinds.values():
        for method in methods:
            getattr(kind, method)
    try:
        for name, kind in kinds.items():
            setattr(builder, name, type(name, (kind,), dict(methods)))
        yield
    finally:
        for name, kind in kinds.items():
            setattr(builder, name, kind)


def use_own_texts(source: Path, out: Path) -> None:
    """The checkpoint's own tokenizer and template, byte for byte: the builder writes them anew."""
    for name in TEXTS:
        (out / name).unlink(missing_ok=True)
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def mark_weights(out: Path) -> None:
    """Write the digest of the weights into the graph: two checkpoints of one shape have the same graph, and what was
    computed by one (files of computed prompts) must not be used with the other."""
    onnx: Any = import_module("onnx")
    path = out / "model.onnx"
    graph = onnx.load(path, load_external_data=False)
    data = next((out / name for name in DATA_FILES if (out / name).is_file()), path)
    onnx.helper.set_model_props(graph, {MARK: sha256_of(data)})
    onnx.save(graph, path)


def versions() -> dict[str, str]:
    """What decides the bytes of an ONNX folder, beside our own version."""
    from importlib.metadata import version

    names = ("onnxruntime-genai", "onnxruntime", "onnx-ir", "torch", "transformers")
    return {name: version(name) for name in names} | {"onnx": str(VERSION)}


def nodes(path: Path) -> dict[str, int]:
    """How many of each kind of product the graph has: what was quantized is a MatMulNBits, what was not a MatMul."""
    onnx: Any = import_module("onnx")
    graph = onnx.load(path, load_external_data=False).graph
    kinds = [node.op_type for node in graph.node if node.op_type.startswith(("MatMul", "Gather", "Gemm"))]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
