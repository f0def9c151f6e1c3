"""Digests are computed once and remembered only as long as the file is the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from catalogue_support import sha256

from edgemem.catalogue import Digests
from edgemem.errors import ModelDamaged, ModelMissing


class Steps:
    """Counts how often a file was really read."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.seen.append((stage, done, total))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


def test_a_digest_is_computed_once(tmp_path: Path, model: Path) -> None:
    steps, digests = Steps(), Digests(tmp_path / "cache")
    found = [digests.of(model, steps), Digests(tmp_path / "cache").of(model, steps)]
    assert found == [sha256(b"weights")] * 2
    assert steps.seen == [("verify", 7, 7)]


def test_a_link_and_its_file_are_one(tmp_path: Path, model: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(model)
    steps, digests = Steps(), Digests(tmp_path / "cache")
    assert digests.of(link, steps) == digests.of(model, steps)
    assert len(steps.seen) == 1


@pytest.mark.parametrize("change", ["content", "time", "replaced", "removed"])
def test_a_changed_file_is_read_again(tmp_path: Path, model: Path, change: str) -> None:
    digests = Digests(tmp_path / "cache")
    digests.of(model)
    if change == "content":
        model.write_bytes(b"weightz")
        os.utime(model, ns=(1, 1))
    elif change == "time":
        os.utime(model, ns=(5, 5))
    else:
        times = model.stat()
        model.with_name("new").write_bytes(b"weightz")
        model.with_name("new").replace(model)
        os.utime(model, ns=(times.st_atime_ns, times.st_mtime_ns))
    if change == "removed":
        model.unlink()
        with pytest.raises(ModelMissing):
            digests.of(model)
    else:
        steps = Steps()
        assert digests.of(model, steps) == sha256(model.read_bytes())
        assert len(steps.seen) == 1


def test_a_temporary_look_writes_nothing_and_uses_what_is_known(tmp_path: Path, model: Path) -> None:
    cache = tmp_path / "cache"
    assert Digests(cache, persist=False).of(model) == sha256(b"weights")
    assert not cache.exists()
    Digests(cache).of(model)
    before = (cache / "verified.json").read_bytes()
    steps = Steps()
    Digests(cache, persist=False).of(model, steps)
    assert (steps.seen, (cache / "verified.json").read_bytes()) == ([], before)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"format": 2, "files": {}}',
        b'{"format": 1, "files": []}',
        b'{"format": 1}',
        b"[" * 100_000,
    ],
    ids=["empty", "not text", "list", "newer", "files as list", "no files", "nested"],
)
def test_a_damaged_memory_is_ignored_and_replaced(tmp_path: Path, model: Path, content: bytes) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "verified.json").write_bytes(content)
    assert Digests(cache).of(model) == sha256(b"weights")
    assert list(json.loads((cache / "verified.json").read_bytes())["files"]) == [str(model)]


@pytest.mark.parametrize("entry", [None, 7, {}, {"sha256": 5}, {"sha256": "0" * 64}])
def test_a_damaged_entry_is_ignored(tmp_path: Path, model: Path, entry: object) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "verified.json").write_text(json.dumps({"format": 1, "files": {str(model): entry}}))
    assert Digests(cache).of(model) == sha256(b"weights")


def test_an_unwritable_cache_costs_the_memory_only(tmp_path: Path, model: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert Digests(blocked / "cache").of(model) == sha256(b"weights")


def test_entries_of_files_that_are_gone_are_dropped(tmp_path: Path, model: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"other")
    digests = Digests(tmp_path / "cache")
    digests.of(other)
    other.unlink()
    digests.of(model)
    assert list(json.loads((tmp_path / "cache" / "verified.json").read_bytes())["files"]) == [str(model)]


def test_a_wrong_digest_names_the_next_step(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ModelDamaged) as caught:
        Digests(tmp_path / "cache").verify(model, "0" * 64, "tiny")
    assert (caught.value.message, caught.value.hint) == (
        f"The file of tiny is damaged: its sha256 is {sha256(b'weights')[:16]}… instead of 0000000000000000….",
        "Get it again: edgemem model rm tiny && edgemem model pull tiny",
    )
