"""What each step of a policy buys: the same run without it, beside the whole. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..tables import table
from .measures import STEPS, Measure, total
from .rows import RUN
from .tables import run_name

Row = Mapping[str, Any]


def steps(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The variants of each run, the whole one first; nothing for a run that has only one.

    `difference` is to the whole run over the chats that both have; None where there is none.
    """
    runs: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for row in rows:
        key = (row["set"], row["split"], *(str(row[name]) for name in RUN if name != "variant"))
        runs.setdefault(key, {}).setdefault(row["variant"], []).append(row)
    return [
        _compared(members, variants.get("", []))
        for _, variants in sorted(runs.items())
        if len(variants) > 1
        for _, members in sorted(variants.items())
    ]


def _compared(members: Sequence[Row], whole: Sequence[Row]) -> dict[str, Any]:
    first = members[0]
    both = {row["case"] for row in members} & {row["case"] for row in whole}
    here, there = ([row for row in rows if row["case"] in both] for rows in (members, whole))
    return {
        "set": first["set"],
        "split": first["split"],
        "run": {name: first[name] for name in RUN},
        "chats": len(members),
        "found": {
            one.name: {"value": total(members, one), "difference": _minus(total(here, one), total(there, one))}
            for one in STEPS
        },
    }


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def steps_table(compared: Sequence[Mapping[str, Any]]) -> str:
    """One line for each variant; behind a value stands the difference to the whole run."""
    head = ["set, run", "chats", *(measure.title for measure in STEPS)]
    return table(head, [_line(entry) for entry in compared])


def _line(entry: Mapping[str, Any]) -> list[str]:
    name = f"{entry['set']} {entry['split']}, {run_name(entry['run'])}"
    cells = (_cell(entry["found"][one.name], one, not entry["run"]["variant"]) for one in STEPS)
    return [name, str(entry["chats"]), *cells]


def _cell(found: Mapping[str, float | None], measure: Measure, whole: bool) -> str:
    value, difference = found["value"], found["difference"]
    if value is None:
        return ""
    factor, digits, unit = (100, 0, " %") if measure.share else (1, measure.digits, "")
    behind = "" if whole or difference is None else f" ({factor * difference:+.{digits}f})"
    return f"{factor * value:.{digits}f}{unit}{behind}"
