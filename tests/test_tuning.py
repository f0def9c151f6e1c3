"""The first-run self-test: measured once, kept, checked when read, and never a reason not to start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgemem.engines import known_tuning, open_engine
from edgemem.engines.base import Engine
from edgemem.engines.tuning import Tuning, read_tuning, tuning_path, write_tuning

CHOSEN = Tuning(
    threads=4,
    flash_attention=True,
    kv_type="q8_0",
    batch_tokens=128,
    batch_costs={8: 1.5, 16: 2.0},
    measured={"4 threads": (100.0, 20.0)},
    seconds=3.5,
)


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    path = tuning_path(tmp_path / "tuning", "machine", "model", "version")
    assert read_tuning(path) is None
    write_tuning(path, CHOSEN)
    assert read_tuning(path) == CHOSEN
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o600


def test_machine_model_and_version_have_a_file_each(tmp_path: Path) -> None:
    asked = [("cpu", "model", "1"), ("cpu", "model", "2"), ("cpu", "another", "1"), ("new cpu", "model", "1")]
    assert len({tuning_path(tmp_path, *parts) for parts in asked}) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"threads": 0},
        {"threads": 10**9},
        {"threads": True},
        {"threads": "2; rm"},
        {"flash_attention": "yes"},
        {"flash_attention": False},  # quantized KV needs it
        {"kv_type": "q1"},
        {"batch_tokens": 10**9},
        {"batch_costs": {"16": -1}},
        {"batch_costs": {"many": 2}},
        {"batch_costs": {"100000": 2}},
        {"batch_costs": []},
        {"measured": {"a": [1]}},
        {"measured": {"a": [1, float("inf")]}},
        {"seconds": None},
    ],
)
def test_a_file_that_cannot_be_true_counts_as_missing(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "one.json"
    write_tuning(path, CHOSEN)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert read_tuning(path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}'])
def test_a_damaged_file_counts_as_missing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one.json"
    path.write_bytes(content)
    assert read_tuning(path) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    write_tuning(tmp_path / "file" / "tuning.json", CHOSEN)


Opener = Callable[..., Engine]


@pytest.fixture
def opened(tmp_path: Path, smollm2_path: Path) -> Opener:
    def start(said: list[str], **more: Any) -> Engine:
        report = lambda label, done, total: said.append(label)  # noqa: E731
        folder = tmp_path / "tuning"
        engine = open_engine(smollm2_path, digest="d", context_tokens=1024, tunings=folder, progress=report, **more)
        engine.close()
        return engine

    return start


@pytest.mark.engine
def test_the_first_start_tests_and_says_so_and_the_next_one_does_not(
    opened: Opener, tmp_path: Path, smollm2_path: Path
) -> None:
    folder = tmp_path / "tuning"
    assert known_tuning(smollm2_path, "d", folder, device="auto", gpu_layers=None, threads=None) is None
    said: list[str] = []
    first = opened(said)
    known = known_tuning(smollm2_path, "d", folder, device="auto", gpu_layers=None, threads=None)
    assert known is not None
    assert len(said) == 1
    assert "--no-tune" in said[0]
    assert len(known.measured) >= 3
    assert all(prefill > 0 < decode for prefill, decode in known.measured.values())
    assert sorted(known.batch_costs) == [8, 16, 32, 48]
    assert known.seconds < 120
    details = first.info.details
    assert (first.info.threads, details["kv_type"]) == (known.threads, known.kv_type)
    assert details["flash_attention"] == ("on" if known.flash_attention else "off")
    assert details["batch_tokens"] == str(known.batch_tokens)
    assert (first.info.context_tokens, len(list(folder.iterdir()))) == (1024, 1)
    (file,) = folder.iterdir()
    write_tuning(file, CHOSEN)  # what is kept is what is used
    second = opened(said)
    assert len(said) == 1
    assert (second.info.threads, second.info.details["kv_type"], second.info.details["flash_attention"]) == (
        4,
        "q8_0",
        "on",
    )
    file.write_bytes(b"damaged")
    opened(said)
    assert len(said) == 2
    assert read_tuning(file) is not None


@pytest.mark.engine
def test_a_start_that_may_write_nothing_tests_nothing(opened: Opener, tmp_path: Path) -> None:
    said: list[str] = []
    opened(said, may_test=False)
    assert said == []
    assert not (tmp_path / "tuning").exists()


@pytest.mark.engine
def test_threads_that_were_asked_for_stay(opened: Opener) -> None:
    assert opened([], threads=1).info.threads == 1
