"""A kill at every effect on disk, and a full disk at every write, of each act: what is found when it is opened again.

A small library (`faults.c`, compiled here, preloaded) counts each call that writes, creates, renames, syncs, truncates
or removes below the data folder, SQLite's included. Then the act is run again for each of them, in a process that dies
there by SIGKILL or whose disk is full from there on. What this does not show: a power cut, after which the disk may
have lost what was written and not synced; it shows that we come back from every state that the calls leave behind.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from edgemem.errors import EdgememError, InvalidInput
from edgemem.memory.document import parse, without_stamp
from edgemem.memory.lines import digest_of
from edgemem.store.journal import open_connection

from .crash_acts import ACTS, SECRET, USER, Act, opened

MODES = {1: "killed before", 2: "killed within", 3: "disk full from there", 4: "short write, then full"}
KILLING, WRITES, GROWING = (1, 2), (2, 4), "wom"
SOURCE = Path(__file__).with_name("faults.c")


@dataclass
class Row:
    """One act: effects counted, points tried per mode, and what went wrong, each with its place."""

    act: str
    effects: int
    points: dict[str, int] = field(default_factory=dict)
    survived: int = 0
    faults: list[str] = field(default_factory=list)


def measure(
    acts: Sequence[str] = (), progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[dict[str, Any]]:
    """Rows of the acts named (all without). Raises InvalidInput where nothing can be preloaded."""
    chosen = [act for act in ACTS if not acts or act.name in acts]
    with tempfile.TemporaryDirectory() as folder, _host(Path(folder)) as ask:
        return [asdict(_tried(act, Path(folder), ask, progress)) for act in chosen]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table for docs/trust.md."""
    lines = [f"| act | effects | {' | '.join(MODES.values())} | survived |", "|---|--:" + "|--:" * 5 + "|"]
    points = {name: sum(row["points"].get(name, 0) for row in rows) for name in MODES.values()}
    sums = {name: sum(row[name] for row in rows) for name in ("effects", "survived")}
    total = {"act": "all", "points": points, **sums}
    for row in [*rows, total]:
        tried = sum(row["points"].values())
        counts = " | ".join(str(row["points"].get(name, 0)) for name in MODES.values())
        lines.append(f"| {row['act']} | {row['effects']} | {counts} | {row['survived']} of {tried} |")
    return "\n".join(lines) + "\n"


Ask = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def _host(folder: Path) -> Iterator[Ask]:
    """The preloaded process, and how to ask it for one run."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux") or compiler is None:
        raise InvalidInput("faults can be injected on Linux with a C compiler only", "install gcc, or use a container")
    library = folder / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "edgemem.bench.trust.crash_host"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as host:

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            _there(host.stdin).write(json.dumps(request) + "\n")
            _there(host.stdin).flush()
            found: dict[str, Any] = json.loads(_there(host.stdout).readline())
            return found

        yield ask
        _there(host.stdin).close()


def _there(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _tried(act: Act, folder: Path, ask: Ask, progress: Callable[[str, int, int], None]) -> Row:
    base, work = folder / "base", folder / "work"
    for path in (base, work):
        shutil.rmtree(path, ignore_errors=True)
    act.prepare(work)  # at the place where it is used: exports are known by their path
    shutil.copytree(work, base)
    old = _state(work)

    def run(at: int, mode: int) -> dict[str, Any]:
        shutil.rmtree(work)
        shutil.copytree(base, work)
        return ask({"act": act.name, "folder": str(work), "at": at, "mode": mode})

    whole = run(0, 0)
    if whole["end"] != "done":
        raise InvalidInput(f"{act.name} does not work at all: {whole['error']}")
    new, kinds = _state(work), whole["kinds"]
    row = Row(act.name, len(kinds))
    points = [(mode, place) for mode in MODES for place in _places(kinds, mode)]
    for number, (mode, place) in enumerate(points, 1):
        progress(act.name, number, len(points))
        row.points[MODES[mode]] = row.points.get(MODES[mode], 0) + 1
        ended = run(place, mode)
        problems = _problems(act, work, old, new, ended, mode)
        row.survived += not problems
        row.faults += [f"{MODES[mode]} {place} ({kinds[place - 1]}): {one}" for one in problems]
    return row


def _places(kinds: str, mode: int) -> list[int]:
    wanted = "w" if mode in WRITES else GROWING if mode == 3 else kinds
    return [place for place, kind in enumerate(kinds, 1) if kind in wanted]


def _problems(act: Act, work: Path, old: Any, new: Any, ended: dict[str, Any], mode: int) -> list[str]:
    """What is wrong after a fault; then the act is done again, and must give the new state."""
    expected = ("killed", "done") if mode in KILLING else ("done", "refused")
    if ended["end"] not in expected:
        return [f"ended {ended['end']}: {ended.get('error', '')}"]
    try:
        told = set(ended["told"])
        shown = _in_clear(act, work, told)  # before anybody opens it
        found = _state(work)
        problems = shown + _consistent(work)
        asked = any(SECRET in text for text in found["pending"])  # the wish to forget is still there, and undone
        if found["memory"] not in (old["memory"], new["memory"]):
            problems.append(f"half a change: {found['memory']}")
        if lost := {one[5:] for one in told if one.startswith("turn ")} - set(found["turns"]):
            problems.append(f"a kept message is lost: {lost}")
        if "done" in told and (asked or found["memory"] != new["memory"]):
            problems.append("said to be done, and it is not")
        if found["memory"] == new["memory"] != old["memory"] and not asked:
            problems += _forgotten(act, work)
        if asked or found["memory"] == old["memory"] != new["memory"]:
            act.run(work, lambda _: None)
            again = _state(work)
            if again["memory"] != new["memory"]:
                problems.append(f"doing it again gives {again['memory']}")
            problems += _consistent(work) + _forgotten(act, work)
        return problems
    except (EdgememError, sqlite3.Error, OSError, AssertionError, ValueError) as error:
        return [f"cannot be used any more: {error!r}"]


def _in_clear(act: Act, work: Path, told: set[str]) -> list[str]:
    """Files of an encrypted user in which the word can be read."""
    files = [path for path in (work / "users").rglob("*") if path.is_file()]
    left = [path.name for path in files if SECRET.encode() in path.read_bytes()]
    hidden = act.hides == "always" or act.hides in told
    return [f"in clear in {', '.join(left)}"] if act.hides and hidden and left else []


def _forgotten(act: Act, work: Path) -> list[str]:
    """Where the word still stands. Exports stay when everything is forgotten: they are the person's own."""
    kept = work / "export.json" if act.name == "forget everything" else None
    files = [path for path in work.rglob("*") if act.forgets and path.is_file() and path != kept]
    left = [path.name for path in files if SECRET in path.read_bytes().decode("utf-8", "replace").casefold()]
    return [f"forgotten, but the word is in {', '.join(left)}"] if left else []


def _state(work: Path) -> dict[str, Any]:
    """What a person sees: the memory, what waits, and the messages kept."""
    with opened(work) as store:
        lines = [
            [line.section, line.text, line.pinned, line.origin, sorted(turn.text for turn in store.why(line.id).turns)]
            for line in store.read().lines
        ]
        waiting = [one.operation.text for one in store.waiting()]
        text = without_stamp(parse(store.text()))
        turns = [turn.text for chat in store.chats() for turn in store.turns(chat.id)]
        pending = [turn.text for chat in store.pending() for turn in chat if turn.role == "user"]
    return {"memory": [str(text), lines, waiting], "turns": turns, "pending": pending}


def _consistent(work: Path) -> list[str]:
    """What must hold for file and journal whatever happened, each rule that does not."""
    path = work / "users" / USER / "journal.db"
    if not path.exists() or not path.stat().st_size:
        return []
    with opened(work) as store, closing(open_connection(path, key=store.seal.key)) as journal:
        memory, newest = store.read(), store.revisions(1)
        (check,) = journal.execute("PRAGMA integrity_check").fetchone()
        strangers = journal.execute("PRAGMA foreign_key_check").fetchall()
        lines = journal.execute("SELECT section, text FROM lines WHERE removed IS NULL").fetchall()
        states = {one for (one,) in journal.execute("SELECT DISTINCT state FROM revisions")}
        double = len(memory.lines) - len({line.text for line in memory.lines})
    broken = {
        f"journal: {check}": check != "ok",
        f"rows of nobody: {strangers}": bool(strangers),
        "a revision is not finished": not states <= {"done"},
        "file and journal differ": memory.digest != (newest[0].result_digest if newest else digest_of("")),
        "lines of file and journal differ": sorted(lines) != sorted((line.section, line.text) for line in memory.lines),
        "a line is there twice": double > 0,
    }
    return [name for name, wrong in broken.items() if wrong]
