"""Where a chat's messages come from: a terminal (prompt_toolkit) or a pipe. Knows nothing about answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgemem.store.sealing import Seal
from edgemem.store.typed_history import add_entry, read_entries

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

UNKEPT = "/forget"
"""What a person wants forgotten is not written down by asking for it."""


class Input(Protocol):
    """`interactive`: somebody can be asked. `keep`: write down what is typed (not in a temporary chat)."""

    interactive: bool
    keep: bool

    def read(self, label: str) -> str:
        """The next message. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C with nothing typed."""
        ...


class PipedInput:
    """Each line of stdin is a message (a backslash at its end joins the next one); or all of it is one."""

    interactive = False
    keep = False

    def __init__(self, whole: bool = False) -> None:
        self._whole = whole

    def read(self, label: str) -> str:
        if self._whole:
            text = sys.stdin.read()
        else:
            text = line = sys.stdin.readline()
            while line.rstrip("\r\n").endswith("\\"):
                line = sys.stdin.readline()
                text = text.rstrip("\r\n")[:-1] + "\n" + line
        if not text:
            raise EOFError
        return text.removeprefix("\ufeff").rstrip("\r\n")


class TerminalInput:
    """A line editor: history, completion of commands, several lines (Alt-Enter, or a backslash before Enter)."""

    interactive = True

    def __init__(
        self,
        history: Path,
        commands: Sequence[tuple[str, str]],
        keep: bool,
        touched: Callable[[], None],
        as_kept: Callable[[str], str],
        seal: Seal,
    ) -> None:
        """`as_kept` makes of a typed text what may be written to `history` ("": nothing), `seal` encrypts it."""
        self._seal = seal
        self.keep = keep
        self._as_kept = as_kept
        self._touched = touched
        self._session = self._open(history, commands)

    def read(self, label: str) -> str:
        from prompt_toolkit.patch_stdout import patch_stdout

        with patch_stdout(raw=True):
            return str(self._session.prompt(label))

    def _open(self, history: Path, commands: Sequence[tuple[str, str]]) -> PromptSession[str]:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.output import create_output

        stream = sys.stdout if sys.stdout.isatty() else sys.stderr
        session: PromptSession[str] = PromptSession(
            history=_typed_history(history, lambda: self.keep, self._as_kept, self._seal),
            completer=_command_completer(commands),
            key_bindings=_keys(),
            multiline=True,
            prompt_continuation=lambda width, row, wrapped: "· ".rjust(width),
            output=create_output(stdout=stream),
            complete_while_typing=True,
        )
        session.default_buffer.on_text_changed += lambda _: self._touched()
        return session


def _typed_history(path: Path, keep: Callable[[], bool], as_kept: Callable[[str], str], seal: Seal) -> History:
    from prompt_toolkit.history import History

    class TypedHistory(History):
        def load_history_strings(self) -> Iterable[str]:
            return reversed(read_entries(path, seal))

        def store_string(self, string: str) -> None:
            if keep() and not string.lstrip().startswith(UNKEPT) and (kept := as_kept(string)):
                add_entry(path, kept, seal)

    return TypedHistory()


def _command_completer(commands: Sequence[tuple[str, str]]) -> Completer:
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.completion.base import CompleteEvent
    from prompt_toolkit.document import Document

    class CommandCompleter(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            text = document.text_before_cursor
            if text.startswith("/") and " " not in text:
                for name, help_text in commands:
                    if name.startswith(text):
                        yield Completion(name, start_position=-len(text), display_meta=help_text)

    return CommandCompleter()


def _keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def _submit(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor(1)
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    def _clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys
