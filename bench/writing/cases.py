"""The sets that can be run, and those of our own. Reads files, knows no model.

Each set has a version: raise it whenever its cases, their gold or their order change, so that rows are not mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from edgemem.errors import InvalidInput

from ..jsonl import objects
from .cost import cost
from .crowd import crowd
from .matcher import Words, names_person
from .real_sets import locomo, memoryctrl, personamem_v1
from .values import Gold, Stale, ThirdParty, Trap, TrapKind, WriteCase

TEXTS = Path(__file__).parents[1] / "texts"
SPLITS = ("dev", "frozen", "all")
_CHANGES_AT = datetime(2026, 11, 20, 18, tzinfo=UTC)  # a Friday
_KIND_WORDS: tuple[tuple[TrapKind, tuple[str, ...]], ...] = (
    ("role_play", ("role play", "rollenspiel", "juego de rol", "jeu de rôle")),
    ("hypothetical", ("hypoth", "hipot", "angenommen", "imagin")),
    ("negated", ("negated", "verneint", "negad", "nié")),
    ("question", ("question", "asked", "frage", "pregunta", "demande", "pide", "petición", "request", "wish", "quiz")),
)
_KIND_STYLES: dict[str, TrapKind] = {
    "request": "question",
    "hypothetical": "hypothetical",
    "roleplay": "role_play",
    "negation": "negated",
}


@dataclass(frozen=True)
class CaseSet:
    """A set: where it comes from and under which terms. `load` takes the data folder."""

    name: str
    version: int
    licence: str
    load: Callable[[Path], list[WriteCase]]
    own: bool = False


def load_cases(
    names: Sequence[str], *, split: str = "all", data: Path | None = None, only: Sequence[str] = ()
) -> list[WriteCase]:
    """The cases of the sets, in order. Raises InvalidInput for an unknown set or id, or where the data is missing."""
    if split not in SPLITS:
        raise InvalidInput(f"there is no split {split!r}", f"use {', '.join(SPLITS)}")
    cases = [case for name in names for case in _load(name, data) if split in ("all", case.split)]
    if unknown := set(only) - {case.id for case in cases}:
        raise InvalidInput(f"there is no case {', '.join(sorted(unknown))}", "see the ids in the rows or the texts")
    chosen = [case for case in cases if not only or case.id in only]
    if not chosen:
        raise InvalidInput(f"{' and '.join(names)} have no case in the split {split}", "try --split all")
    return chosen


def _load(name: str, data: Path | None) -> list[WriteCase]:
    if name not in SETS:
        raise InvalidInput(f"there is no set {name!r}", f"use {', '.join(SETS)}")
    found = SETS[name]
    if not found.own and data is None:
        raise InvalidInput(f"the set {name} is read from a data folder", "name it with --data")
    folder = TEXTS if data is None or found.own else data / name
    try:
        return found.load(folder)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidInput(f"cannot read the set {name} from {folder}: {error!r}", "check the folder") from error


def own_chats(folder: Path) -> list[WriteCase]:
    """Our chats, each with a memory of its own."""
    return [own_case(row, "own") for row in objects(folder / "chats.jsonl")]


def retention_chats(folder: Path) -> list[WriteCase]:
    """Sixty chats of one user in order: ten that plant facts, then small talk with a few facts hidden in it."""
    cases: list[WriteCase] = []
    for row in objects(folder / "retention.jsonl"):
        cases.append(own_case(row, "retention", cases[-1].id if cases else None))
    return cases


def planted_chats(folder: Path) -> list[WriteCase]:
    """The same, but what the ten chats plant stands in the memory as lines: what of it does small talk cost?"""
    return [
        replace(case, set="planted", turns=(), memory_before=tuple(gold.fact for gold in case.gold))
        if case.style == "planted"
        else replace(case, set="planted")
        for case in retention_chats(folder)
    ]


def change_chats(folder: Path) -> list[WriteCase]:
    """Chats of people with thirteen known lines: one or two of them are overtaken by what is said on the way, or none.

    For tuning alone. What is told besides has no gold here.
    """
    return [_change_case(row) for row in objects(folder / "changes.jsonl")]


def _change_case(row: dict[str, Any]) -> WriteCase:
    known, changed = tuple(row["memory_before"]), row["stale"]
    return WriteCase(
        id=row["id"],
        set="changes",
        split="dev",
        language=row["language"],
        style="change",
        user=row["id"],
        time=_CHANGES_AT,
        memory_before=known,
        turns=tuple(("user", text) for text in row["messages"]),
        gold=tuple(Gold(one["said"], "explicit", (one["new"],)) for one in changed),
        stale=tuple(Stale(known[one["line"]], (known[one["line"]],)) for one in changed),
        own=True,
        replaced=tuple(range(len(changed))),
    )


def crowd_chats(folder: Path) -> list[WriteCase]:
    """Two hundred chats of one user: all of ours, and chats that ask for what was told in earlier ones."""
    return crowd([*own_chats(folder), *retention_chats(folder)])


def cost_chats(folder: Path) -> list[WriteCase]:
    """Long chats upon a large memory, put together from ours."""
    return cost([*own_chats(folder), *retention_chats(folder)])


def own_case(row: dict[str, Any], name: str, chains_on: str | None = None) -> WriteCase:
    """A row of our texts as a case."""
    gold = tuple(
        Gold(fact["fact"], fact["kind"], tuple(fact["keys"]), section=fact.get("section", "")) for fact in row["gold"]
    )
    new = [_new_value(old, row) if row.get("change") else None for old in row["stale"]]
    stale = [
        Stale(old["old"], tuple(old["keys"]), index is not None) for old, index in zip(row["stale"], new, strict=True)
    ]
    return WriteCase(
        id=row["id"],
        set=name,
        split=row["split"],
        language=row["language"],
        style=row["style"],
        user=row["user"],
        time=datetime.fromisoformat(row["time"]),
        memory_before=tuple(row["memory_before"]),
        turns=tuple((turn["role"], turn["text"]) for turn in row["turns"]),
        gold=gold,
        third_party=tuple(ThirdParty(f["fact"], tuple(f["keys"]), f["owner"]) for f in row["third_party"]),
        traps=tuple(_trap(trap, row["style"]) for trap in row["traps"]),
        stale=tuple(stale),
        chains_on=chains_on,
        hidden=bool(row.get("hidden")),
        own=True,
        replaced=tuple(sorted({index for index in new if index is not None})),
    )


def _trap(trap: dict[str, Any], style: str) -> Trap:
    return Trap(trap["line"], trap_kind(trap["why"], style), tuple(trap["keys"]), tuple(trap.get("unless") or ()))


def trap_kind(why: str, style: str) -> TrapKind:
    """What a trap is about, from the reason that stands beside it and the style of its chat."""
    plain = why.casefold()
    named = next((kind for kind, words in _KIND_WORDS if any(word in plain for word in words)), None)
    if named in ("role_play", "hypothetical", "negated"):
        return named
    if names_person(why):
        return "third_party"
    return named or _KIND_STYLES.get(style, "task")


def _new_value(old: dict[str, Any], row: dict[str, Any]) -> int | None:
    """Which gold fact takes the place of an old one; None where the user only asked to forget.

    The texts may say so (`new`: an index). Where they do not, it is an explicit fact from the turn that has most words
    of the old one (of the turns that tell any; any turn, where none has such words): the fact that has most of them
    itself, and the first of equals.
    """
    if "new" in old:
        return None if old["new"] is None else int(old["new"])
    words = Words.of(old["old"]).without_numbers()
    said = [index for index, turn in enumerate(row["turns"]) if turn["role"] == "user"]
    explicit = [index for index, fact in enumerate(row["gold"]) if fact["kind"] == "explicit"]
    shares = {turn: words.shared(row["turns"][turn]["text"]) for turn in said}
    likely = sorted((turn for turn in said if shares[turn] or not any(shares.values())), key=lambda turn: -shares[turn])
    told = [[index for index in explicit if row["gold"][index]["evidence_turn"] == turn] for turn in likely]
    first = next(filter(None, told), [])
    return max(first, key=lambda index: (words.shared(row["gold"][index]["fact"]), -index), default=None)


SETS: dict[str, CaseSet] = {
    found.name: found
    for found in (
        CaseSet("own", 1, "our own text, Apache-2.0", own_chats, own=True),
        CaseSet("retention", 1, "our own text, Apache-2.0", retention_chats, own=True),
        CaseSet("planted", 1, "our own text, Apache-2.0", planted_chats, own=True),
        CaseSet("changes", 1, "our own text, Apache-2.0", change_chats, own=True),
        CaseSet("crowd", 1, "our own text, Apache-2.0", crowd_chats, own=True),
        CaseSet("cost", 1, "our own text, Apache-2.0", cost_chats, own=True),
        CaseSet("memoryctrl", 1, "MIT (YnezT0311/pros_2026_mem_follow)", partial(memoryctrl, personas=(0, 1))),
        CaseSet("personamem_v1", 1, "MIT (bowen-upenn, PersonaMem v1, rebuilt)", personamem_v1),
        CaseSet("locomo", 1, "CC BY-NC 4.0 (snap-research/locomo)", partial(locomo, conversations=2)),
    )
}
