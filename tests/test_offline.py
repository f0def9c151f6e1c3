"""Chat, update and reading with a real model need no socket, and a temporary chat with it writes no byte."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

BLOCKED = """
import socket, sys
def refuse(*a, **k): raise RuntimeError("a socket was opened")
socket.socket.connect = refuse
socket.socket.bind = refuse
socket.getaddrinfo = refuse
from edgemem.__main__ import main
sys.argv = ["edgemem", *sys.argv[1:]]
main()
"""


def edgemem(data_dir: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EDGEMEM_HOME": str(data_dir)}
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments], input=said, capture_output=True, text=True, env=environment
    )


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_chat_and_its_update_need_no_socket_and_temp_writes_no_byte(smollm2_path: Path, tmp_path: Path) -> None:
    model = ("--model", str(smollm2_path), "--offline")
    chat = edgemem(tmp_path, "chat", *model, said="My name is Nuno and I am allergic to walnuts.\n")
    assert chat.returncode == 0, chat.stderr
    assert chat.stdout.strip()
    shown = edgemem(tmp_path, "memory", "history", "--json")
    assert shown.returncode == 0, shown.stderr
    before = state_of(tmp_path)
    assert any(path.endswith("journal.db") for path in before)
    temporary = edgemem(tmp_path, "chat", "--temp", *model, said="Hello there.\n")
    assert temporary.returncode == 0, temporary.stderr
    assert temporary.stdout.strip()
    assert state_of(tmp_path) == before


def test_a_missing_model_while_offline_names_the_next_step(tmp_path: Path) -> None:
    found = edgemem(tmp_path, "ask", "hello", "--model", "qwen3-0.6b", "--offline")
    assert found.returncode == 3
    assert "offline" in found.stderr
    assert "edgemem model pull" in found.stderr
