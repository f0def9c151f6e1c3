"""Conversation exports of ChatGPT and Claude, as chats to learn from. Pure but for reading the file.

Both are a `conversations.json`, alone or in a zip. ChatGPT keeps a tree of messages: the branch that was shown last is
read. Tool calls, images and system texts are left out. Everything in it is hostile until checked: sizes are bounded,
nothing is unpacked to disk, no text is trusted as a fact (the chats are learned like any other).
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from edgemem.errors import InvalidInput
from edgemem.values import Role

MOST_BYTES = 1 << 29
"""512 MiB of JSON: years of talking. Larger files do not fit the memory of a small machine."""
MEMBER = "conversations.json"
_UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, RuntimeError, NotImplementedError, ValueError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What zipfile lets through of a zip that is cut short or damaged (found by fuzzing)."""


@dataclass(frozen=True)
class Conversation:
    """One conversation. `source` names it for ever, so that it is taken in once."""

    source: str
    kind: Literal["chatgpt", "claude"]
    turns: tuple[tuple[Role, str, datetime], ...]


def read_conversations(path: Path) -> list[Conversation]:
    """The conversations of an export, oldest first, without empty ones. Raises InvalidInput."""
    try:
        data = json.loads(_bytes(path))
        rows = data if isinstance(data, list) else data["conversations"]
        found = [one for row in rows if (one := _conversation(row)) is not None and one.turns]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise InvalidInput(
            f"{path} is no conversation export: {str(error)[:100]}", "give the zip or conversations.json as it came"
        ) from error
    return sorted(found, key=lambda one: one.turns[0][2])


def looks_like_conversations(path: Path) -> bool:
    """Whether the file is a zip, or a JSON list of objects with messages."""
    try:
        if zipfile.is_zipfile(path):
            return True
    except zipfile.BadZipFile:  # one that claims several disks; reading it says what is wrong
        return True
    with path.open("rb") as file:
        head = file.read(1 << 16)
    return head.lstrip()[:1] in (b"[", b"{") and (b'"mapping"' in head or b'"chat_messages"' in head)


def _bytes(path: Path) -> bytes:
    too_large = InvalidInput(f"{path} has more than {MOST_BYTES >> 20} MiB", "split the export by year")
    try:
        if not zipfile.is_zipfile(path):
            if path.stat().st_size > MOST_BYTES:
                raise too_large
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            name = next((one for one in archive.namelist() if one.rsplit("/", 1)[-1] == MEMBER), "")
            if not name:
                raise InvalidInput(f"{path} has no {MEMBER}", "give the zip as it came")
            with archive.open(name) as file:
                data = file.read(MOST_BYTES + 1)  # whatever size the zip claims
            if len(data) > MOST_BYTES:
                raise too_large
            return data
    except _UNREADABLE as error:
        raise InvalidInput(f"{path} cannot be read: {error}", "check the file") from error


def _conversation(row: Mapping[str, Any]) -> Conversation | None:
    if "mapping" in row:
        return Conversation(_source("chatgpt", row), "chatgpt", tuple(_of_chatgpt(row)))
    if "chat_messages" in row:
        return Conversation(_source("claude", row), "claude", tuple(_of_claude(row)))
    return None


def _source(kind: str, row: Mapping[str, Any]) -> str:
    name = row.get("conversation_id") or row.get("id") or row.get("uuid")
    whole = str(name) if name else json.dumps(row, sort_keys=True)
    return f"{kind}:{hashlib.sha256(whole.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _of_chatgpt(row: Mapping[str, Any]) -> Iterator[tuple[Role, str, datetime]]:
    nodes = row["mapping"]
    branch: list[Mapping[str, Any]] = []
    at, seen = row.get("current_node"), set()
    while at in nodes and at not in seen:  # a hostile tree may go in circles
        seen.add(at)
        branch.append(nodes[at])
        at = nodes[at].get("parent")
    for node in reversed(branch):
        message = node.get("message") or {}
        role = (message.get("author") or {}).get("role")
        parts = (message.get("content") or {}).get("parts") or []
        text = "\n".join(part for part in parts if isinstance(part, str)).strip()
        time = message.get("create_time") or row.get("create_time") or 0
        if role in ("user", "assistant") and text:
            yield role, text, datetime.fromtimestamp(float(time), UTC)


def _of_claude(row: Mapping[str, Any]) -> Iterator[tuple[Role, str, datetime]]:
    for message in row["chat_messages"]:
        role: Role = "user" if message.get("sender") == "human" else "assistant"
        text = message.get("text") or "\n".join(
            part.get("text", "") for part in message.get("content") or [] if part.get("type") == "text"
        )
        time = datetime.fromisoformat(message.get("created_at") or row["created_at"])
        if isinstance(text, str) and text.strip():
            yield role, text.strip(), time if time.tzinfo else time.replace(tzinfo=UTC)
