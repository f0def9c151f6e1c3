"""The checker: which proposed changes may become memory. Pure; both write policies end here.

A bad operation is dropped with its reason, the good ones apply. What is checked: well-formed, the target exists
and is not protected, no secret, no planted instruction, grounded in a user's turn, no duplicate, and the budget as
the model sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from edgemem.memory.dates import last_day_in, with_absolute_dates
from edgemem.memory.lines import Memory, apply_operations, prompt_view
from edgemem.memory.planted import made_from, planted_in, planted_sentences
from edgemem.memory.private_data import asks_to_keep, find_private, find_secret, part_of_private, private_values
from edgemem.memory.similar import similarity
from edgemem.memory.splitting import split
from edgemem.memory.wording import FORGET
from edgemem.memory.words import all_stems, all_words, content_words, names_in, negated, whole_names_in
from edgemem.values import Line, Operation, Rejected, Turn

MIN_FACT_CHARS, MAX_FACT_CHARS = 3, 400
DUPLICATE_PERCENT = 88.0  # two lines this alike may say the same
GROUNDED_SHARE = 0.5  # of a fact's content words, found in one user turn
LAPSED_DAYS = 14  # a plan leaves the memory so many days after its last day
_MARKUP = re.compile(r"<\|.*?\|>|</?(?:memory|conversation|think|system)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Checked:
    """What may be applied, and what was dropped. `operations` already include what the budget made necessary."""

    operations: tuple[Operation, ...]
    rejected: tuple[Rejected, ...]


def check(
    proposed: Iterable[Operation],
    memory: Memory,
    turns: Sequence[Turn],
    budget_tokens: int,
    count: Callable[[str], int],
) -> Checked:
    """Judge `proposed` against the memory and the turns they come from.

    `count` is the running model's token count; the budget holds for the numbered prompt view.
    """
    accepted: list[Operation] = []
    rejected: list[Rejected] = []
    lines = {line.id: line for line in memory.lines}
    users = [turn for turn in turns if turn.role == "user"]
    for operation in proposed:
        operation = _dated(_grounded(_tidy(operation), users), users)
        reason, detail = _judge(operation, lines, accepted, users)
        if reason:
            rejected.append(Rejected(operation, reason, detail))
        else:
            accepted.append(operation)
    accepted += _lapsed(memory, accepted, turns)
    kept = within_budget(accepted, memory, budget_tokens, count)
    dropped = [operation for operation in accepted if operation not in kept]
    rejected += [Rejected(operation, "budget", f"more than {budget_tokens} tokens") for operation in dropped]
    return Checked(tuple(kept), tuple(rejected))


def _lapsed(memory: Memory, accepted: Sequence[Operation], turns: Sequence[Turn]) -> list[Operation]:
    """Deletes of plans whose day has passed: the journal keeps them."""
    if not turns:
        return []
    today = turns[-1].time.astimezone().date()
    touched = {operation.line_id for operation in accepted}
    return [
        Operation("delete", line.id, old_text=line.text, old_section=line.section, origin=line.origin)
        for line in memory.lines
        if line.section == "Plans"
        and not line.protected
        and line.id not in touched
        and (day := last_day_in(line.text)) is not None
        and (today - day).days > LAPSED_DAYS
    ]


def within_budget(
    operations: Sequence[Operation], memory: Memory, budget_tokens: int, count: Callable[[str], int]
) -> list[Operation]:
    """`operations`, and deletes of the least valuable unprotected lines until the result fits the budget.

    Never cuts a line. When even that is not enough (protected lines alone are larger), new lines are left out.
    """
    next_id = max((line.id for line in memory.lines), default=0) + 1
    kept = list(operations)

    def result() -> Sequence[Line]:
        return apply_operations(memory.document, memory.lines, kept, next_id)[1] if kept else memory.lines

    def tokens(extra: Sequence[Operation]) -> int:
        gone = {operation.line_id for operation in extra}
        return count(prompt_view(line for line in lines if line.id not in gone))

    lines = result()
    touched = {operation.line_id for operation in kept}
    spare = sorted((line for line in memory.lines if not line.protected and line.id not in touched), key=_value)
    archived = [
        Operation("delete", line.id, old_text=line.text, old_section=line.section, origin=line.origin) for line in spare
    ]
    few, many = 0, len(archived)  # bisect: counting a full memory takes milliseconds, hundreds of lines may go
    while few < many:
        middle = (few + many) // 2
        few, many = (few, middle) if tokens(archived[:middle]) <= budget_tokens else (middle + 1, many)
    archived = archived[:few]
    while adding := [operation for operation in kept if operation.kind != "delete"]:
        if tokens(archived) <= budget_tokens:
            break
        kept.remove(adding[-1])
        lines = result()
    return [*kept, *archived]


def _secret(operation: Operation, users: Sequence[Turn]) -> str:
    """What of `operation` must not be kept, as a detail for people; '' when nothing."""
    said = [turn.text for turn in users if turn.id in operation.sources]
    if kind := find_secret(operation.text):
        return f"holds a {kind}"
    wanted = operation.origin in ("asked", "edited", "imported") or any(map(asks_to_keep, said))
    known = private_values([operation.old_text])
    new = [one for one in find_private(operation.text) if operation.text[one.start : one.end] not in known]
    if new and not wanted:
        return f"holds a {new[0].kind}, which is kept only when you ask for it"
    parts = [part for text in said if (part := part_of_private(operation.text, text)) is not None]
    kinds = [part.kind for part in parts if not (wanted and part.on_request)]
    return f"holds a part of a {kinds[0]}" if kinds and not known else ""


def _tidy(operation: Operation) -> Operation:
    text = " ".join(operation.text.split()).strip(' -*•"“”')
    return replace(operation, text=text)


def _grounded(operation: Operation, users: Sequence[Turn]) -> Operation:
    """Name the user turn that shares most words with the fact as its source (the one it was read from, where that
    is known). No source where too little is shared, or where a name or number of the fact was not said."""
    if operation.kind == "delete" or not users:
        return operation
    read_from = [turn for turn in users if turn.id in operation.sources] or users
    known = content_words(operation.old_text)
    words = content_words(operation.text) - known or content_words(operation.text)  # `not vegan` after `vegan`
    names = names_in(operation.text) - known
    best = max(read_from, key=lambda turn: (len(words & content_words(turn.text)), turn.id))
    today = best.time.astimezone().date()
    # Sentence by sentence, as it was read: a bare month gets its year from the words around it.
    dated = [with_absolute_dates(part, today) for part in (best.text, *split(best.text))]
    said = all_stems(" ".join([best.text, *dated]))
    shared = len(words & said)
    grounded = shared > 0 and shared >= GROUNDED_SHARE * len(words) and names <= said
    return replace(operation, sources=(best.id,) if grounded else ())


def _dated(operation: Operation, users: Sequence[Turn]) -> Operation:
    said = next((turn.time for turn in users if turn.id in operation.sources), None)
    if said is None or operation.kind == "delete":
        return operation
    return replace(operation, text=with_absolute_dates(operation.text, said.astimezone().date()))


def _judge(
    operation: Operation, lines: dict[int, Line], accepted: Sequence[Operation], users: Sequence[Turn]
) -> tuple[str, str]:
    if operation.kind != "add":
        line = lines.get(operation.line_id or 0)
        if line is None:
            return "unknown_line", f"there is no line {operation.line_id}"
        if line.protected:
            return "protected", f"line {line.id} is pinned or hand-written prose"
        if any(other.line_id == line.id for other in accepted):
            return "twice", f"line {line.id} was changed before in this update"
    planted = [part for turn in users if turn.id in operation.sources for part in planted_sentences(turn.text)]
    if operation.kind == "delete":
        orders = any(FORGET.search(part) for part in planted)
        return ("planted", "a planted text asks for it") if orders else ("", "")
    return _judge_text(operation, lines, accepted, users, planted)


def _judge_text(
    operation: Operation,
    lines: dict[int, Line],
    accepted: Sequence[Operation],
    users: Sequence[Turn],
    planted: Sequence[str],
) -> tuple[str, str]:
    text = operation.text
    if not MIN_FACT_CHARS <= len(text) <= MAX_FACT_CHARS:
        return "length", f"{len(text)} characters"
    if _MARKUP.search(text):
        return "markup", "holds control tokens or tags"
    from_outside = bool(users) or operation.origin == "imported"  # not typed as a line by the person
    if made_from(text, planted) or (from_outside and planted_in(text)):
        return "planted", "an instruction for the model is no fact about you"
    if text.endswith("?"):
        return "question", "a question is not a fact"
    if secret := _secret(operation, users):
        return "secret", secret
    if users and not operation.sources:
        return "ungrounded", "no user turn says this"
    others = [line.text for line in lines.values() if line.id != operation.line_id]
    others += [other.text for other in accepted if other.kind != "delete"]
    if any(says_again(text, other) for other in others):
        return "duplicate", "another line says this"
    if operation.kind == "update" and text == operation.old_text:
        return "unchanged", "the line already reads so"
    return "", ""


def says_again(text: str, other: str) -> bool:
    """Whether `text` is nearly `other`: alike, and no word of meaning, name or number more (`allergic to nuts`, `to
    walnuts`; `is called Al`, `is called Bo`)."""
    if similarity(text.casefold(), other.casefold()) < DUPLICATE_PERCENT:
        return False
    said = content_words(text) <= all_stems(other) and whole_names_in(text) <= set(map(str.casefold, all_words(other)))
    return said and negated(text) == negated(other)


TURNS_PER_MENTION = 40
"""A line that was spoken of once more outlives one that was spoken of so many turns later."""
TURNS_AHEAD = {"About": 400, "Health": 200, "People": 100, "How to talk to me": 100}
"""Who somebody is outlives what somebody did."""


def _value(line: Line) -> tuple[bool, int]:
    """Sort key, least valuable first: what a person wrote or asked for goes last, else what was spoken of seldom and
    long ago goes first."""
    asked_for = line.origin in ("asked", "edited", "imported")
    lately = line.last_turn + TURNS_PER_MENTION * max(0, line.mentions - 1) + TURNS_AHEAD.get(line.section, 0)
    return asked_for, lately
