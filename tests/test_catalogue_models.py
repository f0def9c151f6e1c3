"""From a model's name to a file that may be loaded; which are installed; removing them. All without a network."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from catalogue_support import COMMIT, Machine, sha256, small_gguf

from edgemem.catalogue import ModelFile, cards, find_card, installed, partial_bytes, remove, resolve
from edgemem.catalogue.storage import Place, check_space, put
from edgemem.errors import DownloadFailed, InvalidInput, ModelDamaged, ModelMissing, ModelUnsupported

CONTENT = small_gguf()
OTHER = small_gguf(64)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with the card `tiny`, whose file is not there yet."""
    found = Machine(tmp_path)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    found.card("tiny", CONTENT)
    return found


def cached(machine: Machine, content: bytes, file: str, repo: str = "org/tiny", revision: str = COMMIT) -> Path:
    """`content` as the hub's library would have cached it."""
    place = Place(machine.hub_cache, repo, revision, file)
    partial = place.partial(sha256(content))
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(content)
    return put(partial, place, sha256(content), as_main=True)


def look(machine: Machine, spec: str, *, offline: bool = True, persist: bool = True) -> ModelFile:
    return resolve(spec, cache=machine.folder / "cache", config=machine.config, offline=offline, persist=persist)


def test_a_card_s_file_is_found_and_checked(machine: Machine) -> None:
    path = cached(machine, CONTENT, "tiny.gguf")
    card = find_card("tiny", machine.config)
    expected = ModelFile("tiny", path, sha256(CONTENT), True, card, "org/tiny", COMMIT)
    assert look(machine, "tiny") == look(machine, " TINY ") == expected


def test_a_flipped_byte_is_found_before_first_use_and_the_repair_is_named(machine: Machine) -> None:
    path = cached(machine, CONTENT, "tiny.gguf")
    look(machine, "tiny")
    damaged = bytearray(CONTENT)
    damaged[-100] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(ModelDamaged) as caught:
        look(machine, "tiny")
    assert "The file of tiny is damaged: its sha256 is" in caught.value.message
    assert caught.value.hint == "Get it again: edgemem model rm tiny && edgemem model pull tiny"


def test_a_cut_file_says_how_much_is_missing(machine: Machine) -> None:
    path = cached(machine, CONTENT, "tiny.gguf")
    path.write_bytes(CONTENT[:-1_000])
    with pytest.raises(ModelDamaged) as caught:
        look(machine, "tiny")
    assert caught.value.message == (f"The file of tiny is cut off: 1,000 of {len(CONTENT):,} bytes are missing.")


def test_a_path_is_a_model_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine.folder / "my model.gguf"
    path.write_bytes(CONTENT)
    monkeypatch.chdir(machine.folder)
    expected = ModelFile(str(path), path, sha256(CONTENT), False)
    assert [look(machine, spec) for spec in (str(path), "my model.gguf", "./my model.gguf")] == [expected] * 3


def test_a_person_s_own_card_can_name_a_file_of_this_machine(machine: Machine) -> None:
    path = machine.config / "models" / "agent.gguf"
    path.write_bytes(CONTENT)
    (path.parent / "agent.toml").write_text('policy = "overwrite"\n[[files]]\npath = "agent.gguf"\n')
    found = look(machine, "agent")
    assert (found.path, found.sha256, found.verified) == (path, sha256(CONTENT), False)
    with pytest.raises(InvalidInput, match="agent is a file of your own"):
        remove("agent", config=machine.config)


def test_a_temporary_look_writes_nothing(machine: Machine) -> None:
    cached(machine, CONTENT, "tiny.gguf")
    before = sorted(machine.folder.rglob("*"))
    look(machine, "tiny", persist=False)
    assert sorted(machine.folder.rglob("*")) == before


def test_files_of_the_hub_s_cache_are_found_by_quantization_and_name(machine: Machine) -> None:
    places = {name: cached(machine, CONTENT + name.encode(), name) for name in ("a-Q8_0.gguf", "a-q4_k_m.gguf")}
    cached(machine, OTHER, "mmproj-a-Q4_K_M.gguf")
    specs = ("org/tiny", "org/tiny:Q4_K_M", "hf.co/org/tiny:q8_0", "org/tiny/a-Q8_0.gguf")
    assert [look(machine, spec).path for spec in specs] == [
        places["a-q4_k_m.gguf"],
        places["a-q4_k_m.gguf"],
        places["a-Q8_0.gguf"],
        places["a-Q8_0.gguf"],
    ]


def test_the_revision_called_main_wins(machine: Machine) -> None:
    cached(machine, OTHER, "a-Q4_K_M.gguf", revision="0" * 40)
    newest = cached(machine, CONTENT, "a-Q4_K_M.gguf", revision="1" * 40)
    cached(machine, b"", "README.md", revision="1" * 40)
    assert look(machine, "org/tiny").path == newest


def test_a_damaged_file_of_the_hub_s_cache_is_found_by_its_link(machine: Machine) -> None:
    path = cached(machine, CONTENT, "a-Q4_K_M.gguf")
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(ModelDamaged) as caught:
        look(machine, "org/tiny")
    assert caught.value.hint == "Get it again: edgemem model rm org/tiny && edgemem model pull org/tiny"


MISSING = {
    "tiny": ("tiny is not on this machine, and --offline is given.", "edgemem model pull tiny"),
    "org/other:Q8_0": ("org/other:Q8_0 is not on this machine, and --offline is given.", "pull org/other:Q8_0"),
    "qwen3-0.6": ("There is no model 'qwen3-0.6'. Did you mean qwen3-0.6b", "edgemem model pull qwen3-0.6b"),
    "xyzzy": ("There is no model 'xyzzy'.", "edgemem model list shows what there is."),
    "a/b:c:d": ("There is no model 'a/b:c:d'.", "edgemem model list"),
    "../../etc/passwd.gguf": ("There is no file /", "Check the path, or see: edgemem model list"),
    "nothing.gguf": ("There is no file /", "Check the path, or see: edgemem model list"),
    "qwen3-4b-memory-agent": ("qwen3-4b-memory-agent is a recipe", "edgemem model pull qwen3-4b-instruct"),
}


@pytest.mark.parametrize("spec", MISSING)
def test_what_is_missing_is_said_with_the_next_step(machine: Machine, spec: str) -> None:
    with pytest.raises(ModelMissing) as caught:
        look(machine, spec)
    message, hint = MISSING[spec]
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


def test_a_missing_model_may_be_downloaded_when_there_is_a_network(machine: Machine) -> None:
    with pytest.raises(ModelMissing) as caught:
        look(machine, "tiny", offline=False)
    assert (caught.value.message, caught.value.hint) == (
        "tiny is not on this machine.",
        "Download it: edgemem model pull tiny",
    )


@pytest.mark.parametrize("spec", ["", "  ", "a\0b", "a\nb"])
def test_an_impossible_name_is_refused(machine: Machine, spec: str) -> None:
    with pytest.raises(InvalidInput):
        look(machine, spec)


def test_a_folder_is_no_model(machine: Machine) -> None:
    with pytest.raises(ModelUnsupported):
        look(machine, str(machine.folder))


def test_a_path_to_something_else_is_not_loaded(machine: Machine) -> None:
    path = machine.folder / "note.gguf"
    path.write_text("I am not a model")
    with pytest.raises(ModelDamaged, match=r"note\.gguf is not a sound GGUF file"):
        look(machine, str(path))


def test_installed_lists_cards_first_and_then_every_other_file(machine: Machine) -> None:
    other = cached(machine, OTHER, "b-Q8_0.gguf", repo="org/a")
    path = cached(machine, CONTENT, "tiny.gguf")
    found = installed(machine.config)
    assert [(model.name, model.path, model.size_bytes, model.card is not None) for model in found] == [
        ("tiny", path, len(CONTENT), True),
        ("org/a/b-Q8_0.gguf", other, len(OTHER), False),
    ]
    assert look(machine, found[1].name).path == other


def test_removing_frees_the_bytes_and_leaves_no_trace(machine: Machine) -> None:
    cached(machine, CONTENT, "tiny.gguf")
    assert remove("tiny", config=machine.config, dry_run=True) == len(CONTENT)
    assert look(machine, "tiny").verified
    assert remove("tiny", config=machine.config) == len(CONTENT)
    assert list(machine.hub_cache.rglob("*")) == []
    with pytest.raises(ModelMissing):
        remove("tiny", config=machine.config)


def test_removing_leaves_other_files_of_the_repository(machine: Machine) -> None:
    cached(machine, CONTENT, "tiny.gguf")
    other = cached(machine, OTHER, "other-Q8_0.gguf")
    again = cached(machine, CONTENT, "tiny.gguf", revision="d" * 40)
    assert remove("tiny", config=machine.config) == 0  # the other revision links to the same bytes
    assert (again.read_bytes(), other.read_bytes()) == (CONTENT, OTHER)
    assert remove("org/tiny:Q8_0", config=machine.config) == len(OTHER)
    assert list(machine.hub_cache.rglob("*.gguf")) == [again]


def test_removing_an_unfinished_download(machine: Machine) -> None:
    partial = machine.partial(CONTENT)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"123")
    card = find_card("tiny", machine.config)
    assert card is not None
    assert partial_bytes(card) == 3
    assert remove("tiny", config=machine.config) == 3
    assert not partial.exists()


def test_a_path_is_never_removed(machine: Machine) -> None:
    path = machine.folder / "own.gguf"
    path.write_bytes(CONTENT)
    with pytest.raises(InvalidInput):
        remove(str(path), config=machine.config)
    assert path.exists()


def test_without_links_the_file_itself_lies_in_the_snapshot(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    path = cached(machine, CONTENT, "tiny.gguf")
    assert (path.is_symlink(), path.read_bytes()) == (False, CONTENT)
    assert look(machine, "tiny").path == path
    assert remove("tiny", config=machine.config) == len(CONTENT)
    assert not path.exists()


def test_too_little_space_is_said_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed) as caught:
        check_space(tmp_path / "not yet", 10**18)
    assert caught.value.message.startswith(f"Not enough space in {tmp_path / 'not yet'}: the download needs 1,000,000,")
    assert caught.value.message.endswith(" MB are free.")


def test_an_unwritable_cache_is_an_error_of_ours(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = machine.folder / "file"
    blocked.write_text("")
    monkeypatch.setenv("HF_HOME", str(blocked))
    with pytest.raises(DownloadFailed) as caught:
        resolve("tiny", cache=machine.folder / "cache", config=machine.config, download=True)
    assert (caught.value.message, caught.value.hint) == (
        f"{blocked / 'hub'} cannot be written (Not a directory).",
        "Set HF_HOME to a folder that can be written.",
    )
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOTDIR


def test_every_packaged_card_is_looked_up_without_a_network(machine: Machine) -> None:
    for name in cards():
        with pytest.raises(ModelMissing):
            look(machine, name)


def test_the_command_removes_what_the_model_computed_as_well(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgemem.__main__ import run

    monkeypatch.setenv("EDGEMEM_HOME", str(machine.config))
    cached(machine, CONTENT, "tiny.gguf")
    folders = [machine.config / "cache" / "kv" / "prompts", machine.config / "users" / "ana" / "kv"]
    for folder in folders:
        folder.mkdir(parents=True)
        for digest in (sha256(CONTENT), sha256(OTHER)):
            (folder / f"{digest[:16]}-1.kv").write_bytes(b"kv")
    assert run(["model", "rm", "tiny", "--yes"]) == 0
    left = [path.name for folder in folders for path in folder.iterdir()]
    assert left == [f"{sha256(OTHER)[:16]}-1.kv"] * 2
