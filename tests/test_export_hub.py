"""Checkpoints from the hub and model folders to it, against a stand-in on the loopback: pinned, safe files only, asked
for. Commands run in processes of their own, since the hub's library reads its address once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from catalogue_support import COMMIT, Files, Hub, hub_stand_in
from tiny_checkpoint import Tiny, make_checkpoint

TINY = Tiny(context=16384, dtype="BF16")
TOKEN = "hf_secret-of-the-test"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = make_checkpoint(tmp_path_factory.mktemp("source") / "tiny", TINY, shards=2)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["README.md"] = b"---\nlicense: apache-2.0\n---\n"
    return files


@pytest.fixture
def hub(checkpoint: Files) -> Iterator[Hub]:
    unsafe = {"pytorch_model.bin": b"\x80\x04never", "modeling_own.py": b"never", "extra.safetensors": b"never"}
    weights = (".safetensors", "index.json")
    pickles = {name: content for name, content in checkpoint.items() if not name.endswith(weights)}
    alien = {**checkpoint, "config.json": json.dumps({"architectures": ["GPT2LMHeadModel"]}).encode()}
    repos = {"org/tiny": {**checkpoint, **unsafe}, "org/pickles": {**pickles, **unsafe}, "org/alien": alien}
    del repos["org/pickles"]["extra.safetensors"]
    with hub_stand_in(repos) as stand_in:
        stand_in.small_bytes = 100_000
        yield stand_in


class Person:
    """Someone at a machine whose hub is the stand-in."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE"))}
        own = {"HF_HOME": str(folder / "hf"), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HOME": str(folder)}
        self.environment = {**kept, **own, "OMP_WAIT_POLICY": "PASSIVE"}

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgemem", "export", *words]
        return subprocess.run(
            command, env={**self.environment, **more}, cwd=self.folder, capture_output=True, text=True, timeout=300
        )

    def facts(self, *words: str, **more: str) -> Any:
        done = self.run(*words, "--json", **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def person(tmp_path: Path, hub: Hub) -> Person:
    return Person(tmp_path, hub)


def asked_for(hub: Hub) -> set[str]:
    return {path.rsplit("/", 1)[1] for method, path, _ in hub.log if method == "GET" and "/resolve/" in path}


def test_a_hub_id_is_pinned_and_only_safe_files_are_fetched(person: Person, hub: Hub) -> None:
    made = person.facts("gguf", "org/tiny", "--quant", "Q8_0", "--no-check")
    assert made["name"] == "tiny"
    assert (person.folder / "tiny-export" / ".work" / "tiny-Q8_0.gguf").is_file()
    request = json.loads((person.folder / "tiny-export" / ".work" / "request.json").read_text())
    assert request["origin"] == f"org/tiny@{COMMIT}"
    assert not {"pytorch_model.bin", "modeling_own.py", "extra.safetensors"} & asked_for(hub)
    assert {"config.json", "tokenizer.json", "model-00002-of-00002.safetensors"} <= asked_for(hub)
    asked = [path for _, path, _ in hub.log if "/resolve/" in path]
    assert all(f"/resolve/{COMMIT}/" in path for path in asked)
    hub.log.clear()
    again = person.facts("gguf", f"org/tiny@{COMMIT}", "--quant", "Q8_0", "--no-check", "--offline")
    assert (hub.log, again["files"][0]["again"]) == ([], True)


def test_what_cannot_work_is_refused_before_weights_are_fetched(person: Person, hub: Hub) -> None:
    cases = {
        "org/pickles": (5, "has its weights in pickle files only (pytorch_model.bin)"),
        "org/alien": (5, "the architecture GPT2LMHeadModel cannot be exported"),
        "org/nothing": (6, "the hub has no org/nothing"),
        "org/tiny@v9": (6, "could not be fetched"),
        "org/tiny@../x": (2, "is no revision"),
    }
    for spec, (code, words) in cases.items():
        done = person.run("gguf", spec)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert not [name for name in asked_for(hub) if name.endswith((".safetensors", ".bin"))]
    done = person.run("gguf", "org/tiny", "--offline")
    assert (done.returncode, "is not on this machine, and --offline is given" in done.stderr) == (3, True)


def test_a_dry_run_fetches_no_weights(person: Person, hub: Hub) -> None:
    done = person.run("gguf", "org/tiny", "--dry-run")
    assert (done.returncode, "--dry-run fetches none" in done.stderr) == (2, True)
    assert not [name for name in asked_for(hub) if name.endswith(".safetensors")]


def test_wrong_bytes_are_not_used(person: Person, hub: Hub) -> None:
    hub.wrong_small = True
    done = person.run("gguf", "org/tiny", "--no-check")
    assert (done.returncode, "are wrong" in done.stderr) == (6, True), done.stderr
    hub.wrong_small = False
    hub.flip = True
    done = person.run("gguf", "org/tiny", "--no-check")
    assert done.returncode == 6
    assert not list((person.folder / "hf").rglob("*.safetensors"))


@pytest.mark.slow
def test_a_push_sends_what_it_showed_to_a_private_repository(person: Person, hub: Hub) -> None:
    words = ("gguf", "org/tiny", "--quant", "Q8_0", "--push", "me/agent", "--out", str(person.folder / "out"))
    done = person.run(*words, "--yes")
    assert (done.returncode, "HF_TOKEN is not set" in done.stderr) == (2, True)
    assert not (person.folder / "out").exists()  # said before the work begins
    done = person.run(*words, HF_TOKEN=TOKEN)
    assert (done.returncode, "nobody can be asked here" in done.stderr) == (2, True), done.stderr
    assert (hub.commits, "me/agent" in hub.private) == ([], False)
    done = person.run("pack", str(person.folder / "out"), "--push", "me/agent", "--yes", HF_TOKEN=TOKEN)
    assert done.returncode == 0, (done.stderr, hub.log[-8:])
    assert hub.private == {"me/agent": True}
    ((repo, summary, files),) = hub.commits
    assert (repo, summary) == ("me/agent", "tiny: Q8_0")
    assert sorted(files) == ["README.md", "card.toml", "manifest.json", "tiny-Q8_0.gguf"]
    for name, content in files.items():
        assert (person.folder / "out" / name).read_bytes() == content
        assert name in done.stdout + done.stderr
        assert str(person.folder).encode() not in content
    manifest = json.loads(files["manifest.json"])
    assert manifest["source"]["name"] == f"org/tiny@{COMMIT}"
    assert manifest["command"] == f"edgemem export gguf org/tiny@{COMMIT} --quant Q8_0"
    assert TOKEN not in done.stdout + done.stderr
    assert ("127.0.0.1", f"Bearer {TOKEN}") in hub.tokens
    hub.private["me/agent"] = False
    done = person.run("pack", str(person.folder / "out"), "--push", "me/agent", HF_TOKEN=TOKEN)
    assert done.returncode == 2  # not without being asked
    hub.refuse_commits = True
    done = person.run("pack", str(person.folder / "out"), "--push", "me/agent", "--yes", HF_TOKEN=TOKEN)
    assert (done.returncode, "was not sent" in done.stderr) == (15, True), done.stderr
    assert TOKEN not in done.stderr


def test_where_it_goes_and_who_sees_it_is_said() -> None:
    from edgemem.export.push import Sending

    assert Sending("me/a", "t").seen_by == "a new private repository"
    assert "PUBLIC" in Sending("me/a", "t", private=False).seen_by
    assert "secret" not in repr(Sending("me/a", "secret"))
