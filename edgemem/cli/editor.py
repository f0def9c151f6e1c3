"""Opening memory.md in the person's editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edgemem.errors import InvalidInput, StoreWriteFailed
from edgemem.kv_files import private_folder
from edgemem.values import SECTIONS

if TYPE_CHECKING:
    from edgemem.store import UserStore

STARTER = "\n".join(f"## {section}\n" for section in SECTIONS)
FALLBACKS = ("sensible-editor", "nano", "vi", "notepad")


def edit_memory(store: UserStore) -> None:
    """Let the person edit the file itself. A file that did not exist starts with our headings.

    Raises InvalidInput when there is no editor or it fails, StoreWriteFailed when a new file cannot be made.
    """
    command = editor_command()
    if store.seal.on:
        _edit_sealed(store, command)
        return
    path = store.folder / "memory.md"
    starter = "" if path.exists() else STARTER
    try:
        if starter:
            private_folder(path.parent)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(starter)
    except OSError as error:
        raise StoreWriteFailed(f"cannot write {path}: {error.strerror}", "check the folder's permissions") from error
    try:
        code = _run(command, path)
    finally:
        if path.exists():
            path.chmod(0o600)
            if starter and path.read_bytes() == starter.encode():
                path.unlink()
    if code:
        raise InvalidInput(f"the editor {command[0]} ended with code {code}", f"the file is as it left it: {path}")


def _edit_sealed(store: UserStore, command: list[str]) -> None:
    """The same for an encrypted memory: the text is in RAM while it is edited (with what the editor leaves beside it),
    and only encrypted on disk. A power cut loses the edit, not the memory."""
    before = store.text()
    with TemporaryDirectory(dir=ram_folder(), prefix="edgemem-") as folder:
        path = Path(folder) / "memory.md"
        path.write_text(before or STARTER, "utf-8", newline="")
        code = _run(command, path)
        text = path.read_bytes() if path.exists() else b""
    if code:
        raise InvalidInput(f"the editor {command[0]} ended with code {code}", "the memory is as it was")
    if text != (before or STARTER).encode():
        store.write_by_hand(text, before)


def ram_folder() -> Path:
    """A folder that is no disk. Raises InvalidInput where there is none."""
    for name in (os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm"):
        if name and os.access(name, os.W_OK | os.X_OK):
            return Path(name)
    raise InvalidInput(
        "an encrypted memory is edited in RAM, and this system has no folder for that (XDG_RUNTIME_DIR, /dev/shm)",
        "use edgemem memory add, rm and forget, or turn encryption off for the edit",
    )


def _run(command: list[str], path: Path) -> int:
    try:
        return subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        raise InvalidInput(f"the editor {command[0]} cannot be run: {error.strerror}", "set EDITOR") from error


def editor_command() -> list[str]:
    """$VISUAL, else $EDITOR, else what is installed. Raises InvalidInput when there is none."""
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if chosen:
        return shlex.split(chosen, posix=os.name == "posix")
    for name in FALLBACKS:
        if shutil.which(name):
            return [name]
    raise InvalidInput("no editor was found", "set EDITOR, or edit the file yourself: edgemem memory path")
