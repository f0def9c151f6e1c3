"""The locked dependencies are those of pyproject.toml, each with hashes; licences are checked by what CI runs."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

LOCKED_EXTRAS = ("encryption", "bench", "onnx", "dev")


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")


@pytest.fixture(scope="module")
def locked(source_root: Path) -> dict[str, str]:
    """Package -> its block in the file (several where it depends on the system)."""
    text = (source_root / ".ci/locked.txt").read_text("utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())
    return {_name(block): block for block in blocks if not block.startswith("#")}


def test_every_dependency_is_locked_with_hashes(source_root: Path, locked: dict[str, str]) -> None:
    project: dict[str, Any] = tomllib.loads((source_root / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in LOCKED_EXTRAS:
        wanted += project["optional-dependencies"][extra]
    assert sorted({_name(one) for one in wanted} - set(locked)) == []
    assert [name for name, block in locked.items() if "==" not in block or "--hash=sha256:" not in block] == []


def test_what_is_locked_fits_what_is_asked_for(source_root: Path, locked: dict[str, str]) -> None:
    project = tomllib.loads((source_root / "pyproject.toml").read_text("utf-8"))["project"]
    for text in project["dependencies"]:
        found = re.search(r"==([^\s;\\]+)", locked[_name(text)])
        assert found is not None
        assert Requirement(text).specifier.contains(found.group(1)), text


def test_no_index_is_named(source_root: Path) -> None:
    assert "://" not in (source_root / ".ci/locked.txt").read_text("utf-8")


def checker(source_root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("check_licences", source_root / ".ci/check_licences.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def component(name: str, *licences: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": "1", "licenses": list(licences)}


def test_a_licence_that_does_not_fit_or_is_not_named_is_found(source_root: Path) -> None:
    problems = checker(source_root).problems
    good = component("a", {"license": {"id": "MIT"}}, {"expression": "(Apache-2.0 OR BSD-3-Clause) AND MIT"})
    classified = component("b", {"license": {"name": "License :: OSI Approved :: BSD License"}})
    assert problems({"components": [good, classified, component("sqlcipher3")]}) == []
    bad = [
        component("c", {"license": {"id": "GPL-3.0-only"}}),
        component("d"),
        component("e", {"expression": "MIT AND X"}),
    ]
    assert problems({"components": bad}) == ["c 1: GPL-3.0-only", "d 1: no licence named", "e 1: X"]
