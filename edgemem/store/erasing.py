"""Erasing on disk: what to take out of the journal, then the files beside it, then the search for what is left."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgemem.memory.lines import Memory
from edgemem.store.files import FILE_MODE, translated
from edgemem.store.folder import KV_FOLDER
from edgemem.store.forgetting import Erasure
from edgemem.store.journal import Journal
from edgemem.store.records import FORGOTTEN, Erased, Forgotten
from edgemem.store.typed_history import FILE_NAME, scrub

LOCKS_FOLDER = "locks"


def erasure_of(journal: Journal, current: Memory, line_ids: Sequence[int], words: str) -> Erasure:
    """The lines meant, present or gone, with every text they ever had."""
    for line_id in line_ids:
        journal.line(line_id)
    view = journal.memory_view()
    by_words = Erasure(frozenset(), frozenset(), words)
    known = [*view.lines, *journal.gone_lines(), *current.lines]
    chosen = {*line_ids, *(line.id for line in known if by_words.mentions_words(line.text))}
    texts = {line.text for line in known if line.id in chosen}
    for line_id in chosen:
        for operation in (one for revision in journal.touching(line_id) for one in revision.operations):
            if operation.line_id == line_id:
                texts |= {operation.text, operation.old_text}
    return Erasure(frozenset(chosen), frozenset(texts - {"", FORGOTTEN}), words)


def is_export(path: Path) -> bool:
    """Whether the file still begins as our exports do: what a person put in its place is left alone."""
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except OSError:
        return False
    return head.startswith((b"---\nedgemem:", b'{\n "edgemem":'))


def rewrite(path: Path, text: str) -> None:
    """Replace a file by `text`, whole. Raises StoreWriteFailed."""
    new = path.with_name(f".{path.name}.new")
    with translated(path):
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def erase_files(
    folder: Path, erasure: Erasure, erased: Erased, *, remaining: str, exports: Sequence[Path] = ()
) -> Forgotten:
    """Erase the rest of the user's files, search all of them and `exports`, and give the receipt. StoreWriteFailed.

    `remaining` is today's memory: what it still says was not forgotten.
    """
    typed = _scrub_typed(folder / FILE_NAME, erasure, erased.said)
    computed = _unlink(path for path in (folder / KV_FOLDER).glob("*") if path.is_file())
    files = [*(path for path in folder.rglob("*") if path.is_file()), *exports]
    found = [path.read_bytes() for path in files]
    left = sum(erasure.count_left(data, remaining) for data in found)
    return Forgotten(
        len(erasure.line_ids),
        erased.turns,
        erased.revisions,
        left,
        computed,
        typed,
        erased.waiting,
        len(exports),
        files_searched=len(files),
        bytes_searched=sum(map(len, found)),
    )


def remove_all(folder: Path, others: Sequence[Path]) -> int:
    """Remove every file of `folder` but the locks (which are empty), and `others`; how many."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != LOCKS_FOLDER]
    return _unlink([*files, *(path for path in others if path.exists())])


def _unlink(files: Iterable[Path]) -> int:
    gone = list(files)
    for path in gone:
        with translated(path):
            path.unlink(missing_ok=True)
    return len(gone)


def _scrub_typed(file: Path, erasure: Erasure, said: frozenset[str]) -> int:
    """Typed entries that mention what is forgotten, or that became one of the erased turns."""
    whole = {text.strip() for text in said}
    with translated(file):
        return scrub(file, lambda entry: erasure.mentions(entry) or entry.strip() in whole)
