"""What cannot be exported is refused before a byte is written, with the thing that is wrong in the message."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import CHATML, Tiny, make_checkpoint, tokenizer_json, weights, write_safetensors

from edgemem.errors import EdgememError, InvalidInput, ModelDamaged, ModelUnsupported, StoreWriteFailed
from edgemem.export.preflight import preflight

Damage = Callable[[Path], None]


def edited(name: str, change: Callable[[dict[str, Any]], Any]) -> Damage:
    """Change a JSON file of the checkpoint."""

    def damage(folder: Path) -> None:
        found = json.loads((folder / name).read_text("utf-8"))
        change(found)
        (folder / name).write_text(json.dumps(found), "utf-8")

    return damage


def cut_off(folder: Path) -> None:
    path = folder / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flipped_header(folder: Path) -> None:
    path = folder / "model-00001-of-00002.safetensors"
    raw = bytearray(path.read_bytes())
    raw[20] ^= 0xFF
    path.write_bytes(raw)


def pickle_only(folder: Path) -> None:
    for path in [*folder.glob("*.safetensors"), folder / "model.safetensors.index.json"]:
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04}.")


def no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def template(text: str) -> Damage:
    return lambda folder: (folder / "chat_template.jinja").write_text(text) and None


def no_end_token(folder: Path) -> None:
    edited("tokenizer_config.json", lambda found: found.pop("eos_token"))(folder)
    edited("config.json", lambda found: found.pop("eos_token_id"))(folder)


def foreign_index(folder: Path) -> None:
    edited("model.safetensors.index.json", lambda found: found["weight_map"].update(x="../../etc/passwd"))(folder)


REFUSED: dict[str, tuple[Damage, type[EdgememError], str]] = {
    "a missing shard": (
        lambda folder: (folder / "model-00002-of-00002.safetensors").unlink(),
        ModelDamaged,
        "1 of 2 files with weights are missing: model-00002-of-00002.safetensors",
    ),
    "a shard that is cut off": (cut_off, ModelDamaged, "model-00001-of-00002.safetensors is no sound safetensors"),
    "a header that is no JSON": (flipped_header, ModelDamaged, "is no sound safetensors file"),
    "an index that names a file elsewhere": (foreign_index, ModelDamaged, "names the file '../../etc/passwd'"),
    "weights in pickle files only": (pickle_only, ModelUnsupported, "opening one runs code of its author"),
    "an unknown architecture": (
        edited("config.json", lambda config: config.update(architectures=["MambaForCausalLM"])),
        ModelUnsupported,
        "the architecture MambaForCausalLM cannot be exported",
    ),
    "no architecture": (edited("config.json", lambda config: config.pop("architectures")), ModelUnsupported, "archi"),
    "a size that is no number": (
        edited("config.json", lambda config: config.update(num_hidden_layers="many")),
        ModelDamaged,
        "num_hidden_layers = many",
    ),
    "a size that is absurd": (
        edited("config.json", lambda config: config.update(vocab_size=10**12)),
        ModelDamaged,
        "vocab_size = 1000000000000",
    ),
    "another shape than config.json says": (
        edited("config.json", lambda config: config.update(intermediate_size=768)),
        ModelDamaged,
        "has the shape 512 x 256, config.json wants 768 x 256",
    ),
    "fewer layers than weights": (
        edited("config.json", lambda config: config.update(num_hidden_layers=1)),
        ModelUnsupported,
        "tensors have no place in a qwen3 network",
    ),
    "more layers than weights": (
        edited("config.json", lambda config: config.update(num_hidden_layers=3)),
        ModelDamaged,
        "11 tensors are missing, model.layers.2",
    ),
    "an untied output that is not there": (
        edited("config.json", lambda config: config.update(tie_word_embeddings=False)),
        ModelDamaged,
        "lm_head.weight",
    ),
    "weights that are quantized already": (
        edited("config.json", lambda config: config.update(quantization_config={"quant_method": "awq"})),
        ModelUnsupported,
        "quantized already (awq)",
    ),
    "sliding attention": (
        edited("config.json", lambda config: config.update(layer_types=["sliding_attention"] * 2)),
        ModelUnsupported,
        "sliding attention",
    ),
    "positions of an unknown kind": (
        edited("config.json", lambda config: config.update(rope_parameters={"rope_type": "longrope"})),
        ModelUnsupported,
        "'longrope'",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), ModelUnsupported, "no tokenizer.json"),
    "a tokenizer without merges": (
        edited("tokenizer.json", lambda found: found["model"].update(merges=[])),
        ModelDamaged,
        "has no merges",
    ),
    "a tokenizer of another kind": (
        edited("tokenizer.json", lambda found: found["model"].update(type="Unigram")),
        ModelUnsupported,
        "of the kind Unigram",
    ),
    "an unknown way to split text": (
        lambda folder: (folder / "tokenizer.json").write_text(tokenizer_json(pattern=r"\w+|\W+"), "utf-8") and None,
        ModelUnsupported,
        r"a pattern that is not known here: \w+|\W+",
    ),
    "an unknown normalizer": (
        edited("tokenizer.json", lambda found: found.update(normalizer={"type": "Lowercase"})),
        ModelUnsupported,
        "normalizes text (Lowercase)",
    ),
    "a vocabulary larger than the embedding": (
        edited("tokenizer.json", lambda found: found["model"]["vocab"].update(zzzz=640)),
        ModelDamaged,
        "larger than the embedding: ids up to 640, 640 rows",
    ),
    "two tokens with one id": (
        edited("tokenizer.json", lambda found: found["model"]["vocab"].update(zzzz=5)),
        ModelDamaged,
        "two tokens one id",
    ),
    "no chat template": (no_template, ModelUnsupported, "has no chat template"),
    "a template that leaves its sandbox": (
        template("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
        ModelUnsupported,
        "chat template cannot be used: SecurityError",
    ),
    "a template that drops what was said": (template("Hello. {{ messages[0].role }}"), ModelUnsupported, "drops"),
    "no end token": (
        no_end_token,
        ModelUnsupported,
        "names no end token",
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("sound") / "checkpoint", shards=2)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(case: str, sound: Path, tmp_path: Path) -> None:
    damage, error, message = REFUSED[case]
    folder = shutil.copytree(sound, tmp_path / "checkpoint")
    damage(folder)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(error) as caught:
        preflight(folder, tmp_path / "out", ["Q8_0"])
    assert message in caught.value.message
    assert caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_sound_checkpoint_is_planned_with_its_sizes(sound: Path, tmp_path: Path) -> None:
    plan = preflight(sound, tmp_path / "out", ["Q8_0", "Q4_K_M"])
    assert (plan.base, plan.network.tied, plan.vocabulary.pre_tokenizer, plan.vocabulary.used) == (
        "F32",
        True,
        "qwen2",
        600,
    )
    assert plan.base_bytes == 4 * plan.checkpoint.parameters
    assert plan.file_bytes["Q4_K_M"] < plan.file_bytes["Q8_0"] < plan.base_bytes / 3
    assert plan.notes == ()
    assert not (tmp_path / "out").exists()


def test_no_folder_and_a_folder_without_configuration(tmp_path: Path) -> None:
    for folder, words in ((tmp_path / "none", "there is no folder"), (tmp_path, "has no config.json")):
        with pytest.raises(InvalidInput, match=words):
            preflight(folder, tmp_path / "out", ["Q8_0"])


def test_the_results_never_go_into_the_checkpoint(sound: Path) -> None:
    with pytest.raises(InvalidInput, match="checkpoint's own"):
        preflight(sound, sound, ["Q8_0"])


def test_rows_that_do_not_fit_are_noted_and_refused_where_nothing_would_be_quantized(tmp_path: Path) -> None:
    odd = make_checkpoint(tmp_path / "odd", Tiny(hidden=192, feed_forward=512))
    plan = preflight(odd, tmp_path / "out", ["Q4_K_M", "Q8_0"])
    assert plan.notes == ("Q4_K_M: 11 of 15 matrices have rows that are no multiple of 256",)
    refused = make_checkpoint(tmp_path / "refused", Tiny(hidden=80, head=20, feed_forward=200))
    with pytest.raises(ModelUnsupported, match="100% of the weights as floats: rows of 80"):
        preflight(refused, tmp_path / "out", ["Q4_K_M"])


def test_int4_as_onnx_needs_rows_of_an_even_number_of_blocks(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "a", Tiny(feed_forward=544))
    with pytest.raises(ModelUnsupported, match="int4 cannot be made of rows of 544"):
        preflight(folder, tmp_path / "out", ["int4"], onnx=True)
    assert preflight(folder, tmp_path / "out", ["fp32", "int8"], onnx=True)


def test_an_untied_embedding_stays_in_32_bits_as_onnx(tmp_path: Path) -> None:
    folders = [make_checkpoint(tmp_path / str(tied), Tiny(tied=tied, hidden=128, layers=1)) for tied in (True, False)]
    tied, untied = (preflight(one, tmp_path / "out", ["int4"], onnx=True).file_bytes["int4"] for one in folders)
    assert untied - tied == 640 * 128 * (4 + 1)


def test_onnx_needs_memory_for_the_largest_matrix_however_many_there_are(tmp_path: Path) -> None:
    shallow = make_checkpoint(tmp_path / "shallow", Tiny(dtype="BF16"))
    deep = make_checkpoint(tmp_path / "deep", Tiny(dtype="BF16", layers=8))
    wide = make_checkpoint(tmp_path / "wide", Tiny(dtype="BF16", feed_forward=4096))
    ram = [preflight(one, tmp_path / "out", ["int4"], onnx=True).ram_bytes for one in (shallow, deep, wide)]
    assert ram[0] == ram[1]
    assert ram[2] - ram[0] == 2 * 256 * (4096 - 2 * 512)  # against queries, keys and values put together


def test_very_low_bits_need_an_importance_matrix(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="IQ2_M needs an importance matrix"):
        preflight(sound, tmp_path / "out", ["IQ2_M"])


def test_too_little_memory_is_said_with_both_numbers(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemem.export.preflight.memory_bytes", lambda: (1 << 30, 100 << 20))
    with pytest.raises(ModelUnsupported, match=r"not enough memory: 26\d MB are needed, 105 MB are available"):
        preflight(sound, tmp_path / "out", ["Q8_0"])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_too_little_disk_is_said_with_both_numbers(sound: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=4m tmpfs {small} 2>/dev/null"):
        pytest.skip("no tmpfs can be mounted here")
    try:
        with pytest.raises(StoreWriteFailed, match=r"not enough space in .*small: 7\d MB are needed, 4 MB are free"):
            preflight(sound, small / "out", ["Q8_0"])
        assert list(small.iterdir()) == []
    finally:
        os.system(f"umount {small}")


def test_templates_stand_in_the_configuration_too(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "a")
    no_template(folder)
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]
    for form in (CHATML, named):
        edited("tokenizer_config.json", lambda found, form=form: found.update(chat_template=form))(folder)
        assert preflight(folder, tmp_path / "out", ["Q8_0"]).vocabulary.template == CHATML


def test_an_output_beside_a_tied_embedding_is_left_out(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "a")
    made = weights(Tiny())
    made["lm_head.weight"] = np.zeros((640, 256), np.float32)
    write_safetensors(folder / "model.safetensors", made, "F32")
    plan = preflight(folder, tmp_path / "out", ["Q8_0"])
    assert plan.base_bytes == 4 * (plan.checkpoint.parameters - 640 * 256)
