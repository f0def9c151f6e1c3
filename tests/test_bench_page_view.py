"""The report's page as it is seen: in a real browser where there is one, light and dark, and no label upon another."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from bench_run_child import ARMS, chosen, setup

from edgemem.bench.plots import Series, bars, chart, shortened
from edgemem.bench.report import as_html
from edgemem.bench.run import Run

BROWSER = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
WIDTH, HEIGHT = 1240, 3000
LONG = "memory (edits 2048 b8f0 2e68f4)"
CHARACTER, LINE = 6.6, 11
"""Width and height in pixels of a character in a plot, on the safe side."""
TEXT = re.compile(r'<text x="([\d.]+)" y="([\d.]+)"(?: class="(\w+)")?>([^<]*)</text>')


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    rows = [step.row for step in Run(setup(), chosen(), ARMS, folder / "rows.jsonl").steps()]
    file = folder / "report.html"
    file.write_text(as_html(rows), "utf-8")
    return file


def pixels(png: Path) -> np.ndarray:
    """Rows, columns and colours (8 bits, RGB or RGBA, not interlaced) of a PNG file."""
    data, place, parts = png.read_bytes(), 8, b""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (8, 0)
        parts += body if kind == b"IDAT" else b""
        place += size + 12
    step = {2: 3, 6: 4}[colour]
    lines = np.frombuffer(zlib.decompress(parts), np.uint8).reshape(height, width * step + 1)
    found = np.zeros((height + 1, width, step), np.uint8)
    for number, line in enumerate(lines):
        found[number + 1] = _unfiltered(int(line[0]), line[1:].reshape(width, step), found[number])
    return found[1:, :, :3]


def _unfiltered(kind: int, line: np.ndarray, above: np.ndarray) -> np.ndarray:
    if kind == 0:
        return line
    if kind == 1:
        return np.cumsum(line, axis=0, dtype=np.uint8)
    if kind == 2:
        return line + above
    found, before, corner = np.zeros_like(line), np.zeros(line.shape[1], int), np.zeros(line.shape[1], int)
    for place in range(len(line)):
        up = above[place].astype(int)
        guess = (before + up) // 2
        if kind == 4:
            away = np.abs(np.stack([up - corner, before - corner, before + up - 2 * corner]))
            guess = np.where(
                (away[0] <= away[1]) & (away[0] <= away[2]), before, np.where(away[1] <= away[2], up, corner)
            )
        before = (line[place] + guess) % 256
        corner = up
        found[place] = before
    return found


def seen(page: Path, name: str, *options: str) -> np.ndarray:
    """What the browser shows of the page."""
    picture, profile = page.with_name(name), page.with_name("profile")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options]
    command += [
        f"--user-data-dir={profile}",
        f"--window-size={WIDTH},{HEIGHT}",
        f"--screenshot={picture}",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert picture.exists(), done.stderr[-2000:]
    return pixels(picture).astype(int)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium or chromium-browser is installed")
@pytest.mark.parametrize(("mode", "options"), [("light", ()), ("dark", ("--blink-settings=preferredColorScheme=0",))])
def test_the_page_reads_well_in_a_browser(page: Path, mode: str, options: tuple[str, ...]) -> None:
    shown = seen(page, f"{mode}.png", *options)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    paper = shown[5, 5]
    ink = np.abs(shown - paper).max(axis=2)
    assert (paper.min() > 240) if mode == "light" else (paper.max() < 60)
    assert ink.max() > 150, "nothing stands out from the paper"
    assert 0.01 < (ink > 100).mean() < 0.4
    assert (ink[:, :8] < 10).all(), "something is cut off at the left"
    assert (ink[:, -8:] < 10).all(), "something is cut off at the right"
    blue = np.abs(shown - np.array([0x25, 0x63, 0xEB])).max(axis=2) < 12
    assert blue.sum() > 2000, "no bar of the memory is seen"
    filled = (ink > 100).any(axis=1)
    gaps = np.diff(np.flatnonzero(filled))
    assert gaps.max() < 220, "a hole in the page"


def boxes(svg: str) -> list[tuple[str, float, float, float, float]]:
    """Left, right, top and bottom of each text of a plot, about."""
    found = []
    for x, y, kind, text in TEXT.findall(svg):
        wide = len(text) * CHARACTER
        left = float(x) - {"end": wide, "middle": wide / 2}.get(kind, 0)
        found.append((text, left, left + wide, float(y) - LINE, float(y)))
    return found


@pytest.mark.parametrize(
    "svg",
    [
        bars(
            "memoryctrl: strict",
            [(LONG, 75.0, 38.0, 100.0), ("full_history", 0.0, 0.0, 0.0), ("none", 50, None, None)],
            " %",
        ),
        chart(
            "First token", "tokens", "seconds", [Series(LONG, [(10, 9.9, 1, 12)]), Series("mem0", [(0, 0, None, None)])]
        ),
        chart(
            "Memory over sessions: s per update", "session", "s per update", [Series("memory", [(1, 1e6, None, None)])]
        ),
    ],
)
def test_no_label_stands_upon_another_or_outside(svg: str) -> None:
    texts = boxes(svg)
    assert len(texts) >= 5
    for one, other in combinations(texts, 2):
        apart = one[2] <= other[1] or other[2] <= one[1] or one[4] <= other[3] or other[4] <= one[3]
        assert apart, f"{one[0]!r} and {other[0]!r}"
    assert all(left >= 0 and right <= 640 + CHARACTER for _, left, right, _, _ in texts)


def test_variants_keep_different_names() -> None:
    assert shortened(LONG) == "memory 2e68f4"
    assert shortened("full_history") == "full_history"
    assert shortened("memory (edits 2048 b8f0 2e68f4)") != shortened("memory (edits 2048 b8f0 beef00)")
