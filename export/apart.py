"""Runs one heavy step in a process of its own: its memory is its own to measure, a crash of a library or a kill for
lack of memory is an error and not our end, and Ctrl-C stops it at once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from edgemem.errors import EdgememError, EngineFailed, StoreWriteFailed

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done and how much there is."""
TAIL_CHARS = 600
WRITE_HINT = "free some space, or name another folder (--out FOLDER), and try again; what is finished is kept"


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a step returned, and what it cost."""

    value: T
    seconds: float
    peak_rss_bytes: int


def run_apart(task: Callable[..., T], *args: object, progress: Progress | None = None) -> Outcome[T]:
    """Call `task(*args, report)` in a new process; its reports go to `progress`.

    `task` is a function of a module, its arguments and result can be pickled. Errors of ours come back as they are;
    anything else that ends the process raises EngineFailed with the end of what it wrote.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgemem-step-") as folder:
        log = Path(folder) / "log"
        process = context.Process(target=_child, args=(theirs, log, task, args), daemon=True)
        process.start()
        theirs.close()
        try:
            kind, *rest = _listen(ours, progress)
            process.join()
        finally:
            process.kill()
            process.join()
        tail = log.read_text("utf-8", "replace")[-TAIL_CHARS:].strip() if log.exists() else ""
    if kind == "error":
        raise rest[0]
    if kind == "died":
        raise _death(task.__name__, process.exitcode or 0, tail)
    return Outcome(rest[0], time.monotonic() - started, rest[1])


def _listen(pipe: Connection, progress: Progress | None) -> tuple[Any, ...]:
    while True:
        try:
            message: tuple[Any, ...] = pipe.recv()
        except EOFError:
            return ("died",)
        if message[0] != "progress":
            return message
        if progress:
            progress(*message[1:])


def _death(name: str, code: int, tail: str) -> EngineFailed:
    if code == -9:
        return EngineFailed(
            f"the process of {name} was killed, probably for lack of memory.", "Close other programs and try again."
        )
    return EngineFailed(f"the process of {name} ended with code {code}: {tail}", "Please report this.")


def _child(pipe: Connection, log: Path, task: Callable[..., Any], args: tuple[object, ...]) -> None:
    _write_to(log)

    def report(label: str, done: int, total: int) -> None:
        try:
            pipe.send(("progress", label, done, total))
        except OSError:  # whoever waits for us is gone
            os._exit(1)

    try:
        value = task(*args, report)
    except EdgememError as error:
        pipe.send(("error", error))
    except OSError as error:
        pipe.send(("error", StoreWriteFailed(f"could not write: {error.strerror or error}", WRITE_HINT)))
    else:
        pipe.send(("done", value, peak_rss_bytes()))


def _write_to(log: Path) -> None:
    """Libraries write what they like to standard output and error: keep it out of ours."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)


def peak_rss_bytes() -> int:
    """Most memory this process ever had in use (0 where the system does not tell).

    Linux's ru_maxrss counts the parent's memory at the start of a child, so the process's own record is read.
    """
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
