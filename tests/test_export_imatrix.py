"""The importance matrix is what it says: mean squares of the inputs of each matrix, on our own texts."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_checkpoint import Tiny, make_checkpoint, weights

from edgemem.__main__ import run
from edgemem.errors import InvalidInput
from edgemem.export.apart import run_apart
from edgemem.export.imatrix import CHUNK_TOKENS, calibration_chunks, measure_importance
from edgemem.export.imatrix_file import Importance, read_imatrix, write_imatrix
from edgemem.export.own_texts import calibration_chats, held_out_texts, skill_chats
from edgemem.export.preflight import preflight
from edgemem.export.run import export_gguf
from edgemem.prompting.prompts import load_prompts


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imatrix")
    source = make_checkpoint(folder / "source")
    return export_gguf(preflight(source, folder / "out", ["Q8_0"], name="tiny")).base.path


def test_it_holds_the_mean_squares_of_the_inputs(base: Path, tmp_path: Path) -> None:
    """The first layer's inputs are easily computed: the embedding, normalised."""
    out = tmp_path / "a.gguf"
    matrices, chunks = run_apart(measure_importance, base, None, "", 2, 3, out).value
    found = read_imatrix(out)
    assert (matrices, chunks, len(found)) == (14, 3, 14)
    made = weights(Tiny())
    ids = np.concatenate(calibration_chunks(base, "", 2)[:3])
    rows = made["model.embed_tokens.weight"][ids].astype(np.float64)
    rows /= np.sqrt((rows**2).mean(1, keepdims=True) + 1e-6)
    rows *= made["model.layers.0.input_layernorm.weight"]
    expected = (rows**2).mean(0)
    for name in ("attn_q", "attn_k", "attn_v"):
        assert np.allclose(found[f"blk.0.{name}.weight"], expected, rtol=1e-4), name
    assert found["blk.1.ffn_down.weight"].shape == (512,)
    assert len(ids) == 3 * CHUNK_TOKENS


def test_it_is_written_in_llama_cpps_form_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write_imatrix(path, {"blk.0.x.weight": Importance(np.array([2.0, 8.0]), 4)}, "ours", 3, 512)
    reader = gguf.GGUFReader(path)
    assert {tensor.name: tensor.shape.tolist() for tensor in reader.tensors} == {
        "blk.0.x.weight.in_sum2": [2, 1],
        "blk.0.x.weight.counts": [1, 1],
    }
    facts = {key: reader.fields[key].contents() for key in ("general.type", "imatrix.chunk_count", "imatrix.datasets")}
    assert facts == {"general.type": "imatrix", "imatrix.chunk_count": 3, "imatrix.datasets": ["ours"]}
    assert "general.architecture" not in reader.fields
    assert read_imatrix(path)["blk.0.x.weight"].tolist() == [0.5, 2.0]


@pytest.mark.parametrize("content", [b"", b"GGUF", b"\0" * 400, b"GGUF\x03\0\0\0" + b"\xff" * 64])
def test_anything_else_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="is no importance matrix"):
        read_imatrix(path)


def test_a_model_is_no_importance_matrix(base: Path) -> None:
    with pytest.raises(InvalidInput, match="is no importance matrix in GGUF form"):
        read_imatrix(base)


def test_an_export_uses_and_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_checkpoint(tmp_path / "source")
    words = ["export", "gguf", str(source), "--quant", "Q4_K_M,Q3_K_M", "--name", "tiny", "--no-check", "--json"]
    digests = []
    for imatrix in ("own", str(tmp_path / "own" / "tiny.imatrix.gguf"), ""):
        more = ["--imatrix", imatrix] if imatrix else ["--quant", "Q4_K_M"]
        assert run([*words, "--out", str(tmp_path / (imatrix[:3] or "none")), *more]) == 0
        digests.append({one["quantization"]: one["sha256"] for one in json.loads(capsys.readouterr().out)["files"]})
    assert digests[0] == digests[1]
    assert digests[0]["Q4_K_M"] != digests[2]["Q4_K_M"]


def test_what_is_measured_on_is_what_the_runtime_sends_and_none_of_it_is_judged_with() -> None:
    prompts = load_prompts()
    chats = calibration_chats(prompts)
    assert chats[0][: len(prompts.edits())] == prompts.edits()
    assert len(chats) > 20
    seen = "\n".join(message.content for chat in chats for message in chat)
    judged = [text for chat in skill_chats() for role, text in chat.turns if role == "user"]
    assert [text for text in [*judged, *held_out_texts()] if text in seen] == []
