"""Forgetting from the command line and in a chat: what would go, then gone, with what was typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemem.cli.ask_first import confirm
from edgemem.cli.options import Run
from edgemem.cli.output import Output, plural, printable
from edgemem.errors import InvalidInput
from edgemem.values import Line, Turn

if TYPE_CHECKING:
    from edgemem.store import Forgotten, UserStore

    Erase = Callable[[Sequence[int], str, Sequence[int]], Forgotten]


@dataclass(frozen=True)
class Plan:
    """What forgetting would touch. `line_ids`, `words` and `turn_ids` are what is asked of the store."""

    line_ids: tuple[int, ...]
    words: str
    lines: tuple[Line, ...]
    turns: tuple[Turn, ...]
    turn_ids: tuple[int, ...] = ()

    def values(self) -> dict[str, Any]:
        return {"words": self.words, "lines": list(self.lines), "turns": [turn.id for turn in self.turns]}


def plan_forgetting(store: UserStore, target: Sequence[str]) -> Plan:
    """Which lines and turns `target` (ids of lines, or words) stands for. Raises InvalidInput for nothing."""
    if target and all(word.isdecimal() for word in target):
        return _by_ids(store, tuple(int(word) for word in target))
    words = " ".join(target).strip()
    mentions = _mentions(words)
    lines = tuple(line for line in store.read().lines if mentions(line.text))
    turns = tuple(turn for chat in store.chats() for turn in store.turns(chat.id) if mentions(turn.text))
    return Plan((), words, lines, turns)


def plan_for(store: UserStore, target: Sequence[str], chat: int | None, since: str, before: str) -> Plan:
    """The plan for the options of `memory forget`. Raises InvalidInput where they name nothing, or two things."""
    from edgemem.store.records import FORGOTTEN

    by_turns = chat is not None or bool(since or before)
    if by_turns == bool(target):
        raise InvalidInput("name one thing to forget", "line ids or words, or --chat, or --since and --before")
    if not by_turns:
        return plan_forgetting(store, target)
    first, last = _day(since), _day(before)
    chats = [one.id for one in store.chats() if chat in (None, one.id)]
    turns = [turn for one in chats for turn in store.turns(one) if turn.text != FORGOTTEN]
    days = [(turn, turn.time.astimezone().date()) for turn in turns]
    return plan_turns(store, [turn for turn, day in days if (not first or day >= first) and (not last or day < last)])


def forget_everything(run: Run, store: UserStore, *, yes: bool, dry_run: bool) -> None:
    """Remove all files of the user, after asking."""
    what = f"{plural(len(store.read().lines), 'line')} and {plural(len(store.chats()), 'chat')} of {store.user}"
    if dry_run:
        run.output.text(f"would erase all: {what}")
        return
    run.output.note(f"to erase: all of it, {what}")
    confirm(run, "Erase everything about this user? It cannot be undone.", yes)
    exports = store.exports()
    show_receipt(run.output, store.folder, store.forget_everything())
    if exports:
        run.output.warn(f"exports that you made are yours and stay: {', '.join(map(str, exports))}")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidInput(f"{text!r} is no day", "give it as 2026-11-25") from None


def plan_turns(store: UserStore, turns: Sequence[Turn]) -> Plan:
    """Forgetting whole messages: of a chat, of a time. Raises InvalidInput where there are none."""
    if not turns:
        raise InvalidInput("there are no messages there", "edgemem memory why LINE names the chat of a line")
    ids = {turn.id for turn in turns}
    lines = [line for line in store.read().lines if (said := store.why(line.id).turns) and ids >= {t.id for t in said}]
    return Plan((), "", tuple(lines), tuple(turns), tuple(sorted(ids)))


def forget_listing(plan: Plan) -> str:
    """The plan for people."""
    rows = [f"- {line.id} {line.section}: {printable(line.text)}" for line in plan.lines]
    said = sum(turn.role == "user" for turn in plan.turns)
    answers = plural(len(plan.turns) - said, "answer")
    rows.append(f"{plural(len(plan.lines), 'line')} of the memory, {plural(said, 'message')} of yours, {answers}")
    return "\n".join(rows)


def forget_now(output: Output, store: UserStore, plan: Plan, erase: Erase | None = None) -> None:
    """Erase, then show the receipt. `erase` defaults to the store's own."""
    done = (erase or store.forget)(plan.line_ids, plan.words, plan.turn_ids)
    show_receipt(output, store.folder, done)


def show_receipt(output: Output, folder: Path, done: Forgotten) -> None:
    """What went, and what a search of all files found afterwards."""
    if output.json:
        output.data(asdict(done))
        return
    parts = (plural(done.lines, "line"), plural(done.turns, "turn"), plural(done.revisions, "revision"))
    output.text(f"forgotten: {', '.join(parts)}, {plural(done.typed, 'typed line')}, {done.waiting} waiting")
    if done.computed:
        output.note(f"removed {plural(done.computed, 'computed prompt')} as well; the next chat reads its memory anew")
    searched = f"searched {plural(done.files_searched, 'file')} ({done.bytes_searched} bytes) afterwards"
    if done.bytes_left:
        output.warn(f"{searched}: the words still stand in {done.bytes_left} places under {folder}")
    else:
        output.note(f"{searched}: nothing of it is left")


def _by_ids(store: UserStore, ids: tuple[int, ...]) -> Plan:
    found = [store.why(number) for number in ids]
    turns = {turn.id: turn for one in found for turn in one.turns}
    return Plan(ids, "", tuple(one.line for one in found), tuple(turns.values()))


def _mentions(words: str) -> Callable[[str], bool]:
    from edgemem.store.forgetting import Erasure

    if len(words) < 2:
        raise InvalidInput("nothing to forget was named", "give line ids, or words of two letters and more")
    return Erasure(frozenset(), frozenset(), words).mentions_words
