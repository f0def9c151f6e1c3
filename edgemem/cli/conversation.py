"""A conversation: reading and answering, and learning when nobody waits for an answer. Commands: chat_commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgemem.cli.chat_input import Input, PipedInput, TerminalInput
from edgemem.cli.idle import IdleLearner
from edgemem.cli.learning import learn
from edgemem.cli.memory_view import report_values
from edgemem.cli.open import new_assistant, places_for
from edgemem.cli.options import Run
from edgemem.cli.output import plural
from edgemem.cli.replying import show_answer, stats_text
from edgemem.errors import Cancelled, EdgememError, StoreBusy
from edgemem.store.masking import Masking
from edgemem.store.typed_history import FILE_NAME

if TYPE_CHECKING:
    from edgemem.assistant import UpdateReport

LATER = "it will be learned at the next start"
EARLIER_DELAY_S = 1.0
"""Before earlier chats are learned: piped messages come at once, and none should wait for a cancelled update."""


CarryOut = Callable[["Conversation", str], None]


class Conversation:
    """One run of `chat`: assistant, current chat, where messages come from, and the learner in the background."""

    def __init__(
        self,
        run: Run,
        commands: Sequence[tuple[str, str]] = (),
        *,
        temporary: bool = False,
        learns: bool = True,
        whole: bool = False,
    ) -> None:
        self.run = run
        self.output = run.output
        self.learns = learns and not temporary
        self.traceless = temporary
        self.whole = whole
        self._answered = False
        self.exit_code = 0
        self.leaving = False
        self.learner = IdleLearner(self.say_report, self.say_failure)
        self.settings = run.settings
        self.assistant = new_assistant(run, self.settings, temporary)
        self.chat = self.assistant.open_chat(temporary=temporary)
        self.earlier = self.learns and bool(self.assistant.store.pending())
        self.input = self._open_input(commands)

    def _open_input(self, commands: Sequence[tuple[str, str]]) -> Input:
        if self.whole or not sys.stdin.isatty():
            return PipedInput(self.whole)
        folder = places_for(self.run).data / "users" / self.assistant.user
        as_kept = Masking(self.settings.mask_secrets).typed
        return TerminalInput(
            folder / FILE_NAME, commands, not self.traceless, self.learner.touch, as_kept, self.assistant.store.seal
        )

    def greet(self) -> None:
        """Say on stderr what is used."""
        info = self.assistant.engine.info
        lines, tokens = len(self.assistant.memory().lines), self.assistant.memory_tokens()
        budget = self.settings.budget_tokens
        self.output.note(
            f"{info.model} on {info.device}, {plural(info.threads, 'thread')}, context {info.context_tokens}; "
            f"memory of {self.assistant.user}: {plural(lines, 'line')}, {tokens} of {budget} tokens"
        )
        if tokens > budget:
            self.output.warn("the memory is over its budget; the next update brings it back under")
        if self.chat.temporary:
            self.output.note("temporary chat: nothing of it is kept or learned")
        if self.input.interactive:
            self.output.note("/help shows commands, Ctrl-C stops an answer, Ctrl-D leaves")

    def talk(self, carry_out: CarryOut) -> None:
        """Read and answer until the person leaves; lines that start with a slash go to `carry_out`."""
        pressed = False  # Ctrl-C was the last thing that happened
        while not self.leaving:
            self._learn_when_idle()
            try:
                text = self.input.read("temp> " if self.chat.temporary else "> ").strip()
            except EOFError:
                break
            except KeyboardInterrupt:
                if pressed:
                    break
                pressed = True
                self.output.note("Ctrl-C again, or Ctrl-D, leaves")
                continue
            finally:
                self.learner.stop()
            pressed = bool(text) and self._handle(text, carry_out)

    def _handle(self, text: str, carry_out: CarryOut) -> bool:
        """Answer a message or carry out a command; whether Ctrl-C stopped it."""
        try:
            if text.startswith("/") and not self.whole:
                carry_out(self, text)
                return False
            return self._answer(text)
        except Cancelled as error:
            self.output.note(error.message)
            return True
        except KeyboardInterrupt:
            self.leaving = True
            return True
        except EdgememError as error:
            self.output.error(error)
            if not self.input.interactive:
                self.exit_code = error.exit_code
            return False

    def _answer(self, text: str) -> bool:
        answer = show_answer(self.output, self.chat, text)
        if answer.stopped:
            self.output.note("answer stopped, nothing stored")
        self.output.detail(stats_text(answer.stats))
        self.say_data("reply", text=answer.text, stopped=answer.stopped, stats=answer.stats, chat_id=self.chat.id)
        if self.input.interactive:
            self.output.text("")
        self._answered = True
        return answer.stopped

    # --- learning

    def _learn_when_idle(self) -> None:
        """Earlier chats right after the first answer, this one after a pause; never before an answer."""
        if not self.learns or not self._answered:
            return
        if self.earlier:
            self.learner.start(EARLIER_DELAY_S, self._learn_earlier)
        elif self.settings.idle_s and not self.chat.temporary:
            chat = self.chat
            self.learner.start(self.settings.idle_s, lambda stop: chat.remember(cancelled=stop))

    def _learn_earlier(self, stop: Any) -> UpdateReport:
        report = self.assistant.remember(cancelled=stop)
        self.earlier = False
        return report

    def finish(self) -> None:
        """Learn at the end of the chat. Ctrl-C leaves it for the next start."""
        if not self.learns or not self.assistant.store.pending(self.chat.id):
            return
        try:
            self.learn_now()
        except Cancelled:
            self.output.warn(f"update stopped, nothing written; {LATER}")
            self.exit_code = Cancelled.exit_code
        except StoreBusy:
            self.output.note(f"another edgemem is learning for {self.assistant.user}; {LATER}")

    def learn_now(self) -> None:
        """Learn what is pending, with progress. Raises Cancelled, StoreBusy and errors of the engine."""
        chat = self.chat
        self.say_report(learn(self.run, lambda stop, report: chat.remember(cancelled=stop, progress=report)))

    def say_report(self, report: UpdateReport) -> None:
        """The one-line notice (when there was something to learn)."""
        if report.revisions or report.set_aside:
            self.output.note(report.summary(), "cyan")
            self.say_data("update", **report_values(report))

    def say_failure(self, error: EdgememError) -> None:
        """Learning in the background failed: the turns are still pending."""
        self.output.warn(f"not learned yet: {error.message}")

    def say_data(self, kind: str, **values: Any) -> None:
        """One event as a JSON line, in JSON mode."""
        if self.output.json:
            self.output.data({"type": kind, **values})

    # --- changing what the conversation runs on

    def new_chat(self, temporary: bool) -> None:
        """End the current chat and begin another; the old one is learned later."""
        self.chat.close()
        self.earlier = self.learns and bool(self.assistant.store.pending())
        self.chat = self.assistant.open_chat(temporary=temporary)
        self.input.keep = not temporary and self.input.interactive

    def use_model(self, name: str) -> None:
        """Go on with another model, in a new chat. Raises ModelMissing and the like before anything is closed."""
        if not name.startswith("scripted:"):
            from edgemem.catalogue import resolve

            where = places_for(self.run)
            resolve(name, cache=where.cache, config=where.config, persist=not self.traceless)
        temporary = self.chat.temporary
        self.assistant.close()
        self.settings = replace(self.settings, model=name)
        self.assistant = new_assistant(self.run, self.settings, self.traceless)
        self.chat = self.assistant.open_chat(temporary=temporary)
        self.earlier = self.learns and bool(self.assistant.store.pending())

    def close(self) -> None:
        """Stop the learner and close the assistant."""
        try:
            self.learner.stop()
        finally:
            self.assistant.close()
