"""Tombstones: what was forgotten, told without its words, so that it is not learned again from a mere mention.

A tombstone is the set of keyed digests (HMAC-SHA-256, 64 bits kept) of the word stems of one forgotten text. The key
lies apart from the journal (`keys/<user>.key`), so the journal alone gives nothing to guess words against. Whoever has
both can test guesses: this keeps words out of copies of the journal, not from the machine's owner.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgemem.memory.words import all_stems, content_words
from edgemem.store.files import make_private_folder, replace_whole, translated

KEY_BYTES, DIGEST_HEX = 32, 16
SAME_SHARE = 0.75
"""Share of a tombstone's stems that a text must have to be what was forgotten."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One forgotten text. A fact told after `created` may be kept again where it is said anew."""

    id: int
    created: datetime
    digests: frozenset[str]

    def covers(self, digests: frozenset[str]) -> bool:
        """Whether a text with these digests says what was forgotten."""
        return bool(self.digests) and len(self.digests & digests) >= SAME_SHARE * len(self.digests)


class TombstoneKey:
    """The secret that digests are keyed with; made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = b""

    def digests(self, text: str) -> frozenset[str]:
        """Digests of the words of meaning in `text` (of all its words where none has one). StoreWriteFailed."""
        key = self._key()
        stems = content_words(text) or all_stems(text)
        return frozenset(hmac.new(key, stem.encode(), hashlib.sha256).hexdigest()[:DIGEST_HEX] for stem in stems)

    def any_of(self, texts: Iterable[str]) -> list[frozenset[str]]:
        """Digests of each text that has words."""
        return [found for text in texts if (found := self.digests(text))]

    def _key(self) -> bytes:
        if not self._read:
            with translated(self.path):
                try:
                    key = self.path.read_bytes()
                except FileNotFoundError:
                    key = b""
                self._read = key if len(key) == KEY_BYTES else self._made()
        return self._read

    def _made(self) -> bytes:
        make_private_folder(self.path.parent)
        key = secrets.token_bytes(KEY_BYTES)
        replace_whole(self.path, key)
        return key
