"""Where a setting comes from, and what happens to one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemem.errors import InvalidInput
from edgemem.settings import KEYS, Settings, load_settings, unknown_variables, write_user_value


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("EDGEMEM_HOME", str(folder))
    return folder


def load(tmp_path: Path, flags: dict[str, object] | None = None, **environment: str) -> Settings:
    return load_settings(flags, environment=environment, folder=tmp_path)


def test_without_any_source_all_values_are_defaults(tmp_path: Path, home: Path) -> None:
    settings = load(tmp_path)
    assert settings.values() == {
        "user": "default",
        "model": "qwen2.5-coder-1.5b",
        "data_dir": None,
        "device": "auto",
        "gpu_layers": None,
        "context_tokens": None,
        "threads": None,
        "policy": None,
        "budget_tokens": 2048,
        "idle_s": 120.0,
        "tune": True,
        "offline": False,
        "mask_secrets": True,
        "review": "sensitive",
        "never_keep": [],
    }
    assert dict(settings.sources) == dict.fromkeys(KEYS, "default")


@pytest.mark.parametrize(
    ("dropped", "value", "source"),
    [
        (0, 1, "flag --threads"),
        (1, 2, "environment EDGEMEM_THREADS"),
        (2, 3, "file {project}"),
        (3, 4, "file {user}"),
        (4, None, "default"),
    ],
)
def test_flag_beats_environment_beats_project_file_beats_user_file(
    tmp_path: Path, home: Path, dropped: int, value: int | None, source: str
) -> None:
    """The first `dropped` sources say nothing; the next one wins."""
    project, user = tmp_path / "edgemem.toml", home / "config.toml"
    if dropped <= 3:
        user.write_text("threads = 4\n")
    if dropped <= 2:
        project.write_text("threads = 3\n")
    environment = {"EDGEMEM_THREADS": "2"} if dropped <= 1 else {}
    settings = load(tmp_path, {"threads": 1} if dropped == 0 else {"threads": None}, **environment)
    assert settings.threads == value
    assert settings.sources["threads"] == source.format(project=project, user=user)


def test_the_data_folder_takes_the_settings_file_with_it(tmp_path: Path, home: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "config.toml").write_text('user = "mira"\n')
    settings = load(tmp_path, {"data_dir": moved})
    assert (settings.user, settings.user_file) == ("mira", moved / "config.toml")


def test_a_relative_data_folder_in_a_file_is_beside_that_file(tmp_path: Path, home: Path) -> None:
    (tmp_path / "edgemem.toml").write_text('data_dir = "memories"\n')
    assert load(tmp_path).data_dir == tmp_path / "memories"


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ('modle = "x"\n', "unknown key modle", "did you mean model?"),
        ("zzz = 1\n", "unknown key zzz", "known keys: " + ", ".join(KEYS)),
        ('device = "cuda"\n', "device: 'cuda' cannot be used", "give one of auto, cpu, gpu"),
        ("budget_tokens = 4096\n", "budget_tokens: 4096 cannot be used", "give a whole number from 64 to 2048"),
        ("threads = true\n", "threads: True cannot be used", "give a whole number from 1 to 1024"),
        ("threads = 1.5\n", "threads: 1.5 cannot be used", "give a whole number from 1 to 1024"),
        ("idle_s = nan\n", "idle_s: nan cannot be used", "give a number of seconds from 0 up"),
        ("offline = 3\n", "offline: 3 cannot be used", "give true or false"),
        ('user = ""\n', "user: '' cannot be used", "give a non-empty text"),
        ("user = \n", "is not valid TOML", "correct the line"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_key(
    tmp_path: Path, home: Path, content: str, message: str, hint: str
) -> None:
    file = tmp_path / "edgemem.toml"
    file.write_text(content)
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path)
    assert str(file) in caught.value.message
    assert message in caught.value.message
    assert caught.value.hint.startswith(hint)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path, home: Path) -> None:
    (home / "config.toml").write_bytes(b'user = "\xff"\n')
    with pytest.raises(InvalidInput, match=r"config\.toml is not valid TOML"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({"threads": 0}, {}, "flag --threads: 0 cannot be used"),
        ({"context_tokens": 10}, {}, "flag --context: 10 cannot be used"),
        ({}, {"EDGEMEM_OFFLINE": "perhaps"}, "environment EDGEMEM_OFFLINE: 'perhaps' cannot be used"),
        ({}, {"EDGEMEM_POLICY": "rewrite"}, "environment EDGEMEM_POLICY: 'rewrite' cannot be used"),
    ],
)
def test_a_bad_flag_or_variable_is_named(
    tmp_path: Path, home: Path, flags: dict[str, object], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, flags, **environment)
    assert caught.value.message == message


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_hubs_own_offline_variable_counts(tmp_path: Path, home: Path, value: str, offline: bool) -> None:
    settings = load(tmp_path, HF_HUB_OFFLINE=value)
    source = "environment HF_HUB_OFFLINE" if offline else "default"
    assert (settings.offline, settings.sources["offline"]) == (offline, source)


def test_a_misspelled_variable_is_found_with_what_was_meant() -> None:
    environment = {"EDGEMEM_MODLE": "x", "EDGEMEM_USER": "y", "EDGEMEM_QQQQQQQQQQQQ": "z", "PATH": "p"}
    assert unknown_variables(environment) == {"EDGEMEM_MODLE": "EDGEMEM_MODEL", "EDGEMEM_QQQQQQQQQQQQ": ""}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, 'model = "new"\n'),
        ("", 'model = "new"\n'),
        ('# mine\nmodel = "old"  # why\nuser = "mira"\n', '# mine\nmodel = "new"\nuser = "mira"\n'),
        ('user = "mira"\n[other]\nmodel = "old"\n', 'user = "mira"\nmodel = "new"\n[other]\nmodel = "old"\n'),
    ],
)
def test_writing_one_value_keeps_all_other_lines(tmp_path: Path, before: str | None, after: str) -> None:
    file = tmp_path / "folder" / "config.toml"
    if before is not None:
        file.parent.mkdir()
        file.write_text(before)
    write_user_value(file, "model", "new")
    assert file.read_text() == after
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_written_is_read_back(tmp_path: Path, home: Path) -> None:
    write_user_value(home / "config.toml", "model", 'C:\\odd "name"')
    assert load(tmp_path).model == 'C:\\odd "name"'
