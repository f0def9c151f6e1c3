"""What is written to disk of a text: no message that is off the record, of private data only a mark of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgemem.memory.private_data import asks_to_keep, find_private, masked
from edgemem.memory.words import told_names_in, whole_names_in
from edgemem.store.records import FORGOTTEN
from edgemem.values import Operation, Rejected, Role


class Masking:
    """What is kept of a text. Nothing of a message that the user wants off the record, nor of the answers that repeat
    it; of private data the kind (setting `mask_secrets`). Remembers both in RAM only, chat by chat."""

    def __init__(self, on: bool) -> None:
        self.on = on
        self._said: dict[int, set[str]] = {}
        self._off_record: dict[int, _OffRecord] = {}

    def turn(self, chat_id: int, role: Role, text: str) -> str:
        """A message or an answer of a chat, as it is kept."""
        if self._off_record.setdefault(chat_id, _OffRecord()).covers(role, text):
            return FORGOTTEN
        if not self.on:
            return text
        said = self._said.setdefault(chat_id, set())
        keeps = asks_to_keep(text)
        said |= {text[one.start : one.end] for one in find_private(text) if not (keeps and one.on_request)}
        return masked(text, said)

    def typed(self, text: str) -> str:
        """What was typed into a chat, for the arrow keys; "" for what is off the record."""
        return "" if _wishes_nothing_kept(text) else self.text(text)

    def text(self, text: str) -> str:
        """Any other text."""
        return masked(text) if self.on else text

    def rejected(self, rejected: Sequence[Rejected]) -> tuple[Rejected, ...]:
        """What the checker refused, which the journal keeps as well."""
        return tuple(replace(one, operation=self._operation(one.operation)) for one in rejected)

    def _operation(self, operation: Operation) -> Operation:
        return replace(operation, text=self.text(operation.text), old_text=self.text(operation.old_text))


def _wishes_nothing_kept(text: str) -> bool:
    from edgemem.memory.off_record import off_record  # 7 ms that a look at the memory need not wait for

    return off_record(text)


class _OffRecord:
    """What one chat was told off the record: the last message, or names and numbers of an earlier one."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._now = False

    def covers(self, role: Role, text: str) -> bool:
        """Whether nothing is kept of this turn: such a message, its answer, a later answer with one of its names."""
        if role == "user":
            self._now = _wishes_nothing_kept(text)
            named = told_names_in(text)
            self._names = self._names | named if self._now else self._names - named
            return self._now
        return self._now or bool(self._names & whole_names_in(text))
