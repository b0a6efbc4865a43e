"""Both layers beside loops over their definition in float64; what is learned, and its symmetry."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from catclf.errors import SettingsError, ShapeError
from catclf.features import patch_layers, patches
from catclf.features.patch_layers import (
    First,
    FirstLayer,
    Recipe,
    Second,
    SecondLayer,
    all_windows,
    mirror_order,
    normalized,
    reduce,
    tents,
)
from catclf.features.patches import (
    Mirror,
    PatchFeatures,
    k_means_round,
    principal_directions,
    unit,
)
from catclf.maths.threads import Team, blas_threads

Array = NDArray[np.float64]
SMALL = Recipe(
    second_atoms=10, first_atoms=6, patch=4, places=5, channels=4, window=2, directions=7
)
TINY = Recipe(second_atoms=12, first_atoms=8, patch=4, places=7, channels=6, directions=10)
COLOURS = Mirror(np.arange(3), np.ones(3, np.float32))
# Channels of which the first two are exchanged, the third stays, and the fourth is negated.
MIXED = Mirror(np.array([1, 0, 2, 3]), np.array([1, 1, 1, -1], np.float32))


def even_first(even: int, count: int) -> Array:
    """What the mirror multiplies coordinates by."""
    return np.where(np.arange(count) < even, 1.0, -1.0)


def image_of(size: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


# The first layer


def first_layer(size: int, recipe: Recipe, seed: int = 0) -> tuple[FirstLayer, list[Array]]:
    """A layer with filters drawn at random, each of mean zero as learned ones are."""
    rng = np.random.default_rng(seed)
    filters = rng.normal(0, 0.3, (recipe.numbers, recipe.first_atoms // 2))
    filters -= filters.mean(axis=0)
    offsets = rng.normal(0, 0.3, recipe.first_atoms // 2)
    directions = rng.normal(size=(2 * recipe.first_atoms, recipe.channels))
    arrays = [filters, offsets, directions, rng.normal(size=recipe.channels)]
    return FirstLayer(size, recipe, First(0, *(a.astype(np.float32) for a in arrays))), arrays


def map_by_loops(image: NDArray[np.generic], recipe: Recipe, arrays: list[Array]) -> Array:
    """The map (G, G, C) as the definition has it."""
    filters, offsets, directions, mean = arrays
    both = np.concatenate([filters, filters[mirror_order(recipe.patch)]], axis=1)
    pixels = image.astype(np.float64)
    steps = (len(image) - recipe.patch) // recipe.stride + 1
    z = np.empty((steps, steps, recipe.first_atoms))
    for row, column in np.ndindex(steps, steps):
        top, left = row * recipe.stride, column * recipe.stride
        p = pixels[top : top + recipe.patch, left : left + recipe.patch].reshape(-1)
        z[row, column] = both.T @ p / np.sqrt(p.var() + recipe.epsilon) - np.tile(offsets, 2)
    T = tents(steps, recipe.places).astype(np.float64)
    found = np.empty((recipe.places, recipe.places, recipe.channels))
    for row, column in np.ndindex(recipe.places, recipe.places):
        weights = np.outer(T[row], T[column])[:, :, None]
        strong = [np.maximum(signed - recipe.first_threshold, 0) for signed in (z, -z)]
        pooled = [(weights * each).sum(axis=(0, 1)) for each in strong]
        found[row, column] = np.sqrt(np.concatenate(pooled)) @ directions - mean
    return found


@pytest.mark.parametrize(
    ("size", "stride", "band", "flat"),
    [(20, 2, 512, False), (9, 1, 512, False), (40, 3, 50, False), (20, 2, 512, True)],
)
def test_a_map_is_that_of_loops(
    size: int, stride: int, band: int, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where patches are encoded in several bands, and of an image of one colour."""
    monkeypatch.setattr(patch_layers, "BAND", band)
    recipe = replace(SMALL, stride=stride)
    layer, arrays = first_layer(size, recipe)
    image = np.full((size, size, 3), 200, np.uint8) if flat else image_of(size)
    np.testing.assert_allclose(layer.map(image), map_by_loops(image, recipe, arrays), atol=2e-3)


def test_images_twice_the_usual_size_are_reduced_first() -> None:
    image = image_of(256)
    reduced = image.reshape(128, 2, 128, 2, 3).astype(np.float64).mean(axis=(1, 3))
    layer, arrays = first_layer(256, SMALL)
    expected = map_by_loops(reduced, SMALL, arrays)
    np.testing.assert_allclose(layer.map(image), expected, atol=5e-3)
    odd = image_of(5)  # a pixel is left over at each edge, or on one side
    assert reduce(odd, 2).shape == (2, 2, 3)
    np.testing.assert_allclose(reduce(odd, 3)[0, 0], odd[1:4, 1:4].mean(axis=(0, 1)), rtol=1e-6)


# The second layer


def second_layer(recipe: Recipe, seed: int = 1) -> tuple[SecondLayer, list[Array]]:
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(recipe.window_numbers, recipe.directions))
    mean = rng.normal(size=recipe.directions)
    atoms = rng.normal(size=(recipe.directions, recipe.second_atoms // 2))
    arrays = [directions, mean, atoms]
    learned = Second(0.7, 4, *(a.astype(np.float32) for a in arrays))
    return SecondLayer(recipe, learned), arrays


def row_by_loops(map_: Array, recipe: Recipe, arrays: list[Array]) -> Array:
    """The row (n,) as the definition has it."""
    directions, mean, atoms = arrays
    signs = even_first(4, recipe.directions)[:, None]
    steps, q, half = recipe.second_steps, recipe.window, recipe.second_atoms // 2
    z = np.empty((steps, steps, 2, half))  # plain atoms, mirrored atoms
    for row, column in np.ndindex(steps, steps):
        window = map_[row : row + q, column : column + q].reshape(-1)
        window = window / np.sqrt((window**2).mean() + recipe.floor * 0.7)
        x = window @ directions - mean
        z[row, column] = x @ atoms, x @ (atoms * signs)
    T = tents(steps, recipe.grid).astype(np.float64)
    pooled = np.empty((recipe.grid, recipe.grid, 2, 2, half))
    for row, column in np.ndindex(recipe.grid, recipe.grid):
        weights = np.outer(T[row], T[column])[:, :, None, None]
        for sign, strength in enumerate((np.maximum(z, 0), np.maximum(-z, 0))):
            pooled[row, column, sign] = (weights * strength**6).sum(axis=(0, 1))
    if recipe.flip:
        pooled = (pooled[:, :, :, :1] + pooled[:, ::-1, :, 1:]) / 2.0
    found = pooled.reshape(-1) ** (1 / 6)
    return np.asarray(found * np.sqrt(len(found)) / np.linalg.norm(found))


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("grid", [1, 2, 3])
def test_a_row_is_that_of_loops(flip: bool, grid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch_layers, "ATOMS", 3)
    recipe = replace(SMALL, flip=flip, grid=grid)
    layer, arrays = second_layer(recipe)
    map_ = np.random.default_rng(3).normal(size=(5, 5, 4))
    found = layer.row(map_.astype(np.float32))
    assert found.shape == (recipe.n,)
    expected = row_by_loops(map_, recipe, arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert np.isfinite(layer.row(np.zeros((5, 5, 4), np.float32))).all()


@pytest.mark.parametrize("patch", [6, 8])
def test_compiled_loops_have_the_same_bits(patch: int) -> None:
    kernels = pytest.importorskip("catclf.features.numba_kernels")
    recipe = replace(SMALL, first_atoms=16, patch=patch, places=9, second_atoms=30)
    plain = first_layer(44, recipe)[0], second_layer(recipe)[0]
    fast = first_layer(44, recipe)[0], second_layer(recipe)[0]
    fast[0].kernels = fast[1].kernels = kernels
    with blas_threads(1):
        for seed in range(3):
            expected, found = (layer.map(image_of(44, seed)) for layer in (plain[0], fast[0]))
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(fast[1].row(found), plain[1].row(found))


def test_tents_overlap_and_sum_to_one() -> None:
    by_hand = np.array(
        [
            [3 / 7, 3 / 7, 1 / 7, 0, 0, 0],  # 3/4, 3/4 and 1/4 of the way up, over their sum
            [0, 1 / 8, 3 / 8, 3 / 8, 1 / 8, 0],
            [0, 0, 0, 1 / 7, 3 / 7, 3 / 7],
        ]
    )
    np.testing.assert_allclose(tents(6, 3), by_hand, atol=1e-7)


# Settings


@pytest.mark.parametrize(
    ("m", "size", "atoms", "patch"),
    [(99, 97, 800, 8), (200, 96, 3200, 6), (2000, 20, 3200, 6), (20_000, 300, 6400, 8)],
)
def test_more_images_get_more_atoms_and_small_ones_small_patches(
    m: int, size: int, atoms: int, patch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Recipe] = []
    monkeypatch.setattr(patches, "_Learning", lambda images, recipe, *_: asked.append(recipe))
    with pytest.raises(AttributeError):
        PatchFeatures.learn(np.empty((m, size, size, 3), np.uint8))
    (recipe,) = asked
    assert (recipe.second_atoms, recipe.patch, recipe.n) == (atoms, patch, 2 * 2 * atoms)
    assert replace(recipe, flip=False).n == 2 * recipe.n


@pytest.mark.parametrize(
    "change",
    [
        {"first_atoms": 7},
        {"second_atoms": 3},
        {"second_atoms": 10**9},
        {"patch": True},
        {"epsilon": 0.0},
        {"floor": float("nan")},
        {"floor": 1},
        {"grid": 14},
        {"window": 16},
        {"channels": 300},
        {"directions": 1000, "channels": 16},
        {"flip": 1},
        {"places": 64, "window": 1, "grid": 16, "second_atoms": 65536},
    ],
)
def test_settings_out_of_bounds_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="out of bounds"):
        replace(Recipe(), **change)  # type: ignore[arg-type]  # what a hostile file may hold


def test_images_too_small_or_too_much_work_are_refused() -> None:
    with pytest.raises(SettingsError, match="images of 35x35 are too small for patches: 36"):
        Recipe().require_size(35)
    Recipe().require_size(36)
    with pytest.raises(SettingsError, match="take too long"):
        replace(Recipe(), first_atoms=1024, patch=16, stride=1).require_size(255)


# Mirrors, directions and k-means


def as_matrix(mirror: Mirror) -> Array:
    """R with R x the mirror image of x."""
    return mirror(np.eye(len(mirror.order), dtype=np.float32)).T.astype(np.float64)


def test_the_mirror_of_a_window_is_that_of_its_picture() -> None:
    np.testing.assert_array_equal(COLOURS.of_windows(5).order, mirror_order(5))
    image = np.random.default_rng(0).normal(size=(3, 3, 4)).astype(np.float32)
    turned = image[:, ::-1][:, :, MIXED.order] * MIXED.signs
    mirror = MIXED.of_windows(3)
    np.testing.assert_array_equal(mirror(image.reshape(1, -1))[0], turned.reshape(-1))


@pytest.mark.parametrize("mirror", [COLOURS.of_windows(3), MIXED.of_windows(2)])
@pytest.mark.parametrize("count", [7, 0])
def test_directions_are_the_leading_eigenvectors_each_even_or_odd(
    mirror: Mirror, count: int
) -> None:
    """Some of them, or (0) all."""
    d = len(mirror.order)
    count, rng = count or d, np.random.default_rng(d)
    A = rng.normal(size=(d, d)) * np.geomspace(5.0, 0.1, d)
    C, R = A @ A.T, as_matrix(mirror)
    basis = principal_directions(C, mirror, count)
    values, vectors = np.linalg.eigh((C + R @ C @ R.T) / 2.0)
    np.testing.assert_allclose(np.sort(basis.variances)[::-1], values[::-1][:count], rtol=1e-8)
    np.testing.assert_allclose(basis.V.T @ basis.V, np.eye(count), atol=1e-10)
    leading = vectors[:, -count:]
    np.testing.assert_allclose(basis.V @ basis.V.T, leading @ leading.T, atol=1e-7)
    np.testing.assert_allclose(R @ basis.V, basis.V * even_first(basis.even, count), atol=1e-10)
    assert 0 < basis.even < count


@pytest.mark.parametrize("workers", [1, 3])
def test_a_round_of_k_means_is_that_of_loops(workers: int) -> None:
    even, signs = 5, even_first(5, 8)
    vectors = np.random.default_rng(4).normal(size=(9000, 8)).astype(np.float32)
    atoms = unit(vectors[[5, 77, 1000, 1001, 8000]])
    found = k_means_round(vectors, atoms, even, Team(workers))
    sums, first = atoms.astype(np.float64), atoms.astype(np.float64)
    for x in vectors.astype(np.float64):
        scores = np.stack([first @ x, (first * signs) @ x])  # plain, mirrored
        side, nearest = np.unravel_index(np.abs(scores).argmax(), scores.shape)
        sums[nearest] += scores[side, nearest] * (x * signs if side else x)
    expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


# Learning

Learn = Callable[..., PatchFeatures]


@pytest.fixture
def learn(monkeypatch: pytest.MonkeyPatch) -> Learn:
    """Learns few atoms from few patches."""
    monkeypatch.setattr(patches, "PATCHES", 3000)
    monkeypatch.setattr(patches, "WINDOWS", 1000)
    monkeypatch.setattr(Recipe, "of", lambda size, atoms, flip=True: replace(TINY, flip=flip))
    return PatchFeatures.learn


def images_of(m: int, size: int = 24, seed: int = 5) -> NDArray[np.uint8]:
    """Images of squares of 4 pixels."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 256, (m, size // 4, size // 4, 3), dtype=np.uint8)
    return squares.repeat(4, 1).repeat(4, 2)


def test_the_same_for_any_number_of_workers_and_another_for_another_seed(learn: Learn) -> None:
    first, second, third = (
        learn(images_of(12), seed, workers=workers).arrays()
        for seed, workers in ((4, 1), (4, 3), (5, 1))
    )
    assert list(first) == list(second)
    for name, array in first.items():
        assert array.dtype == np.float32
        assert array.tobytes() == second[name].tobytes()
    assert np.abs(first["atoms"] - third["atoms"]).max() > 1e-3


def test_an_image_and_its_mirror_image_have_the_same_row(learn: Learn) -> None:
    images, features = images_of(12), learn(images_of(12))
    rows = features.transform(images)
    assert rows.shape == (12, features.n)
    np.testing.assert_allclose(features.transform(images[:, :, ::-1]), rows, atol=2e-3)
    assert np.abs(rows[0] - rows[1]).max() > 0.1
    np.testing.assert_allclose(np.square(rows).sum(axis=1), features.n, rtol=1e-4)
    assert rows[7].tobytes() == features.transform(images[7:8])[0].tobytes()


def test_without_flip_the_mirror_image_has_the_same_numbers_elsewhere(learn: Learn) -> None:
    images, features = images_of(12), learn(images_of(12), flip=False)
    rows, turned = features.transform(images), features.transform(images[:, :, ::-1])
    shape = 12, 2, 2, 2, 2, 6  # image, region row and column, sign, side, atom
    np.testing.assert_allclose(
        turned.reshape(shape)[:, :, ::-1, :, ::-1], rows.reshape(shape), atol=2e-3
    )
    assert np.abs(turned - rows).max() > 0.1


def test_scores_of_the_second_layer_have_a_standard_deviation_of_one(learn: Learn) -> None:
    images = images_of(40)
    features = learn(images)
    arrays, scores = features.arrays(), []
    layer = FirstLayer(24, TINY, First(0, *(arrays[name] for name in First._fields[1:])))
    floor = np.float32(TINY.floor * features.settings["energy"])
    for image in images:
        windows = normalized(all_windows(layer.map(image), TINY.window), floor)
        x = windows @ arrays["directions"] - arrays["direction_means"]
        scores.append(x @ arrays["atoms"])
    assert float(np.concatenate(scores).std()) == pytest.approx(1.0, rel=0.1)


def test_progress_of_each_layer_counts_to_its_end(learn: Learn) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def phase(what: str) -> Iterator[Callable[[int, int], None]]:
        counts = seen.setdefault(what, [])
        yield lambda *at: counts.append(at)

    learn(images_of(6), phase=phase)
    assert list(seen) == ["learning the first layer", "learning the second layer"]
    for counts in seen.values():
        total = counts[0][1]
        assert counts == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize(("m", "spots"), [(3, 0), (6, 3), (1, 0)])
def test_images_that_hardly_differ_teach_features_that_can_be_restored(
    learn: Learn, m: int, spots: int
) -> None:
    images = np.full((m, 24, 24, 3), 90, dtype=np.uint8)
    images[m - spots :, 5, 5] += 1
    features = learn(images)
    again = pickle.loads(pickle.dumps(features))
    assert np.isfinite(again.transform(images)).all()


def test_other_images_are_refused(learn: Learn) -> None:
    with pytest.raises(ShapeError):
        learn(images_of(12)).transform(images_of(2, 28))


def test_groups_and_names_belong_to_regions(learn: Learn) -> None:
    features, both = learn(images_of(12)), learn(images_of(12), flip=False)
    each = features.n // 4
    assert features.groups["region 1,0"] == slice(2 * each, 3 * each)
    assert sum(part.stop - part.start for part in features.groups.values()) == features.n
    assert features.name_of(0) == "atom 0+(0,0)"
    assert features.name_of(2 * each + 6 + 5) == "atom 5-(1,0)"
    assert len({both.name_of(number) for number in range(both.n)}) == both.n
