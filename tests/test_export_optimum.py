"""The second exporter of ONNX: what it refuses, and where its environment was made, that it computes what torch does.

That environment is made by `edgemem export onnx SRC --quant fp32 --exporter optimum`, and by no test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_export_onnx import CLOSE, MISSING, POSITIONS, onnx_rows, some_ids, torch_rows
from tiny_checkpoint import Tiny, make_checkpoint

from edgemem.__main__ import run
from edgemem.errors import DownloadFailed, EdgememError, InvalidInput, ModelUnsupported
from edgemem.export.onnx_optimum import LOCK, build, environment, is_made
from edgemem.export.preflight import preflight
from edgemem.places import places

CACHE = places().cache
REFUSED: dict[str, tuple[Tiny, dict[str, Any], type[EdgememError], str]] = {
    "another precision": (Tiny(), {"quantizations": ["int4"]}, InvalidInput, "32 bits only"),
    "scaled positions": (Tiny(rope=POSITIONS["yarn"]), {}, ModelUnsupported, "yarn"),
    "an exporter that is none": (Tiny(), {"exporter": "tract"}, InvalidInput, "no exporter 'tract'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_optimum_cannot_is_refused_before_anything_is_fetched(case: str, tmp_path: Path) -> None:
    tiny, changes, error, words = REFUSED[case]
    asked: dict[str, Any] = {"quantizations": ["fp32"], "onnx": True, "exporter": "optimum"} | changes
    with pytest.raises(error, match=words) as caught:
        preflight(make_checkpoint(tmp_path / "source", tiny), tmp_path / "out", **asked)
    assert caught.value.hint


def test_offline_nothing_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="--offline"):
        environment(tmp_path, offline=True)
    assert list(tmp_path.iterdir()) == []


def test_every_package_of_the_environment_has_its_version_and_hashes() -> None:
    packages = [part for part in LOCK.read_text().replace("\\\n", "").splitlines() if part.strip()]
    assert {part.split("==")[0] for part in packages} >= {"optimum", "optimum-onnx", "transformers"}
    assert all("==" in part and "--hash=sha256:" in part for part in packages)


made = pytest.mark.skipif(bool(MISSING) or not is_made(CACHE), reason="optimum's environment was not made")


@made
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
def test_it_computes_what_torch_computes(kind: str, tmp_path: Path) -> None:
    tiny = Tiny(kind=kind, dtype="BF16", hidden=192, head=32, feed_forward=544)  # a head is not hidden / heads
    source = make_checkpoint(tmp_path / "source", tiny, shards=2)
    seconds, peak = build(source, environment(CACHE, offline=True), tmp_path / "fp32")
    ours = onnx_rows(tmp_path / "fp32" / "model.onnx", some_ids())
    assert float(np.max(np.abs(torch_rows(source, some_ids()) - ours))) < CLOSE
    assert seconds > 0
    assert peak > 100 << 20


@made
@pytest.mark.slow
def test_from_safetensors_to_a_chat(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_checkpoint(tmp_path / "source", Tiny(context=16384), seed=3)
    (data_dir / "cache").mkdir(parents=True)
    for path in CACHE.glob("optimum-*"):
        (data_dir / "cache" / path.name).symlink_to(path)
    out = tmp_path / "out"
    words = ["export", "onnx", str(source), "--quant", "fp32", "--exporter", "optimum", "--out", str(out), "--json"]
    assert run(words) == 0, capsys.readouterr().err
    found = {one["name"]: one["checks"] for one in json.loads(capsys.readouterr().out)["checks"]}
    logits = next(one["measured"] for one in found["fp32"] if one["name"] == "logits")
    assert logits["kl"] < 1e-4
    assert "--exporter optimum" in json.loads((out / "manifest.json").read_text())["command"]
    assert run(["ask", "Hello, who are you?", "--model", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
