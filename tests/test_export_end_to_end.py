"""A tiny Qwen3 (q/k norm, grouped heads, explicit head size), tied and untied, all the way: safetensors to GGUF and
ONNX, checked against torch, packed, and answering through both engines.

Needs the extra `export` (torch, transformers, the model builder); without it these tests are skipped, and say so.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import Tiny, make_checkpoint

from edgemem.__main__ import run

MISSING = [name for name in ("torch", "transformers", "onnxruntime_genai", "onnx") if find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"the extra export is not installed ({', '.join(MISSING)})"),
]
GREEDY = 64
SEED = 3  # weights whose greedy answer does not end before 64 tokens, of some 50 different ones
CLOSE = 1e-3


@pytest.fixture(scope="module", params=["tied", "untied"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny = Tiny(context=16384, tied=request.param == "tied")
    folder = tmp_path_factory.mktemp("source") / f"tiny-{request.param}"
    return make_checkpoint(folder, tiny, shards=2, seed=SEED)


def exported(format_: str, quant: str, source: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    out = folder / f"{source.name}-{format_}"
    words = ["export", format_, str(source), "--quant", quant, "--out", str(out), "--json"]
    assert run(words) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    return found | {"out": out, "by_name": {one["name"]: one for one in found["checks"]}}


def measured(made: Any, name: str, check: str) -> Any:
    return next(one for one in made["by_name"][name]["checks"] if one["name"] == check)["measured"]


def answers(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "Hello, who are you?", "--model", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_gguf_from_safetensors_to_a_chat(
    source: Path, tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = exported("gguf", "F32,Q8_0,Q4_K_M", source, tmp_path, capsys)
    torch = measured(made, "base", "torch")
    assert torch["max_difference"] < CLOSE
    assert (torch["greedy_equal"], torch["greedy"]) == (GREEDY, GREEDY)
    assert measured(made, "Q8_0", "logits")["kl"] < 0.01
    assert measured(made, "Q4_K_M", "logits")["kl"] < 0.2
    variants = json.loads((made["out"] / "manifest.json").read_text())["variants"]
    assert [one["quantization"] for one in variants] == ["F32", "Q8_0", "Q4_K_M"]
    answers(made["out"], capsys)


def test_onnx_from_safetensors_to_a_chat(
    source: Path, tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = exported("onnx", "fp32,int8,int4", source, tmp_path, capsys)
    assert measured(made, "fp32", "logits")["greedy_equal"] == GREEDY
    kl = [measured(made, name, "logits")["kl"] for name in ("fp32", "int8", "int4")]
    assert kl[0] < 1e-4  # the reference keeps its cache in 16 bits
    assert kl == sorted(kl)
    manifest = json.loads((made["out"] / "manifest.json").read_text())
    main = manifest["variants"][0]["files"][0]["file"]
    assert main == f"{source.name}-fp32/model.onnx"
    logits, greedy = torch_answers(source, made["out"] / main)
    assert logits < CLOSE
    assert greedy == GREEDY
    answers(made["out"], capsys)


def torch_answers(source: Path, graph: Path) -> tuple[float, int]:
    """Largest difference of a logit over a chat, and equal greedy tokens, of the ONNX engine against torch."""
    from edgemem.export.torch_model import torch_reference
    from edgemem.export.verify.logits import greedy, greedy_prompt
    from edgemem.export.verify.opened import open_onnx
    from edgemem.export.verify.run import same_start

    engine = open_onnx(graph)
    try:
        prompt = greedy_prompt(engine)
        ours, answer = np.array(list(engine.rows_after(prompt))), greedy(engine, prompt)
    finally:
        engine.close()
    rows = source / "torch.npy"
    theirs = torch_reference(source, "", [prompt], prompt, [0, 2], GREEDY, rows, lambda label, done, total: None)
    return float(np.max(np.abs(np.load(rows) - ours))), same_start(answer, theirs)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Other architectures and kinds of positions, of which only the conversion is checked."""
    folder = tmp_path_factory.mktemp("others")
    llama3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    llama3 |= {"original_max_position_embeddings": 64}
    yarn = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 64}
    variants = {
        "qwen2": Tiny(kind="qwen2", tied=False),
        "llama": Tiny(kind="llama"),
        "llama3": Tiny(kind="llama", rope=llama3),
        "yarn": Tiny(rope=yarn),
        "bf16": Tiny(dtype="BF16"),
        "head of 32": Tiny(hidden=192, head=32, feed_forward=544),
    }
    return {name: make_checkpoint(folder / name.replace(" ", "-"), tiny) for name, tiny in variants.items()}


@pytest.mark.parametrize("variant", ["qwen2", "llama", "llama3", "yarn", "bf16", "head of 32"])
def test_every_architecture_agrees_with_torch(others: dict[str, Path], variant: str, tmp_path: Path) -> None:
    from edgemem.export.convert import write_gguf
    from edgemem.export.torch_model import torch_reference
    from edgemem.export.verify.logits import all_rows
    from edgemem.export.verify.opened import open_file

    source = others[variant]
    path, rows = tmp_path / "a.gguf", tmp_path / "torch.npy"

    def quiet(label: str, done: int, total: int) -> None:
        return None

    write_gguf(source, "", path, "a", "F32", quiet)
    ids = [int(number) for number in np.random.default_rng(1).integers(3, 600, 150)]
    torch_reference(source, "", [ids], ids[:4], [2], 1, rows, quiet)
    engine = open_file(path, exact=True, context_tokens=1024)
    try:
        ours = np.array(list(all_rows(engine, ids)))
    finally:
        engine.close()
    assert float(np.max(np.abs(np.load(rows) - ours))) < CLOSE
