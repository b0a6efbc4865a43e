"""Learning both layers of ``stacked`` features from images, without their labels.

First layer: random patches, every other one mirrored, normalised, whitened, spherical k-means; then
the principal directions of its maps. Second layer: the same with random windows of the maps.
Everything is made symmetric under the mirror (see ``symmetric``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.features.base import OnProgress, Rows
from catclf.features.patches import MIDDLE, cut, inverse_deviation, reduce
from catclf.features.stacked_layers import FirstLayer, all_windows, normalised
from catclf.features.stacked_recipe import Recipe
from catclf.features.symmetric import (
    Mirror,
    covariance_of,
    even_first,
    principal_directions,
    symmetric_k_means,
    window_mirror,
)
from catclf.maths import Pixels
from catclf.parallel import Team
from catclf.samples import Images

Indices = NDArray[np.int64]

PATCHES = 60_000
PATCH_IMAGES = 4000  # at most, that patches are drawn from
FIRST_ROUNDS = 10
FIRST_WHITENING = 0.1  # added to eigenvalues, so that noise is not blown up
MAP_IMAGES = 600  # at most, that the directions of maps are found from
WINDOWS = 100_000
PROJECTED = 4096  # windows at a time
WINDOW_IMAGES = 2000  # at most, that windows are drawn from
SECOND_ROUNDS = 5
SECOND_WHITENING = 0.3  # of the mean eigenvalue, added to all of them
FLAT = 1e-6  # energy of windows of images without contents
# Below what is met in images with contents, so that no filter or atom of others gets large.
LEAST_EXTRA, LEAST_SPREAD = 1e-3, 0.1


class First(NamedTuple):
    """What the first layer learns; shapes as ``FirstLayer`` takes them."""

    filters: Rows
    offsets: Rows
    directions: Rows
    mean: Rows
    even: int  # of the directions


class Second(NamedTuple):
    """What the second layer learns; shapes as ``SecondLayer`` takes them."""

    energy: float
    directions: Rows
    mean: Rows
    even: int
    atoms: Rows


def learn_first(
    images: Images, recipe: Recipe, seed: int, team: Team, on_progress: OnProgress
) -> First:
    """Filters and directions of the first layer; the same for any number of workers."""
    rng, size = np.random.default_rng((seed, 1)), int(images.shape[1])
    chosen = _some(rng, len(images), MAP_IMAGES)
    total = FIRST_ROUNDS + len(chosen)
    filters, offsets = _filters(images, recipe, rng, team, lambda done: on_progress(done, total))
    half = recipe.first_atoms // 2
    layer = FirstLayer(size, recipe, filters, offsets, *_no_projection(recipe))
    numbers = 4 * half
    second, mean, count = np.zeros((numbers, numbers)), np.zeros(numbers), 0
    pooled = team.in_order(lambda number: layer.pooled(_image(images, number)), chosen.tolist())
    for done, strengths in enumerate(pooled, 1):
        flat = strengths.reshape(recipe.places**2, -1)
        second += flat.T @ flat
        mean += flat.sum(axis=0, dtype=np.float64)
        count += len(flat)
        on_progress(FIRST_ROUNDS + done, total)
    # A number of a place is (sign, side, atom): the mirror exchanges sides.
    order = np.arange(numbers).reshape(2, 2, half)[:, ::-1].reshape(-1)
    mirror = Mirror(order, np.ones(numbers, np.float32))
    mean /= count
    basis = principal_directions(second / count - np.outer(mean, mean), mirror, recipe.channels)
    center = ((mean + mean[order]) / 2.0) @ basis.V
    center[basis.even :] = 0.0
    return First(filters, offsets, _f32(basis.V), _f32(center), basis.even)


def learn_second(
    images: Images,
    recipe: Recipe,
    first: First,
    seed: int,
    team: Team,
    on_progress: OnProgress,
) -> Second:
    """Directions and atoms of the second layer; the same for any number of workers."""
    rng = np.random.default_rng((seed, 2))
    chosen = _some(rng, len(images), WINDOW_IMAGES)
    total = len(chosen) + SECOND_ROUNDS
    layer = FirstLayer(int(images.shape[1]), recipe, *first[:4])
    mirror = window_mirror(
        recipe.window,
        Mirror(np.arange(recipe.channels), even_first(first.even, recipe.channels)),
    )
    windows = _windows(
        images, chosen, layer, recipe, mirror, rng, team, lambda done: on_progress(done, total)
    )
    squares = np.einsum("ij,ij->i", windows, windows)
    energy = max(float(squares.mean(dtype=np.float64)) / recipe.window_numbers, FLAT)
    normalised(windows, np.float32(recipe.floor * energy))
    mean, covariance = covariance_of(windows, mirror)
    basis = principal_directions(covariance, mirror, recipe.directions)
    extra = max(SECOND_WHITENING * float(np.trace(covariance)) / len(covariance), LEAST_EXTRA)
    whitening = basis.V / np.sqrt(np.maximum(basis.variances, 0.0) + extra)
    directions, center = _f32(whitening), _f32(mean @ whitening)
    white = _projected(windows, directions, center)
    atoms = symmetric_k_means(
        white,
        basis.even,
        recipe.second_atoms // 2,
        SECOND_ROUNDS,
        rng,
        team,
        lambda done: on_progress(len(chosen) + done, total),
    )
    # Scores get a standard deviation of 1, so that one threshold suits all data.
    spread = float((white[:2000] @ atoms.T).std(dtype=np.float64))
    return Second(energy, directions, center, basis.even, _f32(atoms.T / max(spread, LEAST_SPREAD)))


def _windows(
    images: Images,
    chosen: Indices,
    layer: FirstLayer,
    recipe: Recipe,
    mirror: Mirror,
    rng: np.random.Generator,
    team: Team,
    on_progress: Callable[[int], None],
) -> Rows:
    """About ``WINDOWS`` random windows of the maps of the chosen images, every other one mirrored.

    As float32 rows.
    """
    places = recipe.second_steps**2
    each = min(-(-WINDOWS // len(chosen)), places)
    wanted = [(number, rng.choice(places, each, replace=False)) for number in chosen.tolist()]
    windows = np.empty((len(chosen) * each, recipe.window_numbers), np.float32)

    def drawn(number_and_places: tuple[int, Indices]) -> Rows:
        number, picked = number_and_places
        return np.asarray(all_windows(layer.map(_image(images, number)), recipe.window)[picked])

    for done, rows in enumerate(team.in_order(drawn, wanted), 1):
        first = (done - 1) * each
        windows[first : done * each] = rows
        odd = windows[first + 1 - first % 2 : done * each : 2]
        odd[:] = mirror(odd)
        on_progress(done)
    return windows


def _projected(windows: Rows, directions: Rows, mean: Rows) -> Rows:
    """windows @ directions - mean, written over the windows: both would take too much memory."""
    count, width = len(windows), directions.shape[1]
    found = windows.reshape(-1)[: count * width].reshape(count, width)
    for start in range(0, count, PROJECTED):
        rows = slice(start, start + PROJECTED)
        found[rows] = windows[rows] @ directions - mean
    return found


def _filters(
    images: Images,
    recipe: Recipe,
    rng: np.random.Generator,
    team: Team,
    on_round: Callable[[int], None],
) -> tuple[Rows, Rows]:
    """Filters (d, k1/2) and offsets (k1/2,): whitening and atoms as one product."""
    patches = _draw(images, recipe, rng)
    patches -= patches.mean(axis=1, keepdims=True)
    patches *= inverse_deviation(patches, recipe.epsilon)
    colours = Mirror(np.arange(3), np.ones(3, np.float32))
    mirror = window_mirror(recipe.patch, colours)
    mean, covariance = covariance_of(patches, mirror)
    basis = principal_directions(covariance, mirror, len(mean))
    whitening = basis.V / np.sqrt(np.maximum(basis.variances, 0.0) + FIRST_WHITENING)
    white = np.asarray((patches - _f32(mean)) @ _f32(whitening), np.float32)
    atoms = symmetric_k_means(
        white, basis.even, recipe.first_atoms // 2, FIRST_ROUNDS, rng, team, on_round
    )
    filters = whitening @ atoms.T.astype(np.float64)
    # Taking the filters' mean takes the mean from a patch, too.
    return _f32(filters - filters.mean(axis=0)), _f32(mean @ filters)


def _draw(images: Images, recipe: Recipe, rng: np.random.Generator) -> Rows:
    """About ``PATCHES`` random patches (N, d) of the reduced images, every other one mirrored."""
    chosen = _some(rng, len(images), PATCH_IMAGES)
    reduction = recipe.reduction(int(images.shape[1]))
    found = []
    each = -(-PATCHES // len(chosen))
    for number in chosen.tolist():
        windows = cut(reduce(_image(images, number), reduction) - MIDDLE, recipe.patch)
        count = min(each, len(windows) ** 2)  # small images have no more to give
        down, across = rng.integers(0, len(windows), (2, count))
        found.append(windows[down, across].reshape(count, recipe.patch, recipe.patch, 3))
    patches = np.concatenate(found)
    patches[1::2] = patches[1::2, :, ::-1].copy()
    return patches.reshape(len(patches), -1)


def _some(rng: np.random.Generator, count: int, most: int) -> Indices:
    """Sorted numbers of at most ``most`` of ``count`` images."""
    return np.sort(rng.choice(count, min(count, most), replace=False))


def _image(images: Images, number: int) -> Pixels:
    return np.asarray(images[number : number + 1][0])


def _no_projection(recipe: Recipe) -> tuple[Rows, Rows]:
    """Directions and mean for a layer whose map is not asked for."""
    return np.zeros((2 * recipe.first_atoms, 0), np.float32), np.zeros(0, np.float32)


def _f32(values: NDArray[Any]) -> Rows:
    return np.ascontiguousarray(values, dtype=np.float32)
