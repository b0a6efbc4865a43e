"""The two layers of ``stacked`` features: an image to a map of small descriptions, a map to a row.

Both work on one image at a time, in bands that stay in the processor's cache. To be called with one
BLAS thread.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from catclf.features.base import Rows
from catclf.features.patches import MIDDLE, cut, mirror_filters, reduce, tents
from catclf.features.stacked_recipe import Recipe
from catclf.maths import Pixels

BAND = 512  # patches of an image that are encoded at a time, or a few more
ATOMS = 512  # atoms of the second layer that are pooled at a time
SHORTEST = np.float32(1e-6)  # of a row that is brought to one length
HALF, ZERO = np.float32(0.5), np.float32(0.0)


class FirstLayer:
    """An image uint8 (size, size, 3) to its map (G, G, C), G = ``recipe.places``.

    A patch p (d,) with mean 0 and variance v gives z = Fᵀ p / sqrt(v + ε) - c with the filters F
    (d, k1) and offsets c, as in ``patches``; max(±z - t, 0) is pooled by tents to G x G places and
    its square root taken; these 2 k1 numbers of a place are projected on C directions.
    """

    def __init__(
        self, size: int, recipe: Recipe, filters: Rows, offsets: Rows, directions: Rows, mean: Rows
    ) -> None:
        """filters (d, k1/2), offsets (k1/2,), directions (2 k1, C), and the mean (C,) of the map.

        The other half of the filters are the mirror images of the first.
        """
        self._recipe, self._reduction = recipe, recipe.reduction(size)
        self.steps = recipe.first_steps(size)
        side = size // self._reduction
        self._pool = tents(self.steps, recipe.places)
        both = np.concatenate([filters, mirror_filters(filters, recipe.patch)], axis=1)
        # The last row takes the offsets away: patches end in a 1.
        self._weights = np.vstack([both, -np.tile(offsets, 2)]).astype(np.float32)
        self._directions, self._mean = directions, mean
        self._boxes = np.zeros((self.steps, side), np.float32)  # sums over the side of a patch
        for step in range(self.steps):
            self._boxes[step, step * recipe.stride : step * recipe.stride + recipe.patch] = 1.0

    def map(self, image: Pixels, kernels: ModuleType | None = None) -> Rows:
        """The map (G, G, C), float32; ``kernels`` are compiled loops, with the same bits."""
        places = self._recipe.places
        pooled = self.pooled(image, kernels).reshape(places**2, -1)
        return (pooled @ self._directions - self._mean).reshape(places, places, -1)

    def pooled(self, image: Pixels, kernels: ModuleType | None = None) -> Rows:
        """What is projected, (G, G, 2 k1): both signs, of filters and then of mirrored ones."""
        recipe, steps = self._recipe, self.steps
        pixels = reduce(image, self._reduction) - MIDDLE
        inverse = self._inverse_deviations(pixels)
        lines = max(1, BAND // steps)
        patches = np.ones((lines, steps, recipe.numbers + 1), np.float32)
        signed = np.empty((2, steps, recipe.places, recipe.first_atoms), np.float32)
        for start in range(0, steps, lines):
            band = slice(start, min(start + lines, steps))
            P = patches[: band.stop - start]
            self._cut(pixels, inverse, start, P, kernels)
            Z = P.reshape(len(P) * steps, -1) @ self._weights
            absolute = shrink(Z, recipe.first_threshold, kernels)
            for sign, strong in enumerate((Z, absolute)):
                np.matmul(self._pool, strong.reshape(len(P), steps, -1), out=signed[sign, band])
        both = self._pool @ signed.reshape(2, steps, -1)  # (2, G, G k1)
        return np.sqrt(two_signs(*both.reshape(2, recipe.places, recipe.places, -1)))

    def _cut(
        self, pixels: Rows, inverse: Rows, start: int, P: Rows, kernels: ModuleType | None
    ) -> None:
        """P (lines, steps, d + 1) := patches from line ``start`` on, divided by deviations."""
        patch, stride = self._recipe.patch, self._recipe.stride
        if kernels:
            kernels.patches(pixels.reshape(len(pixels), -1), inverse, start, stride, patch, P)
            return
        windows = cut(pixels, patch)[::stride, ::stride][start : start + len(P)]
        factors = inverse[start : start + len(P), :, None]
        for row in range(patch):
            part = slice(row * patch * 3, (row + 1) * patch * 3)
            np.multiply(windows[:, :, row], factors, out=P[:, :, part])

    def _inverse_deviations(self, pixels: Rows) -> Rows:
        """1 / sqrt(variance + ε) of each patch, (steps, steps)."""
        d = np.float32(self._recipe.numbers)
        # A product with ones is several times as fast as a sum of three.
        sums = self._boxes @ (pixels @ np.ones(3, np.float32)) @ self._boxes.T
        squares = self._boxes @ np.einsum("ijk,ijk->ij", pixels, pixels) @ self._boxes.T
        variance = np.maximum(squares / d - np.square(sums / d), ZERO)
        return np.asarray(np.float32(1.0) / np.sqrt(variance + np.float32(self._recipe.epsilon)))


class SecondLayer:
    """A map (G, G, C) to a row (n,).

    A window of q x q places, brought to one length, is projected on D directions, even ones first,
    and whitened: x (D,). An atom and its mirror image score E + O and E - O, with E and O the parts
    of the product that even and odd directions make; max(±z, 0)⁶ is pooled by tents to g x g
    regions, averaged with the mirror image, and its sixth root taken, which lies between the mean
    strength of an atom in a region and the greatest; then the row is brought to the length √n.
    """

    def __init__(
        self, recipe: Recipe, energy: float, directions: Rows, mean: Rows, even: int, atoms: Rows
    ) -> None:
        """directions (q² C, D), mean (D,), atoms (D, k2/2).

        ``energy`` is the mean square of the numbers of windows, of which a small part keeps flat
        windows from being blown up.
        """
        self._recipe, self._even = recipe, even
        self._directions, self._mean, self._atoms = directions, mean, atoms
        self._floor = np.float32(recipe.floor * energy)
        pool = tents(recipe.second_steps, recipe.grid)
        self._pool = np.kron(pool, pool)  # (g², steps²)

    def row(self, map_: Rows, kernels: ModuleType | None = None) -> Rows:
        """The row (n,), float32; ``kernels`` are compiled loops, with the same bits."""
        recipe = self._recipe
        x = self.windows(map_) @ self._directions - self._mean
        half = recipe.second_atoms // 2
        sides = 1 if recipe.flip else 2
        pooled = np.empty((recipe.grid**2, 2, sides, half), np.float32)
        for start in range(0, half, ATOMS):
            atoms = slice(start, min(start + ATOMS, half))
            E = _product(x[:, : self._even], self._atoms[: self._even, atoms])
            O = _product(x[:, self._even :], self._atoms[self._even :, atoms])  # noqa: E741
            powers = [_product(self._pool, one) for one in sixth_powers(E, O, kernels)]
            plain, mirrored = np.stack(powers[:2], axis=1), np.stack(powers[2:], axis=1)
            if recipe.flip:
                pooled[:, :, 0, atoms] = (plain + self._turned(mirrored)) * HALF
            else:
                pooled[:, :, 0, atoms], pooled[:, :, 1, atoms] = plain, mirrored
        row = np.cbrt(np.sqrt(pooled.reshape(-1)))
        row *= np.float32(np.sqrt(len(row))) / max(np.sqrt(row @ row), SHORTEST)
        return np.asarray(row)

    def windows(self, map_: Rows) -> Rows:
        """Windows (steps², q² C) of a map, each divided by its root mean square."""
        return normalised(all_windows(map_, self._recipe.window), self._floor)

    def _turned(self, pooled: Rows) -> Rows:
        """Regions (g², 2, k) with left and right exchanged."""
        grid = self._recipe.grid
        return pooled.reshape(grid, grid, -1)[:, ::-1].reshape(pooled.shape)


def shrink(Z: Rows, threshold: float, kernels: ModuleType | None = None) -> Rows:
    """Z := sign(Z) max(|Z| - t, 0), in place; the result is |Z| of that."""
    t = np.float32(threshold)
    if kernels and Z.size % kernels.LANES == 0:
        absolute = np.empty_like(Z)
        kernels.shrink(Z.reshape(-1), t, absolute.reshape(-1))
        return absolute
    Z -= np.clip(Z, -t, t)
    return np.abs(Z)


def sixth_powers(E: Rows, O: Rows, kernels: ModuleType | None = None) -> list[Rows]:  # noqa: E741
    """max(±Z, 0)⁶ for Z = E + O, and for E - O: four arrays."""
    if kernels and E.size % kernels.LANES == 0:
        found = [np.empty_like(E) for _ in range(4)]
        kernels.sixth_powers(E.reshape(-1), O.reshape(-1), *(one.reshape(-1) for one in found))
        return found
    plain, mirrored = np.add(E, O), np.subtract(E, O)
    found = [limit(Z, ZERO) for Z in (plain, mirrored) for limit in (np.maximum, np.minimum)]
    for one in found:
        one *= one * one
        one *= one
    return found


def two_signs(signed: Rows, absolute: Rows) -> Rows:
    """Sums of max(s, 0) and of max(-s, 0), (..., 2, k), from sums of s and of |s| (..., k)."""
    found = np.stack([absolute + signed, absolute - signed], axis=-2)
    found *= HALF
    return np.maximum(found, ZERO, out=found)


def all_windows(map_: Rows, width: int) -> NDArray[np.float32]:
    """Every window of a map (G, G, C): a new array ((G-q+1)², q² C), place by place."""
    places, _, channels = map_.shape
    lines = map_.reshape(places, places * channels)
    shape = width, width * channels
    views = np.lib.stride_tricks.sliding_window_view(lines, shape)[:, ::channels]
    return np.ascontiguousarray(views).reshape(len(views) ** 2, -1)


def normalised(windows: Rows, floor: np.float32) -> Rows:
    """Windows (k, d) divided by sqrt(mean square + floor), in place."""
    d = np.float32(windows.shape[1])
    squares = np.einsum("ij,ij->i", windows, windows) / d
    windows *= (np.float32(1.0) / np.sqrt(squares + floor))[:, None]
    return windows


def _product(A: Rows, B: Rows) -> Rows:
    return np.asarray(A @ B, np.float32)
