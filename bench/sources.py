"""Digests of our own sources: rows made by other code are not mixed with new ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import edgemem

WRITERS = (
    *("assistant.py", "memory/*", "memory/languages/*", "policies/*.py", "prompting/*.py", "prompting/texts/*"),
    "store/masking.py",
)
"""The sources that decide what is written into a memory."""


def digest_of(patterns: Sequence[str], *more: Path) -> str:
    """Digest (16 hex digits) of the runtime's sources that match, and of `more` files, as they are now."""
    root = Path(edgemem.__file__).parent
    paths = [path for pattern in patterns for path in sorted(root.glob(pattern)) if path.is_file()]
    parts = [path.name.encode() + b"\0" + path.read_bytes() for path in (*paths, *more)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
