"""A model's weights, or the evidence in one image, as pixels to look at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError
from catclf.explain.explanation import Explanation
from catclf.images.png import colours, enlarge, full_colour
from catclf.maths import Floats, Pixels
from catclf.model import Model

PANEL_MIN = 256  # pixels of a panel's side


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
