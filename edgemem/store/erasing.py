"""Erasing on disk: what to take out of the journal, then the files beside it, then the search for what is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from edgemem.memory.lines import Memory
from edgemem.store.files import translated
from edgemem.store.forgetting import Erasure
from edgemem.store.journal import Journal
from edgemem.store.records import FORGOTTEN, Erased, Forgotten
from edgemem.store.typed_history import FILE_NAME, scrub

KV_FOLDER = "kv"  # in each user's folder
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


def erase_files(folder: Path, erasure: Erasure, erased: Erased, remaining: str) -> Forgotten:
    """Erase the rest of the user's files, search all of them, and give the receipt. Raises StoreWriteFailed.

    `remaining` is today's memory: what it still says was not forgotten.
    """
    typed = _scrub_typed(folder / FILE_NAME, erasure, erased.said)
    computed = _unlink(path for path in (folder / KV_FOLDER).glob("*") if path.is_file())
    files = [path for path in folder.rglob("*") if path.is_file()]
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
