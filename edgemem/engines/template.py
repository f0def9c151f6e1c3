"""The model's own chat template: messages in, prompt text out. Rendering happens in `template_worker`'s process.

Knows nothing of tokens. A template that does not finish in time, writes too much or leaves its sandbox is an
error, never a hang.
"""

from __future__ import annotations

import hashlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgemem.errors import EngineFailed, ModelUnsupported
from edgemem.values import Message

TIME_LIMIT_S = 5.0
START_LIMIT_S = 60.0  # the first answer also waits for the interpreter to start, on a machine that may be busy


class ChatTemplate:
    """A chat template and the process that renders it. `close` ends the process; it also ends with ours."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "", time_limit_s: float = TIME_LIMIT_S) -> None:
        self.source = source
        self.digest = hashlib.sha256(source.encode()).hexdigest()
        self._special = {"bos_token": bos, "eos_token": eos}
        self._time_limit_s = time_limit_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[bytes] = queue.Queue()

    def start(self) -> None:
        """Start the process ahead of the first use (it takes about 0.1 s)."""
        worker = Path(__file__).with_name("template_worker.py")
        self._answers = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=_read_lines, args=(self._process, self._answers), daemon=True).start()

    def render(self, messages: Sequence[Message], *, think: bool = False) -> str:
        """The prompt up to where the assistant is to answer.

        Raises ModelUnsupported when the template refuses, fails, or does not finish.
        """
        variables = {
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "add_generation_prompt": True,
            "enable_thinking": think,
            **self._special,
        }
        answer = self._ask({"template": self.source, "variables": variables})
        if "error" in answer:
            raise ModelUnsupported(
                f"the model's chat template cannot be used: {answer['error']}",
                "try another model: edgemem model list",
            )
        return str(answer["text"])

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            fresh = self._process is None or self._process.poll() is not None
            if fresh:
                self.start()
            assert self._process is not None
            assert self._process.stdin is not None
            limit = self._time_limit_s + (START_LIMIT_S if self._answers.empty() and fresh else 0)
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
                line = self._answers.get(timeout=limit)
            except (queue.Empty, OSError):
                line = None
            if line is None:
                self._end()
                raise ModelUnsupported(
                    f"the model's chat template did not finish within {self._time_limit_s:g} s",
                    "try another model: edgemem model list",
                )
            if not line:
                self._end()
                raise EngineFailed("the process that renders chat templates died", "try again")
            answer: dict[str, Any] = json.loads(line)
            return answer

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # unsent bytes for a process that is gone
                    pass
        self._process = None


def _read_lines(process: subprocess.Popen[bytes], answers: queue.Queue[bytes]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            answers.put(line)
    except ValueError:  # closed under us by `close`
        pass
    answers.put(b"")
