"""Forgetting from the command line and in a chat: what would go, then gone, with what was typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgemem.cli.history_file import FILE_NAME, scrub
from edgemem.cli.output import Output, plural, printable
from edgemem.errors import InvalidInput, StoreWriteFailed
from edgemem.values import Line, Turn

if TYPE_CHECKING:
    from edgemem.store import Forgotten, UserStore


@dataclass(frozen=True)
class Plan:
    """What forgetting would touch. `line_ids` and `words` are what is asked of the store."""

    line_ids: tuple[int, ...]
    words: str
    lines: tuple[Line, ...]
    turns: tuple[Turn, ...]

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


def forget_listing(plan: Plan) -> str:
    """The plan for people."""
    rows = [f"- {line.id} {line.section}: {printable(line.text)}" for line in plan.lines]
    said = sum(turn.role == "user" for turn in plan.turns)
    answers = plural(len(plan.turns) - said, "answer")
    rows.append(f"{plural(len(plan.lines), 'line')} of the memory, {plural(said, 'message')} of yours, {answers}")
    return "\n".join(rows)


def forget_now(
    output: Output,
    store: UserStore,
    plan: Plan,
    erase: Callable[[Sequence[int], str], Forgotten] | None = None,
) -> None:
    """Erase, what was typed first: the store then searches the whole folder. `erase` defaults to its own."""
    typed = _scrub_typed(store, plan)
    done = (erase or store.forget)(plan.line_ids, plan.words)
    if output.json:
        left = {"typed": typed, "computed": done.computed, "bytes_left": done.bytes_left}
        output.data({"lines": done.lines, "turns": done.turns, "revisions": done.revisions, **left})
        return
    parts = (plural(done.lines, "line"), plural(done.turns, "turn"), plural(done.revisions, "revision"))
    output.text(f"forgotten: {', '.join(parts)}, {plural(typed, 'typed line')}")
    if done.computed:
        output.note(f"removed {plural(done.computed, 'computed prompt')} as well; the next chat reads its memory anew")
    if done.bytes_left:
        output.warn(f"the words still stand in {done.bytes_left} places under {store.folder}")
    else:
        output.note("searched all files afterwards: nothing of it is left")


def _by_ids(store: UserStore, ids: tuple[int, ...]) -> Plan:
    found = [store.why(number) for number in ids]
    turns = {turn.id: turn for one in found for turn in one.turns}
    return Plan(ids, "", tuple(one.line for one in found), tuple(turns.values()))


def _mentions(words: str) -> Callable[[str], bool]:
    from edgemem.store.forgetting import Erasure

    if len(words) < 2:
        raise InvalidInput("nothing to forget was named", "give line ids, or words of two letters and more")
    return Erasure(frozenset(), frozenset(), words).mentions_words


def _scrub_typed(store: UserStore, plan: Plan) -> int:
    """Typed entries that mention the words or a line, or that became one of the turns."""
    said = {turn.text.strip() for turn in plan.turns}
    mentions = _mentions(plan.words) if plan.words else (lambda _: False)
    facts = [line.text.casefold() for line in plan.lines]

    def unwanted(entry: str) -> bool:
        return mentions(entry) or entry.strip() in said or any(fact in entry.casefold() for fact in facts)

    file = store.folder / FILE_NAME
    try:
        return scrub(file, unwanted)
    except OSError as error:
        raise StoreWriteFailed(f"cannot rewrite {file}: {error.strerror}", "free space or check permissions") from error
