"""Erasing on disk: what to take out of the journal, the files beside it, and the search for what is left.

A mark without words (`users/<user>/erasing`) stands while this goes on, so that a process that dies is helped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from edgemem.memory.lines import Memory
from edgemem.store.files import new_name, replace_whole, translated
from edgemem.store.folder import KV_FOLDER
from edgemem.store.forgetting import Erasure
from edgemem.store.journal import Journal
from edgemem.store.records import FORGOTTEN
from edgemem.store.sealing import Seal
from edgemem.store.typed_history import FILE_NAME, scrub

LOCKS_FOLDER = "locks"
MARK = "erasing"
EVERYTHING = b"everything\n"


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


def begin_erasing(folder: Path, *, everything: bool = False) -> None:
    """Leave a mark that erasing has begun: a process that dies after this is helped by the next one to open."""
    replace_whole(folder / MARK, EVERYTHING if everything else b"")


def begun(folder: Path) -> Literal["", "some", "everything"]:
    """What a dead process, or one that met a full disk, began to erase here."""
    try:
        return "everything" if (folder / MARK).read_bytes() == EVERYTHING else "some"
    except OSError:
        return ""


def end_erasing(folder: Path) -> None:
    """All of it is gone. Raises StoreWriteFailed."""
    _unlink([folder / MARK])


def scrub_typed(folder: Path, erasure: Erasure, said: Iterable[str], seal: Seal) -> int:
    """Remove typed entries that mention what is forgotten, or that became one of the messages `said`; how many."""
    whole = {text.strip() for text in said}
    file = folder / FILE_NAME
    return scrub(file, lambda entry: erasure.mentions(entry) or entry.strip() in whole, seal)


def remove_computed(folder: Path, *leftovers: Path) -> int:
    """Remove computed prompts, which hold the memory's tokens, and what dead processes left; how many prompts."""
    _unlink([new_name(folder / FILE_NAME), *leftovers])
    return _unlink(path for path in (folder / KV_FOLDER).glob("*") if path.is_file())


def searched(
    folder: Path, erasure: Erasure, *, remaining: str, exports: Mapping[Path, str], opened: Callable[[Path, str], bytes]
) -> tuple[int, int, int]:
    """Search all of the user's files and `exports` (with their forms): places where it still stands, files, bytes.

    `remaining` is today's memory: what it still says was not forgotten. `opened` reads a file, decrypted if need be.
    """
    files = {path: "" for path in folder.rglob("*") if path.is_file()} | dict(exports)
    found = [opened(path, form) for path, form in files.items()]
    return sum(erasure.count_left(data, remaining) for data in found), len(files), sum(map(len, found))


def remove_all(folder: Path, others: Sequence[Path]) -> int:
    """Remove every file of `folder` but the locks (which are empty), and `others`; how many. The mark goes last."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != LOCKS_FOLDER]
    mark = folder / MARK
    removed = _unlink([*(path for path in files if path != mark), *(path for path in others if path.exists())])
    end_erasing(folder)
    return removed


def _unlink(files: Iterable[Path]) -> int:
    gone = list(files)
    for path in gone:
        with translated(path):
            path.unlink(missing_ok=True)
    return len(gone)
