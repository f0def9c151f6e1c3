"""Prompt texts as messages. The texts are files beside this module; a model card may replace any of them.

Pure but for reading those files once. A prompt never receives a question that comes later: the functions that
build update prompts take turns that have happened, nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from string import Template

from edgemem.errors import InvalidInput
from edgemem.values import SECTIONS, Message, Turn

NAMES = (
    "chat_system",
    "edits",
    "edits_examples",
    "edits_message",
    "requests",
    "requests_examples",
    "changes",
    "changes_examples",
    "changes_question",
    "outdated",
    "outdated_question",
    "overwrite",
    "overwrite_compact",
)
NO_MEMORY = "No previous memory"
EMPTY_VIEW = (
    "(Nothing is known about the user yet. To every question about the user - name, home, family, pets, food, plans - "
    "answer that you do not know it yet.)"
)
"""What stands for an empty memory. Told only that nothing is known, a 1.5B names New York as the user's city."""
OUTDATED = "Out of date: "
_FOLDER = Path(__file__).with_name("texts")


@dataclass(frozen=True)
class Prompts:
    """The texts in use and their digest, which goes into every revision and manifest."""

    texts: dict[str, str]

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join(self.texts[name] for name in NAMES).encode()).hexdigest()

    def chat_system(self, memory_view: str, now: datetime) -> Message:
        """The system message of a chat. Memory first, day last: a new day leaves the memory's KV valid."""
        return Message("system", self._fill("chat_system", memory=quoted(memory_view), today=day(now)))

    def edits(self) -> list[Message]:
        """How to note facts, with examples as turns; the sentences to judge are what comes next."""
        pairs = [(self.edits_message(sentence), reply) for sentence, reply in self._examples("edits_examples")]
        return self._taught("edits", pairs)

    def edits_message(self, text: str) -> Message:
        """One sentence of the user, to note facts from."""
        return Message("user", self._fill("edits_message", message=quoted(text)))

    def requests(self) -> list[Message]:
        """How to tell a task from what the user says of themselves, with examples as turns."""
        pairs = [(self.edits_message(sentence), reply) for sentence, reply in self._examples("requests_examples")]
        return self._taught("requests", pairs)

    def changes(self) -> list[Message]:
        """How to tell whether a note still holds, with examples as turns."""
        asked = [(pair.partition(" || "), reply) for pair, reply in self._examples("changes_examples")]
        return self._taught("changes", [(self.changes_question(note, said), yes) for (note, _, said), yes in asked])

    def changes_question(self, note: str, said: str) -> Message:
        """One line of the memory beside something that the user said later."""
        return Message("user", self._fill("changes_question", note=quoted(note), said=quoted(said)))

    def outdated(self) -> list[Message]:
        """How to name the note that a sentence overtakes; the examples are those of `changes` that do."""
        asked = [pair.partition(" || ") for pair, reply in self._examples("changes_examples") if reply == "yes"]
        return self._taught("outdated", [(self.outdated_question(said), OUTDATED + note) for note, _, said in asked])

    def outdated_question(self, said: str) -> Message:
        """Something that the user says; the answer is `OUTDATED` and the note that no longer holds."""
        return Message("user", self._fill("outdated_question", said=quoted(said)))

    def _taught(self, name: str, pairs: Sequence[tuple[Message, str]]) -> list[Message]:
        turns = [one for asked, reply in pairs for one in (asked, Message("assistant", reply))]
        return [Message("system", self._fill(name, sections=", ".join(SECTIONS))), *turns]

    def _examples(self, name: str) -> list[tuple[str, str]]:
        blocks = (block.partition("\n<<< ") for block in f"\n{self.texts[name]}".split("\n>>> ")[1:])
        return [(asked.strip(), reply.strip()) for asked, _, reply in blocks]

    def overwrite(self, memory: str, turns: Sequence[Turn], when: datetime, limit: int) -> Message:
        """The request for the whole next memory (PersonaMem-v2 §3.2, in our words)."""
        return Message(
            "user",
            self._fill(
                "overwrite",
                memory=quoted(memory) or NO_MEMORY,
                conversation=conversation_text(turns),
                today=day(when),
                sections=", ".join(SECTIONS),
                limit=str(limit),
            ).strip(),
        )

    def overwrite_compact(self, limit: int) -> Message:
        return Message("user", self._fill("overwrite_compact", limit=str(limit)).strip())

    def _fill(self, name: str, **values: str) -> str:
        return Template(self.texts[name]).substitute(values).rstrip("\n")


@cache
def load_prompts(folder: str = "") -> Prompts:
    """Our texts, with those of `folder` in their place where it has a file of the same name.

    Raises InvalidInput when a replaced text has unknown or missing placeholders.
    """
    texts = {name: (_FOLDER / f"{name}.txt").read_text("utf-8") for name in NAMES}
    for name in NAMES if folder else ():
        own = Path(folder) / f"{name}.txt"
        if own.is_file():
            replaced = own.read_text("utf-8")
            if not set(Template(replaced).get_identifiers()) <= set(Template(texts[name]).get_identifiers()):
                raise InvalidInput(f"{own} has placeholders that edgemem does not fill", f"compare it with {name}.txt")
            texts[name] = replaced
    return Prompts(texts)


def conversation_text(turns: Sequence[Turn]) -> str:
    """Turns as plain text, each with its speaker."""
    speakers = {"user": "User", "assistant": "Assistant", "system": "System"}
    return "\n\n".join(f"{speakers[turn.role]}: {quoted(turn.text)}" for turn in turns)


def quoted(text: str) -> str:
    """Text that cannot close the tags it stands in."""
    for tag in ("memory", "conversation", "previous_memory"):
        text = text.replace(f"</{tag}", f"< /{tag}")
    return text


def day(when: datetime) -> str:
    """`Tuesday, 2026-11-24`: small models cannot work out week days."""
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    local = when.astimezone()
    return f"{names[local.weekday()]}, {local.date().isoformat()}"
