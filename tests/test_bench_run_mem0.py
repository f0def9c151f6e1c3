"""The arm `mem0`: what its processes may reach, why it cannot run where it cannot, and the real library where it is.

The real one is tested with EDGEMEM_TEST_PEERS=FOLDER, where its environment is kept (and made, from a package index).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench_run_child import chosen
from conftest import PERSONS_ENVIRONMENT

from edgemem.bench.arms import BY_DEFAULT
from edgemem.bench.jsonl import append_object
from edgemem.bench.peers import loopback
from edgemem.bench.peers.environment import ensure, is_there
from edgemem.bench.peers.mem0 import client, driver
from edgemem.bench.peers.mem0.client import REQUIREMENTS, Driver, Mem0, Mem0Setup
from edgemem.bench.peers.processes import environment
from edgemem.bench.rows import Setup
from edgemem.bench.run import Run
from edgemem.bench.summary import groups
from edgemem.bench.values import START, CannotRun, History, Session
from edgemem.engines.scripted import ScriptedEngine
from edgemem.prompting.prompts import load_prompts

CONNECTING = """
import runpy, socket, sys
found = runpy.run_path(sys.argv[1])
sys.addaudithook(found["guard"])
for host in ("192.0.2.1", "example.org"):
    try:
        socket.create_connection((host, 80), 1)
    except PermissionError as error:
        print(error)
with socket.socket() as listening, socket.socket() as own:
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    own.connect(listening.getsockname())
print(found["refused"], found["connections"])
"""


def mem0_setup(folder: Path, **more: Any) -> Mem0Setup:
    return Mem0Setup(folder / "peers", **({"model": None, "model_digest": "d", "encoder": None, "threads": 1} | more))


def reason(tmp_path: Path, mem0: Mem0Setup | None) -> str:
    setup = Setup(ScriptedEngine(lambda prompt: "(a)"), load_prompts(), mem0=mem0)
    row = [step.row for step in Run(setup, chosen()[:1], ["mem0"], tmp_path / "rows.jsonl").steps()][-1]
    assert row["status"] == "cannot run"
    return str(row["reason"])


def test_its_process_reaches_this_machine_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONNECTING, str(Path(driver.__file__))], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "192.0.2.1 is not this machine",
        "example.org is not this machine",
        "['192.0.2.1', 'example.org'] {'127.0.0.1': 1}",
    ]


def test_no_key_proxy_or_telemetry_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "HTTPS_PROXY", "MEM0_API_KEY"):
        monkeypatch.setenv(name, "secret")
    found = environment(MEM0_DIR="/x")
    assert "secret" not in found.values()
    assert (found["MEM0_TELEMETRY"], found["MEM0_DIR"]) == ("False", "/x")


def test_every_requirement_is_pinned() -> None:
    lines = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert len(lines) > 30
    assert all(line.count("==") == 1 for line in lines)
    assert any(line.startswith("mem0ai==") for line in lines)


def test_it_runs_only_where_it_is_named() -> None:
    assert "mem0" not in BY_DEFAULT


def test_it_says_why_it_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.gguf"
    assert "nothing is said" in reason(tmp_path / "1", None)
    assert "needs a GGUF file" in reason(tmp_path / "2", mem0_setup(tmp_path))
    assert "edgemem model pull minilm-l6" in reason(tmp_path / "3", mem0_setup(tmp_path, model=file))
    offline = mem0_setup(tmp_path, model=file, encoder=tmp_path, offline=True)
    assert "--offline is given (session 1)" in reason(tmp_path / "4", offline)
    broken = tmp_path / "requirements.txt"
    broken.write_text("no such requirement at all\n")
    monkeypatch.setattr(client, "REQUIREMENTS", broken)
    with pytest.raises(CannotRun, match="could not be made"):
        ensure(broken, tmp_path / "peers", offline=False)
    assert not is_there(broken, tmp_path / "peers")


def test_a_server_that_does_not_start_says_what_it_said(tmp_path: Path) -> None:
    options = {"context_tokens": 512, "threads": 1, "gpu_layers": 0}
    with pytest.raises(CannotRun, match="did not start"):
        loopback.open_server(Path(sys.executable), tmp_path / "missing.gguf", **options)


def test_its_sessions_count_as_its_own_and_not_as_the_memorys() -> None:
    from test_bench_run_report import question, session

    own = session("a", 1, 100.0) | {"arm": "mem0", "policy": "mem0", "budget_tokens": 0}
    rows = [question("a1", "memory", True), question("a1", "mem0", False), session("a", 1, 10.0), own]
    (group,) = groups(rows)
    assert [arm.name for arm in group.arms] == ["memory", "mem0"]
    assert [(one.name, one.seconds_per_session) for one in group.learning] == [("memory", 10.0), ("mem0", 100.0)]


class Model(BaseHTTPRequestHandler):
    """What a model would extract: a memory for each sentence of the user that begins with "I"."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        new = asked["messages"][1]["content"].partition("## New Messages")[2].partition("## ")[0]
        said = [part.strip() for part in new.replace("\\n", "\n").replace(") I ", "\nI ").splitlines()]
        facts = [part.partition("I ")[2] for part in said if "I " in part]
        reply = json.dumps({"memory": [{"text": f"I {fact}", "attributed_to": "user"} for fact in facts]})
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": reply}}
        usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "local", "choices": [message]}
        text = json.dumps(body | {"usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def base_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


@pytest.fixture
def environments() -> Path:
    folder = PERSONS_ENVIRONMENT.get("EDGEMEM_TEST_PEERS")
    if not folder:
        pytest.skip("EDGEMEM_TEST_PEERS names no folder for mem0's environment")
    return Path(folder)


def history(*said: str) -> History:
    sessions = [Session(START, (("user", text), ("assistant", "Noted."))) for text in said]
    return History("h", "p", tuple(sessions))


@pytest.mark.slow
def test_the_real_library_learns_finds_and_stays_on_this_machine(
    environments: Path, encoder_folder: Path, base_url: str, tmp_path: Path
) -> None:
    python = ensure(REQUIREMENTS, environments, offline=False)
    with Driver(python, tmp_path, base_url, encoder_folder) as running:
        first = running.request({"add": [{"role": "user", "content": "I live in Bergen."}], "session": 1})
        second = running.request({"add": [{"role": "user", "content": "I paint lighthouses."}], "session": 2})
        assert (first["calls"], first["prompt_tokens"], first["output_tokens"]) == (1, 100, 7)
        assert (first["added"], len(second["memories"])) == (1, 2)
        found = running.request({"search": "Where is my home?", "learned": 2})["memories"]
        assert found[0] == "I live in Bergen."
        assert running.request({"search": "Which hobby?", "learned": 1})["memories"] in ([], ["I live in Bergen."])
        last = running.request({"search": "What?", "learned": 1})
        assert (set(last["connections"]), last["refused"]) == ({"127.0.0.1"}, [])
        assert "problem" not in last


@pytest.mark.slow
def test_what_it_knows_is_kept_for_the_next_run(
    environments: Path, encoder_folder: Path, base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ready:
        pid, closed = 0, False

        def close(self) -> None:
            self.closed = True

    Ready.base_url = base_url  # type: ignore[attr-defined]
    monkeypatch.setattr(client, "open_server", lambda *_, **__: Ready())
    setup = Mem0Setup(environments, tmp_path / "model.gguf", "d", encoder_folder, 1)
    engine, told = ScriptedEngine(), history("I live in Bergen.", "I paint lighthouses.")
    rows = tmp_path / "rows.jsonl"
    append_object(rows.with_name("rows.jsonl.memories.jsonl"), {"run": ["other"], "task": "t", "place": "x"})
    once = Mem0(setup, engine, rows)
    assert once.missing("t", told, 2) == 2
    (number, row), *_ = once.learn("t", told, 1)
    assert (number, row["changes"]["add"], row["calls"], row["refused"]) == (1, 1, 1, [])
    once.close()
    again = Mem0(setup, engine, rows)
    assert again.missing("t", told, 2) == 1
    assert [number for number, _ in again.learn("t", told, 2)] == [1, 2]
    found = again.found("t", told, 2, "What do I paint?", 50)
    assert "[1] I paint lighthouses." in found.view
    assert again.found("t", told, 2, "What do I paint?", 3).tokens == 3
    assert "lighthouses" not in again.found("t", told, 1, "What do I paint?", 50).view
    again.close()


OPENING = """
import sys, time
from pathlib import Path
from edgemem.bench.peers.loopback import open_server
options = {"context_tokens": 512, "threads": 1, "gpu_layers": 0}
print(open_server(Path(sys.argv[1]), Path(sys.argv[2]), **options).pid, flush=True)
time.sleep(300)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_server_does_not_outlive_a_killed_bench(environments: Path, smollm2_path: Path) -> None:
    python = ensure(REQUIREMENTS, environments, offline=False)
    opening = [sys.executable, "-c", OPENING, str(python), str(smollm2_path)]
    bench = subprocess.Popen(opening, stdout=subprocess.PIPE, text=True)
    assert bench.stdout is not None
    server = psutil.Process(int(bench.stdout.readline()))
    assert {address.laddr.ip for address in server.net_connections()} == {"127.0.0.1"}
    bench.kill()
    bench.wait()
    server.wait(20)  # it is not this process's child: psutil looks until it is gone
    assert not server.is_running()
