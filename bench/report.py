"""The report of `bench run`: rows in, Markdown and one HTML page out. Pure; the page needs nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .intervals import Mean
from .page import Block, html, markdown
from .plots import Series, bars, chart
from .retention import OUTCOMES
from .summary import SCORES, SHOWN, TITLES, Arm, Group, groups
from .tables import of

Row = Mapping[str, Any]
TITLE = "edgemem: does the memory know the user, and what does that cost"
READING = (
    "Scores in percent with 95 % bootstrap intervals, and of how many questions. Three scores, not to be mixed: strict "
    "(the letter that the reply names; a reply without one is wrong, see `parsed`), forced choice (the option that the "
    "model finds likeliest) and F1 (words of a free answer). `none` knows nothing and `swap` has another person's "
    "memory: what they reach the options give away. `oracle` reads the gold evidence. Cold: the first question of an "
    "arm about a history; warm: a later one, whose prompt is partly read already. Times are wall clock here. "
    "Leaks, where the user asked not to keep something: how often it is told all the same; what should have stayed is "
    "in the categories named `probe`."
)
NOT_MEASURED = "not measured"
LOSSES = (
    "Where the set tells what a right answer rests on, the matcher of `bench write` looks for it in the memory. Wrong "
    "although it is there: lost in reading. Not there: lost in writing."
)
MINIATURE = (
    "Miniature data of our own text: it shows that everything works and what it costs, and is far too small to say how "
    "good anything is."
)


def build(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The report as values."""
    return [asdict(group) for group in groups(rows)]


def as_markdown(rows: Iterable[Row]) -> str:
    """The report as Markdown, without its plots."""
    return markdown(blocks(rows))


def as_html(rows: Iterable[Row]) -> str:
    """The report as one page."""
    return html(TITLE, blocks(rows))


def blocks(rows: Iterable[Row]) -> list[Block]:
    """The report, piece by piece."""
    found = groups(rows)
    parts = [Block.heading(1, TITLE), Block.text(READING), *_machines(found), *_lengths(found)]
    for group in found:
        parts += _group(group)
    return parts


def _machines(found: Sequence[Group]) -> list[Block]:
    cards = {str(sorted(group.machine.items())): group for group in found}
    body = [
        [
            str(group.machine.get("cpu", "not known")),
            str(group.machine.get("cores", "")),
            f"{group.machine.get('memory_bytes', 0) / 2**30:.0f} GiB",
            str(group.machine.get("system", "")),
            f"{group.run['device']}, {group.run['threads']} threads",
            " ".join(group.machine.get("features", ())),
        ]
        for group in cards.values()
    ]
    head = ["processor", "cores", "memory", "system", "computes on", "features"]
    return [Block.heading(2, "Machine"), Block.table(head, body)]


def _lengths(found: Sequence[Group]) -> list[Block]:
    """Time to the first token against the length of the history, over all tasks."""
    points: dict[str, list[tuple[float, float, float | None, float | None]]] = {}
    for group in found:
        for arm in group.arms:
            first = arm.cost["cold_first_token_s"]
            if first is not None and arm.name.split(" ")[0] in ("memory", "full_history"):
                points.setdefault(arm.name.split(" ")[0], []).append((group.history_tokens, first, None, None))
    if not points:
        return []
    series = [Series(name, sorted(places)) for name, places in points.items()]
    return [Block.plot(chart("First token, cold, against history", "tokens of history", "seconds", series))]


def _group(group: Group) -> list[Block]:
    run = group.run
    title = f"{run['task']} (version {run['task_version']}), {run['model']}, context {run['context_tokens']}"
    about = (
        f"{group.questions} questions about {group.persons} persons, intervals over {group.unit}; histories of "
        f"{group.history_tokens:,.0f} tokens. Rows: task {run['task']}, model digest {run['model_digest'][:12]}."
    )
    parts = [Block.heading(2, title), Block.text(about)]
    if run["miniature"]:
        parts.append(Block.text(MINIATURE))
    parts += [_scores(group), *_differences(group), *_categories(group)]
    parts += [*_losses(group), Block.heading(3, "What a question costs"), _costs(group), _resources(group)]
    parts += [*_learned(group), _break_even(group), *_drift(group)]
    return [*parts, *_plots(group)]


def _scores(group: Group) -> Block:
    shown = [score for score in SHOWN if any(arm.scores[score].of for arm in group.arms)]
    head = ["arm", "answered", *(TITLES[score] for score in shown), "likeliest letter as shown"]
    if why := any(arm.problems for arm in group.arms):
        head.append("not answered because")
    body = [
        [
            arm.name,
            f"{arm.answered} of {arm.asked}",
            *(_percent(arm.scores[score]) for score in shown),
            ", ".join(f"{letter} {100 * share:.0f} %" for letter, share in arm.letters.items()),
            *(["; ".join(f"{problem} ({count})" for problem, count in arm.problems.items())] if why else []),
        ]
        for arm in group.arms
    ]
    return Block.table(head, body)


def _differences(group: Group) -> list[Block]:
    arms = [arm for arm in group.arms if any(found.of for found in arm.difference.values())]
    shown = [score for score in SCORES if any(arm.difference[score].of for arm in arms)]
    if not arms:
        return []
    body = [[arm.name, *(_percent(arm.difference[score], signed=True) for score in shown)] for arm in arms]
    head = ["arm minus memory, same questions", *(TITLES[score] for score in shown)]
    return [Block.heading(3, "Differences to the memory"), Block.table(head, body)]


def _categories(group: Group) -> list[Block]:
    names = sorted({name for arm in group.arms for name in arm.categories})
    if len(names) < 2:
        return []
    body = [[arm.name, *(_category(arm, name) for name in names)] for arm in group.arms if arm.answered]
    return [Block.heading(3, "By category"), Block.table(["arm", *names], body)]


def _category(arm: Arm, name: str) -> str:
    found = arm.categories.get(name, {})
    shown = [f"{TITLES[score]} {100 * found[score]:.0f} %" for score in SCORES if score in found]
    return f"{', '.join(shown)} ({found['of']:.0f})" if shown else ""


_COSTS = (
    ("input_tokens", "input tokens", 0),
    ("cached_tokens", "of which cached", 0),
    ("output_tokens", "output tokens", 1),
    ("search_s", "search (s)", 2),
    ("cold_first_token_s", "first token, cold (s)", 2),
    ("warm_first_token_s", "first token, warm (s)", 2),
    ("cold_total_s", "total, cold (s)", 2),
    ("warm_total_s", "total, warm (s)", 2),
)


def _costs(group: Group) -> Block:
    full = next((arm.cost["input_tokens"] for arm in group.arms if arm.name == "full_history"), None)
    head = ["arm", *(title for _, title, _ in _COSTS), "times fewer than full history"]
    body = []
    for arm in (arm for arm in group.arms if arm.cost["input_tokens"] is not None):
        tokens = arm.cost["input_tokens"]
        share = f"{full / tokens:.1f}" if full and tokens else ""
        cells = [_plain(arm.cost[name], digits) for name, _, digits in _COSTS]
        body.append([arm.name, *cells, share])
    return Block.table(head, body)


_PEAKS = (
    ("rss_peak", "peak RSS (MiB)"),
    ("rss_anon_peak", "anonymous (MiB)"),
    ("rss_file_peak", "of files (MiB)"),
    ("kv_bytes", "KV of the longest (MiB)"),
)


def _resources(group: Group) -> Block:
    """Memory of the process while it answered (peaks), and energy (means). KV is part of the anonymous memory."""
    joules = f"joules ({group.energy_source})" if group.energy_source else "joules"
    body = []
    for arm in (arm for arm in group.arms if arm.answered):
        peaks = [arm.cost[name] for name, _ in _PEAKS]
        cells = [_plain(peak and peak / 2**20, 0) or NOT_MEASURED for peak in peaks]
        body.append([arm.name, *cells, _plain(arm.cost["joules"], 1) or NOT_MEASURED])
    return Block.table(["arm", *(title for _, title in _PEAKS), joules], body)


def _losses(group: Group) -> list[Block]:
    arms = [arm for arm in group.arms if arm.losses]
    head = [
        "arm",
        "in the memory, right",
        "in it, wrong: read loss",
        "not in it, right",
        "not in it, wrong: write loss",
    ]
    body = [[arm.name, *(str(arm.losses[outcome]) for outcome in OUTCOMES)] for arm in arms]
    return [Block.heading(3, "Written or read"), Block.text(LOSSES), Block.table(head, body)] if arms else []


def _drift(group: Group) -> list[Block]:
    body = [
        [
            f"{one['arm']}, {'cold' if one['cold'] else 'warm'}",
            f"{one['questions']} in {one['minutes']:.1f} min",
            f"{1000 * one['first_s_per_token']:.2f}",
            f"{1000 * one['last_s_per_token']:.2f}",
            f"{one['ratio']:.2f}",
        ]
        for one in group.drift
        if one["ratio"]
    ]
    head = ["arm", "questions", "ms per token read, first third", "last third", "ratio"]
    return [Block.heading(3, "Sustained run"), Block.table(head, body)] if body else []


def _learned(group: Group) -> list[Block]:
    body = [
        [
            one.name,
            f"{one.sessions} of {one.histories} histories",
            f"{one.session_tokens:,.0f}",
            f"{one.seconds_per_session:.1f}",
            f"{one.seconds_per_history:.1f}",
            f"{one.tokens_per_history:,.0f}",
            f"{one.curve[-1]['memory_tokens']:.0f}",
            of(*one.facts_kept) if one.facts_kept else "no gold facts",
            _plain(one.joules_per_session, 1) or NOT_MEASURED,
        ]
        for one in group.learning
    ]
    head = ["writer", "sessions", "tokens per session", "s per session", "s per history"]
    head += ["tokens computed per history", "memory tokens at the end", "facts kept at the end", "joules per session"]
    return [Block.heading(3, "What the memory costs"), Block.table(head, body)] if body else []


def _break_even(group: Group) -> Block:
    found = group.break_even
    if found.get("seconds") is None and found.get("tokens") is None:
        return Block.text(f"Break-even: none ({found['why'] or 'no saving'}).")
    parts = [f"{found[name]:.1f} questions by {name}" for name in ("seconds", "tokens") if found[name] is not None]
    why = f" ({found['why']})" if found["why"] else ""
    return Block.text(f"Break-even with the full history, each question in a chat of its own: {', '.join(parts)}{why}.")


def _plots(group: Group) -> list[Block]:
    score = next((name for name in ("strict", "f1", "forced") if any(arm.scores[name].of for arm in group.arms)), "")
    answered = [arm for arm in group.arms if score and arm.scores[score].of]
    plots = []
    if answered:
        title = f"{group.run['task']}: {TITLES[score]}"
        items = [(arm.name, *_points(arm.scores[score])) for arm in answered]
        plots.append(bars(title, items, " %"))
        series = [
            Series(arm.name, [(arm.cost["answered_tokens"] or 0.0, *_points(arm.scores[score]))]) for arm in answered
        ]
        plots.append(chart(f"{title} against input", "input tokens", "%", series))
        first = [(arm.name, arm.cost["cold_first_token_s"] or 0.0, None, None) for arm in answered]
        plots.append(bars("First token, cold", first, " s"))
    for one in group.learning:
        if len(one.curve) > 1:
            for name, unit in (("memory_tokens", "tokens"), ("seconds", "s per update")):
                line = Series(one.name, [(point["session"], point[name], None, None) for point in one.curve])
                plots.append(chart(f"Memory over sessions: {unit}", "session", unit, [line], joined=True))
    return [Block.plot(plot) for plot in [*plots, *_break_even_plot(group.break_even)]]


def _break_even_plot(found: Mapping[str, Any]) -> list[str]:
    if "update_s" not in found:
        return []
    most = max(10.0, 2 * (found["seconds"] or 5.0))
    starts = {"memory": found["update_s"], "full_history": 0.0}
    lines = [
        Series(name, [(0, start, None, None), (most, start + most * found[f"{name}_s"], None, None)])
        for name, start in starts.items()
    ]
    title, questions = "All seconds, updates included", "questions, each in a chat of its own"
    return [chart(title, questions, "seconds", lines, joined=True)]


def _points(found: Mean) -> tuple[float, float | None, float | None]:
    low, high = found.low, found.high
    return 100 * (found.value or 0), low and 100 * low, high and 100 * high


def _percent(found: Mean, *, signed: bool = False) -> str:
    if found.value is None or found.low is None or found.high is None:
        return ""
    sign = "+" if signed else ""
    values = (100 * found.value, 100 * found.low, 100 * found.high)
    value, low, high = (f"{one:{sign}.0f}" for one in values)
    return f"{value} [{low}, {high}] ({found.of})"


def _plain(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
