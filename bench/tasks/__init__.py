"""The tasks of `bench run`: one file each, from upstream files to cases. Knows no model.

Each has a version: raise it whenever its cases, their order or their texts change, so that rows are not mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgemem.errors import InvalidInput

from ..values import Case
from . import locomo, memoryctrl, memsyco, personamem_v1, personamem_v2, prefeval

_MEMORYCTRL = "MIT (YnezT0311/pros_2026_mem_follow)"
_PREFEVAL = "CC BY-NC 4.0 (amazon-science/PrefEval)"
_released = partial(memoryctrl.cases, world="no_use_released")
FIXTURES = Path(__file__).with_name("fixtures")
"""Miniature sets of our own text in the upstream schemas: what is run where no data is named."""


@dataclass(frozen=True)
class Task:
    """A task: where its data comes from, under which terms, and its version. `load` takes the set's folder."""

    name: str
    version: int
    licence: str
    load: Callable[[Path], list[Case]]
    folder: str = ""

    @property
    def place(self) -> str:
        """Its folder's name, where several tasks read the same data."""
        return self.folder or self.name


TASKS: dict[str, Task] = {
    found.name: found
    for found in (
        Task("memoryctrl", 1, _MEMORYCTRL, memoryctrl.cases),
        Task("memoryctrl_forget", 1, _MEMORYCTRL, partial(memoryctrl.cases, world="forget"), "memoryctrl"),
        Task("memoryctrl_no_store", 1, _MEMORYCTRL, partial(memoryctrl.cases, world="no_store"), "memoryctrl"),
        Task("memoryctrl_no_use", 1, _MEMORYCTRL, partial(memoryctrl.cases, world="no_use"), "memoryctrl"),
        Task("memoryctrl_no_use_released", 1, _MEMORYCTRL, _released, "memoryctrl"),
        Task("personamem_v1", 1, "MIT (bowen-upenn, PersonaMem v1, rebuilt subset)", personamem_v1.cases),
        Task("prefeval", 1, _PREFEVAL, prefeval.cases),
        *(
            Task(f"prefeval_{size}k", 1, _PREFEVAL, partial(prefeval.cases, filler_tokens=size * 1000), "prefeval")
            for size in (16, 32)
        ),
        Task("locomo", 1, "CC BY-NC 4.0 (snap-research/locomo)", locomo.cases),
        Task("memsyco", 1, "MIT (XMUDeepLIT/MemSyco-Bench)", memsyco.cases),
        Task("personamem_v2", 1, "CC BY 4.0 (bowen-upenn/PersonaMem-v2)", personamem_v2.cases),
    )
}


def load_task(name: str, data: Path | None) -> list[Case]:
    """The cases of a task, in the order of their histories; from `data`/NAME, or the miniature set without `data`.

    Raises InvalidInput for an unknown task, and for data that is missing, damaged or of another schema.
    """
    if name not in TASKS:
        raise InvalidInput(f"there is no task {name!r}", f"use {', '.join(TASKS)}")
    folder = (data or FIXTURES) / TASKS[name].place
    if not folder.is_dir():
        raise InvalidInput(f"there is no folder {folder}", "name the folder that holds it with --data, or leave it out")
    try:
        found = TASKS[name].load(folder)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        problem = str(error) if isinstance(error, OSError) else repr(error)
        raise InvalidInput(
            f"cannot read {name} from {folder}: {problem}", "check that the files are whole and of the expected schema"
        ) from error
    if not found:
        raise InvalidInput(f"{folder} holds no question", "check the folder")
    return in_order(found)


def in_order(cases: Sequence[Case]) -> list[Case]:
    """Cases of one history beside each other, those that come earlier in it first; else as they were."""
    histories = {case.history.id: None for case in cases}
    place = {name: number for number, name in enumerate(histories)}
    return sorted(cases, key=lambda case: (place[case.history.id], case.learned))
