"""Plots as SVG text, made here so that a page needs nothing from outside. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = {
    "memory": "#2563eb",
    "full_history": "#dc2626",
    "recent": "#d97706",
    "none": "#6b7280",
    "swap": "#9ca3af",
    "oracle": "#059669",
    "rag_bm25": "#7c3aed",
    "rag_dense": "#db2777",
    "mem0": "#65a30d",
}
OTHER = "#0891b2"
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 640, 64, 150, 54, 44
HEIGHT, BAR, BARS_TOP = 330, 24, 34
LONGEST_NAME = 19


@dataclass(frozen=True)
class Series:
    """Points of one name: (x, y, low, high); low and high None where there is no interval."""

    name: str
    points: Sequence[tuple[float, float, float | None, float | None]]


def colour(name: str) -> str:
    """An arm has the same colour everywhere."""
    return COLOURS.get(name.split(" ")[0], OTHER)


def bars(title: str, items: Sequence[tuple[str, float, float | None, float | None]], unit: str = "") -> str:
    """Horizontal bars with their values, and intervals where there are any."""
    top = max([high if high is not None else value for _, value, _, high in items], default=0.0) or 1.0
    left = 130
    scale = (WIDTH - left - 90) / top
    parts = [_text(8, 20, title, "title")]
    for number, (name, value, low, high) in enumerate(items):
        y = BARS_TOP + number * (BAR + 8)
        end = left + max(0.0, value) * scale
        parts.append(_text(left - 8, y + 16, shortened(name), "end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{end - left:.1f}" height="{BAR}" fill="{colour(name)}"/>')
        last = end
        if low is not None and high is not None:
            middle, last = y + BAR / 2, left + high * scale
            parts.append(_line(left + low * scale, middle, last, middle, "error"))
        parts.append(_text(max(end, last) + 6, y + 16, f"{_number(value)}{unit}"))
    return _svg(title, parts, BARS_TOP + len(items) * (BAR + 8) + 8)


def chart(title: str, x_title: str, y_title: str, series: Sequence[Series], *, joined: bool = False) -> str:
    """Points, or lines where `joined`, over two linear axes from 0, with intervals where there are any."""
    points = [point for one in series for point in one.points]
    x_ticks = ticks(max((x for x, *_ in points), default=1.0))
    y_ticks = ticks(max((high if high is not None else y for _, y, _, high in points), default=1.0))
    x_scale = (WIDTH - LEFT - RIGHT) / x_ticks[-1]
    y_scale = (HEIGHT - TOP - BOTTOM) / y_ticks[-1]
    base = HEIGHT - BOTTOM
    parts = [_text(8, 20, title, "title"), *_axes(x_ticks, y_ticks, x_scale, y_scale)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_title, "middle"))
    parts.append(_text(8, TOP - 15, y_title, "small"))
    for number, one in enumerate(series):
        ink = colour(one.name)
        placed = [(LEFT + x * x_scale, base - y * y_scale, low, high) for x, y, low, high in one.points]
        if joined:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y, *_ in placed)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="2"/>')
        for x, y, low, high in placed:
            if low is not None and high is not None:
                parts.append(_line(x, base - low * y_scale, x, base - high * y_scale, "error"))
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 if joined else 5}" fill="{ink}"/>')
        key = TOP + 14 + number * 20
        parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{key - 10}" width="12" height="12" fill="{ink}"/>')
        parts.append(_text(WIDTH - RIGHT + 32, key, shortened(one.name)))
    return _svg(title, parts, HEIGHT)


def shortened(name: str) -> str:
    """A name that fits beside a plot: of a long one its arm and its last word, which tells variants apart."""
    if len(name) <= LONGEST_NAME:
        return name
    first, _, rest = name.partition(" ")
    last = rest.rpartition(" ")[2].strip("()")
    return f"{first} {last}"[:LONGEST_NAME]


def ticks(top: float) -> list[float]:
    """Round values from 0 to at least `top`, four to six of them."""
    if top <= 0:
        return [0.0, 1.0]
    step = 10 ** math.floor(math.log10(top / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if top / (step * factor) <= 5)
    return [step * number for number in range(math.ceil(top / step) + 1)]


def _axes(x_ticks: Sequence[float], y_ticks: Sequence[float], x_scale: float, y_scale: float) -> list[str]:
    base = HEIGHT - BOTTOM
    parts = []
    for value in y_ticks:
        y = base - value * y_scale
        parts += [_line(LEFT, y, WIDTH - RIGHT, y, "grid"), _text(LEFT - 6, y + 4, _number(value), "end")]
    parts += [_text(LEFT + value * x_scale, base + 16, _number(value), "middle") for value in x_ticks]
    return parts


def _svg(title: str, parts: Sequence[str], height: float) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, *parts, "</svg>"])


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attribute}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _number(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
