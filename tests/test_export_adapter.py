"""A LoRA adapter kept as a GGUF of its own: what it holds, that it is used, and that it is never mixed up."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from test_export_lora import ALPHA, RANK, make_adapter, quiet
from tiny_checkpoint import Tiny, make_checkpoint

from edgemem.__main__ import run
from edgemem.catalogue import resolve
from edgemem.catalogue.cards import engine_digest, parse_card
from edgemem.engines import open_engine
from edgemem.errors import InvalidInput, ModelDamaged, ModelUnsupported
from edgemem.export.convert import write_gguf
from edgemem.export.lora_gguf import write_adapter
from edgemem.export.preflight import preflight
from edgemem.export.verify import gate
from edgemem.export.verify.adapter import compare_adapter, last_rows
from edgemem.export.verify.opened import open_file

TINY = Tiny(context=16384)


def test_the_file_holds_both_factors_and_what_gives_pefts_scale(tmp_path: Path) -> None:
    source, tensors = make_checkpoint(tmp_path / "source"), make_adapter(tmp_path / "a", Tiny(), use_rslora=True)
    assert write_adapter(source, str(tmp_path / "a"), tmp_path / "a.gguf", "a", quiet) == 2 * Tiny().layers
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    found = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    prefix = "base_model.model.model.layers.1.mlp.down_proj"
    assert np.array_equal(found["blk.1.ffn_down.weight.lora_a"], tensors[f"{prefix}.lora_A.weight"])
    assert np.array_equal(found["blk.1.ffn_down.weight.lora_b"], tensors[f"{prefix}.lora_B.weight"])
    alpha = float(reader.fields["adapter.lora.alpha"].contents())
    assert alpha / RANK == pytest.approx(ALPHA / RANK**0.5)


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
def test_beside_the_base_it_answers_as_merged_into_it(kind: str, tmp_path: Path) -> None:
    tiny = TINY.but(kind=kind)
    source, adapter = make_checkpoint(tmp_path / "source", tiny), str(tmp_path / "adapter")
    make_adapter(tmp_path / "adapter", tiny)
    base, merged, beside = (tmp_path / f"{name}.gguf" for name in ("base", "merged", "beside"))
    write_gguf(source, "", base, "a", "F32", quiet)
    write_gguf(source, adapter, merged, "a", "F32", quiet)
    write_adapter(source, adapter, beside, "a", quiet)
    check = compare_adapter(base, beside, merged, 40, quiet)
    assert (check.status, check.measured["prompts"], check.measured["top1"]) == ("passed", 40, 1.0)
    assert check.measured["kl"] < 1e-4
    assert compare_adapter(base, None, merged, 40, quiet).status == "failed"  # the adapter changes answers


def test_a_new_context_keeps_the_adapter(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", TINY)
    make_adapter(tmp_path / "adapter", TINY)
    write_gguf(source, "", tmp_path / "base.gguf", "a", "F32", quiet)
    write_adapter(source, str(tmp_path / "adapter"), tmp_path / "beside.gguf", "a", quiet)
    engine = open_file(tmp_path / "base.gguf", tmp_path / "beside.gguf", context_tokens=512)
    try:
        before = last_rows(engine, ["Hello."], "", quiet)
        engine.binding.reopen(replace(engine.binding.options, context_tokens=1024))
        assert np.allclose(last_rows(engine, ["Hello."], "", quiet), before, atol=1e-5)
    finally:
        engine.close()


def test_what_does_not_fit_or_is_no_adapter_is_refused(tmp_path: Path) -> None:
    source, deeper = make_checkpoint(tmp_path / "source", TINY), TINY.but(hidden=512)
    other = make_checkpoint(tmp_path / "other", deeper)
    make_adapter(tmp_path / "adapter", deeper)
    base, beside = tmp_path / "base.gguf", tmp_path / "beside.gguf"
    write_gguf(source, "", base, "a", "F32", quiet)
    write_adapter(other, str(tmp_path / "adapter"), beside, "a", quiet)
    with pytest.raises(ModelUnsupported, match=r"cannot load the adapter beside\.gguf"):
        open_file(base, beside)
    with pytest.raises(InvalidInput, match="cannot have an adapter beside it"):
        open_engine(tmp_path / "answers.json", adapter=beside)
    (tmp_path / "empty").mkdir()
    shutil.copyfile(tmp_path / "adapter" / "adapter_config.json", tmp_path / "empty" / "adapter_config.json")
    empty = b'{"__metadata__":{"format":"pt"}}'
    (tmp_path / "empty" / "adapter_model.safetensors").write_bytes(len(empty).to_bytes(8, "little") + empty)
    with pytest.raises(ModelDamaged, match="holds no matrix"):
        preflight(source, tmp_path / "out", ["Q8_0"], lora=str(tmp_path / "empty"))
    with pytest.raises(InvalidInput, match="no adapter to keep"):
        preflight(source, tmp_path / "out", ["Q8_0"], keep_adapter=True)


def test_a_card_names_one_adapter_at_most_and_weights_first() -> None:
    file, place = '[[files]]\npath = "w.gguf"\n', Path("/x/card.toml")
    adapter = '[[files]]\npath = "a.gguf"\nadapter = true\n'
    assert [one.adapter for one in parse_card("m", file + adapter, place).files] == [False, True]
    for text in (adapter + file, file + adapter + adapter):
        with pytest.raises(InvalidInput, match="one more at most can be an adapter"):
            parse_card("m", text, place)


def test_what_computes_is_named_by_weights_and_adapter() -> None:
    assert engine_digest("a" * 64) == "a" * 64
    assert len({engine_digest("a" * 64, "b" * 64), engine_digest("a" * 64, "c" * 64), "a" * 64}) == 3


def test_the_gate_wants_98_of_100() -> None:
    assert gate.judge_adapter(200, 196, 0.1).status == "passed"
    assert (
        gate.judge_adapter(200, 195, 0.1).reason
        == "195 of 200 first tokens are those of the merged weights, 98% are needed"
    )


@pytest.mark.slow
def test_one_command_from_checkpoint_and_adapter_to_a_chat(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = make_checkpoint(tmp_path / "tiny", TINY.but(dtype="BF16")), tmp_path / "model"
    make_adapter(tmp_path / "adapter", TINY)
    words = ["export", "gguf", str(source), "--lora", str(tmp_path / "adapter"), "--keep-adapter"]
    assert run([*words, "--quant", "Q8_0,Q4_K_M", "--out", str(out), "--json", "--imatrix", "own"]) == 0
    made = json.loads(capsys.readouterr().out)
    base = {check["name"]: check for check in made["checks"][0]["checks"]}
    assert base["adapter"]["measured"]["prompts"] == 200
    assert base["adapter"]["measured"]["top1"] >= 0.98
    manifest = json.loads((out / "manifest.json").read_text())
    assert [file.get("adapter", False) for file in manifest["variants"][0]["files"]] == [False, True]
    assert "ADAPTER ./tiny-adapter.gguf" in (out / "README.md").read_text()
    found = resolve(str(out), cache=tmp_path / "cache")
    assert found.adapter == out / "tiny-adapter.gguf"
    assert found.digest != found.sha256
    assert run(["ask", "Hello, who are you?", "--model", str(out), "--json"]) == 0
    capsys.readouterr()
    (out / "tiny-adapter.gguf").unlink()  # another file, since the work folder has a link to the old one
    content = (out / ".work" / "tiny-adapter.gguf").read_bytes()
    (out / "tiny-adapter.gguf").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run(["ask", "Hello?", "--model", str(out)]) == ModelDamaged.exit_code
    assert "sha256" in capsys.readouterr().err
