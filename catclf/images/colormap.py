"""Signed numbers as colours: orange above zero, blue below."""

from __future__ import annotations

import numpy as np

from catclf.images.png import FRAMES
from catclf.maths import Floats, Pixels

AGAINST, FOR = FRAMES[:2]  # blue and orange: apart for all colour vision
_FULL = 99.0  # percentile of |evidence| that gets the full colour


def colours(values: Floats, full: float, *, alpha: bool = False) -> Pixels:
    """Signed values (h, w) as pixels: orange above zero, blue below, full colour at ±``full``.

    Zero is white, or transparent with ``alpha``, so that the map suits any background.
    """
    strength = np.clip(np.abs(values) / full, 0.0, 1.0) if full > 0 else np.zeros_like(values)
    hue = np.where((values > 0)[..., None], np.array(FOR), np.array(AGAINST))
    if alpha:
        opaque = np.rint(255 * strength)[..., None]
        return np.concatenate([hue, opaque], axis=2).astype(np.uint8)
    mixed = 255.0 - strength[..., None] * (255.0 - hue)
    return np.rint(mixed).astype(np.uint8)


def full_colour(values: Floats) -> float:
    """The |value| that gets the full colour: nearly the largest, so that a few do not hide all."""
    return float(np.percentile(np.abs(values), _FULL))
