"""An export from end to end without torch: checked, packed, the same bytes again, and loaded by the runtime."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tiny_checkpoint import Tiny, make_checkpoint, tokenizer_json

from edgemem.__main__ import run
from edgemem.catalogue import resolve
from edgemem.catalogue.cards import parse_card
from edgemem.catalogue.folder import Variant, choose, folder_card, read_variants
from edgemem.errors import EdgememError, InvalidInput, ModelDamaged, ModelUnsupported
from edgemem.export.pack import Refused, pack
from edgemem.export.preflight import preflight
from edgemem.export.run import Export, export_gguf
from edgemem.export.verify.kept import How
from edgemem.export.verify.opened import open_file
from edgemem.export.verify.run import verify
from edgemem.export.verify.tokens import check_template, check_tokenizer
from edgemem.export.verify.values import Check, Verdict

pytestmark = pytest.mark.slow
TINY = Tiny(context=16384)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_checkpoint(tmp_path_factory.mktemp("source") / "tiny", TINY)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "LICENSE").write_text("Apache License\n")
    return folder


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export_gguf(preflight(source, tmp_path_factory.mktemp("out") / "model", ["Q8_0", "Q4_K_M"]))


@pytest.fixture(scope="module")
def verdicts(made: Export) -> list[Verdict]:
    return verify(made, How())


def of(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)


def test_a_faithful_export_passes_every_check(verdicts: list[Verdict]) -> None:
    assert [verdict.name for verdict in verdicts] == ["base", "Q8_0", "Q4_K_M"]
    assert [verdict.reasons for verdict in verdicts] == [[], [], []]
    assert of(verdicts[1], "tokenizer").measured == {"texts": 2000, "different": 0}
    kl = [of(verdict, "logits").measured["kl"] for verdict in verdicts[1:]]
    assert 0 < kl[0] < kl[1]
    assert of(verdicts[1], "logits").measured["positions"] > 500
    assert of(verdicts[1], "skill").measured["updates"] == 12


def test_what_was_checked_is_not_checked_again(made: Export, verdicts: list[Verdict]) -> None:
    said: list[str] = []
    assert verify(made, How(), lambda label, done, total: said.append(label)) == verdicts
    assert said == []


def damaged(made: Export, folder: Path) -> Export:
    """The export with noise in one matrix of its Q8_0 file."""
    one = made.files[0]
    path = folder / one.made.path.name
    shutil.copyfile(one.made.path, path)
    reader = gguf.GGUFReader(path, "r+")
    tensor = next(tensor for tensor in reader.tensors if tensor.name == "blk.0.ffn_down.weight")
    tensor.data[:] = np.random.default_rng(1).permutation(tensor.data, axis=0)
    reader.data.flush()
    from edgemem.catalogue.digests import sha256_of

    changed = replace(one, made=replace(one.made, path=path, sha256=sha256_of(path)))
    return replace(made, files=(changed,))


def test_weights_that_went_wrong_are_refused_and_force_keeps_them_marked(
    made: Export, verdicts: list[Verdict], tmp_path: Path
) -> None:
    plan = replace(made.plan, out=tmp_path / "model")
    broken = damaged(replace(made, plan=made.plan), tmp_path)
    found = verify(broken, How())
    assert of(found[1], "logits").status == "failed"
    assert "nats per token, 0.2 is allowed" in found[1].reasons[0]
    broken = replace(broken, plan=plan, base=replace(broken.base, path=tmp_path / "none"))
    (tmp_path / "model").mkdir()
    with pytest.raises(Refused, match=r"no quantization passed its checks\. Q8_0: logits: the divergence") as caught:
        pack(broken, found, How())
    assert (caught.value.exit_code, list((tmp_path / "model").iterdir())) == (16, [])
    packed = pack(broken, found, How(), force=True)
    assert packed.manifest["variants"][0]["passed"] is False
    assert "**failed, kept on request**: logits: the divergence" in (packed.folder / "README.md").read_text()


def test_another_tokenizer_or_template_is_noticed(made: Export, source: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(source, tmp_path / "other"))
    (other / "tokenizer.json").write_text(tokenizer_json(500), "utf-8")
    (other / "chat_template.jinja").write_text((source / "chat_template.jinja").read_text() + " ")
    engine = open_file(made.files[0].made.path)
    try:
        tokens = check_tokenizer(engine.binding, other)
        template = check_template(engine, engine.binding, engine.template, other)
    finally:
        engine.close()
    assert tokens.status == "failed"
    assert "of 2000 texts get other ids, the first one" in tokens.reason
    assert template.reason == "the template's bytes are not the checkpoint's"


def test_an_answer_that_would_not_stop_is_noticed(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "tiny", TINY)
    template = (folder / "chat_template.jinja").read_text().replace("<|im_end|>", "<end of turn>")
    (folder / "chat_template.jinja").write_text(template)
    made = export_gguf(preflight(folder, tmp_path / "out", ["Q8_0"]))
    engine = open_file(made.files[0].made.path)
    try:
        assert "would not stop" in check_template(engine, engine.binding, engine.template, folder).reason
    finally:
        engine.close()


def test_the_folder_has_what_it_needs_and_the_same_bytes_each_time(
    made: Export, verdicts: list[Verdict], source: Path, tmp_path: Path
) -> None:
    contents = []
    for number in (1, 2):
        out = tmp_path / f"out{number}"
        again = export_gguf(preflight(source, out, ["Q8_0", "Q4_K_M"]))
        packed = pack(again, verdicts, How(), cards=tmp_path / f"cards{number}")
        contents.append({path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()})
        assert not again.base.path.exists()
        assert packed.card is not None
        card = parse_card("tiny", packed.card.read_text(), packed.card)
        assert (card.files[0].path, card.licence) == (str(out / "tiny-Q8_0.gguf"), "apache-2.0")
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == [
        "LICENSE",
        "README.md",
        "card.toml",
        "manifest.json",
        "tiny-Q4_K_M.gguf",
        "tiny-Q8_0.gguf",
    ]
    manifest = json.loads(contents[0]["manifest.json"])
    assert manifest["source"]["licence"] == "apache-2.0"
    assert set(manifest["source"]["sha256"]) >= {"model.safetensors", "tokenizer.json", "config.json"}
    assert [one["quantization"] for one in manifest["variants"]] == ["Q8_0", "Q4_K_M"]
    assert str(tmp_path) not in json.dumps(manifest)
    assert contents[0]["README.md"].startswith(b"---\nlicense: apache-2.0\n")


def test_one_command_exports_checks_and_packs_and_the_runtime_loads_the_folder(
    source: Path, tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    words = ["export", "gguf", str(source), "--quant", "Q8_0,Q2_K", "--out", str(out), "--name", "my-agent"]
    assert run([*words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["passed"]) for one in made["checks"]] == [("base", True), ("Q8_0", True), ("Q2_K", False)]
    assert "nats per token, 0.2 is allowed" in made["refused"]["Q2_K"][0]
    assert sorted(path.name for path in out.glob("*.gguf")) == ["my-agent-Q8_0.gguf"]
    assert Path(made["card"]) == data_dir / "models" / "my-agent.toml"
    for model in (str(out), "my-agent"):
        found = resolve(model, cache=tmp_path / "cache", config=data_dir)
        assert (found.path.name, found.verified) == ("my-agent-Q8_0.gguf", True)
        assert run(["ask", "Hello?", "--model", model, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)
    assert run(["model", "info", str(out), "--json"]) == 0
    assert "the best that fits" in json.loads(capsys.readouterr().out)["card"]["notes"]
    before = (out / "manifest.json").read_bytes()
    assert run(["export", "pack", str(out)]) == 0
    assert (out / "manifest.json").read_bytes() == before
    assert run(["export", "check", str(out), "--json"]) == 1


def test_a_model_of_its_own_prompts_and_policy_is_loaded_with_them(
    made: Export, verdicts: list[Verdict], tmp_path: Path
) -> None:
    prompts = tmp_path / "texts"
    prompts.mkdir()
    (prompts / "overwrite.txt").write_text("$memory $conversation\n")
    again = replace(
        made, plan=replace(made.plan, out=tmp_path / "model"), base=replace(made.base, path=tmp_path / "none")
    )
    (tmp_path / "model").mkdir()
    pack(again, verdicts, How(str(prompts), "overwrite", {"keep": -0.5}), cards=tmp_path / "cards")
    card = folder_card(tmp_path / "model")
    assert (card.policy, dict(card.thresholds)) == ("overwrite", {"keep": -0.5})
    assert (Path(card.prompts) / "overwrite.txt").read_text() == "$memory $conversation\n"
    mine = (tmp_path / "cards" / "tiny.toml").read_text()
    assert f'prompts = "{tmp_path}/model/prompts"' in mine


GIGA = 1_000_000_000


def variant(name: str, ram: float, passed: bool = True) -> Variant:
    return Variant(name, (), int(ram * GIGA), passed)


@pytest.mark.parametrize(
    ("ram", "chosen", "words"),
    [(16, "Q8_0", "the best that fits (8.0 GB of the 16.0 GB here)"), (8, "Q4_K_M", "best"), (2, "Q2_K", "smallest")],
)
def test_the_best_quantization_that_fits_is_chosen(ram: float, chosen: str, words: str) -> None:
    ladder = [variant("BF16", 9, False), variant("Q8_0", 8), variant("Q4_K_M", 4), variant("Q2_K", 3)]
    found, why = choose(ladder, int(ram * GIGA))
    assert found.quantization == chosen
    assert words in why


HOSTILE: dict[str, tuple[Callable[[Path], Any], type[EdgememError]]] = {
    "a file elsewhere": (
        lambda folder: (folder / "manifest.json").write_text(
            (folder / "manifest.json").read_text().replace("tiny-Q8_0.gguf", "../../etc/passwd")
        ),
        ModelDamaged,
    ),
    "no JSON": (lambda folder: (folder / "manifest.json").write_text("{"), ModelDamaged),
    "deep JSON": (lambda folder: (folder / "manifest.json").write_text("[" * 100_000), ModelDamaged),
    "no variants": (lambda folder: (folder / "manifest.json").write_text('{"variants": []}'), ModelDamaged),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), ModelUnsupported),
    "a card of nonsense": (lambda folder: (folder / "card.toml").write_text("x = 1"), InvalidInput),
    "other bytes": (lambda folder: (folder / "tiny-Q8_0.gguf").write_bytes(b"GGUF" + b"\0" * 3_000_000), ModelDamaged),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_folder_from_a_stranger_is_checked(
    case: str, made: Export, verdicts: list[Verdict], source: Path, tmp_path: Path
) -> None:
    change, error = HOSTILE[case]
    out = tmp_path / "model"
    again = replace(made, plan=replace(made.plan, out=out), base=replace(made.base, path=tmp_path / "none"))
    out.mkdir()
    pack(again, verdicts, How())
    for path in out.glob("*.gguf"):  # of its own, not a link to what other tests use
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert folder_card(out).files[0].file == "tiny-Q8_0.gguf"
    assert len(read_variants(out)) == 2
    change(out)
    with pytest.raises(error):
        resolve(str(out), cache=tmp_path / "cache")
