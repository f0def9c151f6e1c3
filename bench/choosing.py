"""Which questions a preset asks. Drawn by the digest of their ids: a preset always asks the same. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgemem.errors import InvalidInput

from .tasks import TASKS, in_order, load_task
from .values import Case, History


@dataclass(frozen=True)
class Draw:
    """How many histories of a task, and how many questions about each (None: all)."""

    histories: int | None = None
    questions: int | None = None


@dataclass(frozen=True)
class Preset:
    """The tasks, each with what is drawn of it, and what is drawn of a task that is asked for by name."""

    tasks: Mapping[str, Draw]
    other: Draw


_STANDARD, _ALL = Draw(4, 12), Draw()
PRESETS = {
    "quick": Preset({"prefeval": Draw(2, 4), "memsyco": Draw(6, 1)}, Draw(2, 4)),
    "standard": Preset(dict.fromkeys(("memoryctrl", "personamem_v1", "prefeval", "locomo"), _STANDARD), _STANDARD),
    "full": Preset(dict.fromkeys(TASKS, _ALL), _ALL),
}
"""`quick` takes tasks with short chats: an update of MemoryCtrl reads 5,500 tokens, one of PrefEval some 100."""


def choose(preset: str, tasks: Sequence[str] = (), data: Path | None = None) -> list[Case]:
    """The cases of a preset, of `tasks` in place of its own where given.

    Raises InvalidInput for an unknown preset or task, and for data that cannot be read.
    """
    if preset not in PRESETS:
        raise InvalidInput(f"there is no preset {preset!r}", f"use {', '.join(PRESETS)}")
    wanted = PRESETS[preset]
    return [
        case
        for name in tasks or _there(wanted, data)
        for case in sample(load_task(name, data), wanted.tasks.get(name, wanted.other))
    ]


def _there(preset: Preset, data: Path | None) -> list[str]:
    """The preset's tasks, but for those that the data folder does not have."""
    found = [name for name in preset.tasks if data is None or (data / TASKS[name].place).is_dir()]
    if not found:
        raise InvalidInput(f"{data} has no folder {' or '.join(preset.tasks)}", "name the folder with --data")
    return found


def sample(cases: Sequence[Case], draw: Draw) -> list[Case]:
    """Histories of as many persons as can be, and of each a drawn part of its questions."""
    histories = {case.history.id: case.history for case in cases}
    kept = _of_many_persons(sorted(histories.values(), key=lambda one: _chance(one.id)))[: draw.histories]
    drawn = [
        case
        for history in kept
        for case in sorted((c for c in cases if c.history.id == history.id), key=lambda c: _chance(c.id))[
            : draw.questions
        ]
    ]
    return in_order(drawn)


def _of_many_persons(histories: Sequence[History]) -> list[History]:
    """A first history of each person, then second ones, and so on."""
    met: dict[str, int] = {}
    rounds = []
    for history in histories:
        rounds.append(met.get(history.persona, 0))
        met[history.persona] = rounds[-1] + 1
    order = sorted(range(len(histories)), key=lambda place: (rounds[place], place))
    return [histories[place] for place in order]


def _chance(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
