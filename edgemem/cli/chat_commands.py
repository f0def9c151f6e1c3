"""The commands inside a chat: one small function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgemem.cli.ask_first import answered_yes
from edgemem.cli.memory_view import counts, line_values, numbered, operation_text, revision_values
from edgemem.errors import Cancelled, InvalidInput
from edgemem.settings import nearest
from edgemem.values import Revision

if TYPE_CHECKING:
    from edgemem.cli.conversation import Conversation


@dataclass(frozen=True)
class Command:
    """`usage` names the argument, `help` says what it does."""

    run: Callable[[Conversation, str], None]
    usage: str
    help: str


def carry_out(conversation: Conversation, line: str) -> None:
    """Run `/name argument`. Raises InvalidInput for an unknown name, naming the nearest."""
    name, _, argument = line.partition(" ")
    name = ALIASES.get(name.lower(), name.lower())
    if name not in COMMANDS:
        like = nearest(name, list(COMMANDS))
        raise InvalidInput(f"there is no command {name}", f"did you mean {like}?" if like else "/help lists them")
    COMMANDS[name].run(conversation, argument.strip())


def _remember(conversation: Conversation, argument: str) -> None:
    from edgemem.cli.memory_change import split_section

    if not argument:
        raise InvalidInput("there is nothing to remember", "/remember TEXT, or /remember Health: TEXT")
    _must_keep(conversation)
    section, text = split_section(argument)
    _say_revision(conversation, conversation.assistant.add_line(text, section))


def _forget(conversation: Conversation, argument: str) -> None:
    from edgemem.cli.forgetting import forget_listing, forget_now, plan_forgetting

    _must_keep(conversation)
    words = argument.split()
    agreed = words[:1] == ["--yes"]
    assistant, output = conversation.assistant, conversation.output
    plan = plan_forgetting(assistant.store, words[1:] if agreed else words)
    output.text(forget_listing(plan))
    if not agreed and not conversation.input.interactive:
        raise InvalidInput("nobody can be asked here", "/forget --yes WORDS")
    if not agreed and not answered_yes("Erase this everywhere? It cannot be undone."):
        raise Cancelled("nothing was forgotten")
    forget_now(output, assistant.store, plan, assistant.forget)
    output.note("this chat goes on afresh")


def _memory(conversation: Conversation, argument: str) -> None:
    memory, output = conversation.assistant.memory(), conversation.output
    conversation.say_data("memory", lines=[line_values(line) for line in memory.lines])
    output.text(numbered(memory.lines, output) or "nothing is remembered yet")
    output.note(f"{conversation.assistant.memory_tokens()} of {conversation.settings.budget_tokens} tokens")


def _undo(conversation: Conversation, argument: str) -> None:
    _must_keep(conversation)
    if argument and not argument.isdecimal():
        raise InvalidInput(f"{argument} is no revision", "/undo, or /undo NUMBER (edgemem memory history)")
    _say_revision(conversation, conversation.assistant.store.undo(int(argument) if argument else None))


def _temp(conversation: Conversation, argument: str) -> None:
    if conversation.traceless:
        raise InvalidInput("this chat was started with --temp", "leave and start `edgemem chat` to be remembered")
    temporary = not conversation.chat.temporary
    conversation.new_chat(temporary)
    said = "temporary chat: nothing of it is kept or learned; /temp again goes back"
    conversation.output.note(said if temporary else "a new chat that is kept and learned")


def _model(conversation: Conversation, argument: str) -> None:
    from edgemem.catalogue import installed
    from edgemem.cli.open import places_for

    if argument:
        conversation.use_model(argument)
        conversation.greet()
        return
    used = conversation.settings.model
    names = [model.name for model in installed(places_for(conversation.run).config)]
    conversation.say_data("model", model=used, installed=names)
    for name in sorted({*names, used}):
        conversation.output.text(("* " if name == used else "  ") + name)


def _save(conversation: Conversation, argument: str) -> None:
    _must_keep(conversation)
    if conversation.assistant.store.pending(conversation.chat.id):
        conversation.learn_now()
    else:
        conversation.output.note("nothing new to learn")


def _help(conversation: Conversation, argument: str) -> None:
    width = max(len(f"{name} {command.usage}") for name, command in COMMANDS.items())
    for name, command in COMMANDS.items():
        conversation.output.text(f"{f'{name} {command.usage}'.ljust(width)}  {command.help}")
    conversation.output.text("Several lines: Alt-Enter, or a backslash before Enter.")


def _exit(conversation: Conversation, argument: str) -> None:
    conversation.leaving = True


def _must_keep(conversation: Conversation) -> None:
    if conversation.chat.temporary:
        raise InvalidInput("a temporary chat changes nothing", "/temp goes back to a chat that is kept")


def _say_revision(conversation: Conversation, revision: Revision) -> None:
    conversation.say_data("revision", **revision_values(revision))
    for operation in revision.operations:
        conversation.output.text(operation_text(operation, conversation.output))
    conversation.output.note(f"memory updated ({counts(revision.operations)})", "cyan")


COMMANDS = {
    "/remember": Command(_remember, "TEXT", "remember a line (Health: TEXT names the section)"),
    "/forget": Command(_forget, "WORDS|ID", "erase from memory, history and journal"),
    "/memory": Command(_memory, "", "show what is remembered"),
    "/undo": Command(_undo, "[REVISION]", "take the last change of the memory back"),
    "/temp": Command(_temp, "", "a temporary chat, or back"),
    "/model": Command(_model, "[NAME]", "show the models here, or use another"),
    "/save": Command(_save, "", "learn from this chat now"),
    "/help": Command(_help, "", "this list"),
    "/exit": Command(_exit, "", "leave (as Ctrl-D)"),
}
ALIASES = {"/quit": "/exit", "/bye": "/exit", "/?": "/help"}
