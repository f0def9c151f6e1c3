"""What the documentation says is so: folders, commands, options, exit codes, models, links."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from edgemem import errors
from edgemem.errors import EdgememError

NOT_SOURCES = {"build", "dist", "__pycache__"}
EXTRAS = {"export", "bench"}  # their commands come with their extras and are documented there
BEFORE = re.compile(r"^(?:\$ )?(?:\S*/)?edgemem ")


FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text: str, *languages: str) -> list[str]:
    """The contents of the fenced blocks in one of these languages ("" = none is named)."""
    return [body for language, body in FENCED.findall(text) if language in languages]


def table_after(readme: str, header: str) -> list[list[str]]:
    """The rows of the Markdown table whose first line starts with `header`."""
    lines = iter(readme.splitlines())
    assert any(line.startswith(header) for line in lines), f"no table {header!r}"
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[1:]


@pytest.fixture(scope="module")
def readme(source_root: Path) -> str:
    return (source_root / "README.md").read_text("utf-8")


def documented_tree(readme: str) -> list[str]:
    """Folders of the README's tree, as paths."""
    block = next(block for block in blocks(readme, "") if block.startswith("edgemem/"))
    folders: list[str] = []
    for line in block.splitlines():
        name = line.split()[0]
        folders.append(f"{folders_parent(folders)}/{name}" if line.startswith(" ") else name)
    return [folder.rstrip("/") for folder in folders]


def folders_parent(folders: list[str]) -> str:
    return next(folder for folder in reversed(folders) if folder.count("/") == 1).rstrip("/")


def actual_tree(root: Path) -> list[str]:
    def sources(folder: Path) -> list[Path]:
        return [
            path
            for path in folder.iterdir()
            if path.is_dir() and path.name not in NOT_SOURCES and not path.name.endswith(".egg-info")
        ]

    tops = [path for path in sources(root) if path.name == ".ci" or not path.name.startswith(".")]
    packages = [path for path in sources(root / "edgemem") if (path / "__init__.py").is_file()]
    return sorted(path.relative_to(root).as_posix() for path in [*tops, *packages])


def test_the_readme_shows_every_folder_and_no_other(readme: str, source_root: Path) -> None:
    assert sorted(documented_tree(readme)) == actual_tree(source_root)


def mentioned_commands(text: str) -> list[list[str]]:
    """All `edgemem ...` in inline code and in console blocks, as words after `edgemem`."""
    lines = [line for block in blocks(text, "console", "sh", "bash") for line in block.splitlines()]
    prose = FENCED.sub("", text)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    found = {BEFORE.sub("", text) for text in [*lines, *spans] if BEFORE.match(text)}
    return [shlex.split(command, comments=True) for command in sorted(found)]


def test_every_command_in_the_documentation_exists(source_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --help at its end each must be accepted: that checks the command and its options, and runs nothing."""
    from edgemem.__main__ import run

    pages = [source_root / "README.md", *(source_root / "docs").glob("*.md")]
    commands = {tuple(words) for page in pages for words in mentioned_commands(page.read_text("utf-8"))}
    refused = {}
    for words in sorted(commands - {("--help",)}):
        if run([*words, "--help"]) != 0:
            refused["edgemem " + shlex.join(words)] = capsys.readouterr().err
    assert ("memory", "show") in commands
    assert refused == {}


def leaves(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All commands below `command` that are no groups. (A group is what has commands.)"""
    below: dict[str, object] = getattr(command, "commands", {})
    return [leaf for name, sub in below.items() for leaf in leaves(sub, (*path, name))] if below else [path]


def test_every_command_is_in_the_readme(readme: str) -> None:
    import typer

    from edgemem.cli.app import app

    known = {leaf for leaf in leaves(typer.main.get_command(app)) if leaf[0] not in EXTRAS}
    shown = {tuple(words[: len(leaf)]) for words in mentioned_commands(readme) for leaf in known}
    assert sorted(known - shown) == []


def error_classes(base: type[EdgememError] = EdgememError) -> list[type[EdgememError]]:
    return [base, *(found for sub in base.__subclasses__() for found in error_classes(sub))]


def test_the_table_of_exit_codes_is_the_error_tree(readme: str) -> None:
    rows = table_after(readme, "| exit code")
    shown = {(int(code), word.strip("`")) for code, word, _ in rows if word}
    ours = [found for found in error_classes() if found.__module__ == errors.__name__]
    assert shown == {(found.exit_code, found.code) for found in ours}
    assert [int(row[0]) for row in rows] == sorted(int(row[0]) for row in rows)


def test_the_table_of_models_is_the_cards(readme: str) -> None:
    rows = table_after(readme, "| name")
    cards = {}
    for folder in resources.files("edgemem.models").iterdir():
        if (card := folder / "card.toml").is_file():
            facts = tomllib.loads(card.read_text("utf-8"))
            size = sum(file["size"] for file in facts.get("files", []))
            cards[folder.name] = f"{size / 1e9:.1f} GB" if size else ""
    assert {name.strip("`"): size for name, _, size in rows} == cards


def test_links_between_documents_lead_somewhere(source_root: Path) -> None:
    pages = [source_root / "README.md", *(source_root / "docs").glob("*.md")]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    ]
    assert links
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


PLANTED = """
Run `edgemem memory show` or `edgemem model
pull NAME`; see `edgemem/cli` and `EDGEMEM_HOME`.
```console
$ edgemem ask "What now?"   # a comment
.venv/bin/edgemem chat --temp
scripts/demo
```
```
edgemem not a command
```
"""


def test_commands_are_found_in_code_and_nowhere_else() -> None:
    assert mentioned_commands(PLANTED) == [
        ["ask", "What now?"],
        ["chat", "--temp"],
        ["memory", "show"],
        ["model", "pull", "NAME"],
    ]
