"""What all tests share: an environment of their own, no network but the loopback, and the small real model.

Nothing here touches the data or settings of the person who runs the tests; only the small model is kept where that
person's models are, so that it is fetched once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
import pytest_socket

# Before anything imports llama_cpp: OpenMP threads that spin collapse on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SMALL_MODEL = "smollm2-135m"
ENCODER = "minilm-l6"
LOOPBACK = ["127.0.0.1", "::1", "localhost"]

# What .ci/run says about this run: the repository's place, and whether the installed package is meant.
SOURCE = os.environ.get("EDGEMEM_SOURCE", "")
INSTALLED = os.environ.get("EDGEMEM_TEST_INSTALLED") == "1"

# The same examples in every run of continuous integration; elsewhere every run looks at new ones.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

# The environment as the person has it: what fetching the small model runs with.
PERSONS_ENVIRONMENT = dict(os.environ)

# huggingface_hub reads its variables when it is imported, so they have to be right before any test runs.
_HUB_HOME = tempfile.TemporaryDirectory(prefix="edgemem-tests-hf-")
for _name in [name for name in os.environ if name.startswith(("EDGEMEM_", "HF_", "HUGGINGFACE_"))]:
    del os.environ[_name]
os.environ["HF_HOME"] = _HUB_HOME.name


def pytest_configure(config: pytest.Config) -> None:
    """EDGEMEM_TEST_INSTALLED=1 promises that the tests meet the installed package, not a source folder."""
    if INSTALLED:
        spec = find_spec("edgemem")
        origin = str(spec.origin) if spec else "nowhere"
        if "site-packages" not in origin:
            raise pytest.UsageError(f"edgemem comes from {origin}, not from an installed package")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses the small model, or the encoder, carries the mark `engine`, so that --quick leaves it out."""
    for item in items:
        if {"smollm2_path", "encoder_folder"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.engine)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup() -> None:
    """No test reaches anything but this machine. (pytest-socket lifts its own restrictions after each test.)"""
    pytest_socket.socket_allow_hosts(LOOPBACK, allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, cache and settings in a fresh folder, even where a test forgets to name one."""
    monkeypatch.setenv("EDGEMEM_HOME", str(tmp_path_factory.mktemp("edgemem-home")))


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that does not exist yet; EDGEMEM_HOME names it, so child processes use it as well."""
    folder = tmp_path / "data"
    monkeypatch.setenv("EDGEMEM_HOME", str(folder))
    return folder


@pytest.fixture
def hf_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face home for child processes (here the library has read its variables already)."""
    folder = tmp_path / "hf"
    folder.mkdir()
    monkeypatch.setenv("HF_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def source_root() -> Path:
    """The repository: above this file, or EDGEMEM_SOURCE where the tests run outside of it."""
    root = Path(SOURCE or Path(__file__).resolve().parents[1])
    if not (root / "pyproject.toml").is_file():
        pytest.fail(f"{root} is not the repository; set EDGEMEM_SOURCE to it")
    return root


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3 as an ONNX graph, made on the spot by the export; skipped where its extra is not installed."""
    missing = [name for name in ("torch", "transformers", "onnxruntime_genai", "onnx") if find_spec(name) is None]
    if missing:
        pytest.skip(f"the extra export is not installed ({', '.join(missing)})")
    from tiny_checkpoint import make_checkpoint

    from edgemem.export.apart import run_apart
    from edgemem.export.onnx_genai import build

    folder = tmp_path_factory.mktemp("onnx")
    run_apart(build, make_checkpoint(folder / "source"), "", folder / "fp32", "fp32")
    return folder / "fp32" / "model.onnx"


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The small real model."""
    return _fetched(SMALL_MODEL)


@pytest.fixture(scope="session")
def encoder_folder() -> Path:
    """The folder of the small real encoder; what runs it comes with the extra `bench`."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tokenizers")
    return _fetched(ENCODER).parent


def _fetched(model: str) -> Path:
    """The model's file, fetched by the shipped command if it is not on this machine.

    Without it the test is skipped on a person's machine and fails where CI=true.
    """
    for words in (("pull", model), ("path", model)):
        done = subprocess.run(
            [sys.executable, "-m", "edgemem", "model", *words],
            env=PERSONS_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            problem = f"{model} is not to be had: {done.stderr.strip()[-2000:]}"
            pytest.fail(problem) if os.environ.get("CI") == "true" else pytest.skip(problem)
    return Path(done.stdout.strip())
