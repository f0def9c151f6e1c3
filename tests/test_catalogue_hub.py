"""Downloads from a hub on the loopback: continued, checked, put into the hub's own cache layout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from catalogue_support import COMMIT, Hub, Machine, Worker, hub_stand_in, sha256, small_gguf

CONTENT = small_gguf(2_000_000)
OTHER = small_gguf(64)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Hub, Worker]]:
    with hub_stand_in({}) as stand_in:
        worker = Worker({**os.environ, "HF_ENDPOINT": stand_in.url})
        yield stand_in, worker
        assert worker.close() == ""


@pytest.fixture
def hub(server: tuple[Hub, Worker]) -> Iterator[Hub]:
    files = {"tiny.gguf": CONTENT, "README.md": b"hello"}
    several = {"big-Q8_0.gguf": OTHER, "big-q4_k_m.gguf": CONTENT, "sub/mmproj-Q4_K_M.gguf": OTHER}
    server[0].reset({"org/tiny": files, "org/several": several})
    yield server[0]
    server[0].silent = False


@pytest.fixture
def machine(tmp_path: Path, hub: Hub, server: tuple[Hub, Worker]) -> Machine:
    found = Machine(tmp_path, {"HF_ENDPOINT": hub.url}, server[1])
    found.card("tiny", CONTENT)
    return found


def snapshot(machine: Machine, repo: str = "org--tiny", file: str = "tiny.gguf") -> Path:
    return machine.hub_cache / f"models--{repo}" / "snapshots" / COMMIT / file


def test_a_pulled_card_lies_where_every_hub_tool_finds_it(machine: Machine, hub: Hub) -> None:
    answer = machine.call("pull", "tiny")
    path = snapshot(machine)
    assert {key: answer[key] for key in ("path", "sha256", "verified", "repo", "revision")} == {
        "path": str(path),
        "sha256": sha256(CONTENT),
        "verified": True,
        "repo": "org/tiny",
        "revision": COMMIT,
    }
    assert path.read_bytes() == CONTENT
    assert str(path.readlink()) == f"../../blobs/{sha256(CONTENT)}"
    asked = (
        "from huggingface_hub import try_to_load_from_cache as find, hf_hub_download as get;"
        f"print(find('org/tiny', 'tiny.gguf', revision='{COMMIT}'));"
        f"print(get('org/tiny', 'tiny.gguf', revision='{COMMIT}'))"
    )
    hub.log.clear()
    machine.environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
    found = subprocess.run([sys.executable, "-c", asked], env=machine.variables(), capture_output=True, text=True)
    assert (found.stdout.split(), hub.log) == ([str(path), str(path)], [])


def test_a_pull_asks_for_the_file_and_for_nothing_else(machine: Machine, hub: Hub) -> None:
    machine.call("pull", "tiny")
    path = f"/org/tiny/resolve/{COMMIT}/tiny.gguf"
    assert hub.log == [("HEAD", path, ""), ("GET", path, "")]
    assert {name.split("/")[0] for name in hub.agents.pop().split("; ")} == {"unknown", "hf_hub", "python"}


def test_progress_runs_from_nothing_to_the_whole_file(machine: Machine) -> None:
    stages = machine.call("pull", "tiny")["stages"]
    hub_stages = [done for stage, done, total in stages if stage == "hub" and total == len(CONTENT)]
    assert (hub_stages[0], hub_stages[-1], sorted(hub_stages) == hub_stages) == (0, len(CONTENT), True)


def test_a_second_pull_asks_nobody_and_imports_no_hub_library(machine: Machine, hub: Hub) -> None:
    first = machine.call("pull", "tiny")
    hub.log.clear()
    machine.worker = None  # a fresh process
    second = machine.call("pull", "tiny")
    assert (second["path"], second["stages"], second["hub_imported"], hub.log) == (first["path"], [], False, [])


def test_a_dropped_connection_is_continued(machine: Machine, hub: Hub) -> None:
    content = small_gguf(24_000_000)
    hub.repos["org/tiny"]["large.gguf"] = content
    machine.card("large", content, file="large.gguf")
    hub.drop_after = 15_000_000  # the library hands on blocks of 10 MiB; what it had of the second one is lost
    assert machine.call("pull", "large")["sha256"] == sha256(content)
    assert hub.downloads() == ["", f"bytes={10 << 20}-"]


def test_what_a_killed_process_left_is_continued(machine: Machine, hub: Hub) -> None:
    partial = machine.partial(CONTENT)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:1_200_000])
    assert machine.call("pull", "tiny")["sha256"] == sha256(CONTENT)
    assert (hub.downloads(), partial.exists()) == (["bytes=1200000-"], False)


def test_a_server_without_ranges_sends_the_whole_file_again(machine: Machine, hub: Hub) -> None:
    hub.honour_range = False
    partial = machine.partial(CONTENT)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:1_200_000])
    assert machine.call("pull", "tiny")["sha256"] == sha256(CONTENT)
    assert snapshot(machine).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "left", [b"\0" * 1_000, b"\0" * len(CONTENT), CONTENT + b"more"], ids=["short", "same", "long"]
)
def test_a_wrong_beginning_is_thrown_away_and_the_download_starts_over(machine: Machine, hub: Hub, left: bytes) -> None:
    partial = machine.partial(CONTENT)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(left)
    assert machine.call("pull", "tiny")["sha256"] == sha256(CONTENT)
    assert hub.downloads()[-1] == ""


def test_a_whole_blob_without_a_link_is_linked_and_not_downloaded(machine: Machine, hub: Hub) -> None:
    blob = machine.partial(CONTENT).with_name(sha256(CONTENT))
    blob.parent.mkdir(parents=True)
    blob.write_bytes(CONTENT)
    assert machine.call("pull", "tiny")["path"] == str(snapshot(machine))
    assert hub.log == []


def test_wrong_bytes_are_refused_and_leave_no_file(machine: Machine, hub: Hub) -> None:
    hub.flip = True
    answer = machine.call("pull", "tiny")
    wrong, right = sha256(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))[:16], sha256(CONTENT)[:16]
    assert (answer["error"], answer["message"], answer["hint"]) == (
        "download_failed",
        f"tiny could not be downloaded: the bytes are wrong (sha256 {wrong}… instead of {right}…).",
        "Check the network, then continue with: edgemem model pull tiny",
    )
    assert [path for path in machine.hub_cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_another_file_under_the_card_s_name_is_not_even_downloaded(machine: Machine, hub: Hub) -> None:
    hub.repos["org/tiny"]["tiny.gguf"] = OTHER
    answer = machine.call("pull", "tiny")
    assert (answer["error"], hub.downloads()) == ("download_failed", [])
    assert f"the hub has other bytes (sha256 {sha256(OTHER)[:16]}…)" in answer["message"]


def test_a_silent_hub_costs_only_seconds(machine: Machine, hub: Hub) -> None:
    hub.silent = True
    answer = machine.call("pull", "tiny")
    assert answer["error"] == "download_failed"
    assert answer["seconds"] < 10


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_by_environment_asks_nobody(machine: Machine, hub: Hub, variable: str) -> None:
    machine.environment[variable] = "1"
    answer = machine.call("pull", "tiny")
    assert (answer["error"], answer["message"], answer["hint"], hub.log) == (
        "model_missing",
        f"tiny is not on this machine, and {variable} is set.",
        "With a network once: edgemem model pull tiny",
        [],
    )


def test_offline_by_option_asks_nobody(machine: Machine, hub: Hub) -> None:
    for spec in ("tiny", "org/several", "org/several/big-Q8_0.gguf"):
        answer = machine.call("pull", spec, offline=True)
        assert (answer["error"], answer["message"]) == (
            "model_missing",
            f"{spec} is not on this machine, and --offline is given.",
        )
    assert hub.log == []


def test_resolve_downloads_nothing_unless_asked_to(machine: Machine, hub: Hub) -> None:
    answer = machine.call("resolve", "tiny")
    assert (answer["error"], answer["hint"], hub.log) == (
        "model_missing",
        "Download it: edgemem model pull tiny",
        [],
    )
    assert machine.call("resolve", "tiny", download=True)["sha256"] == sha256(CONTENT)


SPECS = {
    "org/several:q4_k_m": ("big-q4_k_m.gguf", CONTENT),
    "org/several": ("big-q4_k_m.gguf", CONTENT),
    "hf.co/org/several:Q8_0": ("big-Q8_0.gguf", OTHER),
    "https://huggingface.co/org/several/big-Q8_0.gguf": ("big-Q8_0.gguf", OTHER),
    "org/tiny": ("tiny.gguf", CONTENT),  # names no quantization, and there is only one file
}


@pytest.mark.parametrize("spec", SPECS)
def test_a_file_on_the_hub_is_named_in_the_usual_ways(machine: Machine, hub: Hub, spec: str) -> None:
    name, content = SPECS[spec]
    answer = machine.call("pull", spec)
    assert (Path(answer["path"]).name, answer["sha256"], answer["verified"], answer["revision"]) == (
        name,
        sha256(content),
        True,
        COMMIT,
    )


def test_a_pulled_file_is_found_again_without_the_hub(machine: Machine, hub: Hub) -> None:
    first = machine.call("pull", "org/several:Q4_K_M")
    assert (machine.hub_cache / "models--org--several" / "refs" / "main").read_text() == COMMIT
    hub.log.clear()
    again = machine.call("resolve", "hf.co/org/several:q4_k_m", offline=True)
    assert (again["path"], again["sha256"], hub.log) == (first["path"], first["sha256"], [])


REFUSED = {
    "org/several:Q2_K": "org/several has no .gguf file for Q2_K, only big-Q8_0.gguf, big-q4_k_m.gguf",
    "org/tiny:Q2_K": "org/tiny has no .gguf file for Q2_K, only tiny.gguf",
    "org/nothing": "the hub has no org/nothing",
    "org/tiny/other.gguf": "the hub has no org/tiny/other.gguf",
}


@pytest.mark.parametrize("spec", REFUSED)
def test_what_the_hub_does_not_have_is_said(machine: Machine, hub: Hub, spec: str) -> None:
    answer = machine.call("pull", spec)
    assert (answer["error"], answer["message"]) == (
        "download_failed",
        f"{spec} could not be downloaded: {REFUSED[spec]}.",
    )
    assert answer["hint"]


def test_a_token_goes_to_the_hub(machine: Machine, hub: Hub) -> None:
    machine.environment["HF_TOKEN"] = "hf_secret"
    machine.call("pull", "tiny")
    assert hub.tokens == {("127.0.0.1", "Bearer hf_secret")}


def test_a_token_does_not_go_to_the_host_that_the_hub_sends_us_to(machine: Machine, hub: Hub) -> None:
    machine.environment["HF_TOKEN"] = "hf_secret"
    hub.elsewhere = True
    partial = machine.partial(CONTENT)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:1_200_000])
    assert machine.call("pull", "tiny")["sha256"] == sha256(CONTENT)
    assert hub.tokens == {("127.0.0.1", "Bearer hf_secret"), ("localhost", "")}
    assert hub.log[-1] == ("GET", f"/org/tiny/elsewhere/{COMMIT}/tiny.gguf", "bytes=1200000-")


def test_two_processes_pulling_the_same_model_download_it_once(machine: Machine, hub: Hub) -> None:
    from concurrent.futures import ThreadPoolExecutor

    machine.worker = None  # each its own
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: machine.call("pull", "tiny"), range(2)))
    assert [answer["path"] for answer in answers] == [str(snapshot(machine))] * 2
    assert hub.downloads() == [""]


def test_our_cache_folder_is_the_hub_library_s(tmp_path: Path) -> None:
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
    asked = (
        "from huggingface_hub.constants import HF_HUB_CACHE as theirs; from edgemem.catalogue import hub_cache;"
        "from pathlib import Path; assert Path(theirs) == hub_cache(), (theirs, hub_cache()); print(theirs)"
    )
    found = []
    for count in range(len(names) + 1):
        machine = Machine(tmp_path, {"PLACE": str(tmp_path)})
        variables = {key: value for key, value in machine.variables().items() if key not in names}
        variables |= {name: f"$PLACE/{name}" if "HUB" in name else f"{tmp_path}/{name}" for name in names[count:]}
        run = subprocess.run([sys.executable, "-c", asked], env=variables, capture_output=True, text=True)
        assert (run.returncode, run.stderr) == (0, "")
        found.append(run.stdout.strip().removeprefix(str(tmp_path)))
    assert found == [
        "/HF_HUB_CACHE",
        "/HUGGINGFACE_HUB_CACHE",
        "/HF_HOME/hub",
        "/XDG_CACHE_HOME/huggingface/hub",
        "/home/.cache/huggingface/hub",
    ]
