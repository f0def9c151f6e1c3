"""The program itself: options before and after the command, errors in one form, models, settings, doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_support import answers_file, call, edgemem

from edgemem import errors
from edgemem.cli import doctor, output
from edgemem.errors import EdgememError
from edgemem.store.typed_history import MOST_ENTRIES, add_entry, read_entries


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", "mira", "memory", "path"],
        ["memory", "path", "--user", "mira"],
        ["--user", "other", "memory", "path", "--user", "mira"],
    ],
)
def test_a_common_option_may_stand_before_or_after_the_command(data_dir: Path, arguments: list[str]) -> None:
    assert call(*arguments).out == f"{data_dir}/users/mira/memory.md\n"


def test_the_data_folder_can_be_named_on_the_command_line(tmp_path: Path) -> None:
    assert call("memory", "path", "--data-dir", str(tmp_path)).out == f"{tmp_path}/users/default/memory.md\n"


def test_version(data_dir: Path) -> None:
    assert call("--version").out.startswith("edgemem 0.")


@pytest.mark.parametrize("command", [[], ["memory"], ["model"], ["config"]])
def test_help_is_shown_for_every_group_and_names_its_commands(command: list[str]) -> None:
    said = call(*command, "--help")
    assert "Commands:" in said.out


# Errors --------------------------------------------------------------------------------------------------------


def tree(kind: type[EdgememError] = EdgememError) -> list[type[EdgememError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in tree(child))]


@pytest.mark.parametrize("kind", [one for one in tree() if one.__module__ == errors.__name__])
def test_every_known_error_is_printed_in_one_form_with_its_own_exit_code(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, kind: type[EdgememError]
) -> None:
    from edgemem.cli import open as opening

    def fail(*_: object) -> None:
        raise kind("it broke", "mend it")

    monkeypatch.setattr(opening, "assistant_opener", fail)
    plain = call("ask", "hi", code=kind.exit_code)
    assert (plain.out, plain.err) == ("", "error: it broke\n  next: mend it\n")
    values = call("ask", "hi", "--json", code=kind.exit_code).values
    assert values == {"error": {"code": kind.code, "message": "it broke", "hint": "mend it"}}


def test_an_unknown_error_is_seen_with_its_traceback(data_dir: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from edgemem.cli import open as o; from edgemem.__main__ import main\n"
        "def fail(*_): raise ZeroDivisionError('surprise')\n"
        "o.assistant_opener = fail; main(['ask', 'hi'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ZeroDivisionError: surprise\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["memory", "shwo"], "No such command 'shwo'"),
        (["memory", "show", "--bogus"], "No such option"),
        (["memory", "rm"], "Missing argument"),
        (["memory", "rm", "one"], "LINE..."),
        (["ask", "hi", "--threads", "many"], "--threads"),
        (["ask", "hi", "--threads", "0"], "flag --threads: 0 cannot be used"),
        (["memory", "show", "--user", "a/b"], "the user name 'a/b' cannot be used"),
        (["bench", "write", "report"], "Missing argument"),
        (["export", "gguf", "somewhere"], "there is no folder"),
    ],
)
def test_wrong_usage_is_exit_code_2_in_both_forms(data_dir: Path, arguments: list[str], message: str) -> None:
    plain = call(*arguments, code=2)
    assert plain.err.startswith("error: ")
    assert message in plain.err
    assert "\n  next: " in plain.err
    error = call(*arguments, "--json", code=2).values["error"]
    assert error["code"] == "invalid_input"
    assert message in error["message"]


def test_a_broken_settings_file_stops_only_what_needs_settings(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "config.toml").write_text("modle = 1\n")
    assert "did you mean model?" in call("memory", "show", code=2).err
    call("--help")


def test_a_reader_that_leaves_early_is_no_error_message(data_dir: Path) -> None:
    folder = data_dir / "users/default"
    folder.mkdir(parents=True)
    (folder / "memory.md").write_text("".join(f"- fact number {number} of very many\n" for number in range(9000)))
    command = f"{sys.executable} -m edgemem memory show | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_any_text_can_be_shown_where_the_locale_knows_only_ascii(data_dir: Path) -> None:
    call("memory", "add", "Trinkt gern Kräutertee ☕")
    shown = edgemem("memory", "show", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0").stdout
    assert shown.endswith("- Trinkt gern Kräutertee ☕\n")


# Output --------------------------------------------------------------------------------------------------------


def test_a_table_is_wrapped_where_the_screen_is_narrow() -> None:
    rows = [("1", "a fact that is far too long for it", "x"), ("22", "short", "")]
    assert output.table(("id", "what", ""), rows, 24) == "\n".join(
        [
            "id  what",
            "1   a fact that is     x",
            "    far too long for",
            "    it",
            "22  short",
        ]
    )


def test_progress_without_a_terminal_is_a_line_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with output.Output().progress("bytes") as report:
        for done in range(0, 2_000_001, 50_000):
            report("fetching", done, 2_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("fetching: 0 B of 2 MB", "fetching: 2 MB of 2 MB", 11)


def test_progress_in_json_mode_is_json_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with output.Output(json=True).progress("steps") as report:
        report("learning", 1, 2)
    said = capsys.readouterr()
    progress = {"label": "learning", "done": 1, "total": 2, "unit": "steps"}
    assert (said.out, json.loads(said.err)) == ("", {"progress": progress})


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (98_362_432, "98 MB"), (2_497_280_736, "2.5 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert output.size(count) == text


def test_typed_history_keeps_its_newest_entries_and_skips_damage(tmp_path: Path) -> None:
    file = tmp_path / "new" / "typed.jsonl"
    assert read_entries(file) == []
    for number in range(MOST_ENTRIES + 2):
        add_entry(file, f"line\n{number}")
    with file.open("a") as stream:
        stream.write('{"not": "text"}\n"cut o')
    assert read_entries(file)[-1] == f"line\n{MOST_ENTRIES + 1}"
    assert len(read_entries(file)) == MOST_ENTRIES - 2
    assert file.stat().st_mode & 0o777 == 0o600


# Settings, models, doctor --------------------------------------------------------------------------------------


def test_config_shows_each_value_with_its_source(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEMEM_THREADS", "3")
    values = call("config", "show", "--json", "--offline").values
    assert values["threads"] == {"value": 3, "source": "environment EDGEMEM_THREADS"}
    assert values["offline"] == {"value": True, "source": "flag --offline"}
    assert values["user"] == {"value": "default", "source": "default"}
    assert call("config", "path").out == f"{data_dir}/config.toml\n"


def test_model_use_is_what_the_next_command_runs_with(data_dir: Path) -> None:
    call("model", "use", "qwen3-0.6b")
    assert call("config", "show", "--json").values["model"] == {
        "value": "qwen3-0.6b",
        "source": f"file {data_dir}/config.toml",
    }
    assert "There is no model 'qwen3-06b'" in call("model", "use", "qwen3-06b", code=3).err


def test_model_use_says_when_something_stronger_still_chooses(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEMEM_MODEL", "smollm2-135m")
    assert "the environment EDGEMEM_MODEL still chooses smollm2-135m" in call("model", "use", "qwen3-0.6b").err


def test_models_are_listed_with_what_is_here(data_dir: Path) -> None:
    listed = call("model", "list", "--json").values
    assert listed["selected"] == "qwen2.5-coder-1.5b"
    assert {"qwen3-4b-instruct", "smollm2-135m"} <= {row["name"] for row in listed["models"]}
    assert "qwen2.5-coder-1.5b" in call("model", "list").out


@pytest.mark.parametrize("command", ["path", "rm"])
def test_a_model_that_is_not_here_is_said_with_the_next_step(data_dir: Path, command: str) -> None:
    error = call("model", command, "qwen3-0.6b", "--json", code=3).values["error"]
    assert error["code"] == "model_missing"
    assert "edgemem model" in error["hint"]


def test_pulling_while_offline_is_refused_and_says_so(data_dir: Path) -> None:
    error = call("model", "pull", "qwen3-0.6b", "--offline", "--json", code=3).values["error"]
    assert "--offline" in error["message"]


def test_info_of_a_model_that_is_not_here_shows_its_card(data_dir: Path) -> None:
    said = call("model", "info", "qwen3-0.6b")
    assert "repo: Qwen/Qwen3-0.6B-GGUF" in said.out
    assert "edgemem model pull qwen3-0.6b" in said.err


def test_a_file_that_is_no_model_is_said_by_chat(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"not a model" * 100)
    assert call("ask", "hi", "--model", str(file), "--json", code=4).values["error"]["code"] == "model_damaged"


def findings(said: str) -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in json.loads(said)["findings"]}


def test_doctor_says_what_is_missing_and_what_to_do(data_dir: Path) -> None:
    said = call("doctor", "--json", code=1)
    assert said.values["works"] is False
    found = findings(said.out)
    assert found["model"]["state"] == "problem"
    assert found["model"]["hint"] == "edgemem model pull qwen2.5-coder-1.5b"
    assert found["network"]["value"].startswith("needed once")
    assert found["llama-cpp-python"]["state"] == "ok"
    assert not data_dir.exists()


def test_doctor_is_content_when_a_chat_would_work(data_dir: Path, tmp_path: Path) -> None:
    model = answers_file(tmp_path, "Hello.")
    call("ask", "hi", "--model", model)
    said = call("doctor", "--json", "--model", model, "--threads", "2")
    found = findings(said.out)
    assert found["threads used"]["value"] == "2 (flag --threads)"
    assert found["memory"]["value"] == "default: 0 lines, 2 turns to be learned"
    assert call("doctor", "--model", model).out.endswith("a chat would work\n")


def not_utf8(data_dir: Path) -> None:
    folder = data_dir / "users/default"
    folder.mkdir(parents=True)
    (folder / "memory.md").write_bytes(b"- \xff\n")


def open_to_all(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o755)


def misspelled(data_dir: Path) -> None:
    os.environ["EDGEMEM_TREADS"] = "2"


@pytest.mark.parametrize(
    ("harm", "name", "state", "value"),
    [
        (not_utf8, "memory", "problem", "is not UTF-8"),
        (open_to_all, "data", "note", "(mode 0755)"),
        (misspelled, "environment", "note", "EDGEMEM_TREADS means nothing to edgemem"),
    ],
)
def test_doctor_finds(
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], None],
    name: str,
    state: str,
    value: str,
) -> None:
    monkeypatch.setenv("EDGEMEM_TREADS", "")
    harm(data_dir)
    found = findings(
        call("doctor", "--json", "--model", answers_file(tmp_path, "x"), code=1 if state == "problem" else 0).out
    )
    assert (found[name]["state"], value in found[name]["value"]) == (state, True)


def test_the_features_of_a_build_are_read_from_llama_cpps_own_words() -> None:
    said = "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | OPENMP = 1 | REPACK = 1 | "
    assert doctor.built_features(said) == ["SSE3", "AVX2", "OPENMP", "REPACK"]
