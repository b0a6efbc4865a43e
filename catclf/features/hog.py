"""Histograms of oriented gradients, and a grid of mean colours: features that need no learning.

N. Dalal and B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from catclf.errors import SettingsError
from catclf.features.base import CHANNELS, Features, Rows
from catclf.maths import PIXEL_MAX, Floats, Pixels

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Value

BINS = 9  # directions of a gradient, from 0 to 180 degrees
CELLS = 8  # along each side of the image
COLOURS = 8  # means of colour along each side
BLOCK = 2  # cells along each side of a block that is normalized together
CLIP = 0.2
EPSILON = 1e-5


class HogFeatures(Features):
    """Gradient histograms of 8x8 cells, normalized in blocks of 2x2 cells, and 8x8 mean colours.

    n = 7 * 7 * 2 * 2 * 9 + 8 * 8 * 3 = 1956 for images of any size of at least 16 pixels. With
    ``flip``, the mean over the image and its mirror image.
    """

    kind = "hog"
    _edges = (CELLS - BLOCK + 1) ** 2 * BLOCK**2 * BINS
    n = _edges + COLOURS**2 * 3

    def __init__(self, size: int, flip: bool = True) -> None:
        if size < 2 * CELLS:
            raise SettingsError(
                f"images of {size}x{size} are too small for hog: {2 * CELLS} pixels are needed"
            )
        super().__init__(size, flip)

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | {"bins": BINS, "cells": CELLS, "colours": COLOURS}

    @property
    def groups(self) -> dict[str, slice]:
        return {"edges": slice(0, self._edges), "colours": slice(self._edges, self.n)}

    def name_of(self, number: int) -> str:
        if number >= self._edges:
            place, channel = divmod(number - self._edges, 3)
            row, column = divmod(place, COLOURS)
            return f"{CHANNELS[channel]}({row},{column})"
        place, part = divmod(number, BLOCK**2 * BINS)
        row, column = divmod(place, CELLS - BLOCK + 1)
        return f"edge {part % BINS * 180 // BINS}°({row},{column}).{part // BINS}"

    def transform(self, images: Pixels) -> Rows:
        self.require_images(images)
        rows = np.empty((len(images), self.n), dtype=np.float32)
        for start in range(0, len(images), self.block):  # bounds the buffers of gradients
            block = images[start : start + self.block]
            found = _describe(block)
            if self.flip:
                found = (found + _describe(block[:, :, ::-1])) / 2.0
            rows[start : start + len(block)] = found
        return rows

    def to_onnx(self, images: Value) -> Value:
        """In float64, as here.

        A direction needs no arctangent: a gradient turned into the upper half-plane lies beyond
        the edge at the angle θ where dy cos θ >= dx sin θ. Differences of pixels are whole
        numbers, none of which is so near an edge that rounding could put it on the other side.
        """
        pixels = images.cast(np.float64).transpose(0, 3, 1, 2)
        found = _described(pixels, self.size)
        if self.flip:
            found = (found + _described(pixels.reverse(3), self.size)) * 0.5
        return found.cast(np.float32)


def _describe(images: Pixels) -> Floats:
    """(k, n) float64: block-normalized histograms, then colours."""
    k = len(images)
    blocks = normalized_blocks(oriented_gradients(images)).reshape(k, -1)
    member, areas = _cells(images.shape[1], COLOURS)
    sums = member @ images.astype(np.float64).transpose(0, 3, 1, 2) @ member.T  # (k, 3, ·, ·)
    colours = (sums / areas / PIXEL_MAX).transpose(0, 2, 3, 1)
    return np.concatenate([blocks, colours.reshape(k, -1)], axis=1)


def oriented_gradients(images: Pixels) -> Floats:
    """Histograms (k, CELLS, CELLS, BINS): gradient length by direction, mean over each cell.

    Gradients are central differences, zero on the edges, of the colour channel where they are
    longest; directions 180 degrees apart are one. A gradient counts for one cell and one bin.
    """
    values = images.astype(np.float64)
    k, size = values.shape[:2]
    down, across = np.zeros_like(values), np.zeros_like(values)
    down[:, 1:-1] = values[:, 2:] - values[:, :-2]
    across[:, :, 1:-1] = values[:, :, 2:] - values[:, :, :-2]
    # Squares of whole numbers are exact, so that of equal lengths the first channel is taken.
    channel = (down * down + across * across).argmax(axis=3)[..., None]  # (k, size, size, 1)
    down, across = (np.take_along_axis(each, channel, axis=3)[..., 0] for each in (down, across))
    degrees = np.rad2deg(np.arctan2(down, across)) % 180.0
    bins = (degrees // (180.0 / BINS)).astype(np.int64) % BINS
    member, areas = _cells(size, CELLS)
    cell_of = member.argmax(axis=0)
    cells = (np.arange(k)[:, None, None] * CELLS + cell_of[:, None]) * CELLS + cell_of
    lengths = np.hypot(down, across).ravel()
    sums = np.bincount((cells * BINS + bins).ravel(), lengths, minlength=k * CELLS**2 * BINS)
    return np.asarray(sums.reshape(k, CELLS, CELLS, BINS) / areas[:, :, None])


def normalized_blocks(cells: Floats) -> Floats:
    """Blocks (k, r, c, 2, 2, BINS) of neighbouring cells (k, r + 1, c + 1, BINS), "L2-Hys".

    v / sqrt(‖v‖² + ε²), clipped at 0.2, and normalized once more.
    """
    windows = np.lib.stride_tricks.sliding_window_view(cells, (BLOCK, BLOCK), axis=(1, 2))
    blocks = np.moveaxis(windows, 3, 5).copy()  # (k, r, c, 2, 2, BINS)
    for most in (CLIP, np.inf):
        squares = np.square(blocks).sum(axis=(3, 4, 5), keepdims=True)
        blocks /= np.sqrt(squares + EPSILON**2)
        np.minimum(blocks, most, out=blocks)
    return blocks


def _cells(size: int, count: int) -> tuple[Floats, Floats]:
    """Ones (count, size) where a pixel belongs to one of equal cells; areas (count, count)."""
    member = (np.arange(size) * count // size == np.arange(count)[:, None]).astype(np.float64)
    return member, np.outer(member.sum(axis=1), member.sum(axis=1))


def _described(pixels: Value, size: int) -> Value:
    """Block-normalized histograms, then colours, float64 (N, n)."""
    cells, steps = _cell_means(_votes(pixels, size), size, CELLS), CELLS - BLOCK + 1
    first, *others = (
        cells.slice(1, i, i + steps).slice(2, j, j + steps) for i, j in np.ndindex(BLOCK, BLOCK)
    )
    blocks = first.join(*others, axis=3)  # (N, steps, steps, 4 BINS)
    blocks = _unit(_unit(blocks).op("Min", CLIP))
    colours = _cell_means(pixels, size, COLOURS) / PIXEL_MAX
    return blocks.reshape(0, -1).join(colours.reshape(0, -1), axis=1)


def _votes(pixels: Value, size: int) -> Value:
    """The gradient's length in the bin of its direction, else 0: (N, BINS, size, size)."""
    down, across = _differences(pixels, 2, size), _differences(pixels, 3, size)
    squares = down * down + across * across
    channel = squares.op("ArgMax", axis=1, keepdims=1)  # the first of equals
    down, across, squares = (
        each.op("GatherElements", channel, axis=1) for each in (down, across, squares)
    )
    length = squares.sqrt()
    # Turned into the upper half-plane; of the horizontal ones those to the left.
    left = down.op("Equal", 0.0).op("And", across.op("Less", 0.0))
    turned = down.op("Less", 0.0).op("Or", left).cast(np.float64)
    angles = (np.arange(1, BINS) * np.pi / BINS).reshape(1, -1, 1, 1)
    side = (down * np.cos(angles) - across * np.sin(angles)) * (turned * -2.0 + 1.0)
    beyond = side.op("GreaterOrEqual", 0.0).cast(np.float64)  # (N, BINS - 1, size, size)
    # Bin k: beyond its lower edge, which for the first all are, and not beyond its upper one.
    none = length * 0.0
    return ((none + 1.0).join(beyond, axis=1) - beyond.join(none, axis=1)) * length


def _differences(pixels: Value, axis: int, size: int) -> Value:
    """Central differences along an axis of (N, 3, size, size), zero on the edges."""
    pads = [0] * 8
    pads[axis] = pads[4 + axis] = 1
    inner = pixels.slice(axis, 2, size) - pixels.slice(axis, 0, size - 2)
    return inner.op("Pad", pads)


def _cell_means(values: Value, size: int, count: int) -> Value:
    """The mean of (N, channels, size, size) over each cell: (N, count, count, channels)."""
    member, areas = _cells(size, count)
    sums = member @ values @ member.T  # of whole numbers: exact
    return (sums / areas).transpose(0, 2, 3, 1)


def _unit(blocks: Value) -> Value:
    return blocks / ((blocks * blocks).sum(3) + EPSILON**2).sqrt()
