"""Two layers of learned patches.

A. Coates and A. Ng, "Learning feature representations with k-means", 2012, section 4: the strengths
of a first layer's atoms, pooled, are what a second layer's patches are cut from. Different here:
both layers are symmetric under the mirror, channels between them are principal directions in the
place of receptive fields, windows are brought to one length, and pooled numbers go through a root.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.features.base import SHORTEST, Features, Phase, Read, Rows, compiled, silent
from catclf.features.patch_layers import (
    HALF,
    MIDDLE,
    First,
    FirstLayer,
    Recipe,
    Second,
    SecondLayer,
    boxes,
    mirror_order,
    tents,
)
from catclf.machine import cores
from catclf.maths import Pixels
from catclf.maths.threads import Team, blas_threads
from catclf.samples import Images

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Graph

COMPILED_AFTER = 1000  # images; compiling takes as long as it saves on so many more
ENERGY_LIMIT = 1e6
SCORE_LIMIT = 1e6  # of an atom, some tens in earnest: sixth powers stay finite in float32


class PatchFeatures(Features):
    """How strongly each atom of the second layer appears in each region of an image."""

    kind, default_size, learned, damping = "patches", 128, True, 0.5
    members = (
        *("filters", "offsets", "channels", "channel_means"),
        *("directions", "direction_means", "atoms"),
    )

    def __init__(self, size: int, recipe: Recipe, first: First, second: Second) -> None:
        recipe.require_size(size)
        super().__init__(size, recipe.flip)
        self.recipe, self.n = recipe, recipe.n
        self._learned = first, second
        self._layers = FirstLayer(size, recipe, first), SecondLayer(recipe, second)
        self._seen = 0  # images, until compiled loops are used

    @classmethod
    def learn(
        cls,
        images: Images,
        seed: int = 0,
        *,
        flip: bool = True,
        workers: int | None = None,
        phase: Phase = silent,
        recipe: Recipe | None = None,
    ) -> Self:
        """Both layers, one after the other; the same for any number of workers.

        ``recipe`` (default: the one for so many images of that size) may have few atoms, for tests.
        """
        from catclf.features.patch_learning import Learning

        size = int(images.shape[1])
        recipe = recipe or Recipe.for_images(len(images), size, flip=flip)
        recipe.require_size(size)
        learning = Learning(images, recipe, seed, Team(workers or cores()))
        with blas_threads(1):
            with phase("learning the first layer") as on_progress:
                first = learning.first(on_progress)
            with phase("learning the second layer") as on_progress:
                second = learning.second(first, on_progress)
        return cls(size, recipe, first, second)

    @classmethod
    def restore(cls, settings: dict[str, Any], size: int, read: Read) -> Self:
        """From a model file: bounds first, then arrays of exactly the shapes they imply."""
        recipe = Recipe(**{each.name: settings[each.name] for each in fields(Recipe)})
        recipe.require_size(size)
        energy, evens = settings["energy"], (settings["first_even"], settings["second_even"])
        sound = type(energy) is float and 1e-6 <= energy <= ENERGY_LIMIT
        for even, most in zip(evens, (recipe.channels, recipe.directions), strict=True):
            sound = sound and type(even) is int and 0 <= even <= most
        if not sound:
            raise SettingsError("patches settings out of bounds")
        half, c, d = recipe.first_atoms // 2, recipe.channels, recipe.directions
        shapes = (
            *((recipe.numbers, half), (half,), (4 * half, c), (c,)),
            *((recipe.window_numbers, d), (d,), (d, recipe.second_atoms // 2)),
        )
        arrays = [read(name, "<f4", shape) for name, shape in zip(cls.members, shapes, strict=True)]
        first = First(arrays[0], arrays[1], arrays[2], arrays[3], evens[0])
        second = Second(energy, arrays[4], arrays[5], evens[1], arrays[6])
        # A bound of |z| from lengths: that of a window is at most the root of its numbers.
        directions, means, atoms = (array.astype(np.float64) for array in arrays[4:])
        x = np.sqrt(recipe.window_numbers) * np.linalg.norm(directions) + np.linalg.norm(means)
        if x * np.linalg.norm(atoms, axis=0).max() > SCORE_LIMIT:
            raise SettingsError("patches atoms that are too large")
        return cls(size, recipe, first, second)

    @property
    def settings(self) -> dict[str, Any]:
        first, second = self._learned
        learned = {"energy": second.energy, "first_even": first.even, "second_even": second.even}
        return {"kind": self.kind} | asdict(self.recipe) | learned

    def arrays(self) -> dict[str, NDArray[Any]]:
        found = self._learned[0]._asdict() | self._learned[1]._asdict()
        return {name: found[name] for name in self.members}

    @property
    def groups(self) -> dict[str, slice]:
        """Regions of the image, row by row."""
        grid = self.recipe.grid
        each = self.n // grid**2
        return {
            f"region {row},{column}": slice(place * each, (place + 1) * each)
            for place, (row, column) in enumerate(np.ndindex(grid, grid))
        }

    def name_of(self, number: int) -> str:
        grid, half = self.recipe.grid, self.recipe.second_atoms // 2
        shape = grid, grid, 2, self.n // (2 * grid**2 * half), half
        row, column, sign, side, atom = np.unravel_index(number, shape)
        return f"atom {atom + side * half}{'-' if sign else '+'}({row},{column})"

    def transform(self, images: Pixels) -> Rows:
        self.require_images(images)
        rows = np.empty((len(images), self.n), dtype=np.float32)
        self._seen += len(images)
        first, second = self._layers
        first.kernels = second.kernels = compiled(self._seen > COMPILED_AFTER)
        for image, row in zip(images, rows, strict=True):
            row[...] = second.row(first.map(image))
        return rows

    def to_onnx(self, graph: Graph, images: str) -> str:
        pixels = graph.transpose(graph.cast(images, np.float32), 0, 3, 1, 2)
        row = _second(graph, _first(graph, pixels, self), self)
        return graph.unit_rows(row, np.sqrt(self.n), SHORTEST)


def _first(graph: Graph, pixels: str, features: PatchFeatures) -> str:
    """The map (N, C, G, G) of pixels (N, 3, size, size).

    The product of filters with each patch is a convolution of the whole image, divided by the
    patch's deviation afterwards.
    """
    recipe, arrays, size = features.recipe, features.arrays(), features.size
    factor = recipe.reduction(size)
    side = size // factor
    margin = (size - side * factor) // 2
    if factor > 1:
        for axis in (2, 3):
            pixels = graph.slice(pixels, axis, margin, margin + side * factor)
        pixels = graph.add("AveragePool", pixels, kernel_shape=[factor] * 2, strides=[factor] * 2)
    pixels = graph.add("Sub", pixels, MIDDLE)
    both = [arrays["filters"], arrays["filters"][mirror_order(recipe.patch)]]
    kernels = np.concatenate(both, axis=1).T.reshape(-1, recipe.patch, recipe.patch, 3)
    z = graph.add("Conv", pixels, kernels.transpose(0, 3, 1, 2), strides=[recipe.stride] * 2)
    c = np.tile(arrays["offsets"], 2).reshape(1, -1, 1, 1)
    z = graph.add("Sub", graph.add("Mul", z, _inverse_deviations(graph, pixels, side, recipe)), c)
    pool = tents(recipe.first_steps(size), recipe.places)
    signs = []
    for strong in _rectified(graph, z, recipe.first_threshold):
        bands = graph.add("MatMul", pool, strong)
        signs.append(graph.add("MatMul", bands, pool.T))
    strengths = graph.add("Sqrt", graph.add("Concat", *signs, axis=1))
    places = arrays["channels"].T[:, :, None, None]  # a product at each place
    return graph.add("Conv", strengths, places, -arrays["channel_means"])


def _inverse_deviations(graph: Graph, pixels: str, side: int, recipe: Recipe) -> str:
    """1 / sqrt(variance + ε) of each patch: float32 (N, 1, steps, steps).

    Sums of patches and of their squares are products with matrices of ones in float64, which holds
    them exactly.
    """
    ones = boxes((side - recipe.patch) // recipe.stride + 1, side, recipe)
    exact = graph.cast(pixels, np.float64)
    means = []
    for each in (exact, graph.add("Mul", exact, exact)):
        lines = graph.add("MatMul", ones, graph.sum(each, 1))
        sums = graph.add("MatMul", lines, ones.T)
        means.append(graph.add("Div", sums, float(recipe.numbers)))
    mean, square = means
    variance = graph.add("Sub", square, graph.add("Mul", mean, mean))
    variance = graph.add("Max", variance, 0.0)
    deviation = graph.add("Sqrt", graph.add("Add", variance, recipe.epsilon))
    return graph.cast(graph.add("Reciprocal", deviation), np.float32)


def _rectified(graph: Graph, z: str, threshold: float) -> tuple[str, str]:
    """max(z - t, 0) and max(-z - t, 0)."""
    t = np.float32(threshold)
    negative = graph.add("Sub", graph.add("Neg", z), t)
    return graph.add("Relu", graph.add("Sub", z, t)), graph.add("Relu", negative)


def _second(graph: Graph, map_: str, features: PatchFeatures) -> str:
    """The row (N, n), not yet brought to its length."""
    recipe, arrays = features.recipe, features.arrays()
    q, c, windows = recipe.window, recipe.channels, recipe.second_steps**2
    kernels = arrays["directions"].T.reshape(-1, q, q, c).transpose(0, 3, 1, 2)
    projected = graph.add("Conv", map_, kernels)
    projected = graph.add("Mul", projected, _inverse_lengths(graph, map_, features))
    means = arrays["direction_means"].reshape(1, -1, 1, 1)
    x = graph.add("Sub", projected, means)  # (N, D, S, S)
    x = graph.transpose(graph.reshape(x, 0, 0, windows), 0, 2, 1)
    sides = []
    for mirrored in (False, True):
        atoms = arrays["atoms"].copy()
        if mirrored:
            atoms[features.settings["second_even"] :] *= -1
        z = graph.add("MatMul", x, atoms)  # (N, S², k2/2)
        sides.append([_regions(graph, one, recipe) for one in _rectified(graph, z, 0.0)])
    signs = []
    for one, other in zip(*sides, strict=True):
        if recipe.flip:
            both = graph.add("Add", one, graph.reverse(other, 2))
            signs.append(graph.add("Mul", both, HALF))
        else:
            signs.append(graph.add("Concat", one, other, axis=3))
    row = graph.reshape(graph.add("Concat", *signs, axis=3), 0, -1)
    return graph.add("Pow", row, np.float32(1 / 6))


def _inverse_lengths(graph: Graph, map_: str, features: PatchFeatures) -> str:
    """1 / sqrt(mean square + floor) of each window: (N, 1, S, S)."""
    recipe = features.recipe
    floor = np.float32(recipe.floor * features.settings["energy"])
    ones = np.ones((1, 1, recipe.window, recipe.window), np.float32)
    sums = graph.add("Conv", graph.sum(graph.add("Mul", map_, map_), 1), ones)
    mean = graph.add("Div", sums, np.float32(recipe.window_numbers))
    return graph.add("Reciprocal", graph.add("Sqrt", graph.add("Add", mean, floor)))


def _regions(graph: Graph, strong: str, recipe: Recipe) -> str:
    """Sixth powers (N, S², k) pooled: (N, g, g, k)."""
    cubes = graph.add("Mul", graph.add("Mul", strong, strong), strong)
    pool = tents(recipe.second_steps, recipe.grid)
    found = graph.add("MatMul", np.kron(pool, pool), graph.add("Mul", cubes, cubes))
    return graph.reshape(found, 0, recipe.grid, recipe.grid, -1)
