"""Takes the samples of `bench speed`: A, B, A, B, ... in one process, each on disk before the next begins.

A sample is one line of JSON. What is there is not measured again, so a run may stop anywhere. Does not print.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edgemem.errors import EdgememError, InvalidInput
from edgemem.machine import cpu_model, memory_bytes

from ..jsonl import append_object, read_objects
from ..writing.run import Setup, code_digest
from .chats import forty_chats
from .pairs import PAIRS, Pair
from .report import TUNED

ROWS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
REPEATS = 6  # the first one warms up and is left out
IDENTITY = ("row", "arm", "repeat", "model_digest", "version", "threads", *TUNED, "cpu", "code_digest")

Sample = dict[str, Any]


def chosen_rows(text: str) -> list[str]:
    """`1,3` as a list. Raises InvalidInput for a row that there is not."""
    rows = [part.strip() for part in text.split(",") if part.strip()] or list(ROWS)
    if unknown := sorted(set(rows) - set(ROWS)):
        raise InvalidInput(f"there is no row {', '.join(unknown)}", f"use {', '.join(ROWS)}")
    return rows


def machine_of(setup: Setup) -> Sample:
    """What the samples were taken with."""
    info = setup.engine.info
    return {
        "model": info.model,
        "model_digest": info.digest,
        "version": info.version,
        "threads": info.threads,
        "context_tokens": info.context_tokens,
        "device": info.device,
        **{name: info.details.get(name, "") for name in TUNED},
        "system_info": info.details.get("system_info", ""),
        "cpu": cpu_model(),
        "ram_bytes": memory_bytes()[0],
        "python": platform.python_version(),
        "policy": setup.policy,
        "code_digest": code_digest(),
    }


def measure(setup: Setup, rows: Sequence[str], file: Path, repeats: int = REPEATS) -> Iterator[Sample]:
    """The samples that `file` does not have yet, each when it is on disk.

    A row that cannot be prepared (no compiler for its reference, a scripted model) is left out: for it comes
    {"row", "left_out": why}, which is not kept.
    """
    head = machine_of(setup)
    there = {_identity(one) for one in (read_objects(file) if file.exists() else [])}
    for pair in PAIRS:
        if pair.row not in rows:
            continue
        wanted = [(repeat, arm) for repeat in range(repeats) for arm in ("a", "b")]
        todo = [
            (repeat, arm)
            for repeat, arm in wanted
            if _identity({**head, "row": pair.name, "arm": arm, "repeat": repeat}) not in there
        ]
        yield from _pair(setup, pair, todo, head, file)
    chats = {**head, "row": "chats", "arm": "", "repeat": 0}
    if {"7", "8"} & set(rows) and _identity(chats) not in there:
        yield _kept(file, {**chats, "chats": forty_chats(setup)})


def _pair(setup: Setup, pair: Pair, todo: Sequence[tuple[int, str]], head: Sample, file: Path) -> Iterator[Sample]:
    if not todo:
        return
    with ExitStack() as stack:
        try:
            arms = stack.enter_context(pair.prepare(setup))
        except EdgememError as error:
            yield {"row": pair.name, "left_out": f"{error.message}; {error.hint}".removesuffix("; ")}
            return
        for repeat, arm in todo if arms else ():  # a row may be none for this model
            taken = arms[arm]()
            yield _kept(file, {**head, "row": pair.name, "arm": arm, "repeat": repeat, **taken})


def _kept(file: Path, sample: Sample) -> Sample:
    append_object(file, sample)
    return sample


def _identity(sample: Sample) -> tuple[str, ...]:
    return tuple(str(sample.get(name, "")) for name in IDENTITY)
