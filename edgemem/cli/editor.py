"""Opening memory.md in the person's editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from edgemem.errors import InvalidInput, StoreWriteFailed
from edgemem.values import SECTIONS

if TYPE_CHECKING:
    from edgemem.store import UserStore

FALLBACKS = ("sensible-editor", "nano", "vi", "notepad")


def edit_memory(store: UserStore) -> None:
    """Let the person edit the file itself. A file that did not exist starts with our headings.

    Raises InvalidInput when there is no editor or it fails, StoreWriteFailed when a new file cannot be made.
    """
    command = editor_command()
    path = store.folder / "memory.md"
    starter = "" if path.exists() else "\n".join(f"## {section}\n" for section in SECTIONS)
    try:
        if starter:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(starter)
    except OSError as error:
        raise StoreWriteFailed(f"cannot write {path}: {error.strerror}", "check the folder's permissions") from error
    try:
        code = subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        raise InvalidInput(f"the editor {command[0]} cannot be run: {error.strerror}", "set EDITOR") from error
    finally:
        if path.exists():
            path.chmod(0o600)
            if starter and path.read_bytes() == starter.encode():
                path.unlink()
    if code:
        raise InvalidInput(f"the editor {command[0]} ended with code {code}", f"the file is as it left it: {path}")


def editor_command() -> list[str]:
    """$VISUAL, else $EDITOR, else what is installed. Raises InvalidInput when there is none."""
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if chosen:
        return shlex.split(chosen, posix=os.name == "posix")
    for name in FALLBACKS:
        if shutil.which(name):
            return [name]
    raise InvalidInput("no editor was found", "set EDITOR, or edit the file yourself: edgemem memory path")
