"""Parsers of what we did not write, each as a function of bytes that may only raise our own errors.

Beyond not failing, a target checks what the parser promises where that is cheap: a memory reads back as written.
Files go through a folder in RAM where the system has one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from edgemem.catalogue.cards import parse_card
from edgemem.catalogue.gguf import check_gguf
from edgemem.engines.snapshot import read_snapshot
from edgemem.engines.template_worker import answered, environment
from edgemem.errors import EdgememError
from edgemem.memory import document
from edgemem.memory.check import check
from edgemem.memory.edits import parse_memory, parse_notes
from edgemem.memory.forget_requests import forget_requests
from edgemem.memory.lines import match_lines, memory_of, prompt_view
from edgemem.memory.planted import planted_sentences
from edgemem.memory.private_data import find_private, masked
from edgemem.memory.sentences import sentences_of
from edgemem.prompting.think import without_thinking
from edgemem.store.archive import read_archive
from edgemem.store.conversations import looks_like_conversations, read_conversations
from edgemem.store.importing import read_import
from edgemem.store.sealing import VAULT, Seal, read_vault
from edgemem.store.typed_history import read_entries
from edgemem.values import Line, Operation, Turn

from ..jsonl import read_objects

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
Target = Callable[[bytes], None]


def memory(data: bytes) -> None:
    """memory.md: parsed, rendered, read again, changed."""
    parsed = document.parse(_text(data))
    text = document.render(parsed)
    assert document.render(document.parse(text)) == text
    lines = match_lines(parsed.facts, [Line(1, "About", "Lives in Bern")], 2, [])
    assert [line.text for line in lines] == [fact.text for fact in parsed.facts]
    prompt_view(memory_of(parsed, lines).lines)
    for fact in parsed.facts[:2]:
        document.with_removed(parsed, fact.position)
        document.with_replaced(parsed, fact.position, "Something else")
    added = document.with_added(parsed, "About", "Plays the cello")
    assert "Plays the cello" in {fact.text for fact in added.facts}


def model_output(data: bytes) -> None:
    """What a model wrote as edits or as a whole memory, then the check."""
    text = without_thinking(_text(data))
    turn = Turn(1, 1, "user", text, NOON)
    wanted = [Operation("add", section=name, text=fact, sources=(1,)) for name, fact in parse_memory(text)[:20]]
    wanted += parse_notes(text)[:20]
    check(wanted, memory_of(document.parse(""), ()), [turn], 2048, len)


def message(data: bytes) -> None:
    """What a person, or somebody whose text was pasted, says."""
    text = _text(data)
    turns = [Turn(1, 1, "user", text, NOON)]
    sentences_of(turns)
    forget_requests(turns)
    planted_sentences(text)
    found = find_private(text)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    masked(text)


def archive(data: bytes) -> None:
    """Our export, as a parsed object and as a file to import."""
    read_import(str(_file("import.json", data)))
    value = json.loads(data)
    if isinstance(value, dict):
        read_archive(value)


def conversations(data: bytes) -> None:
    """An export of ChatGPT or Claude, as JSON or zip."""
    path = _file("conversations", data)
    looks_like_conversations(path)
    for one in read_conversations(path):
        assert one.turns


def gguf(data: bytes) -> None:
    """The header of a model's file."""
    check_gguf(_file("model.gguf", data))


def template(data: bytes) -> None:
    """The chat template of a model's file, in the sandbox of its worker (which bounds time and memory by itself)."""
    text = _text(data)
    if "range" in text or "*" in text:  # the parent's time limit is for these
        return
    request = {"template": text, "variables": {"messages": [{"role": "user", "content": "hi"}]}}
    assert answered(_templates(), json.dumps(request).encode())


def card(data: bytes) -> None:
    """A person's own model card."""
    parse_card("mine", _text(data), Path("mine.toml"), own=True)


def rows(data: bytes) -> None:
    """Rows of a data set, and of a measurement that was cut short."""
    read_objects(_file("rows.jsonl", data))


def own_files(data: bytes) -> None:
    """Files of ours that may be damaged: key file, sealed bytes, typed history, computed prompt."""
    read_entries(_file("typed.jsonl", data), Seal(b"k" * 32))
    read_snapshot(_file("snapshot.kv", data), {})
    read_vault(_file(VAULT, data).parent)
    Seal(b"k" * 32).open(data, "memory.md")


TARGETS: dict[str, Target] = {
    one.__name__: one
    for one in (memory, model_output, message, archive, conversations, gguf, template, card, rows, own_files)
}
ALLOWED: tuple[type[Exception], ...] = (EdgememError,)
REFUSALS = {"archive": (ValueError, RecursionError)}
"""`archive` parses JSON by itself before it calls ours: those errors are the target's own."""


def run_once(name: str, data: bytes) -> None:
    """One execution; raises whatever is not one of our errors."""
    try:
        TARGETS[name](data)
    except ALLOWED + REFUSALS.get(name, ()):
        return


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@cache
def _folder() -> Path:
    ram = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="edgemem-fuzz-", dir=ram))


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


@cache
def _templates() -> Any:
    return environment()
