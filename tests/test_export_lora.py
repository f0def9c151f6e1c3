"""A LoRA adapter is added to the weights as peft adds it; what is more than a sum of products is refused."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tiny_checkpoint import Tiny, make_checkpoint, weights, write_safetensors

from edgemem.errors import EdgememError, InvalidInput, ModelDamaged, ModelUnsupported
from edgemem.export.convert import write_gguf
from edgemem.export.lora import from_floats, scale_of
from edgemem.export.preflight import preflight
from edgemem.export.run import export_gguf

RANK, ALPHA = 4, 8
PEFT_CONFIG = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "r": RANK,
    "lora_alpha": ALPHA,
    "target_modules": ["q_proj", "down_proj"],
    "bias": "none",
}


def quiet(label: str, done: int, total: int) -> None:
    return None


def make_adapter(folder: Path, tiny: Tiny, **changes: Any) -> dict[str, np.ndarray[Any, Any]]:
    """An adapter of two matrices in each layer; returns its tensors."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(PEFT_CONFIG | changes))
    random = np.random.default_rng(7)
    made = {}
    for layer in range(tiny.layers):
        for name, rows, columns in (
            ("self_attn.q_proj", tiny.heads * tiny.head, tiny.hidden),
            ("mlp.down_proj", tiny.hidden, tiny.feed_forward),
        ):
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            made[f"{prefix}.lora_A.weight"] = random.normal(0, 0.1, (RANK, columns)).astype(np.float32)
            made[f"{prefix}.lora_B.weight"] = random.normal(0, 0.1, (rows, RANK)).astype(np.float32)
    write_safetensors(folder / "adapter_model.safetensors", made, "F32")
    return made


def test_an_adapter_is_added_to_its_matrices_and_to_no_other(tmp_path: Path) -> None:
    source, adapter = make_checkpoint(tmp_path / "source"), make_adapter(tmp_path / "adapter", Tiny())
    write_gguf(source, str(tmp_path / "adapter"), tmp_path / "a.gguf", "a", "F32", quiet)
    found = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    base = weights(Tiny())
    prefix = "base_model.model.model.layers.1.mlp.down_proj"
    added = ALPHA / RANK * adapter[f"{prefix}.lora_B.weight"] @ adapter[f"{prefix}.lora_A.weight"]
    assert np.allclose(found["blk.1.ffn_down.weight"], base["model.layers.1.mlp.down_proj.weight"] + added, atol=1e-6)
    assert np.array_equal(found["blk.1.ffn_up.weight"], base["model.layers.1.mlp.up_proj.weight"])
    assert np.abs(added).max() > 0.01


def test_an_export_with_an_adapter_is_another_one(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", Tiny(dtype="BF16"))
    make_adapter(tmp_path / "adapter", Tiny())
    out = tmp_path / "out"
    plain = export_gguf(preflight(source, out, ["Q8_0"]))
    merged = export_gguf(preflight(source, out, ["Q8_0"], lora=str(tmp_path / "adapter")))
    assert (merged.plan.base, merged.base.again) == ("BF16", False)
    assert merged.files[0].made.sha256 != plain.files[0].made.sha256
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(merged.source)


def test_in_32_bits_the_sum_is_not_rounded(tmp_path: Path) -> None:
    tiny = Tiny(dtype="BF16")
    source, adapter = make_checkpoint(tmp_path / "source", tiny), make_adapter(tmp_path / "adapter", tiny)
    write_gguf(source, str(tmp_path / "adapter"), tmp_path / "a.gguf", "a", "F32", quiet)
    found = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    prefix = "base_model.model.model.layers.1.mlp.down_proj"
    base = (weights(tiny)["model.layers.1.mlp.down_proj.weight"].astype(np.uint32) << 16).view(np.float32)
    added = ALPHA / RANK * adapter[f"{prefix}.lora_B.weight"] @ adapter[f"{prefix}.lora_A.weight"]
    assert np.allclose(found["blk.1.ffn_down.weight"], base + added, atol=1e-6)


def test_rounding_to_bfloat16_is_to_the_nearest_and_to_even() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, 1.005, -1.005, 3.0e38], np.float32)
    bits = from_floats(values, "BF16")
    back = (bits.astype(np.uint32) << 16).view(np.float32)
    assert back[:5].tolist() == [1.0, 1.0, 1.015625, 1.0078125, -1.0078125]


def test_the_scale() -> None:
    assert scale_of(PEFT_CONFIG) == 2.0
    assert scale_of(PEFT_CONFIG | {"use_rslora": True}) == 4.0


REFUSED: dict[str, tuple[dict[str, Any], type[EdgememError], str]] = {
    "DoRA": ({"use_dora": True}, ModelUnsupported, "use_dora"),
    "whole modules": ({"modules_to_save": ["lm_head"]}, ModelUnsupported, "modules_to_save"),
    "ranks of their own": ({"rank_pattern": {"q_proj": 8}}, ModelUnsupported, "rank_pattern"),
    "another kind": ({"peft_type": "IA3"}, ModelUnsupported, "IA3"),
    "no rank": ({"r": 0}, ModelDamaged, "r = 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_sum_of_products_is_refused(case: str, tmp_path: Path) -> None:
    changes, error, words = REFUSED[case]
    source = make_checkpoint(tmp_path / "source")
    make_adapter(tmp_path / "adapter", Tiny(), **changes)
    with pytest.raises(error, match=words) as caught:
        preflight(source, tmp_path / "out", ["Q8_0"], lora=str(tmp_path / "adapter"))
    assert caught.value.hint


def test_an_adapter_of_another_checkpoint_or_none_is_refused(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source")
    make_adapter(tmp_path / "larger", Tiny(hidden=512))
    make_adapter(tmp_path / "deeper", Tiny(layers=3))
    for name in ("larger", "deeper"):
        with pytest.raises(ModelDamaged, match="does not fit"):
            preflight(source, tmp_path / "out", ["Q8_0"], lora=str(tmp_path / name))
    with pytest.raises(InvalidInput, match=r"has no adapter_config\.json"):
        preflight(source, tmp_path / "out", ["Q8_0"], lora=str(source))


MISSING = [name for name in ("torch", "transformers", "peft") if find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"the extra export is not installed ({', '.join(MISSING)})")
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_merged_weights_answer_as_peft_does(kind: str, tmp_path: Path) -> None:
    from edgemem.export.torch_model import torch_reference
    from edgemem.export.verify.logits import all_rows
    from edgemem.export.verify.opened import open_file

    tiny = Tiny(kind=kind)
    source, adapter = make_checkpoint(tmp_path / "source", tiny), tmp_path / "adapter"
    make_adapter(adapter, tiny)
    write_gguf(source, str(adapter), tmp_path / "a.gguf", "a", "F32", quiet)
    ids = [int(number) for number in np.random.default_rng(1).integers(3, 600, 100)]
    rows = {name: tmp_path / f"{name}.npy" for name in ("peft", "plain")}
    torch_reference(source, str(adapter), [ids], ids[:4], [2], 1, rows["peft"], quiet)
    torch_reference(source, "", [ids], ids[:4], [2], 1, rows["plain"], quiet)
    engine = open_file(tmp_path / "a.gguf", exact=True, context_tokens=1024)
    try:
        ours = np.array(list(all_rows(engine, ids)))
    finally:
        engine.close()
    assert float(np.max(np.abs(np.load(rows["peft"]) - ours))) < 1e-3
    assert float(np.max(np.abs(np.load(rows["plain"]) - ours))) > 0.5
