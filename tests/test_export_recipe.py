"""The recipe of the memory agent, on a tiny Qwen3 of the same architecture: one command, and then it answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_checkpoint import Tiny, make_checkpoint

from edgemem.__main__ import run
from edgemem.errors import InvalidInput
from edgemem.export.recipe import open_recipe, recipes

NAME = "qwen3-4b-memory-agent"


def test_it_names_checkpoint_quantizations_and_policy() -> None:
    recipe = open_recipe(NAME)
    assert (recipe.checkpoint, recipe.card.policy) == ("bowen-upenn/Qwen3-4B-PersonaMem-SFT", "overwrite")
    assert recipe.quantizations == ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
    assert recipes() == [NAME]
    with pytest.raises(InvalidInput, match="there is no recipe 'smollm2-135m'"):
        open_recipe("smollm2-135m")


def test_another_architecture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_checkpoint(tmp_path / "llama", Tiny(kind="llama"))
    assert run(["export", "recipe", NAME, str(source), "--out", str(tmp_path / "out")]) == 5
    assert "is for qwen3, this checkpoint is llama" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_one_command_makes_a_model_that_answers(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --policy edits: random weights write whole memories of 2,048 tokens without an end, 100 to 200 s in all."""
    source = make_checkpoint(tmp_path / "tiny", Tiny(context=16384, dtype="BF16", tied=False), shards=2)
    out = tmp_path / "agent"
    assert run(["export", "recipe", NAME, str(source), "--policy", "edits", "--out", str(out), "--json"]) == 0, (
        capsys.readouterr().err
    )
    assert {one["name"] for one in json.loads(capsys.readouterr().out)["checks"]} == {
        *("base", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
    }
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["policy"], manifest["imatrix"]["file"]) == ("edits", f"{NAME}.imatrix.gguf")
    assert [one["quantization"] for one in manifest["variants"]] == ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"]
    assert run(["ask", "Hello, who are you?", "--model", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
