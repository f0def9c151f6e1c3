"""The package keeps to its architecture: layers, homes of outside libraries, no cycles, no network, no prints.

The package is found the way Python finds it, so the same test checks a source folder and an installed wheel.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from layer_rules import HOMES, LAYERS, broken_rules, broken_rules_of_a_part, parts_that_meet, read_package


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.submodule_search_locations, f"{package} is not a package"
    return Path(next(iter(spec.submodule_search_locations)))


def test_the_runtime_keeps_its_rules() -> None:
    modules = read_package(folder_of("edgemem"), leave_out=("bench", "export", "models"))
    assert {"", "values", "errors", "engines.base", "store", "cli"} <= set(modules)
    assert broken_rules(modules) == []


@pytest.mark.parametrize("part", ["bench", "export"])
def test_bench_and_export_meet_in_files_only(part: str) -> None:
    modules = read_package(folder_of(f"edgemem.{part}"), name=f"edgemem.{part}")
    assert "" in modules
    assert parts_that_meet(part, modules) == []


def test_bench_keeps_its_rules() -> None:
    modules = read_package(folder_of("edgemem.bench"), name="edgemem.bench")
    assert "writing.run" in modules
    assert broken_rules_of_a_part("bench", modules) == []


def test_export_keeps_its_rules() -> None:
    modules = read_package(folder_of("edgemem.export"), name="edgemem.export")
    assert "convert" in modules
    assert broken_rules_of_a_part("export", modules) == []


def test_models_holds_data_and_no_code() -> None:
    folder = folder_of("edgemem.models")
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.py")] == ["__init__.py"]


def test_every_entry_of_the_tables_is_in_use() -> None:
    """A home or layer of something that is gone would let it come back unnoticed."""
    modules = read_package(folder_of("edgemem"), leave_out=("bench", "export", "models"))
    imported = {found.module.split(".")[0] for module in modules.values() for found in module.imports}
    optional = {"click"}  # typer's own base: used where typer does not offer a thing
    assert sorted(set(HOMES) - imported - optional) == []
    exact = {pattern for pattern, _ in LAYERS if "*" not in pattern}
    assert sorted(exact - set(modules)) == []


def broken(folder: Path, files: dict[str, str]) -> list[str]:
    """The rules that a package with these files breaks."""
    for name, text in files.items():
        path = folder / "edgemem" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return broken_rules(read_package(folder / "edgemem"))


PLANTED = {
    "a lower layer imports a higher one": (
        {
            "values.py": "from edgemem.errors import X\n",
            "errors.py": "",
            "memory/lines.py": "import edgemem.cli.app\n",
        }
        | {"cli/app.py": ""},
        ["direction: memory.lines:1 (L1) imports cli.app (L4)"],
    ),
    "upwards inside a function": (
        {"store/user.py": "def f():\n    from edgemem.assistant import Assistant\n", "assistant.py": ""},
        ["direction: store.user:2 (L2) imports assistant (L3)"],
    ),
    "upwards by a relative import": (
        {"memory/lines.py": "from ..store import journal\n", "store/__init__.py": "", "store/journal.py": ""},
        ["direction: memory.lines:1 (L1) imports store.journal (L2)"],
    ),
    "upwards by name": (
        {"assistant.py": "import importlib\nimportlib.import_module('edgemem.cli.app')\n", "cli/app.py": ""},
        ["direction: assistant:2 (L3) imports cli.app (L4)"],
    ),
    "the package's face from below": (
        {"__init__.py": "", "values.py": "import edgemem\n"},
        ["direction: values:1 (L0) imports edgemem (L4)"],
    ),
    "the engine protocol is no engine": (
        {"engines/__init__.py": "", "engines/base.py": "", "engines/llama.py": ""}
        | {"policies/edits.py": "from edgemem.engines.base import Engine\nfrom edgemem.engines import llama\n"},
        ["direction: policies.edits:2 (L1) imports engines.llama (L2)"],
    ),
    "a cycle": (
        {"store/a.py": "from edgemem.store.b import f\n", "store/b.py": "def f():\n    import edgemem.store.a\n"},
        ["cycle: store.a -> store.b -> store.a"],
    ),
    "a cycle through a package and its module": (
        {"store/__init__.py": "from edgemem.store.a import f\n", "store/a.py": "from edgemem.store import g\n"},
        ["cycle: store -> store.a -> store"],
    ),
    "upwards for the type checker, and a circle for it alone": (
        {
            "memory/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from edgemem.memory.b import B\n    from edgemem.store import journal\n",
            "memory/b.py": "from edgemem.memory.a import A\n",
            "store/journal.py": "",
        },
        ["direction: memory.a:4 (L1) imports store.journal (L2)"],
    ),
    "a library away from home": (
        {
            "store/journal.py": "import sqlite3\n",
            "store/user.py": "from sqlite3 import connect\nimport numpy as np\n",
        },
        [
            "home: store.user:1 imports sqlite3 (its home: store.journal)",
            "home: store.user:2 imports numpy (its home: engines.*)",
        ],
    ),
    "a library without a home": (
        {"cli/app.py": "import pandas.core\n"},
        ["home: cli.app:1 imports pandas (its home: none yet; give it one in tests/layer_rules.py)"],
    ),
    "the network": (
        {
            "catalogue/hub.py": "import urllib.request\nimport socket\n",
            "cli/app.py": "from urllib.parse import quote\nfrom http import HTTPStatus\n",
            "assistant.py": "import socket\nfrom urllib import request\nfrom http.client import HTTPConnection\n"
            "import requests\n",
        },
        [
            "network: assistant:1 imports socket",
            "network: assistant:2 imports urllib.request",
            "network: assistant:3 imports http.client",
            "network: assistant:4 imports requests",
        ],
    ),
    "export from the runtime": (
        {"assistant.py": "from edgemem.export import pack\n", "cli/app.py": "import edgemem.bench.run\n"},
        ["parts: assistant:1 imports export.pack (only the command line mounts it)"],
    ),
    "a print": (
        {"assistant.py": "def f():\n    print('hello')\n", "cli/app.py": "print('fine')\n"},
        ["print: assistant:2 prints"],
    ),
    "a module in no layer": (
        {"helpers.py": ""},
        ["layer: helpers stands in no layer; give it one in tests/layer_rules.py"],
    ),
    "nothing": (
        {
            "__init__.py": "from edgemem.assistant import open_assistant\n",
            "values.py": "from __future__ import annotations\nimport json\n",
            "memory/lines.py": "from edgemem.values import Line\n",
            "assistant.py": "from edgemem.memory.lines import f\nfrom edgemem import values\n",
            "cli/app.py": "import typer\nfrom rich.table import Table\nfrom edgemem import assistant\n",
        },
        [],
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found_and_named(tmp_path: Path, name: str) -> None:
    files, expected = PLANTED[name]
    assert broken(tmp_path, files) == expected


def test_bench_that_imports_export_is_found(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("from ..export import pack\nimport edgemem.exporter\n")
    modules = read_package(tmp_path, name="edgemem.bench")
    assert parts_that_meet("bench", modules) == ["parts: bench.run:1 imports edgemem.export.pack"]


def test_bench_that_prints_or_asks_outside_its_command_line_is_found(tmp_path: Path) -> None:
    (tmp_path / "cli.py").write_text("import typer\nfrom edgemem.cli.options import Run\nprint('fine')\n")
    (tmp_path / "run.py").write_text(
        "import typer\nimport pandas\nimport socket\nprint('no')\nimport edgemem.cli.output\n"
    )
    assert broken_rules_of_a_part("bench", read_package(tmp_path, name="edgemem.bench")) == [
        "bench: direction: run:5 imports edgemem.cli.output",
        "bench: home: run:1 imports typer (its home: cli or cli.*)",
        "bench: home: run:2 imports pandas (its home: none yet; give it one in tests/layer_rules.py)",
        "bench: network: run:3 imports socket",
        "bench: print: run:4 prints",
    ]
