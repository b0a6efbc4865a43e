"""Small charts and durations as text."""

from __future__ import annotations

import math
from itertools import pairwise

BARS = " ▁▂▃▄▅▆▇█"


def curve(costs: list[float], width: int, height: int, *, ascii_only: bool = False) -> list[str]:
    """A small chart as text lines, top first: each column is the mean of its part of ``costs``.

    The axis starts at zero, so that the fall is shown as large as it is.
    """
    if not costs:
        return []
    columns = _columns(costs, min(width, len(costs)))
    top = max(columns)
    if not (top > 0 and all(map(math.isfinite, columns))):
        return []
    margin = max(6, len(f"{top:.3g}"))
    lines = []
    for row in range(height - 1, -1, -1):
        line = ""
        for value in columns:
            eighths = round(value / top * height * 8) - row * 8
            filled = min(max(eighths, 0), 8)
            line += ("#" if filled >= 4 else " ") if ascii_only else BARS[filled]
        label = f"{top:.3g}" if row == height - 1 else "0" if row == 0 else ""
        lines.append(f"{label:>{margin}} {'|' if ascii_only else '│'}{line}".rstrip())
    return lines


def clock(seconds: float) -> str:
    """A duration for people: 0.31 s, 12 s, 3:05, 2:03:05."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _columns(values: list[float], width: int) -> list[float]:
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
