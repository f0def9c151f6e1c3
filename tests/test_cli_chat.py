"""`edgemem chat` and `edgemem ask` over a pipe: streams, commands, learning, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cli_support
import pytest
from cli_support import answers_file, call

from edgemem.cli.idle import IdleLearner
from edgemem.errors import Cancelled, EdgememError, UpdateFailed

BANNER = "scripted on cpu, 1 thread, context 10240; memory of default: 0 lines, 0 of 2048 tokens\n"


def remembered() -> list[str]:
    return [line["text"] for line in call("memory", "show", "--json").values["lines"]]


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_line_is_answered_and_the_chat_is_learned_at_its_end(data_dir: Path, tmp_path: Path) -> None:
    model = answers_file(tmp_path, "Hello Mira.", "Graz is\nlovely.", "never asked")
    said = call("chat", "--model", model, text="I am called Mira\n\nI live in Graz\n")
    assert said.out == "Hello Mira.\nGraz is\nlovely.\n"
    assert said.err == BANNER + "learning: 1 of 1\nmemory updated (+2)\n"
    assert remembered() == ["I am called Mira", "I live in Graz"]


def test_quiet_leaves_only_the_answers(data_dir: Path, tmp_path: Path) -> None:
    said = call("-q", "chat", "--model", answers_file(tmp_path, "Hello."), text="Hi\n")
    assert (said.out, said.err) == ("Hello.\n", "")


def test_verbose_tells_what_an_answer_cost(data_dir: Path, tmp_path: Path) -> None:
    said = call("chat", "-v", "--no-learn", "--model", answers_file(tmp_path, "Hello there."), text="Hi\n")
    assert " tokens in, 2 out, " in said.err


@pytest.mark.parametrize(
    ("arguments", "text", "asked"),
    [
        ([], "one\ntwo\n", ["one", "two"]),
        ([], "one\\\ntwo\\\nthree\nfour", ["one\ntwo\nthree", "four"]),
        (["--stdin-whole"], "one\n\n/two\n", ["one\n\n/two"]),
        ([], "\ufeffgrüß dich\r\n", ["grüß dich"]),
    ],
)
def test_what_counts_as_a_message(
    data_dir: Path, tmp_path: Path, arguments: list[str], text: str, asked: list[str]
) -> None:
    call("chat", "--no-learn", *arguments, "--model", answers_file(tmp_path, "ok"), text=text)
    call("memory", "export")  # whatever the chat kept is readable afterwards
    from edgemem.store import open_store

    with open_store(data_dir, "default") as store:
        assert [turn.text for turn in store.turns(1) if turn.role == "user"] == asked


def test_json_mode_gives_one_event_per_line(data_dir: Path, tmp_path: Path) -> None:
    model = answers_file(tmp_path, "Hello.", "never asked")
    found = events(call("chat", "--json", "--model", model, text="I am called Mira\n/memory\n/nope\n", code=2).out)
    assert [event.get("type", "error") for event in found] == ["reply", "memory", "error", "update"]
    assert (found[0]["text"], found[0]["stopped"], found[0]["chat_id"]) == ("Hello.", False, 1)
    assert found[0]["stats"]["output_tokens"] == 1
    assert found[2]["error"] == {
        "code": "invalid_input",
        "message": "there is no command /nope",
        "hint": "/help lists them",
    }
    assert found[3]["summary"] == "memory updated (+1)"


def test_control_characters_of_an_answer_do_not_reach_the_terminal(data_dir: Path, tmp_path: Path) -> None:
    model = answers_file(tmp_path, "red \x1b[31mtext\x07 and\u009b2J more")
    assert call("ask", "--temp", "hi", "--model", model).out == "red [31mtext and2J more\n"


# Commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "out"),
    [
        ("/remember Health: allergic to nuts", "+ 1 allergic to nuts\n"),
        ("/undo", "- 1 Lives in Graz\n"),
        ("/memory", "1 About: Lives in Graz\n"),
        ("/MEMORY", "1 About: Lives in Graz\n"),
        ("/forget --yes graz", None),
        ("/model", None),
        ("/temp", ""),
        ("/save", ""),
        ("/exit", ""),
        ("/quit", ""),
    ],
)
def test_commands_in_a_chat(data_dir: Path, tmp_path: Path, line: str, out: str | None) -> None:
    first = "" if line.startswith("/remember") else "/remember Lives in Graz\n"
    said = call("chat", "--model", answers_file(tmp_path, "never asked"), text=f"{first}{line}\n")
    shown = said.out.removeprefix("+ 1 Lives in Graz\n") if first else said.out
    if out is not None:
        assert shown == out
    else:
        assert shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/memroy", "there is no command /memroy\n  next: did you mean /memory?"),
        ("/remember", "there is nothing to remember"),
        ("/undo it", "it is no revision"),
        ("/undo", "nothing of any revision is left to undo"),
        ("/forget", "nothing to forget was named"),
        ("/forget graz", "nobody can be asked here\n  next: /forget --yes WORDS"),
        ("/forget --yes 12", "there is no line 12"),
        ("/model nothing-like-it", "There is no model 'nothing-like-it'"),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_said_and_the_chat_goes_on(
    data_dir: Path, tmp_path: Path, line: str, message: str
) -> None:
    model = answers_file(tmp_path, "Still here.")
    said = cli_support.edgemem("chat", "--no-learn", "--model", model, text=f"{line}\nhello\n", code=None)
    assert said.returncode in (2, 3)
    assert message in said.stderr
    assert said.stdout.endswith("Still here.\n")


def test_help_names_every_command(data_dir: Path, tmp_path: Path) -> None:
    from edgemem.cli.chat_commands import COMMANDS

    out = call("chat", "--model", answers_file(tmp_path, "x"), text="/help\n").out
    assert [line.split()[0] for line in out.splitlines()[:-1]] == list(COMMANDS)


def test_save_learns_at_once_and_the_end_does_not_learn_again(data_dir: Path, tmp_path: Path) -> None:
    model = answers_file(tmp_path, "Hello.", "never asked")
    said = call("chat", "--model", model, text="I am called Mira\n/save\n/memory\n")
    assert said.out == "Hello.\n1 About: I am called Mira\n"
    assert said.err.count("memory updated") == 1


def test_another_model_goes_on_in_a_new_chat(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = answers_file(tmp_path / "other", "From the other.")
    model = answers_file(tmp_path, "From the first.")
    said = call("chat", "--no-learn", "--model", model, text=f"one\n/model {other}\ntwo\n")
    assert said.out == "From the first.\nFrom the other.\n"


# Without a trace -----------------------------------------------------------------------------------------------


def test_a_temporary_chat_changes_no_byte(data_dir: Path, tmp_path: Path) -> None:
    model = answers_file(tmp_path, "Hello.")
    call("memory", "add", "Lives in Graz")
    before = files(data_dir)
    lines = "I am called Mira\n/memory\n/remember x y z\n/forget --yes graz\n/undo\n/temp\n/save\n"
    said = call("chat", "--temp", "--model", model, text=lines, code=2)
    assert said.out == "Hello.\n1 About: Lives in Graz\n"
    assert said.err.count("a temporary chat changes nothing") == 4
    assert call("ask", "--temp", "--learn", "hi", "--model", model).out == "Hello.\n"
    assert files(data_dir) == before


def test_a_temporary_chat_of_a_new_user_makes_no_folder(data_dir: Path, tmp_path: Path) -> None:
    call("chat", "--temp", "--model", answers_file(tmp_path, "Hello."), text="hi\n")
    assert not data_dir.exists()


def test_temp_inside_a_chat_is_not_learned(data_dir: Path, tmp_path: Path) -> None:
    model = answers_file(tmp_path, "One.", "Two.", "Three.", "never asked")
    call("chat", "--model", model, text="I like tea\n/temp\nI like secret cheese\n/temp\nbye\n")
    assert remembered() == ["I like tea"]


# Asking once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "text"), [(["how", "are you"], ""), (["-"], "how are you"), ([], "how are you")])
def test_ask_takes_arguments_or_stdin(data_dir: Path, tmp_path: Path, arguments: list[str], text: str) -> None:
    found = call("ask", *arguments, "--json", "--model", answers_file(tmp_path, "Fine."), text=text).values
    assert {key: found[key] for key in ("answer", "model", "chat_id")} == {
        "answer": "Fine.",
        "model": "scripted",
        "chat_id": 1,
    }


def test_ask_without_a_question_is_refused(data_dir: Path, tmp_path: Path) -> None:
    assert "the text is empty" in call("ask", "--model", answers_file(tmp_path, "x"), text=" \n", code=2).err


def test_ask_can_learn_at_once(data_dir: Path, tmp_path: Path) -> None:
    model = answers_file(tmp_path, "Nice.", "never asked")
    assert call("ask", "--learn", "I moved to Graz", "--model", model, "--json").values["update"]["added"] == 1
    assert remembered() == ["I moved to Graz"]


# Ctrl-C, and after a crash -------------------------------------------------------------------------------------


def slow(
    *arguments: str, answers: list[str], delay_s: float = 0.0, update_delay_s: float = 0.0
) -> subprocess.Popen[str]:
    """The command line on a slow engine, in a process of its own."""
    environment = os.environ | {
        "EDGEMEM_TEST_ANSWERS": json.dumps(answers),
        "EDGEMEM_TEST_DELAY_S": str(delay_s),
        "EDGEMEM_TEST_UPDATE_DELAY_S": str(update_delay_s),
    }
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, cli_support.__file__, *arguments],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment,
    )


def read_until(stream: Any, wanted: str) -> str:
    """Read characters until `wanted` was among them (the test's own time limit ends a wait for nothing)."""
    seen = ""
    while wanted not in seen:
        character = stream.read(1)
        assert character, f"ended after {seen!r}"
        seen += character
    return seen


def test_ctrl_c_shows_the_part_that_came_and_stores_nothing(data_dir: Path) -> None:
    process = slow("ask", "hi", answers=["one two three four five six seven eight " * 20], delay_s=0.05)
    assert process.stdout is not None
    seen = read_until(process.stdout, "three")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "error: answer stopped, nothing stored\n")
    assert (seen + out).startswith("one two three")
    assert (seen + out).count("eight") < 20
    assert call("memory", "update", "--json", "--model", "none").values["folded_turns"] == 0


def test_ctrl_c_in_a_chat_stops_the_answer_and_the_chat_goes_on(data_dir: Path) -> None:
    process = slow("chat", "--no-learn", answers=["one two three " * 100, "The second."], delay_s=0.02)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("hi\n")
    process.stdin.flush()
    read_until(process.stdout, "two")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate("more\n", timeout=20)
    assert process.returncode == 0
    assert out.endswith("\nThe second.\n")
    assert "answer stopped, nothing stored" in err
    from edgemem.store import open_store

    with open_store(data_dir, "default") as store:
        assert [turn.text for turn in store.turns(1)] == ["more", "The second."]


def test_ctrl_c_in_an_update_writes_nothing_and_the_next_start_learns(data_dir: Path) -> None:
    process = slow("chat", answers=["Hello."], update_delay_s=2.0)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write("I am called Mira\n")
    process.stdin.close()
    read_until(process.stderr, "learning: 1 of 1")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    assert "update stopped, nothing written; it will be learned at the next start" in process.stderr.read()
    assert process.returncode == 130
    assert remembered() == []
    finished = slow("chat", answers=["Again."])
    finished.communicate("hello\n", timeout=20)
    assert remembered() == ["I am called Mira"]


def test_turns_of_a_killed_chat_wait_for_the_first_answer_of_the_next(data_dir: Path) -> None:
    """The earlier chat is learned in the background, after the first answer and before the second message."""
    process = slow("chat", answers=["Hello."])
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("I am called Mira\n")
    process.stdin.flush()
    read_until(process.stdout, "Hello.\n")
    time.sleep(0.5)
    process.kill()
    process.wait()
    following = slow("chat", answers=["First answer."])
    assert following.stdin is not None
    assert following.stdout is not None
    assert following.stderr is not None
    following.stdin.write("hello again\n")
    following.stdin.flush()
    read_until(following.stdout, "First answer.\n")
    assert "memory updated (+1)" in read_until(following.stderr, "memory updated (+1)")
    assert remembered() == ["I am called Mira"]
    following.communicate("", timeout=20)


def test_an_idle_chat_is_learned_without_being_left(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEMEM_IDLE_S", "0.2")
    process = slow("chat", answers=["Hello."])
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write("I am called Mira\n")
    process.stdin.flush()
    read_until(process.stderr, "memory updated (+1)")
    assert process.poll() is None
    process.communicate("", timeout=20)


# The learner in the background ---------------------------------------------------------------------------------


class Record:
    def __init__(self) -> None:
        self.done: list[object] = []
        self.failed: list[EdgememError] = []
        self.learner = IdleLearner(self.done.append, self.failed.append)


def test_the_learner_waits_and_can_be_put_off() -> None:
    record = Record()
    started = time.monotonic()
    record.learner.start(0.3, lambda stop: time.monotonic() - started)  # type: ignore[arg-type,return-value]
    time.sleep(0.2)
    record.learner.touch()
    time.sleep(0.2)
    assert record.done == []
    time.sleep(0.4)
    record.learner.stop()
    assert [round(float(str(value)), 1) for value in record.done] in ([0.5], [0.6])


def test_stopping_cancels_the_work_and_waits_for_it() -> None:
    record = Record()
    running = threading.Event()

    def work(stop: Any) -> Any:
        running.set()
        while not stop():
            time.sleep(0.01)
        raise Cancelled("stopped")

    record.learner.start(0.0, work)
    assert running.wait(5)
    record.learner.stop()
    assert (record.done, record.failed) == ([], [])


def test_a_known_error_is_told_and_an_unknown_one_comes_up() -> None:
    record = Record()
    failure = UpdateFailed("no usable update")

    def fail(error: BaseException) -> Any:
        raise error

    record.learner.start(0.0, lambda stop: fail(failure))
    time.sleep(0.2)
    record.learner.stop()
    assert record.failed == [failure]
    record.learner.start(0.0, lambda stop: fail(ZeroDivisionError()))
    time.sleep(0.2)
    with pytest.raises(ZeroDivisionError):
        record.learner.stop()
