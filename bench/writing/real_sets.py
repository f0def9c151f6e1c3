"""Public sets as cases. They are read from a folder that the user names; none of their text is shipped or recorded.

What counts as gold differs by set and is said at each loader. Persona profiles are left out everywhere: nobody says
them in a chat.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgemem.values import Role

from ..jsonl import objects
from .values import Gold, Stale, WriteCase

_START = datetime(2026, 1, 5, 19, tzinfo=UTC)  # where a set has no dates
_DATE = re.compile(r"(\d\d)/(\d\d)/(\d{4})")
_SAID = re.compile(r"^(Side_Note|User|Assistant):\s*", re.MULTILINE)


def memoryctrl(folder: Path, personas: Sequence[int]) -> list[WriteCase]:
    """MemoryCtrl: the four sessions of each persona and topic, chained; topics stand alone.

    Gold is what `updates.jsonl` says of a message the user writes in that session: the event is explicit, the like
    or dislike it stands for implied. The old like or dislike is stale where the user had told of it earlier.
    """
    updates = list(objects(folder / "updates.jsonl"))
    cases: list[WriteCase] = []
    for chat in objects(folder / "conversations.jsonl"):
        if chat["persona_id"] not in personas:
            continue
        previous = None
        name = chat["persona"].partition("\n")[0].removeprefix("Name:").split()
        for number, session in enumerate(chat["sessions"], 1):
            told = [u for u in updates if (u["sample_id"], u["stage"]) == (chat["sample_id"], session["stage"])]
            said = {message["ref"] for message in session["messages"] if message["role"] == "user"}
            case = _memoryctrl_case(chat, number, [u for u in told if u["ref"] in said], tuple(name), previous)
            cases.append(case)
            previous = case.id
    return cases


def _memoryctrl_case(
    chat: dict[str, Any], number: int, updates: Sequence[dict[str, Any]], names: tuple[str, ...], previous: str | None
) -> WriteCase:
    session = chat["sessions"][number - 1]
    gold: list[Gold] = []
    replaced: list[int] = []
    stale: list[Stale] = []
    for update in updates:
        gold.append(Gold(update["new_event"], "explicit", names=names))
        gold.append(Gold(attitude(update["new_likes"], update["new_dislikes"]), "implied", names=names))
        if update["old_event_ref"]:
            replaced.append(len(gold) - 1)
            stale.append(Stale(attitude(update["old_likes"], update["old_dislikes"])))
    dates = [date for message in session["messages"] if (date := _date(message["ref"] or ""))]
    return WriteCase(
        id=f"{chat['sample_id']}-{number}",
        set="memoryctrl",
        split="dev",
        language="en",
        style=chat["topic"],
        user=f"persona{chat['persona_id']}",
        time=max(dates, default=_START + timedelta(days=30 * number)),
        memory_before=(),
        turns=_turns(session["messages"], "content"),
        gold=tuple(gold),
        stale=tuple(stale),
        chains_on=previous,
        replaced=tuple(replaced),
    )


def attitude(likes: str | None, dislikes: str | None) -> str:
    """A like or dislike as a sentence."""
    return f"Likes {likes}" if likes else f"Dislikes {dislikes}"


def personamem_v1(folder: Path) -> list[WriteCase]:
    """PersonaMem v1: each annotated validation snippet as a chat of its own, then the long contexts by session.

    Gold of a snippet: its event is explicit, the like or dislike (the updated one, where there is one) implied.
    Where the annotation names the old state, that is the memory before, and stale. The annotators' likes contradict
    the text now and then. The contexts have no gold: they show cost, budget and (judged) unsupported lines.
    """
    rows = [row for row in objects(folder / "validation_mcq.jsonl") if row["evidence_conversation"]]
    names = _first_names(row["annotation"]["Event"] for row in rows)
    snippets = [_snippet(row, names) for row in rows]
    return [*snippets, *(case for row in objects(folder / "contexts.jsonl") for case in _context(row))]


def _snippet(row: dict[str, Any], names: tuple[str, ...]) -> WriteCase:
    noted = row["annotation"]
    parts = _SAID.split(row["evidence_conversation"])[1:]
    said = list(zip(parts[::2], parts[1::2], strict=True))
    turns: list[tuple[Role, str]] = [
        ("user" if who == "User" else "assistant", text.strip()) for who, text in said if who != "Side_Note"
    ]
    old, new = _noted(noted, "[Old Fact]"), _noted(noted, "[Updated Fact]")
    if new and not old:
        old = _noted(noted, "[Fact]")
    gold = [Gold(noted["Event"], "explicit", names=names)]
    if new := new or _noted(noted, "[Fact]"):
        gold.append(Gold(new, "implied"))
    return WriteCase(
        id=f"snippet-{row['question_id']}",
        set="personamem_v1",
        split="dev",
        language="en",
        style=row["topic"],
        user=f"persona{row['persona_id']}",
        time=_date(row["evidence_conversation"]) or _START,
        memory_before=(old,) if old else (),
        turns=tuple(turns),
        gold=tuple(gold),
        stale=(Stale(old),) if old else (),
        replaced=(1,) if old and len(gold) > 1 else (),
    )


def _noted(annotation: dict[str, Any], prefix: str) -> str:
    likes, dislikes = (annotation.get(f"{prefix} {word}") for word in ("Likes", "Dislikes"))
    return attitude(likes, dislikes) if likes or dislikes else ""


def _first_names(events: Iterable[str]) -> tuple[str, ...]:
    """The personas' names: events begin with one or with a verb, which stands in the past and repeats less."""
    first = Counter(event.split()[0].removesuffix("'s") for event in events)
    return tuple(word for word, count in first.items() if count >= 3 and not word.endswith("ed"))


def _context(row: dict[str, Any]) -> Iterator[WriteCase]:
    starts = [*row["session_starts"], len(row["messages"])]
    previous = None
    for number, (first, last) in enumerate(pairwise(starts), 1):
        case = WriteCase(
            id=f"context-{row['context_id']}-{number}",
            set="personamem_v1",
            split="dev",
            language="en",
            style="context",
            user=f"context-{row['context_id']}",
            time=_START + timedelta(days=7 * number),
            memory_before=(),
            turns=_turns(row["messages"][first:last], "content"),
            gold=(),
            chains_on=previous,
        )
        previous = case.id
        yield case


def locomo(folder: Path, conversations: int) -> list[WriteCase]:
    """LoCoMo: each speaker as the user in turn, the other one's words as the assistant's; sessions chained.

    Gold is `events_session_N` of that speaker, all explicit: the set's own summary of what the session tells, as
    sentences. (Its questions are less sound here: their answers are fragments that mean something only beside
    the question, and many rest on several sessions.)
    """
    files = sorted(folder.glob("*.json"))[:conversations]
    if not files:
        raise ValueError("no conversation found")
    return [case for file in files for case in _conversation(file.stem, json.loads(file.read_text("utf-8")))]


def _conversation(name: str, data: dict[str, Any]) -> Iterator[WriteCase]:
    numbers = sorted(int(key[8:]) for key in data if re.fullmatch(r"session_\d+", key))
    for letter in "ab":
        user = data[f"speaker_{letter}"]
        previous = None
        for number in numbers:
            events = data.get(f"events_session_{number}", {}).get(user, [])
            case = WriteCase(
                id=f"{name}-{letter}-{number}",
                set="locomo",
                split="dev",
                language="en",
                style="two people",
                user=f"{name}-{letter}",
                time=datetime.strptime(data[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(
                    tzinfo=UTC
                ),
                memory_before=(),
                turns=_speakers(data[f"session_{number}"], user),
                gold=tuple(Gold(event, "explicit", names=(user,)) for event in events),
                chains_on=previous,
            )
            previous = case.id
            yield case


def _speakers(turns: Iterable[dict[str, Any]], user: str) -> tuple[tuple[Role, str], ...]:
    return tuple(
        ("user" if turn["speaker"] == user else "assistant", str(turn["text"])) for turn in turns if turn["text"]
    )


def _turns(messages: Iterable[dict[str, Any]], key: str) -> tuple[tuple[Role, str], ...]:
    kept = [row for row in messages if row["role"] in ("user", "assistant") and str(row[key]).strip()]
    return tuple((row["role"], str(row[key])) for row in kept)


def _date(text: str) -> datetime | None:
    found = _DATE.search(text)
    return datetime(int(found[3]), int(found[1]), int(found[2]), 19, tzinfo=UTC) if found else None
