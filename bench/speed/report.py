"""From samples to the table of `bench speed`: medians, p95, ratios with an interval. Pure, and the same every time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from .formula import Rates, predicted
from .pairs import PAIRS, Pair

RESAMPLES = 2000
EARLY, LATE = (4, 8), (36, 40)  # chats around the fifth, and the last ones
TUNED = ("flash_attention", "kv_type", "batch_tokens")
MACHINE = (
    *("model", "model_digest", "version", "threads", "context_tokens", "device", "policy", "cpu", "ram_bytes"),
    *TUNED,
)

Sample = Mapping[str, Any]
Line = dict[str, Any]


def build(samples: Sequence[Sample], rows: Sequence[str], left_out: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The machine, and a line for each ratio whose samples are there. Only samples of the last one's machine count.
    `left_out` says of rows that could not be measured why."""
    missing = dict(left_out or {})
    if not samples:
        return {"machine": {}, "lines": [], "left_out": missing}
    last = samples[-1]
    same = [one for one in samples if all(one.get(name) == last.get(name) for name in (*MACHINE, "code_digest"))]
    rates = _rates(same)
    lines = [line for pair in PAIRS if pair.row in rows for line in _pair(pair, same, rates)]
    for sample in same:
        if sample["row"] == "chats":
            lines += [line for line in _chats(sample["chats"]) if line["row"][0] in rows]
    machine = {name: last.get(name) for name in (*MACHINE, "system_info", "python")}
    return {"machine": machine, "lines": lines, "left_out": missing}


def markdown(report: Mapping[str, Any]) -> str:
    """The report for people."""
    machine = report["machine"]
    head = [f"- {name}: {value}" for name, value in machine.items() if value not in ("", None)]
    names = ("row", "A / B", "ratio (95 %)", "formula", "must", "A median, p95", "B median, p95", "n", "counts")
    rows = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for line in report["lines"]:
        low, high = line["interval"]
        formula = f"{line['formula']:.2f}" if line.get("formula") else ""
        interval = f" ({low:.2f}-{high:.2f})" if low != high else ""
        a, b = (f"{_figure(line[arm]['median'])}, {_figure(line[arm]['p95'])}" for arm in ("a", "b"))
        counts = ", ".join(f"{name} {value}" for name, value in line["counts"].items())
        rows.append(
            f"| {line['row']} | {line['title']} | {line['ratio']:.2f}{interval} | {formula} | {line['must']:.3g} "
            f"| {a} | {b} | {line['n']} | {counts} |"
        )
    missing = [f"Row {name} was not measured: {why}" for name, why in report["left_out"].items()]
    return "\n".join(["# Speed", "", *head, "", *rows, "", *(missing and [*missing, ""])])


def interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Of the ratio of medians, by resampling both."""
    chance = random.Random(0)
    ratios = sorted(_ratio(chance.choices(a, k=len(a)), chance.choices(b, k=len(b))) for _ in range(RESAMPLES))
    return ratios[int(0.025 * RESAMPLES)], ratios[int(0.975 * RESAMPLES) - 1]


def _warm(samples: Sequence[Sample], name: str) -> dict[str, list[Sample]]:
    """The samples of both sides of a row, without the first ones."""
    return {
        arm: [one for one in samples if (one["row"], one["arm"]) == (name, arm) and one["repeat"] > 0] for arm in "ab"
    }


def _rates(samples: Sequence[Sample]) -> Rates | None:
    """Our speeds as row 5 measured them; None where it was not."""
    read, write = (_warm(samples, name)["b"] for name in ("5 read", "5 200"))
    if not read or not write:
        return None
    return Rates(median(one["value"] for one in read), median(one["value"] for one in write))


def _medians(samples: Sequence[Sample], names: Sequence[str]) -> dict[str, float]:
    return {key: median(one[key] for one in samples) for key in names if all(key in one for one in samples)}


def _pair(pair: Pair, samples: Sequence[Sample], rates: Rates | None) -> Iterator[Line]:
    name = pair.name
    warm = _warm(samples, name)
    if not warm["a"] or not warm["b"]:
        return
    counted = ("tokens", "drafted", "accepted", "prefilled", "written", "behind", "facts", "facts_found", "lines")
    told = {arm: _medians(taken, counted) for arm, taken in warm.items()}
    counts: Line = {f"{arm.upper()} {key}": told[arm][key] for key in counted for arm in "ab" if key in told[arm]}
    if name == "3":  # what is read decides, as long as the memory is short
        counts["tokens read A / B"] = round(counts["A prefilled"] / max(1, counts["B prefilled"]), 1)
    a, b = ([float(one["value"]) for one in warm[arm]] for arm in ("a", "b"))
    known = next((float(one["formula"]) for one in warm["a"] if "formula" in one), 0.0)
    formula = known or predicted(name, told["a"], {**told["b"], "value": median(b)}, rates)
    must = pair.must * formula if pair.of_formula else pair.must
    title = f"{pair.title} (at most)" if pair.at_most else pair.title
    yield {**_line(name, title, must, a, b, counts), "formula": formula}


def _chats(chats: Sequence[Sample]) -> Iterator[Line]:
    early = [one for one in chats if EARLY[0] <= one["chat"] <= EARLY[1]]
    late = [one for one in chats if LATE[0] <= one["chat"] <= LATE[1]]
    for name, title in (("first_token_s", "first token"), ("update_s", "update")):
        if early and late:
            a, b = ([one[name] for one in part] for part in (late, early))
            sizes = {f"memory {when}": part[-1]["memory_tokens"] for when, part in (("late", late), ("early", early))}
            yield _line("7", f"{title}: chats 36-40 / chats 4-8 (at most)", 1.1, a, b, sizes)
    parts = {name: sum(one[name] for one in chats) for name in ("prefilled", "update_prefilled", "kept_prefilled")}
    ours = sum(parts.values())
    history = sum(one["history_tokens"] for one in chats)
    yield _line(
        "8", f"tokens read over {len(chats)} chats: all earlier ones / ours with updates", 8, [history], [ours], parts
    )
    new = sum(one["question_tokens"] for one in chats) + chats[-1]["history_tokens"]
    yield _line("8 warm", "the same, with a full history that is kept warm", 0, [new], [ours], {})


def _line(row: str, title: str, must: float, a: Sequence[float], b: Sequence[float], counts: Line) -> Line:
    return {
        "row": row,
        "title": title,
        "must": must,
        "ratio": _ratio(a, b),
        "interval": interval(a, b) if len(a) > 1 else (_ratio(a, b), _ratio(a, b)),
        "a": {"median": median(a), "p95": _p95(a)},
        "b": {"median": median(b), "p95": _p95(b)},
        "n": min(len(a), len(b)),
        "counts": counts,
    }


def _ratio(a: Sequence[float], b: Sequence[float]) -> float:
    return median(a) / max(median(b), 1e-9)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
