"""How is a history drawn?  As an SVG page: a panel for each quantity, with its training and validation curves."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Mapping, Sequence

from ...runtime.atomic import written_whole

WIDTH, HEIGHT, MARGIN = 480, 260, (28, 16, 36, 64)  # of a panel; top, right, bottom, left
COLORS = ("#3264c8", "#d2691e", "#2e8b57", "#8b3a8b")


def plot(history: Mapping[str, Sequence], path=None, *, title: str = "") -> str:
    """The SVG text of a history {"loss": [..], "validation.loss": [..], ...}, also written to `path` where given.

    What is no list of numbers (a confusion matrix) is left out; values that are not finite leave gaps.
    """
    panels: dict[str, dict[str, list[float]]] = {}
    for name, values in history.items():
        if values and all(isinstance(v, (int, float)) for v in values):
            panels.setdefault(name.removeprefix("validation."), {})[name] = list(map(float, values))
    columns = min(2, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    top = 30 if title else 0
    size = f'width="{columns * WIDTH}" height="{max(1, rows) * HEIGHT + top}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
             '<rect width="100%" height="100%" fill="white"/>']
    if title:
        parts.append(f'<text x="12" y="20" font-size="15">{escape(title)}</text>')
    for number, (name, series) in enumerate(panels.items()):
        x, y = number % columns * WIDTH, number // columns * HEIGHT + top
        parts.append(f'<g transform="translate({x} {y})">{_panel(name, series)}</g>')
    text = "\n".join([*parts, "</svg>"]) + "\n"
    if path is not None:
        with written_whole(Path(path), durable=False) as file:
            file.write(text.encode())
    return text


def _panel(name: str, series: dict[str, list[float]]) -> str:
    top, right, bottom, left = MARGIN
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    count = max(map(len, series.values()))

    def place(epoch: float, value: float) -> tuple[float, float]:
        along = (epoch - 1) / max(1, count - 1)
        up = (value - low) / ((high - low) or 1.0)
        return left + along * (WIDTH - left - right), HEIGHT - bottom - up * (HEIGHT - top - bottom)
    parts = [f'<text x="{left}" y="18" font-size="13">{escape(name)}</text>']
    for tick in ticks:
        y = place(1, tick)[1]
        parts.append(f'<path d="M{left} {y:.1f}H{WIDTH - right}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for epoch in sorted({1, *(round(t) for t in _ticks(1, count) if 1 <= t <= count), count}):
        x = place(epoch, low)[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - bottom + 16}" text-anchor="middle">{epoch}</text>')
    for i, (full, values) in enumerate(series.items()):
        color = COLORS[i % len(COLORS)]
        parts.append(f'<path d="{_line(values, place)}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        kind = "validation" if full.startswith("validation.") else "training"
        parts.append(f'<text x="{WIDTH - right - 70 * i}" y="18" text-anchor="end" fill="{color}">{kind}</text>')
    return "".join(parts)


def _line(values: list[float], place) -> str:
    """The path through the values; one that stands alone between gaps is a dot."""
    text, is_open = [], False
    for epoch, value in enumerate(values, 1):
        if not math.isfinite(value):
            is_open = False
            continue
        x, y = place(epoch, value)
        text.append(f"{'L' if is_open else 'M'}{x:.1f} {y:.1f}" + ("" if is_open else "h.1"))
        is_open = True
    return "".join(text)


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers at equal distances that span low to high."""
    span = (high - low) or abs(high) or 1.0
    raw = span / wanted
    unit = 10.0 ** math.floor(math.log10(raw))
    distance = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    first = math.floor(low / distance)
    return [k * distance for k in range(first, first + 2 * wanted + 2) if (k - 1) * distance < high]
