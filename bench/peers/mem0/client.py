"""mem0 as an arm: fed session by session, asked with the question, paid for like the memory.

Its calls go to llama-cpp-python's server with the same model, its vectors come from the same encoder as `rag_dense`,
its store is local. What it has after each session is kept beside the rows, as the homes of the memory are. mem0 2 only
adds memories, so those of the first sessions can be found later by the number of their session.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgemem.engines.base import Engine
from edgemem.prompting.prompts import day

from ...arms import Known
from ...chains import Chains
from ...encoder import MISSING
from ...jsonl import Row, append_object, read_objects
from ...memories import Place, key
from ...retention import retained
from ...usage import peaks_of
from ...values import CannotRun, History, Session
from ..environment import ensure
from ..loopback import Server, open_server
from ..processes import ended, environment

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CONTEXT_TOKENS = 24_576
"""Of its server: mem0's instructions alone are about 8,000 tokens."""


@dataclass(frozen=True)
class Mem0Setup:
    """Where it runs and with what. `environments` is the folder of peers' environments; `model` a GGUF file."""

    environments: Path
    model: Path | None
    model_digest: str
    encoder: Path | None
    threads: int
    gpu_layers: int = 0
    offline: bool = False


class Mem0:
    """What mem0 knows of each user. Starts nothing before it is needed; `close` ends what was started."""

    def __init__(self, setup: Mem0Setup, engine: Engine, rows: Path) -> None:
        self._setup, self._engine = setup, engine
        self._file = rows.with_name(rows.name + ".memories.jsonl")
        version = REQUIREMENTS.read_text("utf-8").partition("mem0ai==")[2].split()[0]
        self._run = ("mem0", version, setup.model_digest, str(CONTEXT_TOKENS))
        self._chains = Chains(rows.with_name(rows.name + ".homes"), self._run)
        self._written: dict[tuple[str, str], Row] = {}
        for row in read_objects(self._file) if self._file.exists() else ():
            if tuple(row["run"]) == self._run:
                self._written[(row["task"], row["place"])] = row
        self._problems: dict[str, str] = {}
        self._started = ExitStack()
        self._server: Server | None = None
        self._asking: tuple[str, Driver] | None = None

    def missing(self, task: str, history: History, learned: int) -> int:
        """How many sessions are still to be learned."""
        return sum((task, f"{key(history)}#{number}") not in self._written for number in range(1, learned + 1))

    def learn(self, task: str, history: History, learned: int) -> Iterator[tuple[int, Row]]:
        """Feed it what is missing of the first `learned` sessions. Yields as `Memories.learn`. What
        cannot be learned ends it; `found` then says why."""
        if f"{task} {key(history)}" in self._problems:
            return
        for number, session in enumerate(history.sessions[:learned], 1):
            place = Place(task, key(history), number)
            if (task, place.id) not in self._written:
                self._stop_asking()
                try:
                    with self._chains.home(place, continued=True) as home:
                        home.mkdir(exist_ok=True)
                        found = self._learned(session, number, home)
                except CannotRun as problem:
                    self._problems[f"{task} {key(history)}"] = f"{problem} (session {number})"
                    return
                row = {"run": list(self._run), "task": task, "place": place.id} | found
                append_object(self._file, row)
                self._written[(task, place.id)] = row
                self._chains.done(place, continued=True)
            row = self._written[(task, place.id)]
            cost = {name: value for name, value in row.items() if name not in ("run", "task", "place", "view")}
            yield number, cost | retained(history, number, str(row["view"]))

    def found(self, task: str, history: History, learned: int, question: str, room: int) -> Known:
        """Its memories for the question, best first, of `room` tokens (the last one cut). Raises CannotRun."""
        if self.missing(task, history, learned):
            raise CannotRun(self._problems.get(f"{task} {key(history)}", "mem0 has not learned this history"))
        if not learned or not room:
            return Known()
        driver = self._asked(task, history)
        lines: list[str] = []
        left = room
        for text in driver.request({"search": question, "learned": learned})["memories"]:
            ids = self._engine.tokenize(f"[{len(lines) + 1}] {text}\n")[:left]
            lines.append(self._engine.detokenize(ids).rstrip())
            left -= len(ids)
            if not left:
                break
        return Known("\n".join(lines), room - left)

    def close(self) -> None:
        self._stop_asking()
        self._started.close()
        self._server = None

    def _learned(self, session: Session, number: int, home: Path) -> Row:
        chat = [{"role": role, "content": text} for role, text in session.turns]
        chat[0]["content"] = f"({day(session.time)}) {chat[0]['content']}"  # it takes no dates of its own
        server = self._opened()
        with Driver(self._python(), home, server.base_url, self._encoder()) as driver:
            found = driver.request({"add": chat, "session": number})
            peaks = [peaks_of(pid) for pid in (driver.pid, server.pid)]
        view = "\n".join(found["memories"])
        known = [peak for peak in peaks if peak]
        return {
            "view": view,
            "session_tokens": sum(self._engine.count(text) for _, text in session.turns),
            "memory_tokens": self._engine.count(view),
            "seconds": round(found["seconds"], 3),
            "prompt_tokens": found["prompt_tokens"],
            "cached_tokens": 0,  # the server does not tell
            "output_tokens": found["output_tokens"],
            "calls": found["calls"],
            "errors": found["errors"],
            "changes": {"add": found["added"], "update": 0, "delete": 0},
            "set_aside": 0,
            "rss_peak": sum(known) or None,
            "connections": found["connections"],
            "refused": found["refused"],
        }

    def _asked(self, task: str, history: History) -> Driver:
        """A driver on a copy of the user's home as the last session left it."""
        name = f"{task} {key(history)}"
        if self._asking is None or self._asking[0] != name:
            self._stop_asking()
            last = max(number for number in range(1, len(history.sessions) + 1) if self._has(task, history, number))
            after = Place(task, key(history), last + 1)
            asking = ExitStack()
            home = asking.enter_context(self._chains.home(after, continued=False))
            driver = asking.enter_context(Driver(self._python(), home, self._opened().base_url, self._encoder()))
            self._asking = (name, driver)
            self._asking_stack = asking
        return self._asking[1]

    def _has(self, task: str, history: History, number: int) -> bool:
        return (task, f"{key(history)}#{number}") in self._written

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking = None
            self._asking_stack.close()

    def _python(self) -> Path:
        return ensure(REQUIREMENTS, self._setup.environments, offline=self._setup.offline)

    def _encoder(self) -> Path:
        if self._setup.encoder is None:
            raise CannotRun(MISSING)
        return self._setup.encoder

    def _opened(self) -> Server:
        if self._server is None:
            if self._setup.model is None:
                raise CannotRun("its server needs a GGUF file, and this model is none")
            self._encoder()
            self._server = open_server(
                self._python(),
                self._setup.model,
                context_tokens=CONTEXT_TOKENS,
                threads=self._setup.threads,
                gpu_layers=self._setup.gpu_layers,
            )
            self._started.callback(self._server.close)
        return self._server


class Driver:
    """A process that runs mem0 on one home."""

    def __init__(self, python: Path, home: Path, base_url: str, encoder: Path) -> None:
        self._command = [
            str(python),
            "-P",
            str(Path(__file__).with_name("driver.py")),
            str(home),
            base_url,
            str(encoder),
        ]
        self._home = home

    def __enter__(self) -> Driver:
        self._stack = ExitStack()
        log = Path(self._stack.enter_context(TemporaryDirectory(prefix="edgemem-mem0-"))) / "log"
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(MEM0_DIR=str(self._home)),
            )
        self._stack.callback(ended, self._process)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def request(self, value: dict[str, Any]) -> dict[str, Any]:
        """Its answer. Raises CannotRun where it has a problem, or is no more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(value).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = b""
        if not line:
            said = self._log.read_text("utf-8", "replace").strip().splitlines()
            raise CannotRun(f"mem0 ended: {' '.join(said[-2:])[-300:]}")
        found: dict[str, Any] = json.loads(line)
        if "problem" in found:
            raise CannotRun(f"mem0: {found['problem'][:300]}")
        return found
