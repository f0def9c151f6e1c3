"""What one update did, judged against its case: texts before and after in, plain numbers out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .language import guess_language
from .matcher import can_be_mistaken, is_stale, is_third_party, recalled, springs
from .values import Asked, Gold, TrapKind, WriteCase


def added_lines(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The lines that this update wrote: new ones, and old ones in a new wording."""
    old = set(before)
    return [text for text in after if text not in old]


def score(case: WriteCase, before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    """The judgements of a row. `known`: the memory said it before this chat, so it is no test of learning.

    (In a long memory of one topic a line matches by chance, too, now and then: leaving out what matched before keeps
    that from counting as learned.) Third parties, traps and language are judged on the lines that were added; gold and
    stale on the whole memory.
    """
    added = added_lines(before, after)
    gold = [
        {
            "kind": fact.kind,
            "found": recalled(fact, after),
            "known": recalled(fact, before),
            "change": index in case.replaced,
        }
        for index, fact in enumerate(case.gold)
    ]
    stale = [
        {"gone": not is_stale(old, after), "change": old.change, "was": is_stale(old, before)} for old in case.stale
    ]
    return {
        "gold": gold,
        "third_party": [
            any(is_third_party(fact, line) for line in added) for fact in case.third_party if can_be_mistaken(fact)
        ],
        "traps": [{"kind": trap.kind, "stored": any(springs(trap, line) for line in added)} for trap in case.traps],
        "stale": stale,
        "lines_added": len(added),
        "third_party_lines": sum(_is_anothers(case, line) for line in added),
        "question_lines": sum(_springs_any(case, line, "question", "hypothetical") for line in added),
        "lines_after": len(after),
        "languages": languages(added, case.language),
        "held": _held(case, before, after),
    }


def _held(case: WriteCase, before: Sequence[str], after: Sequence[str]) -> dict[str, int]:
    """Of the lines known before that nothing in the chat overtakes: how many there were, and how many are gone."""
    still = set(after)
    lines = [text for text in before if not any(is_stale(old, [text]) for old in case.stale)]
    return {"lines": len(lines), "gone": sum(text not in still for text in lines)}


def _is_anothers(case: WriteCase, line: str) -> bool:
    told = any(is_third_party(fact, line) for fact in case.third_party if can_be_mistaken(fact))
    return told or _springs_any(case, line, "third_party")


def _springs_any(case: WriteCase, line: str, *kinds: TrapKind) -> bool:
    return any(springs(trap, line) for trap in case.traps if trap.kind in kinds)


def languages(lines: Iterable[str], wanted: str) -> dict[str, int]:
    """How many lines are in the user's language, in another one, and undecided."""
    guessed = [guess_language(line) for line in lines]
    right, undecided = guessed.count(wanted), guessed.count("")
    return {"right": right, "other": len(guessed) - right - undecided, "undecided": undecided}


def kept(earlier: Sequence[tuple[WriteCase, int, Gold]], after: Sequence[str]) -> list[dict[str, Any]]:
    """Which facts of earlier chats of a chain the memory still says: {fact, hidden, found}."""
    return [
        {"fact": f"{case.id}.{index}", "hidden": case.hidden, "style": case.style, "found": recalled(gold, after)}
        for case, index, gold in earlier
    ]


def asked(asks: Asked, earlier: Sequence[tuple[WriteCase, int, Gold]], before: Sequence[str]) -> dict[str, Any]:
    """Whether the memory said what a chat asks for when it was asked, and the facts that stand beside it."""
    facts = {f"{case.id}.{index}": gold for case, index, gold in earlier}
    return {
        "fact": asks.fact,
        "known": recalled(facts[asks.fact], before),
        "others": [{"fact": name, "known": recalled(facts[name], before)} for name in asks.others],
    }
