"""Reading lines to import: our JSON export, a memory.md, or a plain list (a pasted dump of another assistant)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemem.errors import InvalidInput, MemoryLocked
from edgemem.memory.document import parse, section_name
from edgemem.values import SECTIONS, Operation

if TYPE_CHECKING:
    from edgemem.store.archive import Archive

MOST_BYTES = 1 << 20
"""As for memory.md: more than this is no list of facts."""
MOST_ARCHIVE_BYTES = 1 << 24
"""Our export also has the messages that the lines rest on."""


def _nobody() -> str:
    raise MemoryLocked("this export is encrypted", "give its passphrase")


def read_import(file: str, passphrase: Callable[[], str] = _nobody) -> tuple[Archive | None, list[Operation]]:
    """Our export with its lines, or None and add operations (origin `imported`) for the facts in `file` (`-`: stdin).

    `passphrase` is asked for when our export is an encrypted one. Raises InvalidInput when the file cannot be read, is
    too large, not UTF-8, or JSON that is not our export; MemoryLocked for a wrong passphrase.
    """
    text = _read(file)
    if text.lstrip().startswith(("{", "[")):
        return _from_json(file, text, passphrase)
    return None, _from_text(text)


def _from_text(text: str) -> list[Operation]:
    facts = parse(text).facts
    bullets = [fact for fact in facts if not fact.prose]
    if bullets:
        return [_adding(fact.section, fact.text) for fact in facts]
    return [_adding("", row.strip()) for row in text.splitlines() if row.strip() and not row.startswith("#")]


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read(MOST_ARCHIVE_BYTES + 1) if file == "-" else _head(Path(file).expanduser())
        if len(data) > (MOST_ARCHIVE_BYTES if data.lstrip()[:1] == b"{" else MOST_BYTES):
            raise InvalidInput(f"{file} is larger than 1 MiB", "import a shorter list")
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 (byte {error.start})", "save it as UTF-8") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MOST_ARCHIVE_BYTES + 1)


def _from_json(file: str, text: str, passphrase: Callable[[], str]) -> tuple[Archive | None, list[Operation]]:
    from edgemem.store.archive import FORM, read_archive
    from edgemem.store.sealed_export import open_export

    try:
        data: Any = json.loads(text)
        if isinstance(data, dict) and "sealed" in data:
            data = json.loads(open_export(data, passphrase))
        if isinstance(data, dict) and data.get("edgemem") == FORM:
            archive = read_archive(data)
            return archive, archive.operations({})
        rows = data["lines"] if isinstance(data, dict) else data
        return None, [
            _adding("", row) if isinstance(row, str) else _adding(str(row.get("section", "")), str(row["text"]))
            for row in rows
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(
            f"{file} is JSON, but no list of lines", 'give our export: {"lines": [{"section": ..., "text": ...}]}'
        ) from error


def _adding(section: str, text: str) -> Operation:
    return Operation("add", section=section_name(section) or SECTIONS[0], text=text, origin="imported")
