"""What tests of `bench run` ask with, and a process that dies in the middle: `python bench_run_child.py ROWS CALLS`.

Calls are answers and looks at an option's likelihood (updates make only those)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgemem.bench.choosing import choose
from edgemem.bench.rows import Setup
from edgemem.bench.run import Run
from edgemem.bench.values import Case
from edgemem.engines.scripted import ScriptedEngine
from edgemem.prompting.prompts import load_prompts

ARMS = ("memory", "full_history", "recent", "none", "swap", "oracle")


def chosen() -> list[Case]:
    return choose("quick", ["memoryctrl"])


def setup(answer: Callable[[str], str] = lambda prompt: "(a)", **more: Any) -> Setup:
    return Setup(ScriptedEngine(answer, **more), load_prompts(), miniature=True)


def deadly(calls: int) -> Setup:
    """Answers or scores so often, then kills the process."""
    left = [calls]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def answer(prompt: str) -> str:
        count()
        return "(a)"

    def score(prompt: str, option: str) -> float:
        count()
        return -1.0

    return setup(answer, scores=score)


if __name__ == "__main__":
    for _ in Run(deadly(int(sys.argv[2])), chosen(), ARMS, Path(sys.argv[1])).steps():
        pass
