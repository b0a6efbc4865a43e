"""The prediction for one image explained: z as a sum of parts, and the graph of its loss.

    z = b + Σ w_i x_i,  x = pixels / 255

so w_i x_i is the evidence of value i: above zero it speaks for the positive class, below against
it. Sums are correctly rounded (Shewchuk, Discrete Comput. Geom. 18, 1997, as math.fsum),
so the parts of an image add up to its z whichever way it is divided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from catclf.maths import PIXEL_MAX, Floats, Pixels, graph, sigmoid
from catclf.maths.graph import Node

CHANNELS = ("red", "green", "blue")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")


@dataclass(frozen=True)
class Explanation:
    """The parts of one image's z.

    ``pixels`` uint8 (size, size, 3) are the image, ``weights`` and ``evidence`` float64 of the same
    shape the w_i and the w_i x_i.
    """

    pixels: Pixels
    weights: Floats
    evidence: Floats
    bias: float
    classes: tuple[str, str]
    boundary: float  # the score above which an image is positive

    parts_title: ClassVar[str] = "z is the bias and the evidence w x of each channel"
    regions_title: ClassVar[str] = "evidence by region"

    @property
    def z(self) -> float:
        """b + Σ w_i x_i, correctly rounded."""
        return math.fsum([self.bias, *self.evidence.reshape(-1).tolist()])

    @property
    def probability(self) -> float:
        """σ(z): of the positive class."""
        return float(sigmoid(np.array(self.z)))

    @property
    def prediction(self) -> str:
        """The name of the predicted class."""
        return self.classes[int(self.z > self.boundary)]

    @property
    def channels(self) -> dict[str, float]:
        """The evidence of red, green and blue."""
        return {name: _sum(self.evidence[:, :, c]) for c, name in enumerate(CHANNELS)}

    @property
    def regions(self) -> Floats:
        """The evidence of a 3x3 division of the image, (3, 3)."""
        return np.array([[_sum(self.evidence[a, b]) for b in self._thirds] for a in self._thirds])

    @property
    def per_pixel(self) -> Floats:
        """The evidence of each pixel, its three channels added, (size, size)."""
        return np.asarray(self.evidence.sum(axis=2))

    def region_of(self, row: int, column: int) -> tuple[int, int]:
        """The row and the column, 0 to 2, of the region that holds a pixel."""
        a, b = (
            next(i for i, third in enumerate(self._thirds) if place < third.stop)
            for place in (row, column)
        )
        return a, b

    def strongest(self, count: int) -> list[tuple[int, int, int]]:
        """Row, column and channel of the values with the most evidence either way."""
        order = np.argsort(-np.abs(self.evidence), axis=None, kind="stable")[:count]
        rows, columns, channels = np.unravel_index(order, self.evidence.shape)
        return list(zip(rows.tolist(), columns.tolist(), channels.tolist(), strict=True))

    @property
    def _thirds(self) -> Sequence[slice]:
        edges = [round(i * len(self.evidence) / 3) for i in range(4)]
        return [slice(a, b) for a, b in pairwise(edges)]

    def graph_rows(self, label: int, features: int) -> list[Row]:
        """The values with the most evidence, the nine regions, b, z, a and L."""
        w, sums = _region_sums(self)
        b = Node(self.bias, "b")
        z = b
        for row in sums:
            for region in row:
                z = z + region
        z = z.named("z")
        loss = graph.logistic_loss(z, float(label)).named("L")
        graph.backward(loss)
        rows = []
        for r, c, channel in self.strongest(features):
            name, node = f"{CHANNELS[channel]}({r},{c})", w[r, c, channel]
            x = self.pixels[r, c, channel] / PIXEL_MAX
            rows.append(Row(f"w {name}", f"x = {x:.4g}", node.value, node.grad))
        for i, row in enumerate(sums):
            for j, region in enumerate(row):
                rows.append(Row(f"{ROWS[i]} {COLUMNS[j]}", "Σ w x", region.value, region.grad))
        return [*rows, *loss_rows(b, z, loss, label, "Σ regions + b")]


@dataclass(frozen=True)
class Row:
    """A line of the graph's table: a node or a sum of nodes, its value, and dL by it."""

    node: str
    formula: str
    value: float
    grad: float


def loss_rows(b: Node, z: Node, loss: Node, label: int, formula: str) -> list[Row]:
    """The last rows of every graph: b, z, a and L, after the backward pass."""
    rows = [Row("b", "input", b.value, b.grad), Row("z", formula, z.value, z.grad)]
    chance = next((n for n in graph.topological(loss) if n.name in ("a", "1 - a")), None)
    if chance is not None:  # where σ underflows the loss is |z| itself
        sigma = "σ(z)" if label else "σ(-z)"
        rows.append(Row(chance.name, sigma, chance.value, chance.grad))
    rows.append(Row("L", f"-log({'a' if label else '1 - a'})", loss.value, loss.grad))
    return rows


def _region_sums(
    explanation: Explanation,
) -> tuple[dict[tuple[int, int, int], Node], list[list[Node]]]:
    """A node for each weight, by row, column and channel, and for each region its sum."""
    weights, x = explanation.weights.tolist(), (explanation.pixels / PIXEL_MAX).tolist()
    sums = [[Node(0.0) for _ in COLUMNS] for _ in ROWS]
    w: dict[tuple[int, int, int], Node] = {}
    size = len(weights)
    for r in range(size):
        for c in range(size):
            a, b = explanation.region_of(r, c)
            for channel in range(3):
                node = w[r, c, channel] = Node(weights[r][c][channel])
                sums[a][b] = sums[a][b] + node * x[r][c][channel]
    return w, sums


def _sum(values: Floats) -> float:
    return math.fsum(values.reshape(-1).tolist())
