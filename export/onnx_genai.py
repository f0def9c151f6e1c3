"""ONNX by the model builder of onnxruntime-genai: one folder for each precision, loaded by the `onnx` engine.

Home of onnxruntime_genai and onnx. The builder loads the whole checkpoint with torch, in memory (`ram_bytes`).
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

from .apart import Progress
from .torch_model import rotations

PRECISIONS: Mapping[str, Mapping[str, str]] = {
    "fp32": {},
    "int8": {},
    "int4": {"algo_config": "k_quant", "matmul_mixed_precision": "last_matmul:int8,mixed_layers:int8"},
}
"""Precisions, best first, and the builder's options for them. int4 so: a third of the divergence of the default and of
GGUF's Q4_K_M, at 1.3 times the size of the default (measured on a tiny and a 0.6B-shaped Qwen3)."""
COMMON = {"prune_lm_head": "true"}
"""A chat needs the logits of the last position only: 512 rows of a vocabulary of 152,000 are 311 MB."""
BYTES_PER_WEIGHT = {"fp32": 10, "int8": 12, "int4": 18}
"""Peak memory of the builder by precision, from 10.6 GB (int4, these options) and 5.5 GB (int4, default) seen for 0.6 B
weights."""
CLASSES = ("Qwen3Model", "QwenModel", "LlamaModel")
"""The builder's, for what we export."""
TEXTS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
MARK = "edgemem.weights_sha256"


def parse(text: str) -> tuple[str, ...]:
    """Names out of `int4,int8`, in order, each once. Raises InvalidInput."""
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in PRECISIONS]
    if unknown or not names:
        what = f"there is no precision {unknown[0]!r}" if unknown else "no precision is named"
        raise InvalidInput(what, f"use some of {', '.join(PRECISIONS)}")
    return tuple(names)


def ram_bytes(parameters: int, precisions: tuple[str, ...]) -> int:
    """Estimate of the builder's peak for a checkpoint of so many weights."""
    return (700 << 20) + parameters * max(BYTES_PER_WEIGHT[name] for name in precisions)


def build(source: Path, out: Path, precision: str, report: Progress) -> None:
    """Build the folder `out`. For `run_apart`. Raises EngineFailed."""
    report(f"build {precision}", 0, 1)
    builder: Any = import_module("onnxruntime_genai.models.builder")
    options = [f"{key}={value}" for key, value in {**PRECISIONS[precision], **COMMON}.items()]
    place = (None, str(source), str(out), precision, "cpu", str(out.with_name(out.name + ".cache")))
    try:
        with _replaced(builder, OWN_POSITIONS):
            builder.create_model(*place, **builder.parse_extra_options(*place, options))
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise EngineFailed(f"the model builder could not make {precision}: {error!r}"[:500], "report this") from error
    finally:
        shutil.rmtree(out.with_name(out.name + ".cache"), ignore_errors=True)
    _use_own_texts(source, out)
    mark_weights(out)
    report(f"build {precision}", 1, 1)


OWN_POSITIONS: Mapping[str, Callable[..., Any]] = {
    "make_rope_init": lambda self, config: None,
    "make_rotary_embedding_caches_from_scratch": lambda self: rotations(self.weights, self.rope_attrs["cache_length"]),
}
"""The builder (0.18) passes over linear and yarn in a Llama without a word; for yarn in a Qwen it divides by zero, or
blends by other steps than transformers and without `attention_factor`; it refuses llama3 there."""


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


def _use_own_texts(source: Path, out: Path) -> None:
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
    data = path.with_name("model.onnx.data")
    onnx.helper.set_model_props(graph, {MARK: sha256_of(data) if data.is_file() else sha256_of(path)})
    onnx.save(graph, path)


def versions() -> dict[str, str]:
    """What decides the bytes of an ONNX folder, beside our own version."""
    from importlib.metadata import version

    return {name: version(name) for name in ("onnxruntime-genai", "onnx-ir", "torch", "transformers")}


def nodes(path: Path) -> dict[str, int]:
    """How many of each kind of product the graph has: what was quantized is a MatMulNBits, what was not a MatMul."""
    onnx: Any = import_module("onnx")
    graph = onnx.load(path, load_external_data=False).graph
    kinds = [node.op_type for node in graph.node if node.op_type.startswith(("MatMul", "Gather", "Gemm"))]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
