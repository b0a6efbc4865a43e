"""Histograms of oriented gradients, and a grid of mean colours: features that need no learning.

N. Dalal and B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.features.base import Rows, require_images
from catclf.maths import PIXEL_MAX, Floats, Pixels

BINS = 9  # directions of a gradient, from 0 to 180 degrees
CELLS = 8  # along each side of the image
COLOURS = 8  # means of colour along each side
BLOCK = 2  # cells along each side of a block that is normalised together
CLIP = 0.2
EPSILON = 1e-5
_AT_ONCE = 16  # images; bounds the buffers of gradients


class HogFeatures:
    """Gradient histograms of 8x8 cells, normalised in blocks of 2x2 cells, and 8x8 mean colours.

    n = 7 * 7 * 2 * 2 * 9 + 8 * 8 * 3 = 1956 for images of any size of at least 16 pixels. With
    ``flip``, the mean over the image and its mirror image.
    """

    kind = "hog"

    def __init__(self, size: int, flip: bool = True) -> None:
        if size < 2 * CELLS:
            raise SettingsError(
                f"images of {size}x{size} are too small for hog: {2 * CELLS} pixels are needed"
            )
        self._size, self._flip = size, flip
        self.n = (CELLS - BLOCK + 1) ** 2 * BLOCK**2 * BINS + COLOURS**2 * 3

    @classmethod
    def restore(cls, settings: dict[str, Any], size: int) -> HogFeatures:
        """From the settings of a model file. Raises SettingsError."""
        flip = settings.get("flip")
        features = cls(size, flip is True)
        if settings != features.settings:
            raise SettingsError("hog settings that this catclf does not know")
        return features

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "bins": BINS,
            "cells": CELLS,
            "colours": COLOURS,
            "flip": self._flip,
        }

    @property
    def parts(self) -> dict[str, slice]:
        edges = self.n - COLOURS**2 * 3
        return {"edges": slice(0, edges), "colours": slice(edges, self.n)}

    def name_of(self, number: int) -> str:
        edges = self.parts["edges"].stop
        if number >= edges:
            row, column = divmod((number - edges) // 3, COLOURS)
            return f"{('red', 'green', 'blue')[(number - edges) % 3]}({row},{column})"
        place, part = divmod(number, BLOCK**2 * BINS)
        row, column = divmod(place, CELLS - BLOCK + 1)
        degrees = part % BINS * 180 // BINS
        return f"edge {degrees}°({row},{column}).{part // BINS}"

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def transform(self, images: Pixels) -> Rows:
        require_images(images, self._size)
        rows = np.empty((len(images), self.n), dtype=np.float32)
        for start in range(0, len(images), _AT_ONCE):
            block = images[start : start + _AT_ONCE]
            found = _describe(block)
            if self._flip:
                found = (found + _describe(block[:, :, ::-1])) / 2.0
            rows[start : start + len(block)] = found
        return rows


def _describe(images: Pixels) -> Floats:
    """(k, n) float64: block-normalised histograms, then colours."""
    k = len(images)
    gradients = oriented_gradients(images, CELLS, CELLS)
    blocks = normalised_blocks(gradients).reshape(k, -1)
    colours = cell_means(images.astype(np.float64), COLOURS) / PIXEL_MAX
    return np.concatenate([blocks, colours.reshape(k, -1)], axis=1)


def oriented_gradients(images: Pixels, rows: int, columns: int) -> Floats:
    """Histograms (k, rows, columns, BINS): gradient length by direction, mean over each cell.

    Gradients are central differences, zero on the edges, of the colour channel where they are
    longest; directions 180 degrees apart are one. A gradient counts for one cell and one bin.
    """
    values = images.astype(np.float64)
    k, height, width = values.shape[:3]
    down, across = np.zeros_like(values), np.zeros_like(values)
    down[:, 1:-1] = values[:, 2:] - values[:, :-2]
    across[:, :, 1:-1] = values[:, :, 2:] - values[:, :, :-2]
    # Squares of whole numbers are exact, so that of equal lengths the first channel is taken.
    channel = (down * down + across * across).argmax(axis=3)[..., None]  # (k, height, width, 1)
    down, across = (
        np.take_along_axis(values, channel, axis=3)[..., 0] for values in (down, across)
    )
    length = np.hypot(down, across)
    degrees = np.rad2deg(np.arctan2(down, across)) % 180.0
    bins = (degrees // (180.0 / BINS)).astype(np.int64) % BINS
    cell_rows, cell_columns = cell_of(height, rows), cell_of(width, columns)
    cells = cell_rows[:, None] * columns + cell_columns
    places = (np.arange(k)[:, None, None] * rows * columns + cells) * BINS + bins
    sums = np.bincount(places.ravel(), length.ravel(), minlength=k * rows * columns * BINS)
    areas = np.bincount(cells.ravel(), minlength=rows * columns).reshape(rows, columns, 1)
    return sums.reshape(k, rows, columns, BINS) / areas


def normalised_blocks(cells: Floats) -> Floats:
    """Blocks (k, r, c, 2, 2, BINS) of neighbouring cells (k, r + 1, c + 1, BINS), "L2-Hys".

    v / sqrt(‖v‖² + ε²), clipped at 0.2, and normalised once more.
    """
    windows = np.lib.stride_tricks.sliding_window_view(cells, (BLOCK, BLOCK), axis=(1, 2))
    blocks = np.moveaxis(windows, 3, 5).copy()  # (k, r, c, 2, 2, BINS)
    blocks /= _lengths(blocks)
    np.minimum(blocks, CLIP, out=blocks)
    blocks /= _lengths(blocks)
    return blocks


def _lengths(blocks: Floats) -> Floats:
    return np.asarray(np.sqrt(np.square(blocks).sum(axis=(3, 4, 5), keepdims=True) + EPSILON**2))


def cell_means(values: Floats, count: int) -> Floats:
    """The mean over each cell of a count x count grid, (k, count, count, channels)."""
    firsts = np.flatnonzero(np.diff(cell_of(values.shape[1], count), prepend=-1))
    sums = np.add.reduceat(np.add.reduceat(values, firsts, axis=1), firsts, axis=2)
    lengths = np.diff(firsts, append=values.shape[1])
    return np.asarray(sums / (lengths[:, None, None] * lengths[None, :, None]))


def cell_of(length: int, count: int) -> NDArray[np.int64]:
    """Which of ``count`` equal cells each of ``length`` pixels belongs to."""
    return np.arange(length) * count // length
