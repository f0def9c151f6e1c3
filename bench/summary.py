"""What rows of `bench run` say, as values: scores, differences to the memory arm, costs, break-even. Pure.

A group is one task on one set of data with one model and context on one machine. Rows whose memories were written by
different code are different arms of it, never averaged. A question that an arm was asked with several numbers of orders
(`--rotations`) counts once, with the most.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .arms import ARMS
from .asking import LETTERS
from .drift import drift
from .intervals import Mean, difference, mean, unit
from .retention import kept_at_end, losses
from .rows import KEY

Row = Mapping[str, Any]
GROUP = ("task", "task_version", "miniature", "model", "model_digest", "context_tokens", "device", "threads")
PEAKS = ("rss_peak", "rss_anon_peak", "rss_file_peak", "kv_bytes")
SCORES = ("strict", "forced", "f1")
SHOWN = ("strict", "parsed", "forced", "f1", "leak", "forced_leak")
TITLES = {
    **{"strict": "strict", "parsed": "parsed", "forced": "forced choice", "f1": "F1"},
    **{"leak": "leaks", "forced_leak": "leaks, forced choice"},
}


@dataclass(frozen=True)
class Arm:
    """One arm of a group. Scores over questions it answered; `difference` is arm minus memory over common ones.
    `input_tokens` counts prompts that did not fit as well,
    `answered_tokens` does not."""

    name: str
    asked: int
    answered: int
    problems: dict[str, int]
    scores: dict[str, Mean]
    difference: dict[str, Mean]
    categories: dict[str, dict[str, float]]
    losses: dict[str, int]
    letters: dict[str, float]
    cost: dict[str, float | None]


@dataclass(frozen=True)
class Learning:
    """What writing the memories cost: per session and per history, and how they grew."""

    name: str
    sessions: int
    histories: int
    seconds_per_session: float
    seconds_per_history: float
    tokens_per_history: float
    session_tokens: float
    facts_kept: tuple[int, int] | None
    joules_per_session: float | None
    curve: list[dict[str, float]]


@dataclass(frozen=True)
class Group:
    """All that is known of one task, data, model and machine."""

    run: dict[str, Any]
    machine: dict[str, Any]
    questions: int
    persons: int
    unit: str
    history_tokens: float
    arms: list[Arm]
    learning: list[Learning]
    break_even: dict[str, Any]
    drift: list[dict[str, Any]]
    energy_source: str


def groups(rows: Iterable[Row]) -> list[Group]:
    """The groups, by task and model."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        name = (*(str(row.get(part)) for part in GROUP), json.dumps(row.get("machine"), sort_keys=True))
        found.setdefault(name, []).append(row)
    return [_group(members) for _, members in sorted(found.items())]


def _group(rows: Sequence[Row]) -> Group:
    ordered = sorted(rows, key=lambda row: (row["kind"], row["case"], row["arm"], row["code_digest"]))
    asked = _most_orders([row for row in ordered if row["kind"] == "question"])
    persons = {row["case"]: row["persona"] for row in asked}
    by_arm = _by_arm(asked)
    memory = next((members for name, members in by_arm.items() if name.startswith("memory")), [])
    arms = [_arm(name, members, memory, persons) for name, members in by_arm.items()]
    learnt = [row for row in ordered if row["kind"] != "question"]
    learning = [_learning(name, members) for name, members in _by_arm(learnt).items()]
    return Group(
        run={part: ordered[0].get(part) for part in GROUP},
        machine=dict(ordered[0].get("machine") or {}),
        questions=len(persons),
        persons=len(set(persons.values())),
        unit=unit(persons),
        history_tokens=_average([row["history_tokens"] for row in asked]) or 0.0,
        arms=arms,
        learning=learning,
        break_even=break_even(arms, learning),
        drift=drift(asked),
        energy_source=", ".join(sorted({row["energy_source"] for row in ordered if row.get("energy_source")})),
    )


def _most_orders(asked: Sequence[Row]) -> list[Row]:
    """Of rows that differ only in how many orders letters were compared in, the one with the most."""
    best: dict[tuple[str, ...], Row] = {}
    for row in asked:
        key = tuple(str(row.get(part)) for part in KEY if part != "rotations")
        if key not in best or (row.get("rotations") or 0) > (best[key].get("rotations") or 0):
            best[key] = row
    return list(best.values())


def _by_arm(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by arm, in the arms' order. Where several writers or budgets made memories, each is an arm of its own."""
    writers = {_writer(row) for row in rows if row["code_digest"] and row["policy"] != "mem0"}
    plain = len(writers) < 2 and not any(" by " in writer for writer in writers)
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (ARMS.index(row["arm"]), _writer(row))):
        name = (
            row["arm"]
            if plain or not row["code_digest"] or row["policy"] == "mem0"
            else f"{row['arm']} ({_writer(row)})"
        )
        found.setdefault(name, []).append(row)
    return found


def _writer(row: Row) -> str:
    other = row.get("write_model", "") if row.get("write_model_digest", "") != row["model_digest"] else ""
    name = f"{row['policy']} {row['budget_tokens']} {row['prompt_digest'][:4]} {row['code_digest'][:6]}"
    return f"{name} by {other}" if other else name


def _arm(name: str, rows: Sequence[Row], memory: Sequence[Row], persons: Mapping[str, str]) -> Arm:
    answered = [row for row in rows if row["status"] == "ok"]
    problems = [row.get("reason", row["status"]) for row in rows if row["status"] != "ok"]
    theirs = [row for row in memory if row["status"] == "ok"]
    return Arm(
        name=name,
        asked=len(rows),
        answered=len(answered),
        problems={problem: problems.count(problem) for problem in sorted(set(problems))},
        scores={score: mean(_values(answered, score), persons) for score in SHOWN},
        difference={
            score: difference(_values(answered, score), _values(theirs, score), persons)
            for score in SCORES
            if rows is not memory
        },
        categories=_categories(answered),
        losses=losses(answered),
        letters=_letters(answered),
        cost=_cost(answered)
        | {"input_tokens": _average([row["prompt_tokens"] for row in rows if "prompt_tokens" in row])},
    )


def _values(rows: Iterable[Row], score: str) -> dict[str, float]:
    return {row["case"]: float(row[score]) for row in rows if row.get(score) is not None}


def _letters(rows: Iterable[Row]) -> dict[str, float]:
    """How often each letter was the likeliest in the order shown: a model that likes a place shows here."""
    shown = [row["forced_shown"] for row in rows if row.get("forced_shown") is not None and row["strict"] is not None]
    return {LETTERS[place]: shown.count(place) / len(shown) for place in sorted(set(shown))}


def _categories(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    names = sorted({row["category"] for row in rows})
    found: dict[str, dict[str, float]] = {}
    for name in names:
        members = [row for row in rows if row["category"] == name]
        means = {score: _average(list(_values(members, score).values())) for score in SCORES}
        found[name] = {score: value for score, value in means.items() if value is not None} | {"of": len(members)}
    return found


def _cost(rows: Sequence[Row]) -> dict[str, float | None]:
    def over(of: Callable[[Row], float | None], cold: bool | None = None) -> float | None:
        values = [of(row) for row in rows if cold is None or row["cold"] == cold]
        return _average([value for value in values if value is not None])

    peaks = {name: [row[name] for row in rows if row.get(name)] for name in PEAKS}
    return {
        "answered_tokens": over(lambda row: row["prompt_tokens"]),
        "cached_tokens": over(lambda row: row["cached_tokens"]),
        "output_tokens": over(lambda row: row["output_tokens"]),
        "search_s": over(lambda row: row.get("search_s")),
        "cold_first_token_s": over(lambda row: row["first_token_s"], cold=True),
        "warm_first_token_s": over(lambda row: row["first_token_s"], cold=False),
        "cold_total_s": over(lambda row: row["total_s"], cold=True),
        "warm_total_s": over(lambda row: row["total_s"], cold=False),
        "cold_computed": over(lambda row: row["prompt_tokens"] - row["cached_tokens"], cold=True),
        **{name: max(peaks[name], default=None) for name in PEAKS},
        "joules": over(lambda row: row.get("joules")),
        "memory_tokens": over(lambda row: row["memory_tokens"]),
    }


def _learning(name: str, rows: Sequence[Row]) -> Learning:
    histories: dict[str, list[Row]] = {}
    for row in rows:
        histories.setdefault(row["history"], []).append(row)
    numbers = sorted({row["session"] for row in rows})
    return Learning(
        name=name,
        sessions=len(rows),
        histories=len(histories),
        seconds_per_session=sum(row["seconds"] for row in rows) / len(rows),
        seconds_per_history=sum(row["seconds"] for row in rows) / len(histories),
        tokens_per_history=sum(_computed(row) for row in rows) / len(histories),
        session_tokens=sum(row["session_tokens"] for row in rows) / len(rows),
        facts_kept=kept_at_end(rows),
        joules_per_session=_average([row["joules"] for row in rows if row.get("joules") is not None]),
        curve=[_point(number, [row for row in rows if row["session"] == number]) for number in numbers],
    )


def _point(number: int, rows: Sequence[Row]) -> dict[str, float]:
    return {
        "session": number,
        "memory_tokens": sum(row["memory_tokens"] for row in rows) / len(rows),
        "seconds": sum(row["seconds"] for row in rows) / len(rows),
    }


def _computed(row: Row) -> int:
    return int(row["prompt_tokens"] - row["cached_tokens"] + row["output_tokens"])


def break_even(arms: Sequence[Arm], learning: Sequence[Learning]) -> dict[str, Any]:
    """After how many questions, each in a chat of its own (cold), the memory has paid for its updates.

    `seconds` and `tokens` are numbers of questions, None where there is no such number; `why` says why.
    """
    by_name = {arm.name: arm for arm in arms}
    memory = next((arm for arm in arms if arm.name.startswith("memory")), None)
    full = by_name.get("full_history")
    if memory is None or full is None or not learning:
        return {"why": "memory, full history and updates are not all here"}
    if memory.cost["cold_total_s"] is None or full.cost["cold_total_s"] is None:
        return {"why": "the full history does not fit the context" if not full.answered else "nothing was answered"}
    paid = learning[0]
    saved_s = full.cost["cold_total_s"] - memory.cost["cold_total_s"]
    saved_tokens = (full.cost["cold_computed"] or 0.0) - (memory.cost["cold_computed"] or 0.0)
    return {
        "seconds": paid.seconds_per_history / saved_s if saved_s > 0 else None,
        "tokens": paid.tokens_per_history / saved_tokens if saved_tokens > 0 else None,
        "update_s": paid.seconds_per_history,
        "memory_s": memory.cost["cold_total_s"],
        "full_history_s": full.cost["cold_total_s"],
        "why": "" if saved_s > 0 else "the full history answers faster here",
    }


def _average(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
