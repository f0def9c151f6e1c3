"""What private data looks like once it is on disk: a mark of its kind (setting `mask_secrets`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgemem.memory.private_data import asks_to_keep, find_private, masked
from edgemem.values import Operation, Rejected


class Masking:
    """Masks texts before they are kept. Remembers, in RAM only, what was masked in each chat: answers repeat it."""

    def __init__(self, on: bool) -> None:
        self.on = on
        self._said: dict[int, set[str]] = {}

    def turn(self, chat_id: int, text: str) -> str:
        """A message or an answer of a chat, as it is kept."""
        if not self.on:
            return text
        said = self._said.setdefault(chat_id, set())
        keeps = asks_to_keep(text)
        said |= {text[one.start : one.end] for one in find_private(text) if not (keeps and one.on_request)}
        return masked(text, said)

    def text(self, text: str) -> str:
        """Any other text."""
        return masked(text) if self.on else text

    def rejected(self, rejected: Sequence[Rejected]) -> tuple[Rejected, ...]:
        """What the checker refused, which the journal keeps as well."""
        return tuple(replace(one, operation=self._operation(one.operation)) for one in rejected)

    def _operation(self, operation: Operation) -> Operation:
        return replace(operation, text=self.text(operation.text), old_text=self.text(operation.old_text))
