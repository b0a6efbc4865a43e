"""Two layers of learned patches in operators of ONNX."""

from __future__ import annotations

import numpy as np

from catclf.export.graph import Graph
from catclf.export.patches import encoded_patches, pooled, rectified, reduced_pixels
from catclf.features.patches import tents
from catclf.features.stacked import StackedFeatures
from catclf.features.stacked_layers import SHORTEST
from catclf.features.stacked_recipe import Recipe


def rows(graph: Graph, images: str, features: StackedFeatures, size: int) -> str:
    """The name of rows float32 (N, n) of images uint8 (N, size, size, 3)."""
    pixels = graph.transpose(graph.cast(images, np.float32), 0, 3, 1, 2)
    row = _second(graph, _first(graph, pixels, features, size), features)
    return graph.unit_rows(row, np.sqrt(features.n), SHORTEST)


def _first(graph: Graph, pixels: str, features: StackedFeatures, size: int) -> str:
    """The map (N, C, G, G)."""
    recipe, arrays = features.recipe, features.arrays()
    reduced, side = reduced_pixels(graph, pixels, size, recipe.reduction(size))
    learned = arrays["filters"], arrays["offsets"]
    cut = recipe.patch, recipe.stride, recipe.epsilon
    z = encoded_patches(graph, reduced, side, learned, cut)
    steps = recipe.first_steps(size)
    signs = [
        pooled(graph, strong, steps, recipe.places)
        for strong in rectified(graph, z, recipe.first_threshold)
    ]
    strengths = graph.add("Sqrt", graph.add("Concat", *signs, axis=1))
    kernels = arrays["channels"].T[:, :, None, None]  # a product at each place
    return graph.add(
        "Conv", strengths, graph.constant(kernels), graph.constant(-arrays["channel_means"])
    )


def _second(graph: Graph, map_: str, features: StackedFeatures) -> str:
    """The row (N, n), not yet brought to its length."""
    recipe, arrays = features.recipe, features.arrays()
    q, c = recipe.window, recipe.channels
    kernels = arrays["directions"].T.reshape(-1, q, q, c).transpose(0, 3, 1, 2)
    projected = graph.add("Conv", map_, graph.constant(kernels))
    projected = graph.add("Mul", projected, _inverse_lengths(graph, map_, features))
    means = arrays["direction_means"].reshape(1, -1, 1, 1)
    x = graph.add("Sub", projected, graph.constant(means))  # (N, D, S, S)
    windows = recipe.second_steps**2
    x = graph.transpose(graph.reshape(x, 0, 0, windows), 0, 2, 1)
    sides = []
    for mirrored in (False, True):
        atoms = arrays["atoms"].copy()
        if mirrored:
            atoms[features.settings["second_even"] :] *= -1
        z = graph.add("MatMul", x, graph.constant(atoms))  # (N, S², k2/2)
        sides.append([_regions(graph, one, recipe) for one in rectified(graph, z, 0.0)])
    return _root(graph, sides, recipe)


def _inverse_lengths(graph: Graph, map_: str, features: StackedFeatures) -> str:
    """1 / sqrt(mean square + floor) of each window: (N, 1, S, S)."""
    recipe = features.recipe
    floor = np.float32(recipe.floor * features.settings["energy"])
    ones = np.ones((1, 1, recipe.window, recipe.window), np.float32)
    squares = graph.sum(graph.add("Mul", map_, map_), 1)
    sums = graph.add("Conv", squares, graph.constant(ones))
    mean = graph.add("Div", sums, graph.constant(np.float32(recipe.window_numbers)))
    return graph.add("Reciprocal", graph.add("Sqrt", graph.add("Add", mean, graph.constant(floor))))


def _regions(graph: Graph, strong: str, recipe: Recipe) -> str:
    """Sixth powers (N, S², k) pooled: (N, g, g, k)."""
    cubes = graph.add("Mul", graph.add("Mul", strong, strong), strong)
    pool = tents(recipe.second_steps, recipe.grid)
    found = graph.add("MatMul", graph.constant(np.kron(pool, pool)), graph.add("Mul", cubes, cubes))
    return graph.reshape(found, 0, recipe.grid, recipe.grid, -1)


def _root(graph: Graph, sides: list[list[str]], recipe: Recipe) -> str:
    """Sixth roots (N, n): regions, signs, sides, atoms. ``sides`` are pairs of signs."""
    plain, mirrored = sides
    signs = []
    for one, other in zip(plain, mirrored, strict=True):
        if recipe.flip:
            both = graph.add("Add", one, graph.reverse(other, 2))
            signs.append(graph.add("Mul", both, graph.constant(np.float32(0.5))))
        else:
            signs.append(graph.add("Concat", one, other, axis=3))
    row = graph.reshape(graph.add("Concat", *signs, axis=3), 0, -1)
    return graph.add("Pow", row, graph.constant(np.float32(1 / 6)))
