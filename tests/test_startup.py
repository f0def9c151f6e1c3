"""Commands that need no model start quickly and load no model library."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 0.3
RUNS = 5
HEAVY = {
    "huggingface_hub",
    "jinja2",
    "llama_cpp",
    "numpy",
    "onnxruntime",
    "onnxruntime_genai",
    "optimum",
    "prompt_toolkit",
    "sqlite_utils",
    "tokenizers",
    "torch",
    "transformers",
}
MEMORY = """\
---
edgemem: 1
user: default
updated: 2026-11-23T18:04:11Z
---

## Health
- Allergic to peanuts.
"""
COMMANDS = [pytest.param(["--help"], "memory", id="help"), pytest.param(["memory", "show"], "peanuts", id="show")]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processor time of a child is read with wait4")


@pytest.fixture
def folder(data_dir: Path, tmp_path: Path) -> Path:
    """A user with a memory, and a working folder away from the sources."""
    home = data_dir / "users" / "default"
    home.mkdir(parents=True)
    (home / "memory.md").write_text(MEMORY)
    return tmp_path


def processor_seconds(command: list[str], folder: Path) -> float:
    """User and system time of one run, which other work on the machine does not lengthen much."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(("words", "shown"), COMMANDS)
def test_it_starts_within_the_limit(folder: Path, words: list[str], shown: str) -> None:
    command = [sys.executable, "-m", "edgemem", *words]
    first = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)  # writes the .pyc files
    assert shown in first.stdout
    times = sorted(processor_seconds(command, folder) for _ in range(RUNS))
    assert times[0] < LIMIT_S, times  # the least: a busy host only adds (0.25 to 0.32 s seen where 0.2 is usual)


@pytest.mark.parametrize(("words", "shown"), COMMANDS)
def test_it_loads_no_model_library(folder: Path, words: list[str], shown: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "edgemem", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert shown in done.stdout
    loaded = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "edgemem.errors" in loaded
    assert {name for name in loaded if name.split(".")[0] in HEAVY} == set()


def test_the_engine_loads_only_the_part_of_the_binding_that_it_uses_and_leaves_the_rest_importable() -> None:
    code = """if True:
        import sys
        from edgemem.engines import llama_binding
        assert "jinja2" not in sys.modules
        assert "llama_cpp" not in sys.modules
        import llama_cpp
        assert llama_cpp.Llama
        assert llama_cpp.__version__ == llama_binding.VERSION
        assert llama_cpp.llama_cpp is llama_binding.lib
        """
    subprocess.run([sys.executable, "-c", code], check=True)
