"""One prediction explained: z as a sum of parts, derivatives of the loss, and maps to look at.

    z = b + Σ w_i x_i,  a = σ(z),  L = -[y log a + (1 - y) log(1 - a)]
    dL/dz = dL/db = a - y,  dL/dw_i = (a - y) x_i

With pixels, x = pixels / 255, and w_i x_i is the evidence of value i: above zero it speaks for the
positive class, below against it. Other features mix the pixels of a region, so no weight belongs
to one pixel: there the evidence of a square is its score drop, how much lower z is when the square
is covered with the image's mean colour (M. Zeiler and R. Fergus, "Visualizing and understanding
convolutional networks", ECCV 2014). Score drops need not add up to z. The sums of w x over kinds
of features, and the bias, do. Sums are correctly rounded (Shewchuk, Discrete Comput. Geom. 18,
1997, as math.fsum), so that parts add up to z whichever way the image is divided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError, ShapeError
from catclf.features.base import Features, PixelFeatures
from catclf.images.png import colours, enlarge, full_colour
from catclf.maths import PIXEL_MAX, Floats, Pixels, sigmoid
from catclf.maths.threads import blas_threads
from catclf.model import Model

ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
REGIONS = tuple(f"{row} {column}" for row in ROWS for column in COLUMNS)
SQUARES = 8  # along each side of a map of score drops
PANEL_MIN = 256  # pixels of a panel's side


class Row(NamedTuple):
    """A line of the table of derivatives: a variable, its formula, its value, and dL by it."""

    node: str
    formula: str
    value: float
    grad: float


@dataclass(frozen=True)
class Explanation:
    """The parts of one image's z.

    ``pixels`` uint8 (size, size, 3) are the image. ``x`` and ``evidence`` float64 (n,) are what the
    model sees and the w_i x_i. ``per_pixel`` (size, size) is the map, and ``regions`` (3, 3) holds
    its nine regions: sums of evidence, or score drops of a region that is covered as a whole.
    """

    model: Model
    pixels: Pixels
    x: Floats
    evidence: Floats
    per_pixel: Floats
    regions: Floats

    @property
    def of_pixels(self) -> bool:
        """Whether the map shows w x, which adds up to z, and not score drops."""
        return self.model.features is None

    @cached_property
    def z(self) -> float:
        """b + Σ w_i x_i, correctly rounded."""
        return math.fsum([self.model.b, *self.evidence.tolist()])

    @property
    def probability(self) -> float:
        """σ(z): of the positive class."""
        return float(sigmoid(np.array(self.z)))

    @property
    def prediction(self) -> str:
        """The name of the predicted class."""
        return self.model.classes[int(self.z > self.model.boundary)]

    @property
    def features(self) -> Features:
        """What makes ``x`` of the image."""
        return self.model.features or PixelFeatures(len(self.pixels))

    @property
    def parts(self) -> dict[str, float]:
        """The evidence of each colour channel, or of each group of features."""
        return {
            name: math.fsum(self.evidence[part].tolist())
            for name, part in self.features.groups.items()
        }

    @property
    def by_region(self) -> dict[str, float]:
        """``regions`` by name, from the top left to the bottom right."""
        return dict(zip(REGIONS, self.regions.ravel().tolist(), strict=True))

    def loss_rows(self, label: int, count: int = 6) -> list[Row]:
        """The variables of the loss of a label, 0 or 1, with their values and derivatives.

        First the ``count`` weights with the most evidence either way, where their features have
        names; then the sums that make up z, b, z, a and L.
        """
        # σ of ±z is the probability that is given to the label: it does not cancel as 1 - σ does.
        signed = self.z if label else -self.z
        chance, missed = sigmoid(np.array([signed, -signed])).tolist()
        dz = -missed if label else missed
        order = np.argsort(-np.abs(self.evidence), kind="stable")[:count].tolist()
        rows = [
            Row(f"w {name}", f"x = {self.x[i]:.4g}", float(self.model.w[i, 0]), dz * self.x[i])
            for i in order
            if (name := self.features.name_of(i))
        ]
        sums, formula = (self.by_region, "regions") if self.of_pixels else (self.parts, "kinds")
        rows += [Row(name, "Σ w x", value, dz) for name, value in sums.items()]
        rows.append(Row("b", "input", self.model.b, dz))
        rows.append(Row("z", f"Σ {formula} + b", self.z, dz))
        name, formula = ("a", "σ(z)") if label else ("1 - a", "σ(-z)")
        if chance > 1e-300:  # else its derivative would not be finite
            rows.append(Row(name, formula, chance, -1 / chance))
        return [*rows, Row("L", f"-log({name})", float(np.logaddexp(0.0, -signed)), 1.0)]

    @property
    def similarity(self) -> float | None:
        """How like the image is to those of training, for models that know."""
        known = self.model.similarity
        return float(known.of_rows(self.x[None].astype(np.float32))[0]) if known else None


def explain(model: Model, pixels: Pixels) -> Explanation:
    """Explain the prediction for one image uint8 (size, size, 3).

    Raises ShapeError for another shape, and ModelError if sums would overflow.
    """
    size = model.preprocess.size
    if pixels.shape != (size, size, 3):
        raise ShapeError(f"the image has shape {pixels.shape}, not ({size}, {size}, 3)")
    x = pixels.reshape(-1) / PIXEL_MAX
    if model.features is not None:
        with blas_threads(1):
            x = model.features.transform(pixels[None])[0].astype(np.float64)
    largest = float(np.abs(model.w).max()) * max(np.abs(x).sum(), x.size) + abs(model.b)
    if not math.isfinite(largest):
        raise ModelError("the model's weights are so large that sums of them are not finite")
    evidence, nine = model.w[:, 0] * x, _squares(size, 3)
    if model.features is None:
        by_pixel = evidence.reshape(size, size, 3)
        regions = [math.fsum(by_pixel[square].ravel().tolist()) for square in nine]
        per_pixel = np.asarray(by_pixel.sum(axis=2))
    else:
        regions, per_pixel = _score_drops(model, pixels, nine), np.empty((size, size))
        squares = _squares(size, min(SQUARES, size))
        for square, drop in zip(squares, _score_drops(model, pixels, squares), strict=True):
            per_pixel[square] = drop / per_pixel[square].size
    return Explanation(model, pixels, x, evidence, per_pixel, np.reshape(regions, (3, 3)))


def _squares(size: int, count: int) -> list[tuple[slice, slice]]:
    """The rows and columns of each square of a division, ``count`` squares along each side."""
    edges = [round(i * size / count) for i in range(count + 1)]
    sides = [slice(edges[i], edges[i + 1]) for i in range(count)]
    return [(rows, columns) for rows in sides for columns in sides]


def _score_drops(model: Model, pixels: Pixels, squares: list[tuple[slice, slice]]) -> list[float]:
    """How much lower z is with each square covered."""
    covered = np.repeat(pixels[None], len(squares) + 1, axis=0)  # the first stays as it is
    for image, square in zip(covered[1:], squares, strict=True):
        image[square] = np.rint(pixels.mean(axis=(0, 1)))
    Z = model.scores(covered)[0]
    return list((Z[0] - Z[1:]).tolist())


def model_image(model: Model) -> Pixels:
    """An image of a model: its weights, or the filters that its features have learned.

    Raises ModelError for features that have no image.
    """
    if model.features is None:
        size = model.preprocess.size
        return weights_image(model.w.reshape(size, size, 3))
    filters = model.features.arrays().get("filters")
    if filters is None:
        raise ModelError(f"the weights of {model.features.kind} have no image: leave `image` out")
    return filters_image(filters)


def weights_image(w: Floats) -> Pixels:
    """Weights (size, size, 3) as four panels side by side: their sum, then red, green and blue.

    White is zero, orange speaks for the positive class and blue against it. Colours are full at the
    99th percentile of the panel's absolute weights, or at the largest where that is zero. Panels
    are enlarged to PANEL_MIN by repeating pixels.
    """
    scale = max(1, PANEL_MIN // len(w))
    w = w / (float(abs(w).max()) or 1.0)  # a sum of the largest float64 values would overflow
    gap = np.full((len(w) * scale, 8, 3), 128, dtype=np.uint8)
    strip: list[Pixels] = []
    for panel in (w.sum(axis=2), *w.transpose(2, 0, 1)):
        small = colours(panel, full_colour(panel) or float(np.abs(panel).max()))
        strip += [enlarge(small, scale), gap]
    return np.concatenate(strip[:-1], axis=1)


def filters_image(filters: NDArray[Any], columns: int = 16) -> Pixels:
    """Learned filters (p * p * 3, k) as tiles of p x p pixels in rows, enlarged, grey at zero."""
    numbers, count = filters.shape[-2:]
    p, rows = math.isqrt(numbers // 3), -(-count // columns)
    sheet = np.full((rows * (p + 1) - 1, columns * (p + 1) - 1, 3), 255.0)
    for place, learned in enumerate(filters.reshape(-1, numbers, count)[0].T):
        top, left = place // columns * (p + 1), place % columns * (p + 1)
        tile = learned.reshape(p, p, 3) / (float(np.abs(learned).max()) or 1.0)
        sheet[top : top + p, left : left + p] = 127.5 + 127.5 * tile
    return enlarge(np.rint(sheet).astype(np.uint8), max(1, PANEL_MIN * 3 // sheet.shape[1]))


def side_by_side(explanation: Explanation, height: int = 384) -> Pixels:
    """The image, and the map of its evidence beside it, enlarged to about ``height`` pixels."""
    values = explanation.per_pixel
    factor = max(1, height // len(values))
    left = enlarge(explanation.pixels, factor)
    right = enlarge(colours(values, full_colour(values)), factor)
    gap = np.full((len(left), 16, 3), 255, dtype=np.uint8)
    return np.concatenate([left, gap, right], axis=1)
