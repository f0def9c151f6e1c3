"""`doctor --prove-offline` proves what it says, and would notice if it were not so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgemem.__main__ import run
from edgemem.cli import prove_offline
from edgemem.cli.prove_offline import wrong_modes


def test_a_chat_an_update_and_a_report_open_no_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text('["Nice."]', "utf-8")
    assert run(["doctor", "--prove-offline", "--json", "--model", f"scripted:{answers}"]) == 0
    found = json.loads(capsys.readouterr().out)
    values = {one["name"]: (one["value"], one["state"]) for one in found["findings"]}
    assert found["proved"] is True
    assert values["refusal"] == ("a socket is refused", "ok")
    assert values["sockets tried"] == ("0", "ok")
    assert values["update"] == ("1 messages learned", "ok")
    assert values["file modes"] == ("only for the owner", "ok")


@pytest.mark.engine
def test_with_a_real_model(smollm2_path: Path) -> None:
    assert run(["doctor", "--prove-offline", "--quiet", "--model", str(smollm2_path)]) == 0


def test_a_socket_that_is_tried_is_refused_and_counted() -> None:
    program = (
        "from edgemem.cli.prove_offline import refuse_sockets\n"
        "tried = refuse_sockets()\n"
        "import socket\n"
        "for make in (socket.socket, lambda: socket.getaddrinfo('localhost', 1), lambda: socket.gethostbyname('x')):\n"
        "    try: make()\n"
        "    except PermissionError: pass\n"
        "print(len(tried))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


def test_a_socket_that_was_tried_and_a_file_for_all_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"refuses": True, "sockets_tried": ["socket.connect"], "namespace": False, "routes": [], "lines": ["a"]}
    found |= {"answer_characters": 1, "learned_turns": 1, "report": ["stated"], "wrong_modes": ["users"]}
    monkeypatch.setattr(prove_offline, "prove_offline", lambda run: found)
    assert run(["doctor", "--prove-offline"]) == 1
    shown = capsys.readouterr().out
    assert "1, socket.connect" in shown
    assert "others may read users" in shown
    assert "this proves nothing" in shown


def test_a_model_that_is_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--prove-offline", "--model", "scripted:nowhere.json"]) == 13
    assert "the run without network failed" in capsys.readouterr().err


def test_files_that_others_may_read_are_found(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    assert wrong_modes(tmp_path) == []
    (tmp_path / "secret").chmod(0o640)
    assert wrong_modes(tmp_path) == ["secret"]
