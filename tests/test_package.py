"""What pyproject.toml promises about the package is so: folders, files, extras."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from importlib.metadata import entry_points, metadata
from pathlib import Path
from typing import Any

import pytest

PARTS = ("models", "export", "bench")
DATA = (".toml", ".txt", ".json", ".jsonl", ".csv")


@pytest.fixture(scope="module")
def project(source_root: Path) -> dict[str, Any]:
    return tomllib.loads((source_root / "pyproject.toml").read_text("utf-8"))


def packages_in(root: Path) -> list[str]:
    """Every folder with an __init__.py, under the name it is imported by."""
    found = ["edgemem"]
    for top, name in (("edgemem", "edgemem"), *((part, f"edgemem.{part}") for part in PARTS)):
        for path in (root / top).rglob("__init__.py"):
            found.append(".".join([name, *path.parent.relative_to(root / top).parts]))
    return sorted(set(found))


def test_every_package_folder_is_listed(project: dict[str, Any], source_root: Path) -> None:
    assert sorted(project["tool"]["setuptools"]["packages"]) == packages_in(source_root)


def test_every_data_file_is_installed(source_root: Path) -> None:
    """Compares the repository with the installed package (the same folders in an editable install)."""
    missing = []
    for top, name in (("edgemem", "edgemem"), *((part, f"edgemem.{part}") for part in PARTS)):
        for path in (source_root / top).rglob("*"):
            inside = path.relative_to(source_root / top)
            wanted = path.suffix in DATA or path.name == "py.typed"
            if wanted and not resources.files(name).joinpath(*inside.parts).is_file():
                missing.append(f"{top}/{inside}")
    assert missing == []
    assert (source_root / "edgemem" / "py.typed").is_file()


def test_torch_and_its_like_are_in_the_export_extra_only(project: dict[str, Any]) -> None:
    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=!~\[; ]", requirement)[0] for requirement in requirements}

    heavy = {"torch", "transformers", "optimum", "peft", "accelerate"}
    extras = {extra: names(listed) & heavy for extra, listed in project["project"]["optional-dependencies"].items()}
    assert {extra for extra, found in extras.items() if found} == {"export"}
    assert names(project["project"]["dependencies"]) & heavy == set()
    assert set(extras) == {"onnx", "export", "bench", "encryption", "server", "dev"}


def test_the_installed_package_has_its_command_and_licence() -> None:
    found = metadata("edgemem-runtime")
    assert (found["License-Expression"], found["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    commands = {point.name: point.value for point in entry_points(group="console_scripts")}
    assert commands["edgemem"] == "edgemem.__main__:main"
