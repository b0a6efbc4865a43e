"""A model's weights as pixels to look at."""

from __future__ import annotations

import numpy as np

from catclf.maths import Floats, Pixels

FAVOUR, AGAINST = (230, 159, 0), (0, 114, 178)  # differ for every kind of colour vision
GAP, GREY = 8, 128
SMALLEST = 256  # pixels of a panel, at least


def weights_picture(w: Floats) -> Pixels:
    """Weights (size, size, 3) as four panels side by side: their sum, then red, green and blue.

    White is zero; full orange speaks for the positive class and full blue against it, with the
    99th percentile of the panel's absolute weights. Enlarged to SMALLEST by repeating pixels.
    """
    size = w.shape[0]
    scale = max(1, SMALLEST // size)
    largest = float(abs(w).max()) or 1.0  # a sum of the largest float64 values would overflow
    panels = [(w / largest).sum(axis=2), *(w[:, :, channel] / largest for channel in range(3))]
    gap = np.full((size * scale, GAP, 3), GREY, dtype=np.uint8)
    strip: list[Pixels] = []
    for panel in panels:
        small = _coloured(panel)
        strip += [small.repeat(scale, axis=0).repeat(scale, axis=1), gap]
    return np.concatenate(strip[:-1], axis=1)


def _coloured(panel: Floats) -> Pixels:
    top = float(np.percentile(abs(panel), 99)) or float(abs(panel).max()) or 1.0
    depth = np.clip(panel / top, -1, 1)[:, :, None]
    favour, against = (255.0 - np.array(colour) for colour in (FAVOUR, AGAINST))
    colours = 255 - np.where(depth > 0, depth * favour, -depth * against)
    return np.asarray(np.rint(colours), dtype=np.uint8)
