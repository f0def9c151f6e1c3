"""llama-bench, the reference that nobody here wrote, built from the sources of the installed llama-cpp-python.

The sdist of exactly that version is fetched with pip and its llama.cpp built with cmake, once; the program is kept in
the cache folder. A build that was stopped goes on where it was. Does not print.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgemem.engines.base import EngineInfo
from edgemem.errors import EngineFailed, InvalidInput

OFF = ("TESTS", "EXAMPLES", "SERVER", "APP", "UI")
SAY_EVERY_S = 60.0
MOST_S = 3600.0  # a build takes 4-12 minutes on two cores; one that takes an hour is stuck


@dataclass(frozen=True, slots=True)
class LlamaBench:
    """The program with the flags that our engine runs with."""

    program: Path
    model: Path
    info: EngineInfo

    def seconds_each(self, *, read: int = 0, written: int = 0) -> float:
        """Seconds for each token of one run: a prompt of `read` tokens, or `written` ones from an empty cache."""
        (result,) = json.loads(self._run("-p", str(read), "-n", str(written), "-o", "json"))
        return float(result["avg_ns"]) / 1e9 / max(1, read + written)

    def load_and_one_token_s(self) -> float:
        """Seconds from the start of the process to its end: load, and one token."""
        started = time.perf_counter()
        self._run("-p", "0", "-n", "1", "--no-warmup")
        return time.perf_counter() - started

    def _run(self, *arguments: str) -> str:
        details = self.info.details
        flags = {
            "-m": str(self.model),
            "-r": "1",
            "-t": str(self.info.threads),
            "-b": details["batch_tokens"],
            "-ub": details["batch_tokens"],
            "-fa": details["flash_attention"],
            "-ctk": details["kv_type"],
            "-ctv": details["kv_type"],
            "-lm": "none",  # as we load quantized weights
            "-ngl": "0" if self.info.device == "cpu" else "999",
        }
        words = [word for flag in flags.items() for word in flag]
        done = subprocess.run([self.program, *words, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineFailed(f"llama-bench failed: {done.stderr.strip()[-400:]}", "leave rows 5 and 10 out: --rows")
        return done.stdout


def built(tools: Path, version: str, say: Callable[[str], None]) -> Path:
    """The program for this version of llama-cpp-python; built now if it is not there. Raises InvalidInput with what is
    missing, EngineFailed when a step fails."""
    home = tools / f"llama-bench-{version}"
    program = home / ("llama-bench.exe" if os.name == "nt" else "llama-bench")
    if program.exists():
        return program
    cmake = _tool("cmake")
    compilers = (*os.environ.get("CXX", "").split(" ")[:1], "c++", "g++", "clang++", "cl")
    if not any(shutil.which(name) for name in compilers if name):
        raise InvalidInput("llama-bench has to be built, and no C++ compiler was found", "install one, or use --rows")
    say("building llama-bench, the reference of rows 5 and 10: 5-15 minutes, once")
    home.mkdir(parents=True, exist_ok=True)
    log = home / "build.log"
    log.unlink(missing_ok=True)
    source, build = _source(home, version, log, say), home / "build"
    options = [f"-DLLAMA_BUILD_{part}=OFF" for part in OFF] + ["-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_COMMON=ON"]
    options += ["-DBUILD_SHARED_LIBS=OFF", "-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_OPENSSL=OFF"]
    options += ["-DLLAMA_USE_PREBUILT_UI=OFF", *shlex.split(os.environ.get("CMAKE_ARGS", ""))]
    ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
    _step([cmake, *ninja, "-S", str(source), "-B", str(build), *options], log, say)
    jobs = str(os.cpu_count() or 1)
    _step([cmake, "--build", str(build), "--config", "Release", "--target", "llama-bench", "-j", jobs], log, say)
    found = next((path for path in build.rglob(program.name) if path.is_file()), None)
    if found is None:
        raise EngineFailed("the build made no llama-bench", f"see {log}")
    unfinished = program.with_name("unfinished")
    shutil.copy2(found, unfinished)
    unfinished.replace(program)
    for folder in (build, home / "sdist"):
        shutil.rmtree(folder, ignore_errors=True)
    return program


def _source(home: Path, version: str, log: Path, say: Callable[[str], None]) -> Path:
    """llama.cpp as the sdist of this version has it."""
    folder = home / "sdist"
    vendored = folder / f"llama_cpp_python-{version}" / "vendor" / "llama.cpp"
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        name = "llama-cpp-python"
        wanted = ["download", "--no-deps", "--no-binary", name, "--dest", str(folder), f"{name}=={version}"]
        _step([sys.executable, "-m", "pip", "--disable-pip-version-check", *wanted], log, say)
        (packed,) = folder.glob("*.tar.gz")
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
        packed.unlink()
        (folder / "whole").touch()
    return vendored


def _tool(name: str) -> str:
    """A program on PATH, or beside this Python (that is where its wheel puts it)."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else "")
    if not found:
        raise InvalidInput(f"llama-bench has to be built, and {name} was not found", f"pip install {name} ninja")
    return found


def _step(command: Sequence[str], log: Path, say: Callable[[str], None]) -> None:
    # SOURCE_DATE_EPOCH would switch SIMD off without a word.
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    started = time.monotonic()
    with log.open("a", encoding="utf-8") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)
        try:
            while child.poll() is None:
                try:
                    child.wait(SAY_EVERY_S)
                except subprocess.TimeoutExpired:
                    passed = time.monotonic() - started
                    say(f"still building, {passed / 60:.0f} min (details: {log})")
                    if passed > MOST_S:
                        raise EngineFailed("building llama-bench took too long", f"see {log}") from None
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    if child.returncode:
        tail = " / ".join(log.read_text("utf-8", "replace").strip().splitlines()[-3:])[-300:]
        raise EngineFailed(f"building llama-bench failed: {tail}", f"see {log}, or leave rows 5 and 10 out: --rows")
