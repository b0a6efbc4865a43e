"""Histograms of oriented gradients in operators of ONNX, in float64 as they are computed here.

A direction needs no arctangent: a gradient turned into the upper half-plane lies beyond the edge at
the angle θ where dy cos θ >= dx sin θ. Differences of pixels are whole numbers, none of which is so
near an edge that rounding could put it on the other side.
"""

from __future__ import annotations

import numpy as np

from catclf.export.graph import Graph
from catclf.features.hog import (
    BINS,
    BLOCK,
    CELLS,
    CLIP,
    COLOURS,
    EPSILON,
    HogFeatures,
    cell_of,
)
from catclf.maths import PIXEL_MAX


def rows(graph: Graph, images: str, features: HogFeatures, size: int) -> str:
    """The name of rows float32 (N, 1956) of images uint8 (N, size, size, 3)."""
    pixels = graph.transpose(graph.cast(images, np.float64), 0, 3, 1, 2)  # (N, 3, size, size)
    found = _describe(graph, pixels, size)
    if features.settings["flip"]:
        mirrored = _describe(graph, graph.reverse(pixels, 3), size)
        found = graph.add("Mul", graph.add("Add", found, mirrored), graph.constant(0.5))
    return graph.cast(found, np.float32)


def _describe(graph: Graph, pixels: str, size: int) -> str:
    """Block-normalised histograms, then colours, float64 (N, n)."""
    votes = _votes(graph, pixels, size)  # (N, BINS, size, size)
    cells = _cell_means(graph, votes, size, CELLS)
    blocks = _blocks(graph, graph.transpose(cells, 0, 2, 3, 1))
    colours = graph.transpose(_cell_means(graph, pixels, size, COLOURS), 0, 2, 3, 1)
    colours = graph.add("Div", colours, graph.constant(PIXEL_MAX))
    return graph.add("Concat", blocks, graph.reshape(colours, 0, -1), axis=1)


def _votes(graph: Graph, pixels: str, size: int) -> str:
    """The gradient's length in the bin of its direction, else 0: (N, BINS, size, size)."""
    down, across = _differences(graph, pixels, 2, size), _differences(graph, pixels, 3, size)
    squares = graph.add("Add", graph.add("Mul", down, down), graph.add("Mul", across, across))
    channel = graph.add("ArgMax", squares, axis=1, keepdims=1)  # the first of equals
    down, across, squares = (
        graph.add("GatherElements", each, channel, axis=1) for each in (down, across, squares)
    )
    length = graph.add("Sqrt", squares)
    # Turned into the upper half-plane; of the horizontal ones those to the left.
    zero = graph.constant(0.0)
    level = graph.add("Equal", down, zero)
    left = graph.add("And", level, graph.add("Less", across, zero))
    turned = graph.add("Or", graph.add("Less", down, zero), left)
    sign = graph.add("Where", turned, graph.constant(-1.0), graph.constant(1.0))
    angles = (np.arange(1, BINS) * np.pi / BINS).reshape(1, -1, 1, 1)
    side = graph.add(
        "Sub",
        graph.add("Mul", down, graph.constant(np.cos(angles))),
        graph.add("Mul", across, graph.constant(np.sin(angles))),
    )
    beyond = graph.add("GreaterOrEqual", graph.add("Mul", side, sign), zero)
    beyond = graph.cast(beyond, np.float64)  # (N, BINS - 1, size, size)
    # Bin k: beyond its lower edge, which for the first all are, and not beyond its upper one.
    ones = graph.add("Add", graph.add("Mul", length, zero), graph.constant(1.0))
    lower = graph.add("Concat", ones, beyond, axis=1)
    upper = graph.add("Concat", beyond, graph.add("Mul", length, zero), axis=1)
    return graph.add("Mul", graph.add("Sub", lower, upper), length)


def _differences(graph: Graph, pixels: str, axis: int, size: int) -> str:
    """Central differences along an axis of (N, 3, size, size), zero on the edges."""
    after, before = graph.slice(pixels, axis, 2, size), graph.slice(pixels, axis, 0, size - 2)
    pads = [0] * 8
    pads[axis] = pads[4 + axis] = 1
    return graph.add("Pad", graph.add("Sub", after, before), graph.constant(pads))


def _cell_means(graph: Graph, values: str, size: int, count: int) -> str:
    """The mean over each cell of a grid: (N, channels, count, count)."""
    # Sums first: those of whole numbers are exact.
    member = (cell_of(size, count) == np.arange(count)[:, None]).astype(np.float64)
    areas = np.outer(member.sum(axis=1), member.sum(axis=1))
    sums = graph.add("MatMul", graph.constant(member), values)
    sums = graph.add("MatMul", sums, graph.constant(member.T))
    return graph.add("Div", sums, graph.constant(areas))


def _blocks(graph: Graph, cells: str) -> str:
    """Blocks of 2x2 cells (N, CELLS, CELLS, BINS), "L2-Hys", as (N, numbers)."""
    steps = CELLS - BLOCK + 1
    parts = []
    for i in range(BLOCK):
        rows = graph.slice(cells, 1, i, i + steps)
        parts += [graph.slice(rows, 2, j, j + steps) for j in range(BLOCK)]
    blocks = graph.add("Concat", *parts, axis=3)  # (N, steps, steps, 4 BINS)
    blocks = _unit(graph, blocks)
    return graph.reshape(_unit(graph, graph.add("Min", blocks, graph.constant(CLIP))), 0, -1)


def _unit(graph: Graph, blocks: str) -> str:
    squares = graph.sum(graph.add("Mul", blocks, blocks), 3)
    return graph.add(
        "Div", blocks, graph.add("Sqrt", graph.add("Add", squares, graph.constant(EPSILON**2)))
    )
