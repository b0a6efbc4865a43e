"""A model at a glance, as a piece of HTML that a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from catclf.metrics import wilson
from catclf.text import counted, printable

if TYPE_CHECKING:
    from catclf.metrics import Counts
    from catclf.model.model import Model

WIDTH, HEIGHT = 240, 40  # pixels of the curve
POINTS_MAX = 200


def html(model: Model) -> str:
    """A table of what the report begins with: question, training, accuracy, and the cost curve.

    Every text that comes from a file is escaped; there is no script, and nothing is loaded.
    """
    negative, positive = (_shown(name) for name in model.classes)
    rows = "".join(
        f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{value}</td></tr>'
        for name, value in _rows(model)
    )
    return f"<table><caption>{positive} or {negative}?</caption>{rows}</table>"


def _rows(model: Model) -> Iterator[tuple[str, str]]:
    training, size = model.training, model.preprocess.size
    kind = model.features.kind if model.features else "pixels"
    yield "images", f"{size}×{size}, {_shown(model.preprocess.fit)}"
    yield "features", f"{_shown(kind)}: {counted(model.n, 'number', ',')}"
    if training.images:
        images = counted(training.images, "image", ",")
        source = f" of {_shown(training.source)}" if training.source else ""
        yield "trained on", f"{images}{source}, {counted(training.steps, 'step', ',')}"
    for name, counts in (("training", training.train), ("test", training.test)):
        if counts is not None and counts.total:
            yield f"{name} accuracy", _accuracy(counts)
    yield "threshold", f"{model.threshold:.4g}"
    if len(model.costs) > 1:
        yield "cost", f"{model.costs[0]:.4f} to {model.costs[-1]:.4f}<br>{_curve(model)}"


def _accuracy(counts: Counts) -> str:
    low, high = wilson(counts.correct, counts.total)
    return f"{100 * counts.accuracy:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"


def _curve(model: Model) -> str:
    """The cost over steps as a line, from 0 to the greatest cost."""
    stride = -(-len(model.costs) // POINTS_MAX)
    costs, steps = model.costs[::-stride][::-1], model.cost_steps[::-stride][::-1]
    first, last, top = steps[0], steps[-1], max(*costs, 1e-300)
    points = " ".join(
        f"{WIDTH * (step - first) / max(last - first, 1):.1f},{HEIGHT * (1 - cost / top):.1f}"
        for step, cost in zip(steps, costs, strict=True)
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="cost by step">'
        f'<polyline points="{points}" fill="none" stroke="currentColor"/></svg>'
    )


def _shown(text: str) -> str:
    return escape(printable(text))
