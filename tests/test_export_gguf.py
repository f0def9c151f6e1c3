"""A checkpoint becomes GGUF: the same numbers, the same bytes each time, and no work is lost when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tiny_checkpoint import Tiny, make_checkpoint, weights

from edgemem.__main__ import run
from edgemem.errors import EngineFailed, InvalidInput, ModelDamaged, StoreWriteFailed
from edgemem.export.apart import run_apart
from edgemem.export.busy import alone
from edgemem.export.preflight import preflight
from edgemem.export.quantizations import fallbacks, parse
from edgemem.export.run import Export, export_gguf


def export(source: Path, out: Path, *quantizations: str) -> Export:
    return export_gguf(preflight(source, out, quantizations, name="tiny"))


def as_floats(values: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    return (values.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else values.astype(np.float32)


VARIANTS = {
    "qwen3, tied": Tiny(),
    "qwen3, untied, bf16": Tiny(tied=False, dtype="BF16"),
    "qwen3, f16": Tiny(dtype="F16"),
    "qwen2, with biases": Tiny(kind="qwen2", head=64, hidden=256),
    "llama": Tiny(kind="llama", dtype="BF16"),
}
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "lm_head.weight": "output.weight",
    "model.layers.1.self_attn.o_proj.weight": "blk.1.attn_output.weight",
    "model.layers.1.mlp.down_proj.weight": "blk.1.ffn_down.weight",
    "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
    "model.layers.0.self_attn.k_norm.weight": "blk.0.attn_k_norm.weight",
    "model.layers.0.self_attn.v_proj.bias": "blk.0.attn_v.bias",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_base_holds_the_checkpoints_numbers(variant: str, tmp_path: Path) -> None:
    tiny = VARIANTS[variant]
    source = make_checkpoint(tmp_path / "source", tiny, shards=3)
    made = export(source, tmp_path / "out", "Q8_0")
    reader = gguf.GGUFReader(made.base.path)
    found = {tensor.name: tensor for tensor in reader.tensors}
    expected = weights(tiny)
    assert len(found) == len(expected)
    for name, ours in NAMES.items():
        if name in expected:
            stored = found[ours]
            matrix = expected[name].ndim > 1
            assert stored.tensor_type.name == (tiny.dtype if matrix else "F32")
            raw = stored.data.view(np.uint16) if stored.tensor_type.name == "BF16" else stored.data
            values = as_floats(raw, stored.tensor_type.name)
            assert np.array_equal(values.reshape(expected[name].shape), as_floats(expected[name], tiny.dtype)), name


def test_sizes_and_positions_are_written_for_transformers_4_and_5_alike(tmp_path: Path) -> None:
    bases = []
    for form in (5, 4):
        source = make_checkpoint(tmp_path / f"source{form}", Tiny(rope={"rope_type": "linear", "factor": 4.0}))
        config = json.loads((source / "config.json").read_text())
        rope = config.pop("rope_parameters")
        if form == 5:
            config["rope_parameters"] = rope | {"rope_theta": 5e5}
        else:
            config |= {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}}
        (source / "config.json").write_text(json.dumps(config))
        bases.append(export(source, tmp_path / f"out{form}", "Q8_0").base)
    assert bases[0].sha256 == bases[1].sha256
    fields = gguf.GGUFReader(bases[0].path).fields
    found = {key: fields[f"qwen3.{key}"].contents() for key in ("attention.key_length", "attention.head_count_kv")}
    assert found == {"attention.key_length": 64, "attention.head_count_kv": 2}
    assert fields["qwen3.rope.freq_base"].contents() == 5e5
    assert fields["qwen3.rope.scaling.factor"].contents() == 4.0


def test_the_same_checkpoint_gives_the_same_bytes_sharded_or_not(tmp_path: Path) -> None:
    digests = set()
    for number, shards in enumerate((1, 2, 4)):
        source = make_checkpoint(tmp_path / f"source{number}", shards=shards)
        made = export(source, tmp_path / f"out{number}", "Q4_K_M")
        digests.add((made.base.sha256, made.files[0].made.sha256))
    assert len(digests) == 1


def test_types_that_were_not_asked_for_are_reported(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", Tiny(hidden=192))
    made = export(source, tmp_path / "out", "Q4_K_M", "Q8_0", "Q4_0")
    falls = {one.name: sorted(set(one.fallbacks.values())) for one in made.files}
    assert falls == {"Q4_K_M": ["Q5_0", "Q8_0"], "Q8_0": [], "Q4_0": []}
    assert made.files[0].types == {"Q4_K": 3, "Q5_0": 9, "Q6_K": 1, "Q8_0": 2}


def test_the_checkpoints_own_precision_can_be_asked_for(tmp_path: Path) -> None:
    made = export(make_checkpoint(tmp_path / "source", Tiny(dtype="BF16")), tmp_path / "out", "BF16", "F32")
    assert made.base.path not in [one.made.path for one in made.files]
    assert [(one.types, one.fallbacks) for one in made.files] == [({"BF16": 15}, {}), ({"F32": 15}, {})]


def test_a_second_run_makes_nothing_again_and_a_changed_or_damaged_file_is_made_anew(tmp_path: Path) -> None:
    source, out = make_checkpoint(tmp_path / "source"), tmp_path / "out"
    first = export(source, out, "Q8_0", "Q4_0")
    again = export(source, out, "Q8_0", "Q4_0", "Q5_0")
    assert [one.made.again for one in (*again.files,)] == [True, True, False]
    assert again.base.again
    path = first.files[0].made.path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    repaired = export(source, out, "Q8_0")
    assert (repaired.files[0].made.again, repaired.files[0].made.sha256) == (False, first.files[0].made.sha256)
    make_checkpoint(source, seed=2)
    other = export(source, out, "Q8_0")
    assert (other.base.again, other.files[0].made.again) == (False, False)
    assert other.files[0].made.sha256 != first.files[0].made.sha256


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_finishes(tmp_path: Path) -> None:
    """The process is killed at growing delays, each time in another step; what is there must never be a torn file."""
    source, out = make_checkpoint(tmp_path / "source", Tiny(layers=8, hidden=512)), tmp_path / "out"
    words = ["export", "gguf", str(source), "--quant", "Q8_0,Q4_K_M,Q2_K", "--out", str(out), "--name", "tiny"]
    command = [sys.executable, "-m", "edgemem", *words, "--no-check"]
    finished = 0
    for step in range(40):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(0.3 + 0.12 * step)
        if process.poll() is not None:
            assert process.returncode == 0
            finished = step
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for path in (out / ".work").glob("*.gguf"):
            gguf.GGUFReader(path)
    assert finished
    whole = export(source, tmp_path / "fresh", "Q8_0", "Q4_K_M", "Q2_K")
    assert [one.made.path.read_bytes() for one in whole.files] == [
        (out / ".work" / one.made.path.name).read_bytes() for one in whole.files
    ]
    assert list(out.rglob("*.part")) == []


QUIET: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}


def test_two_exports_do_not_work_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = make_checkpoint(tmp_path / "source"), tmp_path / "out"
    words = ["export", "gguf", str(source), "--quant", "Q8_0", "--out", str(out), "--no-check"]
    with alone(out):
        assert run(words) == 8
    assert "another export is at work in" in capsys.readouterr().err
    assert run(words) == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_fills_up_on_the_way_is_said_and_nothing_unfinished_stays(tmp_path: Path) -> None:
    source, small = make_checkpoint(tmp_path / "source"), tmp_path / "small"
    plan = preflight(source, small / "out", ["Q8_0"])
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=3m tmpfs {small} 2>/dev/null"):
        pytest.skip("no tmpfs can be mounted here")
    try:
        with pytest.raises(StoreWriteFailed) as caught:
            export_gguf(plan)
        assert "free some space" in caught.value.hint
        assert [path.name for path in small.rglob("*") if path.is_file()] == []
    finally:
        os.system(f"umount {small}")


def fail(how: str, report: object) -> None:
    """A step that ends badly."""
    if how == "error":
        raise ModelDamaged("bad bytes", "get them again")
    if how == "crash":
        sys.stderr.write("GGML_ASSERT(x) failed\n")
        sys.stderr.flush()
        os.abort()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_step_that_dies_is_an_error_with_its_reason() -> None:
    with pytest.raises(ModelDamaged, match="bad bytes") as caught:
        run_apart(fail, "error")
    assert caught.value.hint == "get them again"
    with pytest.raises(EngineFailed, match="GGML_ASSERT"):
        run_apart(fail, "crash")
    with pytest.raises(EngineFailed, match="killed, probably for lack of memory"):
        run_apart(fail, "memory")


def test_names_of_quantizations() -> None:
    assert parse("q4_k_m, Q8_0,q4_K_M") == ("Q4_K_M", "Q8_0")
    for wrong in ("Q9", "", ","):
        with pytest.raises(InvalidInput):
            parse(wrong)
    matrices = {"a": "Q4_K", "b": "Q6_K", "c": "Q5_0", "d": "F16"}
    assert fallbacks("Q4_K_M", matrices) == {"c": "Q5_0", "d": "F16"}
    assert fallbacks("Q4_0", {"a": "Q4_0", "b": "Q6_K", "d": "F16"}) == {"d": "F16"}
    assert fallbacks("BF16", {"a": "BF16", "b": "F16"}) == {"b": "F16"}


def test_the_command_says_what_it_will_do_and_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = make_checkpoint(tmp_path / "source"), tmp_path / "out"
    words = ["export", "gguf", str(source), "--quant", "Q8_0", "--out", str(out), "--no-check"]
    assert run([*words, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["architecture"], plan["base"], out.exists()) == ("qwen3", "F32", False)
    assert run([*words, "--json"]) == 0
    captured = capsys.readouterr()
    made = json.loads(captured.out)
    assert [Path(one["path"]).name for one in made["files"]] == ["source-Q8_0.gguf"]
    assert made["files"][0]["types"] == {"Q8_0": 15}
    assert 0 < made["peak_rss_bytes"] <= made["ram_bytes"]
    assert json.loads(captured.err.splitlines()[-1])["progress"]["done"] == 24


def test_an_error_of_the_command_has_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "gguf", str(tmp_path / "none")]) == 2
    assert "next: give the folder of a checkpoint" in capsys.readouterr().err
