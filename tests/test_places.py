"""Where things live."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemem.places import Places, places


def test_a_named_folder_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEMEM_HOME", str(tmp_path / "variable"))
    for named, root in ((tmp_path / "option", tmp_path / "option"), (None, tmp_path / "variable")):
        assert places(named) == Places(data=root, cache=root / "cache", config=root)
    assert list(tmp_path.iterdir()) == []


def test_the_platform_s_folders_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEMEM_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    for kind in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    found = places()
    assert {found.data.name, found.cache.name, found.config.name} >= {"edgemem"}
    assert list(tmp_path.iterdir()) == []


def test_a_relative_or_home_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places(Path("~/memories")).data == tmp_path / "memories"
    assert places(Path("here")).data == Path.cwd() / "here"
