"""Many quantizations side by side, and a GGUF turned back into a checkpoint; both can be stopped and started again."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_checkpoint import Tiny, make_checkpoint, weights

from edgemem.__main__ import run
from edgemem.errors import ModelUnsupported
from edgemem.export.checkpoint import open_checkpoint
from edgemem.export.convert import write_gguf
from edgemem.export.dequantize import write_checkpoint
from edgemem.export.ladder import table
from edgemem.export.preflight import preflight
from edgemem.export.run import export_gguf
from edgemem.export.verify.opened import open_file
from edgemem.export.verify.tokens import check_template, check_tokenizer


def quiet(label: str, done: int, total: int) -> None:
    return None


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
def test_a_gguf_turned_back_is_the_checkpoint_it_was_made_of(kind: str, tmp_path: Path) -> None:
    tiny = Tiny(kind=kind, dtype="F16", tied=kind != "llama", rope={"rope_type": "default", "rope_theta": 1e6})
    source = make_checkpoint(tmp_path / "source", tiny)
    write_gguf(source, "", tmp_path / "a.gguf", "a", "F16", quiet)
    write_checkpoint(tmp_path / "a.gguf", tmp_path / "back", quiet)
    back = open_checkpoint(tmp_path / "back")
    for name, values in weights(tiny).items():
        assert np.array_equal(back.tensors[name].read().astype(np.float32), values.astype(np.float32)), name
    wanted = {**tiny.config(), "dtype": "float16", "bos_token_id": None}
    assert {key: back.config[key] for key in wanted if key in back.config} == {
        key: value for key, value in wanted.items() if key in back.config
    }
    preflight(tmp_path / "back", tmp_path / "out", ["Q8_0"])
    engine = open_file(tmp_path / "a.gguf", context_tokens=512)
    try:
        assert check_tokenizer(engine.binding, tmp_path / "back").measured["different"] == 0
        assert check_template(engine, engine.binding, engine.template, tmp_path / "back").status == "passed"
    finally:
        engine.close()


def test_a_quantized_file_comes_back_as_its_values(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", Tiny())
    made = export_gguf(preflight(source, tmp_path / "out", ["Q4_K_M"])).files[0]
    write_checkpoint(made.main, tmp_path / "back", quiet)
    found = open_checkpoint(tmp_path / "back").tensors["model.layers.0.mlp.down_proj.weight"].read()
    stored = next(one for one in gguf.GGUFReader(made.main).tensors if one.name == "blk.0.ffn_down.weight")
    values = gguf.quants.dequantize(stored.data, stored.tensor_type)
    assert np.allclose(found.astype(np.float32), values, rtol=1e-3, atol=1e-6)


def test_what_cannot_be_turned_back_is_refused(tmp_path: Path) -> None:
    scaled = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 64}
    source = make_checkpoint(tmp_path / "source", Tiny(rope=scaled))
    write_gguf(source, "", tmp_path / "a.gguf", "a", "F32", quiet)
    with pytest.raises(ModelUnsupported, match="cannot be turned back"):
        write_checkpoint(tmp_path / "a.gguf", tmp_path / "back", quiet)
    assert not (tmp_path / "back").exists()


HEAD = {"name": "m", "cpu": "c", "threads": 2, "policy": "edits", "tools": {"gguf": "1"}, "dequantized": "m-q4.gguf"}


def test_the_table_says_what_was_refused_and_why() -> None:
    skill = {"kept": 9, "planted": 19, "wrong_lines": 1, "stale_left": 2, "seconds": 1.5}
    logits = {"perplexity": 9.876543, "kl": 0.31, "top1": 0.7}
    bad = {"format": "gguf", "quantization": "Q2_K", "size_bytes": 5e8, "passed": False, "reasons": ["skill: lost"]}
    bad |= {"checks": {"logits": logits, "skill": skill}, "prefill_tokens_s": 99.94, "decode_tokens_s": 9.0}
    bad |= {"rss_bytes": 1_234_000_000}
    none = {"format": "onnx", "quantization": "int4", "refused": "not enough memory."}
    lines = table(HEAD, [bad, none]).splitlines()
    cells = ("gguf Q2_K", "0.500 GB", "9.877", "0.31", "0.7", "9/19", "3", "1.50", "99.9", "9.0", "1.23 GB")
    assert f"| {' | '.join(cells)} | **refused**: skill: lost |" in lines
    assert "| onnx int4 |" + " - |" * 10 + " not made: not enough memory. |" in lines
    assert any("turned back from `m-q4.gguf`" in line for line in lines)


@pytest.mark.slow
def test_one_command_compares_them_and_goes_on_where_it_stopped(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_checkpoint(tmp_path / "source", Tiny(context=16384, dtype="F16"))
    write_gguf(source, "", tmp_path / "tiny.gguf", "tiny", "F16", quiet)
    words = ["export", "ladder", str(tmp_path / "tiny.gguf"), "--quant", "Q8_0,Q2_K", "--onnx", "none"]
    words += ["--out", str(tmp_path / "out"), "--json"]
    assert run(words) == 0, capsys.readouterr().err
    first = json.loads(capsys.readouterr().out)
    assert [row["quantization"] for row in first["rows"]] == ["base F16", "Q8_0", "Q2_K"]
    assert all(row["decode_tokens_s"] > 0 and row["rss_bytes"] > 1e7 for row in first["rows"][1:])
    lines = [json.loads(line) for line in (tmp_path / "out" / "ladder.jsonl").read_text().splitlines()]
    assert (lines[0]["dequantized"], lines[1:]) == ("tiny.gguf", first["rows"])
    assert "| gguf Q8_0 |" in (tmp_path / "out" / "ladder.md").read_text()
    (tmp_path / "out" / ".work" / "tiny-Q2_K.gguf").unlink()
    assert run(words) == 0
    second = json.loads(capsys.readouterr().out)
    told = ("made_in_s", "made_rss_bytes")
    assert [{key: value for key, value in row.items() if key not in told} for row in second["rows"]] == [
        {key: value for key, value in row.items() if key not in told} for row in first["rows"]
    ]
