"""ONNX folders are what the model builder writes and compute what torch computes, whatever the kind of positions."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_export_lora import make_adapter
from tiny_checkpoint import Tiny, make_checkpoint

from edgemem.__main__ import run

MISSING = [name for name in ("torch", "transformers", "onnxruntime_genai", "onnx") if find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"the extra export is not installed ({', '.join(MISSING)})"),
]
CLOSE = 1e-3
THETA = {"rope_theta": 1e4}
LINEAR = THETA | {"rope_type": "linear", "factor": 4.0}
YARN = THETA | {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = THETA | {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
POSITIONS: dict[str, dict[str, Any]] = {
    "default": THETA | {"rope_type": "default"},
    "linear": LINEAR,
    "yarn": YARN,
    "yarn with its own factor": YARN | {"attention_factor": 1.3, "beta_fast": 24.0, "beta_slow": 2.0},
    "yarn of whole steps": YARN | {"truncate": False},
    "llama3": LLAMA3 | {"original_max_position_embeddings": 64},
}


def quiet(label: str, done: int, total: int) -> None:
    return None


def torch_rows(source: Path, ids: list[int], lora: str = "") -> Any:
    """Logits (tokens x vocabulary) after each of `ids`, by torch."""
    from edgemem.export.torch_model import torch_reference

    path = source.with_name(f"{source.name}{'-lora' if lora else ''}.npy")
    torch_reference(source, lora, [ids], ids[:4], [2], 1, path, quiet)
    return np.load(path)


def onnx_rows(graph: Path, ids: list[int]) -> Any:
    """Logits (tokens x vocabulary) after each of `ids`, by the `onnx` engine."""
    from edgemem.export.verify.opened import open_onnx

    engine = open_onnx(graph, context_tokens=1024)
    try:
        return np.array(list(engine.rows_after(ids)))
    finally:
        engine.close()


def some_ids(count: int = 100) -> list[int]:
    return [int(number) for number in np.random.default_rng(1).integers(3, 600, count)]


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_positions_are_those_of_torch(positions: str, kind: str, tmp_path: Path) -> None:
    from edgemem.export.onnx_genai import build

    source = make_checkpoint(tmp_path / "source", Tiny(kind=kind, rope=POSITIONS[positions]))
    build(source, "", tmp_path / "fp32", "fp32", quiet)
    theirs = torch_rows(source, some_ids())
    assert float(np.max(np.abs(onnx_rows(tmp_path / "fp32" / "model.onnx", some_ids()) - theirs))) < CLOSE
    if positions != "default":
        plain = make_checkpoint(tmp_path / "plain", Tiny(kind=kind, rope=POSITIONS["default"]))
        assert float(np.max(np.abs(torch_rows(plain, some_ids()) - theirs))) > 0.1


NETWORKS = {
    "qwen3": Tiny(layers=3),
    "qwen3 in bfloat16": Tiny(dtype="BF16", layers=3),
    "qwen3 untied": Tiny(tied=False, dtype="BF16"),
    "qwen2 with biases": Tiny(kind="qwen2", tied=False),
    "qwen2 tied": Tiny(kind="qwen2"),
    "llama": Tiny(kind="llama", tied=False, dtype="F16"),
    "llama tied": Tiny(kind="llama"),
}


def built_whole(source: Path, out: Path, precision: str) -> None:
    """What the model builder itself makes of all weights at once."""
    from importlib import import_module

    from edgemem.export.onnx_genai import COMMON, PRECISIONS, mark_weights

    builder: Any = import_module("onnxruntime_genai.models.builder")
    options = [f"{key}={value}" for key, value in {**PRECISIONS[precision], **COMMON}.items()]
    place = (None, str(source), str(out), precision, "cpu", str(out.with_name("cache")))
    builder.create_model(*place, **builder.parse_extra_options(*place, options))
    mark_weights(out)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_what_the_builder_writes(
    network: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgemem.export import onnx_stream
    from edgemem.export.onnx_genai import build

    monkeypatch.setattr(onnx_stream, "CHUNK_ELEMENTS", 10_000)  # many pieces of each matrix, the last one smaller
    source = make_checkpoint(tmp_path / "source", NETWORKS[network], shards=2)
    built_whole(source, tmp_path / "whole", precision)
    build(source, "", tmp_path / "ours", precision, quiet)
    names = {path.name for path in (tmp_path / "ours").iterdir()}
    assert names == {path.name for path in (tmp_path / "whole").iterdir()}
    assert {"model.onnx", "model.onnx.data", "genai_config.json"} <= names
    for name in ("model.onnx.data", "model.onnx", "genai_config.json"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_memory_does_not_grow_with_the_layers(tmp_path: Path) -> None:
    from edgemem.export.apart import run_apart
    from edgemem.export.onnx_genai import build

    peaks = []
    for layers in (2, 14):
        tiny = Tiny(dtype="BF16", hidden=512, feed_forward=2048, layers=layers)
        source = make_checkpoint(tmp_path / f"source-{layers}", tiny)
        peaks.append(run_apart(build, source, "", tmp_path / f"out-{layers}", "int8").peak_rss_bytes)
    assert peaks[1] - peaks[0] < 30 << 20  # 12 layers more are 84 MB of weights in 16 bits, 45 quantized


@pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_an_adapter_is_added_as_peft_adds_it(kind: str, tmp_path: Path) -> None:
    from edgemem.export.onnx_genai import build

    tiny = Tiny(kind=kind, dtype="BF16")
    source = make_checkpoint(tmp_path / "source", tiny)
    make_adapter(tmp_path / "adapter", tiny)
    build(source, str(tmp_path / "adapter"), tmp_path / "fp32", "fp32", quiet)
    ours = onnx_rows(tmp_path / "fp32" / "model.onnx", some_ids())
    assert float(np.max(np.abs(torch_rows(source, some_ids(), str(tmp_path / "adapter")) - ours))) < CLOSE
    assert float(np.max(np.abs(torch_rows(source, some_ids()) - ours))) > 0.5


def test_the_command_adds_an_adapter(tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To the graph, and to the base that it is compared with, which is compared with peft."""
    source = make_checkpoint(tmp_path / "source", Tiny(context=16384), shards=2, seed=3)
    make_adapter(tmp_path / "adapter", Tiny())
    words = ["export", "onnx", str(source), "--quant", "fp32", "--lora", str(tmp_path / "adapter"), "--json"]
    assert run([*words, "--out", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    found = {one["name"]: one["checks"] for one in json.loads(capsys.readouterr().out)["checks"]}
    measured = {(name, one["name"]): one["measured"] for name, checks in found.items() for one in checks}
    assert measured["base", "torch"]["max_difference"] < CLOSE
    assert measured["fp32", "logits"]["kl"] < 1e-4  # the base keeps its cache in 16 bits
    sources = json.loads((tmp_path / "out" / "manifest.json").read_text())["source"]
    assert "adapter_model.safetensors" in json.dumps(sources)
