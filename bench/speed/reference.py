"""Rows against llama-bench: how fast we decode and read at equal flags, and how soon a new process answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from edgemem.assistant import Assistant
from edgemem.errors import EngineFailed
from edgemem.kept_memory import stable_ids
from edgemem.memory.lines import prompt_view
from edgemem.store import open_store
from edgemem.values import Message, Operation

from ..writing.run import Setup, writer
from .arms import QUESTION, Arms, Taken, cost_case
from .llama_bench import LlamaBench, built
from .setup import SpeedSetup, real

READ = 512
COUNTING = "One number on each line:\n1\n2\n3\n4\n5\n6\n7\n"
"""A short prompt that a model goes on with for thousands of tokens."""
USER = "bench"


def _reference(setup: SpeedSetup) -> LlamaBench:
    info = setup.engine.info
    assert setup.tools is not None
    return LlamaBench(built(setup.tools, info.version, setup.say), setup.gguf, info)


def decoding(tokens: int) -> Callable[[Setup], AbstractContextManager[Arms]]:
    """Seconds for each token of an answer, nearly from an empty cache: llama-bench, and ours with its text."""

    @contextmanager
    def prepare(plain: Setup) -> Iterator[Arms]:
        setup = real(plain)
        reference = _reference(setup)
        prompt = setup.engine.tokenize(COUNTING)

        def ours() -> Taken:
            session = setup.engine.open()
            session.feed(prompt)
            started = time.perf_counter()
            stats = list(session.generate(tokens))[-1].stats
            seconds = time.perf_counter() - started
            session.close()
            assert stats is not None
            return {"value": seconds / max(1, stats.output_tokens), "tokens": stats.output_tokens}

        yield {"a": lambda: {"value": reference.seconds_each(written=tokens)}, "b": ours}

    return prepare


@contextmanager
def prefill(plain: Setup) -> Iterator[Arms]:
    """Seconds for each token of a prompt: llama-bench, and ours."""
    setup = real(plain)
    reference = _reference(setup)
    ids = (setup.engine.tokenize("The keeper of the lighthouse walked down to the shore. " * READ))[:READ]

    def ours() -> Taken:
        session = setup.engine.open()
        started = time.perf_counter()
        session.feed(ids)
        seconds = time.perf_counter() - started
        session.close()
        return {"value": seconds / READ}

    yield {"a": lambda: {"value": reference.seconds_each(read=READ)}, "b": ours}


@contextmanager
def starting(plain: Setup) -> Iterator[Arms]:
    """From the start of `edgemem ask` to the first letter of its answer, with the memory kept on disk; llama-bench's
    load and one token."""
    setup = real(plain)
    reference = _reference(setup)
    with TemporaryDirectory(prefix="edgemem-bench-") as folder:
        home = Path(folder)
        behind = _prepare_home(setup, home)
        yield {
            "a": lambda: {"value": _first_letter(setup, home), "behind": behind},
            "b": lambda: {"value": reference.load_and_one_token_s()},
        }


def _prepare_home(setup: SpeedSetup, home: Path) -> int:
    """A user with a memory of 1,500 tokens that is computed and kept, and what the self-test chose. Gives the number
    of tokens of the question's prompt that stand behind what is kept."""
    if setup.tunings is not None and setup.tunings.exists():
        shutil.copytree(setup.tunings, home / "cache" / "tuning")
    checked = setup.tools.parent / "verified.json" if setup.tools else None
    if checked and checked.exists():  # the model's digest was checked at its first use
        (home / "cache").mkdir(parents=True, exist_ok=True)
        shutil.copy2(checked, home / "cache")
    with open_store(home, USER) as store:
        lines = [Operation("add", section="About", text=text) for text in cost_case().memory_before]
        store.commit(lines, base=store.read(), cause="command")
        policy = writer(Setup(setup.engine, setup.prompts))
        assistant = Assistant(USER, setup.engine, store, policy, setup.prompts, keeps_computed=True, review="off")
        # All of it, however long it takes: closing would stop after some seconds.
        view, now = prompt_view(store.read().lines), assistant.now()
        kept = stable_ids(setup.engine, setup.prompts, view, now)
        session = setup.engine.open()
        session.feed(kept)
        session.save(assistant.kept.path)
        session.close()
    asked = setup.engine.render([setup.prompts.chat_system(view, now), Message("user", QUESTION)])
    return len(asked) - len(kept)


def _first_letter(setup: SpeedSetup, home: Path) -> float:
    info = setup.engine.info
    command = [sys.executable, "-m", "edgemem", "ask", "--temp", QUESTION, "--user", USER, "--data-dir", str(home)]
    command += ["--model", str(setup.gguf), "--context", str(info.context_tokens), "-q"]
    for name, value in setup.opening.items():
        command += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    command += ["--tune" if setup.tunings is not None else "--no-tune"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGEMEM_")}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        first = child.stdout.read(1)
        seconds = time.perf_counter() - started
        child.terminate()
        problem = child.stderr.read().decode("utf-8", "replace")
    if not first:
        raise EngineFailed(f"edgemem ask said nothing: {problem.strip()[-300:]}")
    return seconds
