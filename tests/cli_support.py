"""What the command line's tests share: running it in a process of its own, and an engine that takes its time.

`python -m` of this file is the command line with an assistant on that slow engine (EDGEMEM_TEST_ANSWERS: its JSON
list of answers, EDGEMEM_TEST_DELAY_S: seconds per word, EDGEMEM_TEST_UPDATE_DELAY_S: per sentence that an update
looks at).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemem.assistant import Assistant, open_assistant
from edgemem.cli import open as opening
from edgemem.cli.output import Report
from edgemem.engines.scripted import ScriptedEngine, ScriptedSession
from edgemem.settings import Settings
from edgemem.values import Piece


def answers_file(folder: Path, *answers: str) -> str:
    """A model that gives these answers in order."""
    file = folder / "answers.json"
    file.write_text(json.dumps(list(answers)), "utf-8")
    return f"scripted:{file}"


def edgemem(
    *arguments: str, text: str = "", code: int | None = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line with `text` on stdin; fails when the exit code is another than `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "edgemem", *arguments],
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | environment,
        timeout=60,
        check=False,
    )
    if code is not None:
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True)
class Said:
    """What a command wrote."""

    out: str
    err: str

    @property
    def values(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)


def call(*arguments: str, text: str = "", code: int = 0) -> Said:
    """As `edgemem`, but in this process: quicker, and coverage and assertions reach it."""
    from edgemem.__main__ import run

    out, err, stdin = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode("utf-8")), "utf-8")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            found = run(list(arguments))
    finally:
        sys.stdin = stdin
    assert found == code, f"exit {found}\n{out.getvalue()}\n{err.getvalue()}"
    return Said(out.getvalue(), err.getvalue())


class SlowSession(ScriptedSession):
    """Waits before each piece and each look, like a real model."""

    def generate(self, *arguments: Any, **options: Any) -> Iterator[Piece]:
        for piece in super().generate(*arguments, **options):
            time.sleep(float(os.environ.get("EDGEMEM_TEST_DELAY_S", "0")))
            yield piece

    def score(self, options: Sequence[Sequence[int]]) -> list[float]:
        time.sleep(float(os.environ.get("EDGEMEM_TEST_UPDATE_DELAY_S", "0")))
        return super().score(options)

    def fork(self) -> SlowSession:
        return SlowSession(self._engine, self._ids)


class SlowEngine(ScriptedEngine):
    def open(self) -> SlowSession:
        return SlowSession(self)


def _slow_assistant(settings: Settings, progress: Report | None, temporary: bool) -> Assistant:
    answers = json.loads(os.environ["EDGEMEM_TEST_ANSWERS"])
    return open_assistant(settings.user, engine=SlowEngine(answers), data_dir=settings.data_dir, temporary=temporary)


if __name__ == "__main__":
    from edgemem.__main__ import main

    opening.assistant_opener = _slow_assistant
    main()
