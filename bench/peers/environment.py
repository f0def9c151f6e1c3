"""A virtual environment for a peer: made on demand from its pinned requirements, and kept.

It also sees the packages of the environment that the bench runs in, after its own: so that llama.cpp is not built
twice and the encoder is the same code.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from ..values import CannotRun

DONE = "edgemem-complete"
TIMEOUT_S = 1800


def place_of(requirements: Path, folder: Path) -> Path:
    """Where the environment for these requirements and this Python is, or would be."""
    parts = (requirements.read_bytes(), sys.version.encode(), _own_packages().encode())
    return folder / f"{requirements.parent.name}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:12]}"


def is_there(requirements: Path, folder: Path) -> bool:
    """Whether it has been made."""
    return (place_of(requirements, folder) / DONE).is_file()


def ensure(requirements: Path, folder: Path, *, offline: bool) -> Path:
    """The Python of the environment, which is made if need be: the one step that needs a package index.

    Raises CannotRun, which says what went wrong.
    """
    place = place_of(requirements, folder)
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (place / DONE).is_file():
        return python
    if offline:
        raise CannotRun("its environment is not there yet and --offline is given")
    _run([sys.executable, "-m", "venv", "--clear", str(place)])
    install = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--only-binary=:all:"]
    _run([str(python), *install, "--no-deps", "-r", str(requirements)])
    paths = sysconfig.get_paths(vars={"base": str(place), "platbase": str(place)})
    line = f"import site; site.addsitedir({_own_packages()!r})\n"
    (Path(paths["purelib"]) / "zz-edgemem-bench.pth").write_text(line, "utf-8")
    (place / DONE).touch()
    return python


def _own_packages() -> str:
    return sysconfig.get_paths()["purelib"]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"its environment could not be made: {error}") from error
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or [done.stderr.strip()]
        raise CannotRun(f"its environment could not be made: {reasons[-1][-300:]}")
