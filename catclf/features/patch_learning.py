"""Learning both layers of ``patches`` from images, without their labels.

First layer: random patches, every other one mirrored, normalized, whitened, spherical k-means; then
the principal directions of its maps. Second layer: the same with random windows of the maps.

Everything is symmetric under left and right exchanged. A mirror acts on vectors (d,) as
x -> x[order] * signs. An orthonormal basis whose vectors are each even (equal to their mirror
image) or odd (its negative) turns the mirror into a change of signs: coordinates of even directions
stay, those of odd ones are negated. So the score of a vector with an atom is E + O, with the atom's
mirror image E - O, and both cost one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf import samples
from catclf.features.base import OnProgress, Rows
from catclf.features.patch_layers import (
    MIDDLE,
    First,
    FirstLayer,
    Recipe,
    Second,
    all_windows,
    cut,
    normalized,
    reduce,
)
from catclf.maths import Floats, Pixels
from catclf.maths.threads import Team
from catclf.samples import Images, Indices

PATCHES = 60_000
PATCH_IMAGES = 4000  # at most, that patches are drawn from
FIRST_ROUNDS = 10
FIRST_WHITENING = 0.1  # added to eigenvalues, so that noise is not blown up
MAP_IMAGES = 600  # at most, that the directions of maps are found from
WINDOWS = 100_000
WINDOW_IMAGES = 2000  # at most, that windows are drawn from
SECOND_ROUNDS = 5
SECOND_WHITENING = 0.3  # of the mean eigenvalue, added to all of them
FLAT = 1e-6  # energy of windows of images without contents
# Below what is met in images with contents, so that no filter or atom of others gets large.
LEAST_EXTRA, LEAST_SPREAD = 1e-3, 0.1
_ASSIGNED, _PROJECTED, _SUMMED = 1024, 4096, 8192  # vectors at a time


class Mirror(NamedTuple):
    """x -> x[order] * signs, its own inverse: order int64 (d,), signs 1.0 or -1.0 (d,)."""

    order: NDArray[np.int64]
    signs: NDArray[np.float32]

    def __call__(self, x: Rows) -> Rows:
        """The mirror images of vectors (k, d)."""
        return np.asarray(x[:, self.order] * self.signs)


class Basis(NamedTuple):
    """Orthonormal directions V (d, count), the ``even`` even ones first, and their variances."""

    V: Floats
    even: int
    variances: Floats


class Learning:
    """Both layers from images uint8 (m, size, size, 3); the same for any number of workers."""

    def __init__(self, images: Images, recipe: Recipe, seed: int, team: Team) -> None:
        self._images, self._recipe, self._seed, self._team = images, recipe, seed, team
        self._size = int(images.shape[1])

    def first(self, on_progress: OnProgress) -> First:
        """Filters and directions of the first layer."""
        rng, recipe = np.random.default_rng((self._seed, 1)), self._recipe
        chosen = self._some(rng, MAP_IMAGES)
        total, numbers = FIRST_ROUNDS + len(chosen), 2 * recipe.first_atoms
        filters, offsets = self._filters(rng, lambda done: on_progress(done, total))
        nothing = np.zeros((numbers, 0), np.float32), np.zeros(0, np.float32)
        layer = FirstLayer(self._size, recipe, First(filters, offsets, *nothing, 0))
        second, mean, count = np.zeros((numbers, numbers)), np.zeros(numbers), 0
        pooled = self._team.in_order(lambda i: layer.pooled(self._image(i)), chosen.tolist())
        for done, strengths in enumerate(pooled, FIRST_ROUNDS + 1):
            flat = strengths.reshape(recipe.places**2, -1)
            second += flat.T @ flat
            mean += flat.sum(axis=0, dtype=np.float64)
            count += len(flat)
            on_progress(done, total)
        # A number of a place is (sign, side, atom): the mirror exchanges sides.
        order = np.arange(numbers).reshape(2, 2, -1)[:, ::-1].reshape(-1)
        mirror = Mirror(order, np.ones(numbers, np.float32))
        mean /= count
        covariance = second / count - np.outer(mean, mean)
        basis = principal_directions(covariance, mirror, recipe.channels)
        center = ((mean + mean[order]) / 2.0) @ basis.V
        center[basis.even :] = 0.0
        return First(filters, offsets, _f32(basis.V), _f32(center), basis.even)

    def second(self, first: First, on_progress: OnProgress) -> Second:
        """Directions and atoms of the second layer."""
        rng, recipe = np.random.default_rng((self._seed, 2)), self._recipe
        chosen = self._some(rng, WINDOW_IMAGES)
        total = len(chosen) + SECOND_ROUNDS
        channels = Mirror(np.arange(recipe.channels), even_first(first.even, recipe.channels))
        mirror = window_mirror(recipe.window, channels)
        windows = self._windows(first, chosen, mirror, rng, lambda done: on_progress(done, total))
        squares = np.einsum("ij,ij->i", windows, windows)
        energy = max(float(squares.mean(dtype=np.float64)) / recipe.window_numbers, FLAT)
        normalized(windows, np.float32(recipe.floor * energy))
        mean, covariance = covariance_of(windows, mirror)
        basis = principal_directions(covariance, mirror, recipe.directions)
        extra = max(SECOND_WHITENING * float(np.trace(covariance)) / len(covariance), LEAST_EXTRA)
        whitening = basis.V / np.sqrt(np.maximum(basis.variances, 0.0) + extra)
        directions, center = _f32(whitening), _f32(mean @ whitening)
        # Written over the windows: both would take too much memory.
        white = windows.reshape(-1)[: len(windows) * recipe.directions].reshape(len(windows), -1)
        for rows in samples.cut(slice(0, len(windows)), _PROJECTED):
            white[rows] = windows[rows] @ directions - center
        half = recipe.second_atoms // 2
        rounds = symmetric_k_means(white, basis.even, half, rng, self._team)
        for done in range(len(chosen) + 1, total + 1):
            atoms = next(rounds)
            on_progress(done, total)
        # Scores get a standard deviation of 1, so that one threshold suits all data.
        spread = max(float((white[:2000] @ atoms.T).std(dtype=np.float64)), LEAST_SPREAD)
        return Second(energy, directions, center, basis.even, _f32(atoms.T / spread))

    def _windows(
        self,
        first: First,
        chosen: Indices,
        mirror: Mirror,
        rng: np.random.Generator,
        on_image: Callable[[int], None],
    ) -> Rows:
        """About ``WINDOWS`` random windows of the chosen images' maps, every other one mirrored."""
        recipe, layer = self._recipe, FirstLayer(self._size, self._recipe, first)
        places = recipe.second_steps**2
        each = min(-(-WINDOWS // len(chosen)), places)
        wanted = [(number, rng.choice(places, each, replace=False)) for number in chosen.tolist()]
        windows = np.empty((len(chosen) * each, recipe.window_numbers), np.float32)

        def drawn(wanted: tuple[int, Indices]) -> Rows:
            number, picked = wanted
            return np.asarray(all_windows(layer.map(self._image(number)), recipe.window)[picked])

        for done, rows in enumerate(self._team.in_order(drawn, wanted), 1):
            begin, end = (done - 1) * each, done * each
            windows[begin:end] = rows
            odd = windows[begin + 1 - begin % 2 : end : 2]
            odd[:] = mirror(odd)
            on_image(done)
        return windows

    def _filters(
        self, rng: np.random.Generator, on_round: Callable[[int], None]
    ) -> tuple[Rows, Rows]:
        """Filters (d, k1/2) and offsets (k1/2,): whitening and atoms as one product."""
        recipe, patches = self._recipe, self._patches(rng)
        patches -= patches.mean(axis=1, keepdims=True)
        normalized(patches, np.float32(recipe.epsilon))
        mirror = window_mirror(recipe.patch, Mirror(np.arange(3), np.ones(3, np.float32)))
        mean, covariance = covariance_of(patches, mirror)
        basis = principal_directions(covariance, mirror, len(mean))
        whitening = basis.V / np.sqrt(np.maximum(basis.variances, 0.0) + FIRST_WHITENING)
        white = np.asarray((patches - _f32(mean)) @ _f32(whitening), np.float32)
        half = recipe.first_atoms // 2
        rounds = symmetric_k_means(white, basis.even, half, rng, self._team)
        for done in range(1, FIRST_ROUNDS + 1):
            atoms = next(rounds)
            on_round(done)
        filters = whitening @ atoms.T.astype(np.float64)
        # Taking the filters' mean takes the mean from a patch, too.
        return _f32(filters - filters.mean(axis=0)), _f32(mean @ filters)

    def _patches(self, rng: np.random.Generator) -> Rows:
        """About ``PATCHES`` random patches (N, d) of the reduced images, every other mirrored."""
        chosen, patch = self._some(rng, PATCH_IMAGES), self._recipe.patch
        reduction, each = self._recipe.reduction(self._size), -(-PATCHES // len(chosen))
        found = []
        for number in chosen.tolist():
            windows = cut(reduce(self._image(number), reduction) - MIDDLE, patch)
            count = min(each, len(windows) ** 2)  # small images have no more to give
            down, across = rng.integers(0, len(windows), (2, count))
            found.append(windows[down, across].reshape(count, patch, patch, 3))
        patches = np.concatenate(found)
        patches[1::2] = patches[1::2, :, ::-1].copy()
        return patches.reshape(len(patches), -1)

    def _some(self, rng: np.random.Generator, most: int) -> Indices:
        """Sorted numbers of at most ``most`` images."""
        m = len(self._images)
        return np.sort(rng.choice(m, min(m, most), replace=False))

    def _image(self, number: int) -> Pixels:
        return np.asarray(self._images[number : number + 1][0])


def _f32(values: NDArray[Any]) -> Rows:
    return np.ascontiguousarray(values, dtype=np.float32)


def window_mirror(width: int, channels: Mirror) -> Mirror:
    """The mirror of windows of width x width places, for that of the channels of a place."""
    count = len(channels.order)
    numbers = np.arange(width**2 * count).reshape(width, width, count)
    order = numbers[:, ::-1][:, :, channels.order].reshape(-1)
    return Mirror(order, np.tile(channels.signs, width**2))


def even_first(even: int, count: int) -> NDArray[np.float32]:
    """What the mirror multiplies coordinates by: 1 for the first ``even`` of them, then -1."""
    return np.where(np.arange(count) < even, 1.0, -1.0).astype(np.float32)


def principal_directions(covariance: Floats, mirror: Mirror, count: int) -> Basis:
    """The ``count`` leading eigenvectors of a covariance (d, d), averaged with its mirror image.

    Such a covariance maps even vectors to even ones and odd to odd ones, so that its eigenvectors
    are found in the two spaces by themselves.
    """
    order, signs = mirror.order, mirror.signs.astype(np.float64)
    mirrored = covariance[order][:, order] * signs * signs[:, None]
    covariance = (covariance + mirrored) / 2.0
    found = []
    for space in _even_and_odd(mirror):
        values, vectors = np.linalg.eigh(space.T @ covariance @ space)
        found.append((values, space @ vectors))
    values = np.concatenate([values for values, _ in found])
    V = np.concatenate([vectors for _, vectors in found], axis=1)
    is_even = np.arange(len(values)) < len(found[0][0])
    best = np.argsort(-values, kind="stable")[:count]
    best = np.concatenate([best[is_even[best]], best[~is_even[best]]])
    return Basis(V[:, best], int(is_even[best].sum()), values[best])


def _even_and_odd(mirror: Mirror) -> Iterator[Floats]:
    """Orthonormal bases (d, ·) of the vectors that the mirror keeps, and of those it negates."""
    order, signs = mirror.order, mirror.signs
    places = np.arange(len(order))
    first, alone = places[places < order], places[places == order]
    pairs = np.arange(len(first))
    for sign in (1.0, -1.0):
        own = alone[signs[alone] == sign]
        basis = np.zeros((len(order), len(first) + len(own)))
        basis[first, pairs] = np.sqrt(0.5)
        basis[order[first], pairs] = sign * signs[first] * np.sqrt(0.5)
        basis[own, len(first) + np.arange(len(own))] = 1.0
        yield basis


def covariance_of(vectors: Rows, mirror: Mirror) -> tuple[Floats, Floats]:
    """The mean (d,), averaged with its mirror image, and covariance (d, d) of vectors (N, d)."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    mean = (mean + mean[mirror.order] * mirror.signs) / 2.0
    second = (vectors.T @ vectors).astype(np.float64) / len(vectors)
    return mean, second - np.outer(mean, mean)


def symmetric_k_means(
    vectors: Rows, even: int, count: int, rng: np.random.Generator, team: Team
) -> Iterator[Rows]:
    """``count`` unit atoms (count, d) that with their mirror images fit ``vectors`` (N, d).

    They are given after each round, without end. Spherical k-means: a vector belongs to the atom,
    or mirrored atom, with the largest |cosine|, and an atom becomes the direction of the signed
    sum of its vectors. (A. Coates and A. Ng, "Learning feature representations with k-means",
    2012.) The atom itself is added to its sum: a little inertia, and one that nothing belongs to
    stays. The first ``even`` coordinates are those of even directions.
    """
    atoms = unit(vectors[rng.choice(len(vectors), count, replace=len(vectors) < count)])
    blocks = [vectors[rows] for rows in samples.cut(slice(0, len(vectors)), _ASSIGNED)]
    while True:
        assigned = team.in_order(partial(_assigned, atoms=atoms, even=even), blocks)
        nearest, E, O = (np.concatenate(each) for each in zip(*assigned, strict=True))  # noqa: E741
        flips = np.where(E * O < 0.0, np.float32(-1.0), np.float32(1.0))
        strengths = E + flips * O
        sums, order = atoms.astype(np.float64), np.argsort(nearest, kind="stable")
        for some in samples.cut(slice(0, len(order)), _SUMMED):  # so that little is copied
            chosen = order[some]
            weighted = vectors[chosen] * strengths[chosen, None]
            weighted[:, even:] *= flips[chosen, None]
            full, firsts = np.unique(nearest[chosen], return_index=True)
            sums[full] += np.add.reduceat(weighted, firsts, axis=0, dtype=np.float64)
        atoms = unit(sums)
        yield atoms


def _assigned(block: Rows, atoms: Rows, even: int) -> tuple[NDArray[np.int64], Rows, Rows]:
    """For each vector its atom, and the even and the odd part of their score: (k,) each.

    max(|E + O|, |E - O|) = |E| + |O|.
    """
    E = block[:, :even] @ atoms[:, :even].T
    O = block[:, even:] @ atoms[:, even:].T  # noqa: E741
    nearest = (np.abs(E) + np.abs(O)).argmax(axis=1)
    places = np.arange(len(block)), nearest
    return nearest, E[places], O[places]


def unit(vectors: NDArray[np.floating[Any]]) -> Rows:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
