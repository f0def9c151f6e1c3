"""The chat on a terminal (a pseudo-terminal): several lines, typed history, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cli_support
import pytest

from edgemem.store import open_store
from edgemem.store.typed_history import FILE_NAME, read_entries

pty = pytest.importorskip("pty")

PATIENCE_S = 30
ENTER, NEW_LINE, CTRL_C, CTRL_D = "\r", "\x1b\r", "\x03", "\x04"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r|\x1b\][^\x07]*\x07")


class Screen:
    """What a person at the terminal sees and types."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, wanted: str) -> str:
        """Everything since the last wait, up to and with `wanted`."""
        deadline = time.monotonic() + PATIENCE_S
        while wanted not in self.seen:
            assert time.monotonic() < deadline, f"never saw {wanted!r} in {self.seen!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    self.seen += _ESCAPES.sub("", os.read(self._master, 65536).decode("utf-8", "replace"))
                except OSError:  # the other side is closed
                    assert wanted in self.seen, f"ended without {wanted!r}: {self.seen!r}"
        found, _, self.seen = self.seen.partition(wanted)
        return found + wanted


@contextmanager
def chat(*arguments: str, answers: list[str], delay_s: float = 0.0, code: int = 0) -> Iterator[Screen]:
    """A chat on a terminal; it must have ended with `code` when the block ends."""
    master, slave = pty.openpty()
    environment = os.environ | {
        "EDGEMEM_TEST_ANSWERS": json.dumps(answers),
        "EDGEMEM_TEST_DELAY_S": str(delay_s),
        "TERM": "xterm",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }
    process = subprocess.Popen(
        [sys.executable, cli_support.__file__, "chat", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: _own_terminal(slave),
    )
    os.close(slave)
    try:
        yield Screen(master)
        assert process.wait(PATIENCE_S) == code
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _own_terminal(slave: int) -> None:
    """Ctrl-C on the pseudo-terminal goes to the process only when it is its controlling terminal."""
    import fcntl
    import termios

    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def said(data_dir: Path) -> list[str]:
    with open_store(data_dir, "default") as store:
        return [turn.text for one in store.chats() for turn in store.turns(one.id) if turn.role == "user"]


def test_a_message_of_several_lines_is_one_message(data_dir: Path) -> None:
    with chat("--no-learn", answers=["Thank you."]) as screen:
        screen.wait_for(">")
        screen.type("first" + NEW_LINE + "second\\" + ENTER + "third" + ENTER)
        screen.wait_for("Thank you.")
        screen.wait_for(">")
        screen.type(CTRL_D)
    assert said(data_dir) == ["first\nsecond\nthird"]


def test_what_is_typed_is_kept_for_the_next_chat_except_what_should_be_forgotten(data_dir: Path) -> None:
    typed = data_dir / "users/default" / FILE_NAME
    with chat("--no-learn", answers=["ok."]) as screen:
        screen.wait_for(">")
        screen.type("hello" + ENTER)
        screen.wait_for("ok.")
        screen.wait_for(">")
        screen.type("/forget secret cheese" + ENTER)
        screen.wait_for("[y/N]")
        screen.type("n\n")
        screen.wait_for("nothing was forgotten")
        screen.wait_for(">")
        screen.type("/temp" + ENTER)
        screen.wait_for("temp>")
        screen.type("between us" + ENTER)
        screen.wait_for("ok.")
        screen.wait_for("temp>")
        screen.type("/exit" + ENTER)
    assert read_entries(typed) == ["hello", "/temp"]
    assert typed.stat().st_mode & 0o777 == 0o600


def test_a_temporary_chat_keeps_nothing_that_is_typed(data_dir: Path) -> None:
    with chat("--temp", answers=["ok."]) as screen:
        screen.wait_for("temp>")
        screen.type("between us" + ENTER)
        screen.wait_for("ok.")
        screen.wait_for("temp>")
        screen.type(CTRL_D)
    assert not data_dir.exists()


def test_ctrl_c_stops_the_answer_and_the_second_one_leaves(data_dir: Path) -> None:
    with chat("--no-learn", answers=["one two three four " * 100], delay_s=0.02) as screen:
        screen.wait_for(">")
        screen.type("hi" + ENTER)
        screen.wait_for("three")
        screen.type(CTRL_C)
        screen.wait_for("answer stopped, nothing stored")
        screen.wait_for(">")
        screen.type(CTRL_C)
    assert said(data_dir) == []


def test_ctrl_c_clears_what_is_typed_and_asks_once_before_it_leaves(data_dir: Path) -> None:
    with chat("--no-learn", answers=["ok."]) as screen:
        screen.wait_for(">")
        screen.type("half a mess")
        screen.wait_for("mess")
        screen.type(CTRL_C)
        time.sleep(0.3)
        screen.type(CTRL_C)
        screen.wait_for("Ctrl-C again, or Ctrl-D, leaves")
        screen.wait_for(">")
        screen.type(CTRL_C)
    assert said(data_dir) == []
