"""A document as blocks, and its two forms: Markdown, and an HTML page that stands alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Literal

from .tables import table

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #8884; padding-top: 1rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { border: 1px solid #8885; padding: 4px 9px; text-align: right; vertical-align: top; white-space: nowrap; }
th { background: #8882; white-space: normal; } th:first-child, td:first-child { font-weight: 600; }
.words { text-align: left; } td.words:not(:first-child) { white-space: normal; min-width: 9rem; }
code { font-size: .92em; background: #8882; padding: 0 .2em; border-radius: 3px; }
div.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: .5rem 2rem; }
svg { width: 100%; max-width: 640px; display: block; margin: .7rem 0; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
svg .title { font-size: 13px; font-weight: 600; } svg .small { font-size: 11px; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .grid { stroke: #8884; } svg .error { stroke: currentColor; stroke-width: 1.5; }
"""
_NUMBER = re.compile(r"[+-]?\d|$|not measured|no gold")
_CODE = re.compile(r"`([^`]+)`")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True)
class Block:
    """A heading (`level`), a text, a table (head and body) or a plot (SVG)."""

    kind: Literal["heading", "text", "table", "plot"]
    content: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def heading(cls, level: int, text: str) -> Block:
        return cls("heading", text, level)

    @classmethod
    def text(cls, text: str) -> Block:
        return cls("text", text)

    @classmethod
    def table(cls, head: Sequence[str], body: Sequence[Sequence[str]]) -> Block:
        return cls("table", rows=tuple(tuple(row) for row in (head, *body)))

    @classmethod
    def plot(cls, svg: str) -> Block:
        return cls("plot", svg)


def markdown(blocks: Iterable[Block]) -> str:
    """The document without its plots."""
    parts = []
    for block in blocks:
        if block.kind == "heading":
            parts.append(f"{'#' * block.level} {block.content}")
        elif block.kind == "text":
            parts.append(block.content)
        elif block.kind == "table":
            cells = [[cell.replace("|", "\\|") for cell in row] for row in block.rows]
            parts.append(table(cells[0], cells[1:]))
    return "\n\n".join(parts) + "\n"


def html(title: str, blocks: Iterable[Block]) -> str:
    """The document as one page without scripts and without anything from outside."""
    parts = []
    for plots, together in groupby(blocks, lambda block: block.kind == "plot"):
        elements = "\n".join(_element(block) for block in together)
        parts.append(f'<div class="plots">\n{elements}\n</div>' if plots else elements)
    body = "\n".join(parts)
    return PAGE.format(title=escape(title), style=STYLE, body=body)


def _element(block: Block) -> str:
    if block.kind == "heading":
        return f"<h{block.level}>{escape(block.content)}</h{block.level}>"
    if block.kind == "text":
        text = _CODE.sub(r"<code>\1</code>", escape(block.content))
        return f"<p>{text}</p>"
    if block.kind == "plot":
        return block.content
    head, *body = block.rows
    words = [not all(_NUMBER.match(row[place]) for row in body) for place in range(len(head))]
    lines = [_row("th", head, words), *(_row("td", row, words) for row in body)]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _row(tag: str, cells: Sequence[str], words: Sequence[bool]) -> str:
    """Columns of words stand left, numbers right."""
    kinds = [' class="words"' if is_words else "" for is_words in words]
    found = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
    return f"<tr>{''.join(found)}</tr>"
