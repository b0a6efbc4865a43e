"""One layer of learned patches in operators of ONNX.

The product of filters with each patch is a convolution of the whole image, divided by the patch's
deviation afterwards. Sums of patches and of their squares are products with matrices of ones in
float64, which holds them exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from catclf.export.graph import Graph
from catclf.features.patches import (
    MIDDLE,
    SHORTEST,
    PatchFeatures,
    Recipe,
    mirror_filters,
    tents,
)

Array = NDArray[np.float32]


def rows(graph: Graph, images: str, features: PatchFeatures, size: int) -> str:
    """The name of rows float32 (N, n) of images uint8 (N, size, size, 3)."""
    recipe, arrays = features.recipe, features.arrays()
    pixels = graph.transpose(graph.cast(images, np.float32), 0, 3, 1, 2)
    parts = []
    for i, (reduction, stride) in enumerate(recipe.scales):
        reduced, side = reduced_pixels(graph, pixels, size, reduction)
        z = encoded_patches(
            graph,
            reduced,
            side,
            (arrays["filters"][i], arrays["offsets"][i]),
            (recipe.patch, stride, recipe.epsilon),
        )
        parts.append(_pooled(graph, z, recipe, (side - recipe.patch) // stride + 1))
    whole = graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    return graph.unit_rows(whole, np.sqrt(features.n), SHORTEST)


def reduced_pixels(graph: Graph, pixels: str, size: int, factor: int) -> tuple[str, int]:
    """Means of factor x factor squares less 128, (N, 3, side, side), and the side."""
    side = size // factor
    margin = (size - side * factor) // 2
    if factor > 1:
        for axis in (2, 3):
            pixels = graph.slice(pixels, axis, margin, margin + side * factor)
        pixels = graph.add("AveragePool", pixels, kernel_shape=[factor] * 2, strides=[factor] * 2)
    return graph.add("Sub", pixels, graph.constant(MIDDLE)), side


def encoded_patches(
    graph: Graph,
    pixels: str,
    side: int,
    learned: tuple[Array, Array],
    cut: tuple[int, int, float],
) -> str:
    """z = Fᵀ p / sqrt(variance + ε) - c of each patch p: float32 (N, K, steps, steps).

    ``learned`` are filters (d, K/2), of which the mirrored ones are the other half, and offsets
    (K/2,); ``cut`` are the side of a patch, the step between two, and ε.
    """
    filters, offsets = learned
    patch, stride, epsilon = cut
    both = np.concatenate([filters, mirror_filters(filters, patch)], axis=1)
    kernels = both.T.reshape(-1, patch, patch, 3).transpose(0, 3, 1, 2)
    z = graph.add("Conv", pixels, graph.constant(kernels), strides=[stride] * 2)
    inverse = _inverse_deviations(graph, pixels, side, patch, stride, epsilon)
    c = np.tile(offsets, 2).reshape(1, -1, 1, 1)
    return graph.add("Sub", graph.add("Mul", z, inverse), graph.constant(c))


def _inverse_deviations(
    graph: Graph, pixels: str, side: int, patch: int, stride: int, epsilon: float
) -> str:
    """1 / sqrt(variance + ε) of each patch: float32 (N, 1, steps, steps)."""
    steps, d = (side - patch) // stride + 1, patch**2 * 3
    boxes = np.zeros((steps, side))
    for step in range(steps):
        boxes[step, step * stride : step * stride + patch] = 1.0
    exact = graph.cast(pixels, np.float64)
    sums, squares = (
        graph.add(
            "MatMul",
            graph.add("MatMul", graph.constant(boxes), graph.sum(each, 1)),
            graph.constant(boxes.T),
        )
        for each in (exact, graph.add("Mul", exact, exact))
    )
    count = graph.constant(float(d))
    mean = graph.add("Div", sums, count)
    variance = graph.add("Sub", graph.add("Div", squares, count), graph.add("Mul", mean, mean))
    variance = graph.add("Max", variance, graph.constant(0.0))
    deviation = graph.add("Sqrt", graph.add("Add", variance, graph.constant(epsilon)))
    return graph.cast(graph.add("Reciprocal", deviation), np.float32)


def rectified(graph: Graph, z: str, threshold: float) -> tuple[str, str]:
    """max(z - t, 0) and max(-z - t, 0)."""
    t = graph.constant(np.float32(threshold))
    negative = graph.add("Sub", graph.add("Neg", z), t)
    return graph.add("Relu", graph.add("Sub", z, t)), graph.add("Relu", negative)


def pooled(graph: Graph, values: str, steps: int, grid: int) -> str:
    """Values (N, K, steps, steps) weighted over regions: (N, K, grid, grid)."""
    pool = tents(steps, grid)
    bands = graph.add("MatMul", graph.constant(pool), values)
    return graph.add("MatMul", bands, graph.constant(pool.T))


def _pooled(graph: Graph, z: str, recipe: Recipe, steps: int) -> str:
    """The numbers of one scale (N, n of this scale): regions, signs, atoms."""
    half, signs = recipe.atoms // 2, []
    for strong in rectified(graph, z, recipe.threshold):
        regions = pooled(graph, strong, steps, recipe.grid)
        if recipe.flip:  # what the first half finds in the mirror image
            mirrored = graph.reverse(graph.slice(regions, 1, half, recipe.atoms), 3)
            both = graph.add("Add", graph.slice(regions, 1, 0, half), mirrored)
            regions = graph.add("Mul", both, graph.constant(np.float32(0.5)))
        signs.append(regions)
    row = graph.transpose(graph.add("Concat", *signs, axis=1), 0, 2, 3, 1)
    return graph.add("Sqrt", graph.reshape(row, 0, -1))
