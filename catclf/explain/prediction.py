"""One prediction explained: by contributions of pixels, or by occlusion for other features."""

from __future__ import annotations

import math

import numpy as np

from catclf.errors import ModelError, ShapeError
from catclf.explain.contributions import Explanation, Row
from catclf.maths import PIXEL_MAX, Pixels
from catclf.model import Model


def explain(model: Model, pixels: Pixels) -> Explanation:
    """Explain the prediction for one image uint8 (size, size, 3).

    Raises ShapeError for another shape, and ModelError if sums would overflow.
    """
    size = model.preprocess.size
    if pixels.shape != (size, size, 3):
        raise ShapeError(f"the image has shape {pixels.shape}, not ({size}, {size}, 3)")
    if model.features is not None:
        from catclf.explain.occlusion import explain_by_occlusion

        return explain_by_occlusion(model, pixels)
    weights = model.w.reshape(size, size, 3)
    if not math.isfinite(float(np.abs(weights).max()) * weights.size + abs(model.b)):
        raise ModelError("the model's weights are so large that sums of them are not finite")
    return Explanation(
        pixels=pixels,
        weights=weights,
        evidence=weights * (pixels / PIXEL_MAX),
        bias=model.b,
        classes=model.classes,
        boundary=model.boundary,
    )


def loss_graph(explanation: Explanation, label: int, features: int = 6) -> list[Row]:
    """The graph of the loss L of one image after its backward pass, as rows to read.

    The graph of a model of pixels has a node for every weight, pixel value and product, added
    region by region; the rows are the ``features`` values with the most evidence, the nine regions,
    b, z, a and L. ``label`` is 0 or 1.
    """
    return explanation.graph_rows(label, features)
