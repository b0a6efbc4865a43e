"""A model's weights, or the evidence in one image, as pixels to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError
from catclf.explain.contributions import Explanation
from catclf.images.colormap import colours, full_colour
from catclf.images.png import enlarge
from catclf.maths import Floats, Pixels

if TYPE_CHECKING:
    from catclf.features.patches import PatchFeatures
    from catclf.features.stacked import StackedFeatures
    from catclf.model import Model

GAP, GREY = 8, 128
PANEL_MIN = 256  # pixels of a panel's side


def weights_image(w: Floats) -> Pixels:
    """Weights (size, size, 3) as four panels side by side: their sum, then red, green and blue.

    White is zero, orange speaks for the positive class and blue against it. Colours are full at the
    99th percentile of the panel's absolute weights, or at the largest where that is zero. Panels
    are enlarged to PANEL_MIN by repeating pixels.
    """
    size = w.shape[0]
    scale = max(1, PANEL_MIN // size)
    largest = float(abs(w).max()) or 1.0  # a sum of the largest float64 values would overflow
    panels = [(w / largest).sum(axis=2), *(w[:, :, channel] / largest for channel in range(3))]
    gap = np.full((size * scale, GAP, 3), GREY, dtype=np.uint8)
    strip: list[Pixels] = []
    for panel in panels:
        small = colours(panel, full_colour(panel) or float(np.abs(panel).max()))
        strip += [enlarge(small, scale), gap]
    return np.concatenate(strip[:-1], axis=1)


def model_image(model: Model) -> Pixels:
    """An image of a model: its weights, or the filters that its features have learned.

    Raises ModelError for features that have no image.
    """
    size = model.preprocess.size
    if model.features is None:
        return weights_image(model.w.reshape(size, size, 3))
    from catclf.features.patches import PatchFeatures
    from catclf.features.stacked import StackedFeatures

    if isinstance(model.features, PatchFeatures):
        return atoms_image(model.features, model.w)
    if isinstance(model.features, StackedFeatures):
        return filters_image(model.features)
    raise ModelError(f"the weights of {model.features.kind} have no image: leave `image` out")


def atoms_image(features: PatchFeatures, w: Floats) -> Pixels:
    """The filters of each scale as tiles, scales below each other, grey at zero.

    They are in rows, by the sum of their weights over all regions in their positive sign: first
    those that speak for the positive class, last those against it.
    """
    recipe, filters = features.recipe, features.arrays()["filters"]
    half = recipe.atoms // 2
    shape = (len(recipe.scales), recipe.grid**2, 2, -1, half)
    votes = w.reshape(shape)[:, :, 0].sum(axis=(1, 2))  # (scales, half): of the positive sign
    ordered = [
        learned[:, order] for order, learned in zip(np.argsort(-votes), filters, strict=True)
    ]
    return _tiles(ordered, recipe.patch, 25)


def filters_image(features: StackedFeatures) -> Pixels:
    """The filters of the first layer as tiles, grey at zero; no weight belongs to one of them."""
    return _tiles([features.arrays()["filters"]], features.recipe.patch, 16)


def _tiles(groups: Sequence[NDArray[np.float32]], p: int, columns: int) -> Pixels:
    """Filters (p*p*3, k) of groups below each other, as tiles in rows, enlarged."""
    rows = -(-groups[0].shape[1] // columns)
    sheet = np.full((len(groups) * (rows * (p + 1) + 1), columns * (p + 1) - 1, 3), 255.0)
    for group, filters in enumerate(groups):
        top = group * (rows * (p + 1) + 1)
        for place, learned in enumerate(filters.T):
            row, column = divmod(place, columns)
            tile = learned.reshape(p, p, 3)
            a, b = top + row * (p + 1), column * (p + 1)
            largest = float(np.abs(tile).max()) or 1.0
            sheet[a : a + p, b : b + p] = 127.5 + 127.5 * tile / largest
    return enlarge(np.rint(sheet).astype(np.uint8), max(1, PANEL_MIN * 3 // sheet.shape[1]))


def side_by_side(explanation: Explanation, height: int = 384) -> Pixels:
    """The image, and the map of its evidence beside it, enlarged to about ``height`` pixels."""
    values = explanation.per_pixel
    factor = max(1, height // len(values))
    left = enlarge(explanation.pixels, factor)
    right = enlarge(colours(values, full_colour(values)), factor)
    gap = np.full((len(left), 16, 3), 255, dtype=np.uint8)
    return np.concatenate([left, gap, right], axis=1)
