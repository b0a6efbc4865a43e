"""The prediction for one image explained by occlusion, for models of features.

Features mix the pixels of a patch, so no weight belongs to one pixel. The evidence of
a square of the image is its score drop: how much lower z is when the square is covered with the
image's mean colour (M. Zeiler and R. Fergus, "Visualizing and understanding convolutional
networks", ECCV 2014). Score drops need not add up to z; the sums of w x over kinds of features,
and the bias, do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from catclf.errors import ModelError
from catclf.explain.contributions import Explanation, Row, loss_rows
from catclf.features.base import Features
from catclf.maths import Floats, Pixels, graph
from catclf.maths.graph import Node
from catclf.model import Model
from catclf.parallel import blas_threads

SQUARES = 8  # along each side of the map


@dataclass(frozen=True)
class OcclusionExplanation(Explanation):
    """As ``Explanation``, with ``weights`` (n, 1) and ``x`` (n,) of ``features``.

    ``evidence`` (size, size, 3) divides the score drop of each square evenly among its values;
    ``score_drops`` (3, 3) are those of the regions, each covered as a whole.
    """

    features: Features
    x: Floats
    score_drops: Floats

    parts_title = "z is the bias and the evidence w x of each kind of features"
    regions_title = "score drop when a region is covered"

    @property
    def z(self) -> float:
        """b + Σ w_i x_i, correctly rounded."""
        return math.fsum([self.bias, *self._products.tolist()])

    @property
    def channels(self) -> dict[str, float]:
        """The evidence of each kind of features."""
        return {
            name: math.fsum(self._products[part].tolist())
            for name, part in self.features.parts.items()
        }

    @property
    def regions(self) -> Floats:
        return self.score_drops

    @property
    def _products(self) -> Floats:
        return np.asarray(self.weights[:, 0] * self.x)

    def graph_rows(self, label: int, features: int) -> list[Row]:
        """The features with the most evidence, their kinds, b, z, a and L."""
        strongest = np.argsort(-np.abs(self._products), kind="stable")[:features].tolist()
        weights = {j: Node(float(self.weights[j, 0])) for j in strongest}
        b = Node(self.bias, "b")
        z, sums = b, {}
        for name, part in self.features.parts.items():
            inside = [j for j in strongest if part.start <= j < part.stop]
            rest = self._products[part].copy()
            rest[[j - part.start for j in inside]] = 0.0
            total = Node(math.fsum(rest.tolist()))
            for j in inside:
                total = total + weights[j] * float(self.x[j])
            sums[name] = total
            z = z + total
        z = z.named("z")
        loss = graph.logistic_loss(z, float(label)).named("L")
        graph.backward(loss)
        rows = [
            Row(f"w {self.features.name_of(j)}", f"x = {self.x[j]:.4g}", node.value, node.grad)
            for j, node in weights.items()
        ]
        rows += [Row(name, "Σ w x", node.value, node.grad) for name, node in sums.items()]
        return [*rows, *loss_rows(b, z, loss, label, "Σ kinds + b")]


def explain_by_occlusion(model: Model, pixels: Pixels) -> OcclusionExplanation:
    """Explain the prediction for one image uint8 (size, size, 3). Raises ModelError."""
    features = model.features
    if features is None:
        raise ModelError("has no features: its pixels speak for themselves")
    with blas_threads(1):
        x = features.transform(pixels[None])[0].astype(np.float64)
    if not math.isfinite(float(np.abs(model.w).max()) * float(np.abs(x).sum()) + abs(model.b)):
        raise ModelError("the model's weights are so large that sums of them are not finite")
    size = len(pixels)
    squares = _score_drops(model, pixels, min(SQUARES, size))
    edges = _edges(size, len(squares))
    per_pixel = np.empty((size, size))
    for row, (a, b) in zip(squares, pairwise(edges), strict=True):
        for drop, (c, d) in zip(row.tolist(), pairwise(edges), strict=True):
            per_pixel[a:b, c:d] = drop / ((b - a) * (d - c))
    return OcclusionExplanation(
        pixels=pixels,
        weights=model.w,
        evidence=np.repeat(per_pixel[:, :, None] / 3.0, 3, axis=2),
        bias=model.b,
        classes=model.classes,
        boundary=model.boundary,
        features=features,
        x=x,
        score_drops=_score_drops(model, pixels, 3),
    )


def _score_drops(model: Model, pixels: Pixels, count: int) -> Floats:
    """The score drops of the squares of a ``count`` by ``count`` division, (count, count)."""
    edges = _edges(len(pixels), count)
    colour = np.rint(pixels.mean(axis=(0, 1))).astype(np.uint8)
    covered = np.repeat(pixels[None], count * count, axis=0)
    for i, (a, b) in enumerate(pairwise(edges)):
        for j, (c, d) in enumerate(pairwise(edges)):
            covered[i * count + j, a:b, c:d] = colour
    Z = model.scores(np.concatenate([pixels[None], covered]))[0]
    return np.asarray((Z[0] - Z[1:]).reshape(count, count))


def _edges(size: int, count: int) -> list[int]:
    return [round(i * size / count) for i in range(count + 1)]
