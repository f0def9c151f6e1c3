"""A process that runs chained cases and dies in the middle of one: `python bench_write_child.py ROWS DEADLY`."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from edgemem.bench.writing.run import Setup, run_cases
from edgemem.bench.writing.values import Gold, WriteCase
from edgemem.engines.scripted import ScriptedEngine
from edgemem.prompting.prompts import load_prompts

TOWNS = ("Lund", "Porto", "Graz", "Brest")


def chained_cases() -> list[WriteCase]:
    """One user who likes a new town in each chat."""
    return [
        WriteCase(
            id=f"c{number}",
            set="retention",
            split="dev",
            language="en",
            style="planted",
            user="u",
            time=datetime(2026, 1, number, tzinfo=UTC),
            memory_before=(),
            turns=(("user", f"I really like the town of {town}."), ("assistant", "Noted.")),
            gold=(Gold(f"Likes {town}", "explicit", (town.casefold(),)),),
            chains_on=f"c{number - 1}" if number > 1 else None,
            own=True,
        )
        for number, town in enumerate(TOWNS, 1)
    ]


def setup(deadly: str = "") -> Setup:
    """An engine that writes what the last message says, and kills the process when it reads `deadly`."""

    def answer(prompt: str) -> str:
        town = max(TOWNS, key=prompt.rfind)
        if town == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"ADD Preferences: Likes the town of {town}"

    return Setup(ScriptedEngine(answer), load_prompts(), card_thresholds={"notes": 1.0})


if __name__ == "__main__":
    for step in run_cases(setup(sys.argv[2]), chained_cases(), Path(sys.argv[1])):
        print(step.row["case"], flush=True)
