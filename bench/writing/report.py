"""The report: a pure function of rows and verdicts, as Markdown for people and as values for JSON.

A run is what wrote: policy, steps left out, model, prompts and code. Runs are compared within a set and split, and
then by language and style. Rows of different code are different runs, never averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..tables import table
from .crowd_report import crowd_table, crowded
from .judging import Verdicts
from .measures import COST, MEASURES, Estimate, Measure, estimates
from .rows import RUN
from .steps import steps, steps_table
from .tables import run_name

Row = Mapping[str, Any]
SLICED = ("explicit_recall", "implied_recall", "unsupported", "stale_gone", "right_language", "lines_added")
"""What is shown by language and style, where groups are small."""

STEPS_LEGEND = "In brackets: the difference to the whole policy, over the chats that both have."


@dataclass(frozen=True)
class Group:
    """Rows of one run in one set and split (and one language or style: `part`), with what was found."""

    set: str
    split: str
    run: dict[str, Any]
    part: str
    chats: int
    found: dict[str, Estimate]

    @property
    def name(self) -> str:
        return run_name(self.run)


def build(rows: Iterable[Row], verdicts: Verdicts | None = None) -> dict[str, Any]:
    """The whole report as values."""
    known, judged = list(rows), verdicts or Verdicts()
    return {
        "groups": [_plain(group) for group in groups(known, judged)],
        "by_language": [_plain(group) for group in groups(known, judged, "language")],
        "by_style": [_plain(group) for group in groups(known, judged, "style")],
        "retention": retention(known),
        "crowd": crowded(known),
        "cost": costs(known),
        "steps": steps(known),
        "judged_twice": judged.judged_twice,
        "disagreements": judged.disagreements,
    }


def _plain(group: Group) -> dict[str, Any]:
    return asdict(group) | {"name": group.name}


def groups(
    rows: Sequence[Row], verdicts: Verdicts, part: str = "", measures: Sequence[Measure] = MEASURES
) -> list[Group]:
    """Rows by set, split and run, and by the field `part` if it is given."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = (row["set"], row["split"], str(row.get(part, "")), *(str(row[name]) for name in RUN))
        found.setdefault(key, []).append(row)
    return [
        Group(
            key[0],
            key[1],
            {name: members[0][name] for name in RUN},
            key[2],
            len(members),
            estimates(members, verdicts, measures),
        )
        for key, members in sorted(found.items())
    ]


def costs(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each run of the set `cost`: what an update costs, and what is learned."""
    return [_plain(group) for group in _cost_groups(rows)]


def _cost_groups(rows: Sequence[Row]) -> list[Group]:
    return groups([row for row in rows if row["set"] == "cost"], Verdicts(), measures=COST)


def retention(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """For each run of `retention` and `planted`: what of the planted and the hidden facts is there after its last chat.

    Facts told in the last chat itself count, too. `learned` were found right after the chat that told them.
    """
    runs: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["set"] in ("retention", "planted"):
            runs.setdefault((row["set"], *(str(row[name]) for name in RUN)), []).append(row)
    return [_retained(members) for _, members in sorted(runs.items())]


def _retained(rows: Sequence[Row]) -> dict[str, Any]:
    last = max(rows, key=lambda row: (len(row.get("earlier", ())), row["case"]))
    facts = {fact["fact"]: fact for fact in last.get("earlier", ())}
    for index, fact in enumerate(last["gold"]):
        facts[f"{last['case']}.{index}"] = {"hidden": last["hidden"], "style": last["style"], "found": fact["found"]}
    learned = {f"{row['case']}.{index}" for row in rows for index, fact in enumerate(row["gold"]) if fact["found"]}
    kinds: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "planted": lambda fact: fact["style"] == "planted",
        "hidden": lambda fact: bool(fact["hidden"]),
    }
    run = {name: last[name] for name in RUN}
    if last["set"] == "planted":
        run["variant"] = f"{run['variant']} planted as lines".strip()
    counts: dict[str, Any] = {"run": run, "chats": len(rows), "last": last["case"]}
    for kind, wanted in kinds.items():
        names = [name for name, fact in facts.items() if wanted(fact)]
        counts[kind] = {
            "facts": len(names),
            "there": sum(facts[name]["found"] for name in names),
            "learned": sum(name in learned for name in names),
            "learned_and_there": sum(name in learned and facts[name]["found"] for name in names),
        }
    return counts


def markdown(rows: Iterable[Row], verdicts: Verdicts | None = None) -> str:
    """The report as Markdown."""
    known, judged = list(rows), verdicts or Verdicts()
    parts = ["# How well memories are written", _legend(judged)]
    by_set: dict[tuple[str, str], list[Group]] = {}
    for group in groups(known, judged):
        by_set.setdefault((group.set, group.split), []).append(group)
    for (name, split), members in by_set.items():
        parts += [f"## {name}, {split}", _table(members, MEASURES, "run", lambda group: group.name)]
    if retained := retention(known):
        parts += ["## What stays", _retention_table(retained)]
    if crowds := crowded(known):
        parts += ["## What stays in a crowd", crowd_table(crowds)]
    if costly := _cost_groups(known):
        parts += ["## What an update costs", _table(costly, COST, "run", lambda group: group.name)]
    sliced = [measure for measure in MEASURES if measure.name in SLICED]
    for field, title in (("language", "By language"), ("style", "By style")):
        members = groups(known, judged, field)
        parts += [f"## {title}", _table(members, sliced, f"set, {field}, run", _sliced_name)]
    if compared := steps(known):
        parts += ["## What each step buys", STEPS_LEGEND, steps_table(compared)]
    return "\n\n".join(parts) + "\n"


def _sliced_name(group: Group) -> str:
    return f"{group.set} {group.split}, {group.part}, {group.name}"


def _legend(verdicts: Verdicts) -> str:
    twice, differ = verdicts.judged_twice, verdicts.disagreements
    again = f" Judged twice: {twice} lines, {differ} of them differently ({differ / twice:.1%})." if twice else ""
    return f"Value [95 % interval over chats] (of how many). Digits after a model's name: the code that wrote.{again}"


def _table(members: Sequence[Group], measures: Sequence[Measure], heading: str, name: Callable[[Group], str]) -> str:
    shown = [one for one in measures if one.name == "unsupported" or any(group.found[one.name].of for group in members)]
    head = [heading, "chats", *(measure.title for measure in shown)]
    body = [[name(group), str(group.chats), *(_cell(group.found[one.name], one) for one in shown)] for group in members]
    return table(head, body)


def _cell(found: Estimate, measure: Measure) -> str:
    if found.value is None:
        return "not judged" if measure.name.startswith(("unsupported", "judged")) else ""
    low, high = found.low or 0.0, found.high or 0.0
    if measure.share:
        return f"{100 * found.value:.0f} % [{100 * low:.0f}, {100 * high:.0f}] ({found.of:.0f})"
    return f"{found.value:.{measure.digits}f} [{low:.{measure.digits}f}, {high:.{measure.digits}f}]"


def _retention_table(retained: Sequence[Mapping[str, Any]]) -> str:
    head = ["run", "chats", "planted: there", "planted: learned, still there", "hidden: there", "hidden: learned"]
    body = []
    for counts in retained:
        run, planted, hidden = counts["run"], counts["planted"], counts["hidden"]
        body.append(
            [
                f"{run['policy']} {run['variant']} {run['model']} ({run['code_digest'][:6]})".replace("  ", " "),
                f"{counts['chats']}, last {counts['last']}",
                f"{planted['there']} of {planted['facts']}",
                f"{planted['learned_and_there']} of {planted['learned']}",
                f"{hidden['there']} of {hidden['facts']}",
                f"{hidden['learned']} of {hidden['facts']}",
            ]
        )
    return table(head, body)
