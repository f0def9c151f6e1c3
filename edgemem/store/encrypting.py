"""Turning encryption on and off for a user's files, so that a process may die at any moment.

The vault says first in which direction files are going. Each file is then written in its new form beside its place and
renamed onto it, and a file tells by its first bytes which form it has: so a mixture is readable with the key, and
whoever opens it next converts the rest. The vault's last state comes last; without a vault there is no key, so it is
removed only when nothing needs it any more.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgemem.store.erasing import remove_computed
from edgemem.store.files import make_private_file, replace_whole, sync_folder, translated
from edgemem.store.folder import UserFolder
from edgemem.store.journal import copy_converted, is_encrypted
from edgemem.store.sealing import PLAIN, Seal, Vault
from edgemem.store.typed_history import FILE_NAME, reseal


def convert(folder: UserFolder, vault: Vault, seal: Seal) -> None:
    """Bring every file into the form that the vault's direction says, then settle the vault. The caller holds the
    locks, and nobody else has the journal open. Raises StoreWriteFailed, MemoryLocked; it may be called again."""
    encrypt = vault.direction == "sealing"
    after = Seal(seal.key, strict=True) if encrypt else PLAIN
    folder.close_journal()
    _convert_memory(Path(os.path.realpath(folder.file.path)), folder.file.path.name, seal, after)
    reseal(folder.path / FILE_NAME, seal, after)
    remove_computed(folder.path, folder.file.staged)  # they are computed again
    _convert_journal(folder.journal_path, seal, encrypt=encrypt)
    if encrypt:
        vault.directed("").write()
    else:
        vault.remove()
    folder.use(after)


def _convert_memory(path: Path, role: str, before: Seal, after: Seal) -> None:
    if path.exists():
        replace_whole(path, after.seal(before.open(path.read_bytes(), role), role))


def _convert_journal(path: Path, seal: Seal, *, encrypt: bool) -> None:
    new = path.with_name(path.name + ".new")
    with translated(path):
        for end in ("", "-journal", "-wal", "-shm"):  # what a dead process left
            Path(f"{new}{end}").unlink(missing_ok=True)
        if not path.exists() or path.stat().st_size == 0 or is_encrypted(path) == encrypt:
            return
        make_private_file(new)
        copy_converted(path, new, seal.key, encrypt=encrypt)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        for end in ("-wal", "-shm"):  # of the old form, and empty: all of it is in the database
            Path(f"{path}{end}").unlink(missing_ok=True)
        new.replace(path)
        sync_folder(path.parent)
