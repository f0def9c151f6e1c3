"""The set-up scripts on machines that lack something, and when there is nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = ("bash", "cat", "dirname", "env", "mkdir", "rm", "sed", "sleep", "tail", "touch", "uname")

OLD_PYTHON = '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2"\ncase "$*" in *version_info*) exit 1 ;; esac\n'
STUB_PYTHON = "#!/bin/sh\necho 'command not found' >&2\nexit 127\n"
PYTHON_WITHOUT_VENV = f"""#!/bin/sh
case "$*" in *ensurepip*) exit 1 ;; esac
exec {sys.executable} "$@"
"""
REAL_PYTHON = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
MAC_STUB_COMPILER = "#!/bin/sh\necho 'xcode-select: note: No developer tools were found' >&2\nexit 1\n"


class Machine:
    """A machine with a PATH of its own: the plain tools, and what a test puts there."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.bin = folder / "bin"
        self.venv = folder / "venv"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def has(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def has_venv(self) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.venv)], check=True)

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / "scripts" / script), *arguments],
            env={"PATH": str(self.bin), "HOME": os.environ["HOME"], "EDGEMEM_VENV": str(self.venv)} | variables,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def machine(source_root: Path, tmp_path: Path) -> Machine:
    return Machine(source_root, tmp_path)


PYTHON_HELP = """\
  Debian, Ubuntu: sudo apt install python3 python3-venv   (Debian 12 or Ubuntu 24.04 and later)
  Fedora:         sudo dnf install python3.13
  macOS:          brew install python@3.13
  Then run this again, or name the right one: EDGEMEM_PYTHON=/path/to/python3
"""

COMPILER_HELP = """\
error: no C++ compiler found; llama.cpp is compiled once, for this processor.
  Debian, Ubuntu: sudo apt install build-essential
  Fedora:         sudo dnf install gcc gcc-c++ make
  macOS:          xcode-select --install
  Then run this again.
"""


@pytest.mark.parametrize("script", ["demo", "test"])
@pytest.mark.parametrize(
    ("pythons", "found"),
    [
        ({}, "no Python at all"),
        ({"python3": OLD_PYTHON}, "Python 3.9.2"),
        ({"python3.13": STUB_PYTHON, "python3": OLD_PYTHON}, "Python 3.9.2"),
    ],
)
def test_a_missing_or_old_python_is_named_with_the_cure(
    machine: Machine, script: str, pythons: dict[str, str], found: str
) -> None:
    for name, content in pythons.items():
        machine.has(name, content)
    done = machine.run(script)
    first = f"error: edgemem needs Python 3.11 or newer; found {found}.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", first + PYTHON_HELP)
    assert not machine.venv.exists()


def test_a_python_without_venv_is_named_with_the_cure(machine: Machine) -> None:
    machine.has("python3", PYTHON_WITHOUT_VENV)
    done = machine.run("demo")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert "python3 has no venv module" in done.stderr
    assert f"sudo apt install python{version}-venv" in done.stderr


@pytest.mark.parametrize("compiler", [None, MAC_STUB_COMPILER])
@pytest.mark.parametrize("script", ["demo", "test"])
def test_a_missing_compiler_is_named_with_the_cure(machine: Machine, script: str, compiler: str | None) -> None:
    machine.has_venv()
    if compiler:
        machine.has("c++", compiler)
    done = machine.run(script)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", COMPILER_HELP)


def test_a_broken_environment_is_not_deleted_but_named(machine: Machine) -> None:
    (machine.venv / "bin").mkdir(parents=True)
    (machine.venv / "bin" / "python").symlink_to("/nonexistent/python3")
    done = machine.run("demo")
    assert done.returncode == 1
    assert f"error: the virtual environment {machine.venv} does not run" in done.stderr
    assert f"rm -r '{machine.venv}'" in done.stderr
    assert (machine.venv / "bin" / "python").is_symlink()


def test_a_failed_install_says_so_and_is_tried_again(machine: Machine) -> None:
    machine.has_venv()  # without pip: the install fails at once
    machine.has("c++", "#!/bin/sh\nexit 0\n")
    for _ in range(2):
        done = machine.run("demo", SOURCE_DATE_EPOCH="1")
        assert done.returncode == 1
        assert "note: SOURCE_DATE_EPOCH is ignored" in done.stderr
        assert "takes 5-15 minutes" in done.stderr
        assert "No module named pip" in done.stderr
        assert f"all of it is in {machine.venv}/install.log" in done.stderr


FAKE_PIP = """\
import os, sys
from pathlib import Path
if __name__ == "__main__":
    bin = Path(sys.executable).parent
    told = (sys.argv[-1], os.environ["CMAKE_ARGS"], os.environ["CXXFLAGS"])
    Path(bin.parent, "pip.txt").open("a").write(" ".join(told) + "\\n")
    (bin / "edgemem").write_text('#!/bin/sh\\nprintf "[%s]" "$@"\\nexit 7\\n')
    (bin / "edgemem").chmod(0o755)
"""


def installed(machine: Machine) -> list[str]:
    return (machine.venv / "pip.txt").read_text().splitlines()


def test_demo_installs_once_and_passes_arguments_and_exit_code_through(machine: Machine) -> None:
    machine.has_venv()
    machine.has("c++", "#!/bin/sh\nexit 0\n")
    site = next((machine.venv / "lib").glob("python*/site-packages"))
    (site / "pip.py").write_text(FAKE_PIP)
    for _ in range(2):
        done = machine.run("demo", "--data", "a b", CMAKE_ARGS="-DGGML_CUDA=on", CXXFLAGS="-O2")
        assert (done.returncode, done.stdout) == (7, "[demo][--data][a b]"), done.stderr
    assert installed(machine) == [f"{machine.root} -DGGML_CUDA=on -DLLAVA_BUILD=OFF -O2 -U__AMX_INT8__"]


def test_an_unknown_option_of_the_test_script_is_a_usage_error(machine: Machine) -> None:
    done = machine.run("test", "--fast")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown option --fast\n")
