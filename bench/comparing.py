"""Two sets of rows side by side: the same questions asked on another machine, with another model or another version.

Paired: only questions that both sides answered in the same arm count, and the intervals are of the differences (B
minus A). What the sides have in common and where they differ stands above the tables. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgemem.errors import InvalidInput

from .arms import ARMS
from .intervals import difference, unit
from .jsonl import Row, RowKey
from .summary import SCORES, TITLES
from .tables import table

SIDE = ("machine", "model", "model_digest", "context_tokens", "threads", "device", "prompt_digest", "engine")
WRITING = ("write_model", "policy", "budget_tokens", "code_digest")
"""What may differ between the sides. Where a side has several values of one, questions are paired within a value."""

COSTS = (
    ("first_token_s", "first token (s)", 2, 1),
    ("total_s", "total (s)", 2, 1),
    ("prompt_tokens", "input tokens", 0, 1),
    ("rss_peak", "peak RSS (MiB)", 0, 2**20),
)
QUESTION = ("task", "arm", "task_version", "miniature", "case", "content")
Rows = Mapping[RowKey, Row]


def build(ours: Sequence[Row], theirs: Sequence[Row]) -> dict[str, Any]:
    """The comparison as values. Raises InvalidInput where nothing can be paired."""
    asked = [[row for row in rows if row["kind"] == "question"] for rows in (ours, theirs)]
    mixed = [name for name in (*SIDE, *WRITING) if any(len(_values(rows, name)) > 1 for rows in asked)]
    a, b = (_keyed(rows, mixed) for rows in asked)
    both = sorted(set(a) & set(b), key=lambda key: (key[0], ARMS.index(a[key]["arm"]), key))
    if not both:
        raise InvalidInput(
            "the two files have no question in common (same task, version, history and arm)",
            "compare runs of the same --preset, --tasks and --data",
        )
    names = dict.fromkeys(key[:2] for key in both)
    return {
        "a": {name: sorted(_values(asked[0], name)) for name in (*SIDE, *WRITING)},
        "b": {name: sorted(_values(asked[1], name)) for name in (*SIDE, *WRITING)},
        "paired_within": mixed,
        "only_a": len(set(a) - set(b)),
        "only_b": len(set(b) - set(a)),
        "parts": [_part(name, a, b, [key for key in both if key[:2] == name]) for name in names],
        "sessions": _sessions(ours, theirs, mixed),
    }


def _values(rows: Iterable[Row], name: str) -> set[str]:
    return {value for row in rows if (value := _text(row.get(name)))}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else str(value or "")


def _keyed(rows: Iterable[Row], within: Sequence[str]) -> dict[RowKey, Row]:
    """Rows by what makes them the same question; `within` keeps apart what a side has several of."""
    return {tuple(_text(row.get(name)) for name in (*QUESTION, *within)): row for row in rows}


def _part(name: RowKey, a: Rows, b: Rows, keys: Sequence[RowKey]) -> dict[str, Any]:
    """One task and arm. Scores and costs are of the questions that both sides answered."""
    answered = [key for key in keys if a[key]["status"] == b[key]["status"] == "ok"]
    return {
        "task": name[0],
        "arm": name[1],
        "asked": len(keys),
        "answered": len(answered),
        "intervals_over": unit({str(key): a[key]["persona"] for key in answered}),
        "same_choice": sum(a[key].get("forced_choice") == b[key].get("forced_choice") for key in answered),
        "scores": {score: _difference(score, a, b, answered) for score in SCORES},
        "costs": {cost: _difference(cost, a, b, answered) for cost, *_ in COSTS},
    }


def _difference(name: str, a: Rows, b: Rows, keys: Iterable[RowKey]) -> dict[str, Any]:
    """Means of both sides and of what lies between them, over the questions that have the value on both."""
    have = [key for key in keys if a[key].get(name) is not None and b[key].get(name) is not None]
    persons = {str(key): a[key]["persona"] for key in have}
    ours, theirs = ({str(key): float(side[key][name]) for key in have} for side in (a, b))
    found = difference(theirs, ours, persons)
    means = [sum(values.values()) / len(have) if have else None for values in (ours, theirs)]
    return {
        "a": means[0],
        "b": means[1],
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "of": found.of,
    }


def _sessions(ours: Sequence[Row], theirs: Sequence[Row], within: Sequence[str]) -> list[dict[str, Any]]:
    """What an update cost, where the same session was learned on both sides."""
    a, b = (_keyed([row for row in rows if row["kind"] == "session"], within) for rows in (ours, theirs))
    both = sorted(set(a) & set(b))
    return [
        {"task": name[0], "arm": name[1]}
        | {
            cost: _difference(cost, a, b, [key for key in both if key[:2] == name])
            for cost in ("seconds", "memory_tokens")
        }
        for name in dict.fromkeys(key[:2] for key in both)
    ]


def markdown(found: Mapping[str, Any], a: str, b: str) -> str:
    """The comparison for people. `a` and `b` are the sides' names."""
    parts = [f"# {b} (B) compared with {a} (A)", _sides(found), _reading(found)]
    for task in dict.fromkeys(part["task"] for part in found["parts"]):
        members = [part for part in found["parts"] if part["task"] == task]
        parts += [f"## {task}", _scores(members), "What a question costs:", _costs(members)]
        learned = [one for one in found["sessions"] if one["task"] == task]
        if learned:
            head = ["writer", "seconds of an update", "memory tokens after it"]
            body = [[one["arm"], _cell(one["seconds"], 1), _cell(one["memory_tokens"], 0)] for one in learned]
            parts += ["What learning costs:", table(head, body)]
    return "\n\n".join(parts) + "\n"


def _sides(found: Mapping[str, Any]) -> str:
    body = []
    for name in (*SIDE, *WRITING):
        left, right = ([_short(name, value) for value in found[side][name]] for side in ("a", "b"))
        body.append([name, ", ".join(left), ", ".join(right), "" if left == right else "differs"])
    return table(["", "A", "B", ""], body)


def _short(name: str, value: str) -> str:
    if name == "machine":
        card = json.loads(value)
        return f"{card.get('cpu', 'not known')}, {card.get('cores', '?')} cores, {card.get('system', '')}"
    return value[:12] if name.endswith("digest") else value


def _reading(found: Mapping[str, Any]) -> str:
    text = (
        "Cells: A -> B: B minus A on the same questions [95 % bootstrap interval]; an interval that holds 0 may be "
        f"chance. Without a counterpart: {found['only_a']} rows of A, {found['only_b']} of B."
    )
    within = ", ".join(found["paired_within"])
    return f"{text} Paired within the same {within}, of which a side has several." if within else text


def _scores(parts: Sequence[Mapping[str, Any]]) -> str:
    shown = [score for score in SCORES if any(part["scores"][score]["of"] for part in parts)]
    body = [
        [
            part["arm"],
            f"{part['answered']} of {part['asked']}",
            *(_cell(part["scores"][score], 0, 0.01) for score in shown),
            f"{part['same_choice']} of {part['answered']}",
        ]
        for part in parts
    ]
    return table(["arm", "answered by both", *(f"{TITLES[score]} (%)" for score in shown), "same forced choice"], body)


def _costs(parts: Sequence[Mapping[str, Any]]) -> str:
    body = [
        [part["arm"], *(_cell(part["costs"][cost], digits, per) for cost, _, digits, per in COSTS)] for part in parts
    ]
    return table(["arm", *(title for _, title, _, _ in COSTS)], body)


def _cell(value: Mapping[str, Any], digits: int, per: float = 1) -> str:
    """`41 -> 38: -3 [-7, +1]`, in units of `per`; empty where there is nothing to compare."""
    if value["difference"] is None:
        return ""
    a, b = (f"{value[side] / per:,.{digits}f}" for side in ("a", "b"))
    change, low, high = (f"{value[name] / per:+,.{digits}f}" for name in ("difference", "low", "high"))
    return f"{a} -> {b}: {change} [{low}, {high}]"
