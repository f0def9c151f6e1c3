"""`edgemem memory`: looking at what is remembered and changing it, without a model."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from string import ascii_lowercase

import pytest
from cli_support import answers_file, call

from edgemem.cli.learning import most_tokens

FRONT_MATTER = "---\nedgemem: 1\nuser: default\nupdated: "


def texts() -> list[str]:
    return [line["text"] for line in call("memory", "show", "--json").values["lines"]]


def facts() -> list[tuple[str, str]]:
    return [(line["section"], line["text"]) for line in call("memory", "show", "--json").values["lines"]]


def test_without_a_memory_nothing_is_shown_and_nothing_is_made(data_dir: Path) -> None:
    said = call("memory", "show")
    assert (said.out, "nothing is remembered about default yet" in said.err) == ("", True)
    assert not data_dir.exists()


def test_an_added_line_is_shown_raw_numbered_and_as_json(data_dir: Path) -> None:
    call("memory", "add", "Plays", "the", "cello", "--section", "preferences")
    raw = call("memory", "show").out
    assert raw == (data_dir / "users/default/memory.md").read_text("utf-8")
    assert raw.startswith(FRONT_MATTER)
    assert raw.endswith("\n## Preferences\n- Plays the cello\n")
    assert call("memory", "show", "--ids").out == "1 Preferences: Plays the cello\n"
    assert call("memory", "show", "--json").values["lines"] == [
        {
            "id": 1,
            "section": "Preferences",
            "text": "Plays the cello",
            "pinned": False,
            "prose": False,
            "origin": "asked",
            "mentions": 0,
            "last_turn": 0,
            "sensitivity": "",
        }
    ]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("Health: allergic to nuts", ("Health", "allergic to nuts")),
        ("how to talk to me: briefly, please", ("How to talk to me", "briefly, please")),
        ("Motto: never give up", ("About", "Motto: never give up")),
        ("Lives in Graz", ("About", "Lives in Graz")),
    ],
)
def test_a_section_may_be_named_in_the_text(data_dir: Path, text: str, fact: tuple[str, str]) -> None:
    call("memory", "add", text)
    assert facts() == [fact]


def test_a_line_can_come_from_stdin(data_dir: Path) -> None:
    call("memory", "add", "-", text="\ufeffPeople: sister Élodie, born 1990\n")
    assert facts() == [("People", "sister Élodie, born 1990")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("my password is hunter22", "holds a credential"),
        ("Lives in Graz", "another line says this"),
        ("x" * 500, "500 characters"),
        ("  ", "the text is empty"),
    ],
)
def test_a_line_that_cannot_be_remembered_is_refused_with_the_reason(data_dir: Path, text: str, why: str) -> None:
    call("memory", "add", "Lives in Graz")
    said = call("memory", "add", text, code=2)
    assert why in said.err
    assert texts() == ["Lives in Graz"]


def test_removed_lines_come_back_with_undo_and_go_with_the_next_undo_of_it(data_dir: Path) -> None:
    call("memory", "add", "Lives in Graz")
    call("memory", "add", "Plays the cello")
    before = call("memory", "show").out
    assert call("memory", "rm", "1", "2").out == "- 1 Lives in Graz\n- 2 Plays the cello\n"
    assert texts() == []
    call("memory", "undo")
    assert call("memory", "show").out.split("\n")[4:] == before.split("\n")[4:]
    call("memory", "undo", "4")
    assert texts() == []


def test_an_unknown_line_is_refused_and_none_is_removed(data_dir: Path) -> None:
    call("memory", "add", "Lives in Graz")
    assert "there is no line 7" in call("memory", "rm", "1", "7", code=2).err
    assert texts() == ["Lives in Graz"]


def test_history_diff_and_why_tell_what_happened(data_dir: Path) -> None:
    call("memory", "add", "Lives in Graz")
    call("memory", "rm", "1")
    rows = [row.split() for row in call("memory", "history").out.splitlines()]
    assert [(row[0], row[3:6]) for row in rows[1:]] == [
        ("2", ["command", "-1", "-"]),
        ("1", ["command", "+1", "-"]),
    ]
    assert [one["counts"] for one in call("memory", "history", "--json").values["revisions"]] == ["-1", "+1"]
    assert "-- Lives in Graz" in call("memory", "diff").out
    assert "+- Lives in Graz" in call("memory", "diff", "0", "1").out
    assert call("memory", "diff", "0", "2", "--json").values["diff"].count("Graz") == 0
    why = call("memory", "why", "1")
    assert "1 About: Lives in Graz (no longer in the memory)" in why.out
    assert call("memory", "why", "1", "--json").values["origin"] == "asked"
    assert call("memory", "why", "9", "--json", code=2).values["error"]["code"] == "invalid_input"


def test_a_pinned_line_says_so(data_dir: Path) -> None:
    call("memory", "add", "Lives in Graz")
    call("memory", "pin", "1")
    assert call("memory", "show", "--ids").out == "1 About: Lives in Graz (pinned)\n"
    call("memory", "unpin", "1")
    assert call("memory", "show", "--ids").out == "1 About: Lives in Graz\n"


def test_path_names_the_file_of_the_user(data_dir: Path) -> None:
    assert call("memory", "path", "--user", "mira").out == f"{data_dir}/users/mira/memory.md\n"


# Editing -------------------------------------------------------------------------------------------------------


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Make $EDITOR a program that runs `change` on `path`."""
    script = folder / "my editor.py"
    script.write_text(f"import pathlib, sys\npath = pathlib.Path(sys.argv[1])\n{change}\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}'")


def test_an_edit_is_recorded_as_a_hand_edit(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("memory", "add", "Lives in Graz")
    editor(tmp_path, monkeypatch, "path.write_text(path.read_text().replace('Graz', 'Graz since 2019'))")
    assert call("memory", "edit").out == "~ 1 Lives in Graz → Lives in Graz since 2019\n"
    newest = call("memory", "history", "--json").values["revisions"][0]
    assert (newest["cause"], newest["counts"]) == ("edit", "~1")


def test_the_first_edit_starts_with_our_headings(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(
        tmp_path,
        monkeypatch,
        "path.write_text(path.read_text().replace('## Health\\n', '## Health\\n- no nuts\\n'))",
    )
    call("memory", "edit")
    assert facts() == [("Health", "no nuts")]
    assert (data_dir / "users/default/memory.md").stat().st_mode & 0o777 == 0o600


def test_a_first_edit_that_changes_nothing_leaves_no_file(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, "pass")
    assert "nothing was changed" in call("memory", "edit").err
    assert not (data_dir / "users/default/memory.md").exists()


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ("path.write_bytes(b'- \\xff\\n')", 7, "is not UTF-8"),
        ("sys.exit(3)", 2, "ended with code 3"),
    ],
)
def test_an_edit_that_went_wrong_is_said_and_left_as_it_is(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, code: int, message: str
) -> None:
    call("memory", "add", "Lives in Graz")
    editor(tmp_path, monkeypatch, change)
    assert message in call("memory", "edit", code=code).err


def test_a_missing_editor_is_said(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/no/such/editor --wait")
    assert "the editor /no/such/editor cannot be run" in call("memory", "edit", code=2).err


def test_an_edit_far_over_the_budget_is_kept_and_said(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "'\\n'.join(f'- fact number {n} about a long and winding matter' for n in range(600))"
    editor(tmp_path, monkeypatch, f"path.write_text({lines})")
    assert "probably over its budget of 2048 tokens" in call("memory", "edit").err
    assert len(texts()) == 600


# Forgetting ----------------------------------------------------------------------------------------------------


def test_forgetting_lists_first_and_erases_only_with_a_yes(data_dir: Path) -> None:
    call("memory", "add", "Lives in Graz")
    call("memory", "add", "Plays the cello")
    listing = "- 1 About: Lives in Graz\n1 line of the memory, 0 messages of yours, 0 answers\n"
    assert call("memory", "forget", "graz", "--dry-run").out == listing
    assert "add --yes" in call("memory", "forget", "graz", code=2).err
    assert texts() == ["Lives in Graz", "Plays the cello"]
    done = call("memory", "forget", "graz", "--yes", "--json").values
    assert (done["lines"], done["bytes_left"]) == (1, 0)
    assert texts() == ["Plays the cello"]
    held = b"".join(file.read_bytes() for file in data_dir.rglob("*") if file.is_file())
    assert b"Graz" not in held


def test_forgetting_takes_what_was_typed_along(data_dir: Path) -> None:
    from edgemem.store.typed_history import FILE_NAME, add_entry, read_entries

    call("memory", "add", "Lives in Graz")
    typed = data_dir / "users/default" / FILE_NAME
    for entry in ("I live in GRAZ now", "lives in graz\nsince May", "hello"):
        add_entry(typed, entry)
    call("memory", "forget", "1", "--yes")
    assert read_entries(typed) == ["I live in GRAZ now", "hello"]
    call("memory", "forget", "graz", "--yes")
    assert read_entries(typed) == ["hello"]


@pytest.mark.parametrize("target", [["x"], ["77"], [" "]])
def test_forgetting_nothing_in_particular_is_refused(data_dir: Path, target: list[str]) -> None:
    call("memory", "add", "Lives in Graz")
    call("memory", "forget", *target, "--yes", code=2)
    assert texts() == ["Lives in Graz"]


# Export and import ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_export_can_be_imported_by_another_user(data_dir: Path, tmp_path: Path, form: list[str]) -> None:
    call("memory", "add", "Health: allergic to nuts")
    call("memory", "add", "Lives in Graz")
    file = tmp_path / "memory.export"
    call("memory", "export", "-o", str(file), *form)
    assert file.stat().st_mode & 0o777 == 0o600
    call("memory", "import", str(file), "--user", "mira")
    lines = call("memory", "show", "--json", "--user", "mira").values["lines"]
    assert sorted((line["section"], line["text"], line["origin"]) for line in lines) == [
        ("About", "Lives in Graz", "asked" if form else "imported"),
        ("Health", "allergic to nuts", "asked" if form else "imported"),
    ]


def test_export_writes_to_stdout(data_dir: Path) -> None:
    call("memory", "add", "Lives in Graz")
    assert call("memory", "export").out == call("memory", "show", "--raw").out
    assert call("memory", "export", "--json").values["lines"][0]["text"] == "Lives in Graz"


def test_a_plain_list_is_imported_without_what_is_known_already(data_dir: Path) -> None:
    call("memory", "add", "Lives in Graz")
    dump = "# What you know about me\n\nLives in Graz\nHas a dog called Rex\n\nWorks as a baker\n"
    assert "+ Has a dog called Rex" in call("memory", "import", "-", "--dry-run", text=dump).out
    assert texts() == ["Lives in Graz"]
    said = call("memory", "import", "-", text=dump)
    assert "left out: Lives in Graz (another line says this)" in said.err
    assert texts() == ["Lives in Graz", "Has a dog called Rex", "Works as a baker"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"facts": []}', "no list of lines"),
        (b"[1, 2", "no list of lines"),
        (b"\n\n", "has no lines to import"),
        (b"a" * ((1 << 20) + 1), "is larger than 1 MiB"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused(
    data_dir: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "list"
    if content is not None:
        file.write_bytes(content)
    assert message in call("memory", "import", str(file), code=2).err


def test_an_import_never_goes_over_the_budget(data_dir: Path, tmp_path: Path) -> None:
    """Near the budget the model counts; what does not fit is left out and said."""
    model = answers_file(tmp_path, "NONE")
    words = random.Random(1)
    dump = "\n".join(
        "- " + " ".join("".join(words.choices(ascii_lowercase, k=4)) for _ in range(25)) for _ in range(120)
    )
    said = call("memory", "import", "-", "--model", model, text=dump)
    assert "left out: " in said.err
    shown = call("chat", "--model", model, text="")
    tokens = shown.err.split(" of 2048 tokens")[0].split()[-1]
    assert 1900 < int(tokens) <= 2048


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("Lives in Graz since 2019 and works as a baker at Hofbäckerei Edegger-Tax.", 28),
        ("[17 Health] Is allergic to hazelnuts; carries an EpiPen.", 18),
        ("Phone 0664 1234567, flight OS 511 on 2026-03-14", 33),
        ("Donaudampfschifffahrtsgesellschaftskapitän", 17),
        ("https://example.org/a?b=c&d=e", 11),
        ("xqzt wvkp bdjf mnrt zzkw", 12),
        ("日本語のメモ：毎朝ジョギングをする。", 14),
        ("Любит читать Достоевского по вечерам", 14),
        ("🙂🎻🏔️", 4),
    ],
)
def test_the_estimate_is_not_below_what_the_qwen_tokenizer_counts(text: str, tokens: int) -> None:
    """The counts were taken with the tokenizer of qwen2.5-coder-0.5b."""
    assert most_tokens(text) >= tokens


# Learning ------------------------------------------------------------------------------------------------------


def test_update_learns_what_is_pending_and_then_nothing(data_dir: Path, tmp_path: Path) -> None:
    call("ask", "I moved to Graz", "--model", answers_file(tmp_path, "Nice."))
    model = answers_file(tmp_path, "never asked")
    learned = call("memory", "update", "--model", model, "--json").values
    assert (learned["summary"], learned["folded_turns"]) == ("memory updated (+1)", 1)
    assert texts() == ["I moved to Graz"]
    again = call("memory", "update", "--json", "--model", "no-such-model").values
    assert (again["summary"], again["folded_turns"]) == ("nothing new to remember", 0)


def test_rebuild_asks_first_and_undo_brings_the_old_memory_back(data_dir: Path, tmp_path: Path) -> None:
    call("ask", "I moved to Graz", "--model", answers_file(tmp_path, "Nice."))
    model = answers_file(tmp_path, "- [About] Moved to Graz")
    call("memory", "update", "--policy", "overwrite", "--model", model)
    plan = call("memory", "rebuild", "--dry-run", "--model", model).out
    assert plan == "to learn: 1 chat with 2 turns; 1 line replaced\n"
    call("memory", "rebuild", "--model", model, code=2)
    assert texts() == ["Moved to Graz"]
    call("memory", "rebuild", "--yes", "--model", model)
    assert texts() == ["I moved to Graz"]


def test_lines_in_json_are_whole(data_dir: Path) -> None:
    """One object on one line, whatever the text."""
    call("memory", "add", 'Says "hm\u2028" and \\ often')
    out = call("memory", "show", "--json").out
    assert out.count("\n") == 1
    assert json.loads(out)["lines"][0]["section"] == "About"
