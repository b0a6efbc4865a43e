"""Both layers beside loops that follow the definition, place by place and in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.features.patch_layers import (
    First,
    FirstLayer,
    Recipe,
    Second,
    SecondLayer,
    mirror_order,
    reduce,
    shrink,
    sixth_powers,
    tents,
)
from catclf.features.patch_learning import even_first
from catclf.maths.threads import blas_threads

Array = NDArray[np.float64]
SMALL = Recipe(
    first_atoms=6, patch=4, places=5, channels=4, window=2, directions=7, second_atoms=10
)


def image_of(size: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def first_layer(size: int, recipe: Recipe, seed: int = 0) -> tuple[FirstLayer, list[Array]]:
    """A layer with filters drawn at random, each of mean zero as learned ones are."""
    rng = np.random.default_rng(seed)
    filters = rng.normal(0, 0.3, (recipe.numbers, recipe.first_atoms // 2))
    filters -= filters.mean(axis=0)
    offsets = rng.normal(0, 0.3, recipe.first_atoms // 2)
    directions = rng.normal(size=(2 * recipe.first_atoms, recipe.channels))
    arrays = [filters, offsets, directions, rng.normal(size=recipe.channels)]
    small = [a.astype(np.float32) for a in arrays]
    return FirstLayer(size, recipe, First(small[0], small[1], small[2], small[3], 0)), arrays


def map_by_loops(image: NDArray[np.uint8], recipe: Recipe, arrays: list[Array]) -> Array:
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
        positive = (weights * np.maximum(z - recipe.first_threshold, 0)).sum(axis=(0, 1))
        negative = (weights * np.maximum(-z - recipe.first_threshold, 0)).sum(axis=(0, 1))
        found[row, column] = np.sqrt(np.concatenate([positive, negative])) @ directions - mean
    return found


@pytest.mark.parametrize(("size", "stride", "band"), [(20, 2, 512), (9, 1, 512), (40, 3, 50)])
def test_a_map_is_that_of_loops(
    size: int, stride: int, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where patches are encoded in several bands."""
    monkeypatch.setattr("catclf.features.patch_layers.BAND", band)
    recipe = replace(SMALL, stride=stride)
    layer, arrays = first_layer(size, recipe)
    image = image_of(size)
    np.testing.assert_allclose(layer.map(image), map_by_loops(image, recipe, arrays), atol=2e-3)


def test_images_twice_the_usual_size_are_reduced_first() -> None:
    image = image_of(256)
    reduced = image.reshape(128, 2, 128, 2, 3).astype(np.float64).mean(axis=(1, 3))
    layer, arrays = first_layer(256, SMALL)
    expected = map_by_loops(reduced, SMALL, arrays)
    np.testing.assert_allclose(layer.map(image), expected, atol=5e-3)


def test_an_image_of_one_colour_has_a_finite_map() -> None:
    layer, arrays = first_layer(20, SMALL)
    flat = np.full((20, 20, 3), 200, np.uint8)
    np.testing.assert_allclose(layer.map(flat), map_by_loops(flat, SMALL, arrays), atol=2e-3)


def second_layer(recipe: Recipe, seed: int = 1) -> tuple[SecondLayer, list[Array], int]:
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(recipe.window_numbers, recipe.directions))
    mean = rng.normal(size=recipe.directions)
    atoms = rng.normal(size=(recipe.directions, recipe.second_atoms // 2))
    arrays = [directions, mean, atoms]
    small = [a.astype(np.float32) for a in arrays]
    return SecondLayer(recipe, Second(0.7, small[0], small[1], 4, small[2])), arrays, 4


def row_by_loops(map_: Array, recipe: Recipe, arrays: list[Array], even: int) -> Array:
    """The row (n,) as the definition has it."""
    directions, mean, atoms = arrays
    signs = even_first(even, recipe.directions)[:, None]
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
    monkeypatch.setattr("catclf.features.patch_layers.ATOMS", 3)
    recipe = replace(SMALL, flip=flip, grid=grid)
    layer, arrays, even = second_layer(recipe)
    map_ = np.random.default_rng(3).normal(size=(5, 5, 4))
    expected = row_by_loops(map_, recipe, arrays, even)
    found = layer.row(map_.astype(np.float32))
    assert found.shape == (recipe.n,)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_flat_map_gives_a_finite_row() -> None:
    layer, _, _ = second_layer(SMALL)
    assert np.isfinite(layer.row(np.zeros((5, 5, 4), np.float32))).all()


@pytest.mark.parametrize(
    ("count", "size", "atoms", "patch"),
    [(99, 97, 800, 8), (200, 96, 3200, 6), (2000, 36, 3200, 6), (20_000, 300, 6400, 8)],
)
def test_more_images_get_more_atoms_and_small_ones_small_patches(
    count: int, size: int, atoms: int, patch: int
) -> None:
    recipe = Recipe.for_images(count, size)
    recipe.require_size(size)
    assert (recipe.second_atoms, recipe.patch, recipe.n) == (atoms, patch, 2 * 2 * atoms)
    assert Recipe.for_images(count, size, flip=False).n == 2 * recipe.n


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


@pytest.mark.parametrize("patch", [6, 8])
def test_compiled_loops_have_the_same_bits(patch: int) -> None:
    kernels = pytest.importorskip("catclf.features.numba_kernels")
    recipe = replace(SMALL, first_atoms=16, patch=patch, places=9, second_atoms=32)
    plain = first_layer(44, recipe)[0], second_layer(recipe)[0]
    fast = first_layer(44, recipe)[0], second_layer(recipe)[0]
    fast[0].kernels = fast[1].kernels = kernels
    with blas_threads(1):
        for seed in range(3):
            expected, found = (layer.map(image_of(44, seed)) for layer in (plain[0], fast[0]))
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(fast[1].row(found), plain[1].row(found))


def test_lengths_that_fit_no_vector_are_computed_without_it() -> None:
    kernels = pytest.importorskip("catclf.features.numba_kernels")
    Z = np.random.default_rng(6).normal(size=(3, 7)).astype(np.float32)
    for one in (Z, np.repeat(Z, 8, axis=1)):
        shrunk = np.sign(one) * np.maximum(np.abs(one) - np.float32(0.5), 0)
        changed = one.copy()
        absolute = shrink(changed, 0.5, kernels)
        np.testing.assert_allclose(changed, shrunk, atol=1e-6)
        np.testing.assert_array_equal(absolute, np.abs(changed))
        powers = sixth_powers(one, one[::-1].copy(), kernels)
        for Z6, signed in zip(powers, (1, -1, 1, -1), strict=True):
            side = one + one[::-1] if Z6 is powers[0] or Z6 is powers[1] else one - one[::-1]
            np.testing.assert_allclose(Z6, np.maximum(signed * side, 0) ** 6, rtol=1e-5)


def test_tents_overlap_and_sum_to_one() -> None:
    by_hand = np.array(
        [
            [3 / 7, 3 / 7, 1 / 7, 0, 0, 0],  # 3/4, 3/4 and 1/4 of the way up, over their sum
            [0, 1 / 8, 3 / 8, 3 / 8, 1 / 8, 0],
            [0, 0, 0, 1 / 7, 3 / 7, 3 / 7],
        ]
    )
    np.testing.assert_allclose(tents(6, 3), by_hand, atol=1e-7)
    for steps, grid in ((30, 3), (27, 3), (7, 4), (1, 1)):
        np.testing.assert_allclose(tents(steps, grid).sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(tents(steps, grid), tents(steps, grid)[::-1, ::-1], atol=1e-7)


def test_mirror_order_is_its_own_inverse() -> None:
    order = mirror_order(3)
    np.testing.assert_array_equal(order[:9], [6, 7, 8, 3, 4, 5, 0, 1, 2])
    np.testing.assert_array_equal(order[order], np.arange(27))


def test_reduced_images_are_means_of_the_middle() -> None:
    image = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)
    np.testing.assert_array_equal(
        reduce(image, 2)[0, 0], image[:2, :2].mean(axis=(0, 1), dtype=np.float64)
    )
    assert reduce(image, 2).shape == (2, 2, 3)
    np.testing.assert_array_equal(reduce(image, 3)[0, 0], image[1:4, 1:4].mean(axis=(0, 1)))
