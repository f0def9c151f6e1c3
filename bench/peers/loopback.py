"""llama-cpp-python's OpenAI-compatible server on 127.0.0.1, on a port that is free, for peers that want one."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryFile

from ..values import CannotRun
from .processes import ended, environment

HOST = "127.0.0.1"
START_S = 180.0


class Server:
    """A running server. `open_server` starts one; `close` ends it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port
        self.pid = process.pid

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    def close(self) -> None:
        ended(self._process)


def open_server(python: Path, model: Path, *, context_tokens: int, threads: int, gpu_layers: int) -> Server:
    """Start it and wait until it listens. Raises CannotRun with the end of what it said."""
    port = _free_port()
    command = [str(python), "-P", str(Path(__file__).with_name("serve.py")), "--model", str(model), "--host", HOST]
    command += ["--port", str(port), "--n_ctx", str(context_tokens), "--n_gpu_layers", str(gpu_layers)]
    command += ["--logits_all", "false"]  # its default keeps logits of every prompt token: 7 GB here, and slow
    command += ["--n_threads", str(threads), "--n_threads_batch", str(threads)]
    with TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment())
        deadline = time.monotonic() + START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                ended(process)
                log.seek(0)
                said = log.read().decode("utf-8", "replace").strip().splitlines()
                raise CannotRun(f"the server of llama-cpp-python did not start: {' '.join(said[-3:])[-300:]}")
            time.sleep(0.2)
    return Server(process, port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
