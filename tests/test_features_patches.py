"""The encoder beside loops that follow the definition, patch by patch and in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests_read import reader

from catclf.errors import ModelError, SettingsError, ShapeError
from catclf.features import learn, restore
from catclf.features.patches import PatchFeatures, Recipe, mirror_order, reduce, tents

Array = NDArray[np.float64]


def images_of(m: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (m, size, size, 3), dtype=np.uint8)


def made(size: int, recipe: Recipe, seed: int = 0) -> PatchFeatures:
    """Features with filters drawn at random; each filter's mean is zero, as learned ones' is."""
    rng = np.random.default_rng(seed)
    half = recipe.atoms // 2
    filters = rng.normal(0, 0.3, (len(recipe.scales), recipe.numbers, half))
    filters -= filters.mean(axis=1, keepdims=True)
    offsets = rng.normal(0, 0.3, (len(recipe.scales), half))
    return PatchFeatures(size, recipe, filters.astype(np.float32), offsets.astype(np.float32))


def slow_rows(image: NDArray[np.uint8], features: PatchFeatures) -> Array:
    """One row by the definition; with flip, from the image and a mirrored copy of it."""
    recipe, parts = features.recipe, []
    arrays = features.arrays()
    for scale in range(len(recipe.scales)):
        filters, offsets = arrays["filters"][scale], arrays["offsets"][scale]
        pooled = slow_scale(image, recipe, scale, filters, offsets)
        if recipe.flip:
            mirrored = slow_scale(image[:, ::-1], recipe, scale, filters, offsets)
            half = recipe.atoms // 2
            pooled = (pooled[..., :half] + mirrored[..., :half]) / 2
        parts.append(np.sqrt(pooled).ravel())
    row = np.concatenate(parts)
    return np.asarray(row / np.linalg.norm(row) * np.sqrt(len(row)))


def slow_scale(
    image: NDArray[np.uint8], recipe: Recipe, scale: int, filters: Any, offsets: Any
) -> Array:
    """Pooled strengths (grid, grid, 2, K) of one scale."""
    factor, stride = recipe.scales[scale]
    p, size = recipe.patch, len(image) // factor
    values = image.astype(np.float64)
    small = np.empty((size, size, 3))
    for i in range(size):
        for j in range(size):
            square = values[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            small[i, j] = square.mean(axis=(0, 1))
    steps = (size - p) // stride + 1
    strengths = np.empty((steps, steps, 2, recipe.atoms))
    for i in range(steps):
        for j in range(steps):
            patch = small[i * stride : i * stride + p, j * stride : j * stride + p]
            patch = (patch - patch.mean()) / np.sqrt(patch.var() + recipe.epsilon)
            z = [
                float((side * np.asarray(filters[:, k]).reshape(p, p, 3)).sum()) - offsets[k]
                for side in (patch, patch[:, ::-1])
                for k in range(filters.shape[1])
            ]
            strengths[i, j, 0] = np.maximum(np.array(z) - recipe.threshold, 0)
            strengths[i, j, 1] = np.maximum(-np.array(z) - recipe.threshold, 0)
    weights = tents(steps, recipe.grid).astype(np.float64)
    return np.asarray(np.einsum("ai,bj,ijsk->absk", weights, weights, strengths))


SMALL = Recipe(atoms=6, patch=4, grid=2, scales=((1, 2), (2, 1)))


@pytest.mark.parametrize(
    "recipe",
    [
        SMALL,
        Recipe(atoms=4, patch=3, grid=3, scales=((1, 1),), flip=False),
        Recipe(atoms=2, patch=5, grid=1, scales=((1, 3),), epsilon=100.0, threshold=0.0),
    ],
)
def test_rows_are_those_of_the_definition(recipe: Recipe) -> None:
    images = images_of(3, 16)
    images[2] = images[2] // 64 * 2  # of little contrast
    if recipe.scales == ((1, 3),):
        images = images[:, :14, :14]  # so that steps of 3 reach both edges
    features = made(images.shape[1], recipe)
    rows = features.transform(np.ascontiguousarray(images))
    assert rows.shape == (3, features.n)
    assert rows.dtype == np.float32
    for image, row in zip(images, rows, strict=True):
        np.testing.assert_allclose(row, slow_rows(image, features), rtol=2e-4, atol=2e-4)


def test_a_mirror_image_has_the_same_row() -> None:
    images = images_of(3, 16)
    features = made(16, SMALL)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    np.testing.assert_allclose(features.transform(images), features.transform(mirrored), atol=2e-4)
    told_apart = made(16, Recipe(atoms=6, patch=4, grid=2, scales=SMALL.scales, flip=False))
    assert told_apart.n == 2 * features.n
    difference = told_apart.transform(images) - told_apart.transform(mirrored)
    assert np.abs(difference).max() > 0.01


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    images = images_of(9, 64)
    features = made(64, Recipe())
    rows = features.transform(images)
    for i in (0, 4, 8):
        np.testing.assert_array_equal(features.transform(images[i : i + 1])[0], rows[i])


def test_flat_images_give_finite_rows() -> None:
    flat = np.stack([np.full((64, 64, 3), value, dtype=np.uint8) for value in (0, 128, 255)])
    rows = made(64, Recipe()).transform(flat)
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows[0], rows[1], atol=0.02)


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


def test_larger_images_are_seen_at_the_usual_size() -> None:
    assert Recipe.for_size(64).scales == ((1, 2), (2, 1))
    assert Recipe.for_size(127).scales == ((1, 2), (2, 1))
    assert Recipe.for_size(200).scales == ((3, 2), (6, 1))
    assert Recipe.for_size(200).n == Recipe().n == 7200
    assert Recipe(flip=False).n == 14400


def test_restored_from_settings_and_arrays() -> None:
    features = made(16, SMALL)
    again = restore(features.settings, 16, reader(features.arrays()))
    assert again.settings == features.settings
    np.testing.assert_array_equal(
        again.transform(images_of(2, 16)), features.transform(images_of(2, 16))
    )


@pytest.mark.parametrize(
    "change",
    [
        {"atoms": 7},
        {"atoms": 0},
        {"atoms": 10**9},
        {"atoms": 8},  # fits its bounds, but not the arrays
        {"atoms": 6.0},
        {"atoms": True},
        {"patch": 1},
        {"patch": "6"},
        {"patch": 17},
        {"grid": 0},
        {"grid": 100},
        {"scales": []},
        {"scales": [[1, 2]] * 9},
        {"scales": [[1, 2, 3]]},
        {"scales": [[0, 2]]},
        {"scales": [["1", 2]]},
        {"scales": "12"},
        {"scales": [[4, 4]]},  # leaves no patch in 16 pixels
        {"epsilon": 0.0},
        {"epsilon": float("nan")},
        {"epsilon": 1},
        {"threshold": float("inf")},
        {"threshold": -1.0},
        {"flip": 1},
        {"flip": None},
        {"kind": "nonsense"},
        {"extra": 1},
    ],
)
def test_settings_out_of_bounds_are_refused(change: dict[str, object]) -> None:
    features = made(16, SMALL)
    with pytest.raises(ModelError):
        restore(features.settings | change, 16, reader(features.arrays()))


def test_settings_that_would_take_all_memory_are_refused() -> None:
    """A small file may not make a large image cost gigabytes."""
    settings = made(16, SMALL).settings | {"atoms": 4096, "patch": 8, "scales": [[1, 1]]}
    with pytest.raises(ModelError, match="too many patches"):
        restore(settings, 1024, reader({}))


def test_missing_settings_are_refused() -> None:
    features = made(16, SMALL)
    for name in features.settings:
        rest = {key: value for key, value in features.settings.items() if key != name}
        with pytest.raises(ModelError):
            restore(rest, 16, reader(features.arrays()))


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingsError, match="too small for patches: 16 pixels"):
        learn("patches", images_of(2, 15))
    with pytest.raises(SettingsError, match="unknown"):
        learn("nonsense", images_of(2, 64))
    with pytest.raises(ShapeError):
        made(16, SMALL).transform(images_of(1, 18))


def test_pixels_are_divided_by_255() -> None:
    images = images_of(3, 8)
    features = learn("pixels", images, flip=False)
    assert (features.n, features.settings, features.arrays()) == (
        192,
        {"kind": "pixels", "flip": False},
        {},
    )
    expected = images.reshape(3, -1) / 255
    np.testing.assert_allclose(features.transform(images), expected, rtol=1e-7)
    mirrored = images[:, :, ::-1].reshape(3, -1) / 255
    flipped = learn("pixels", images).transform(images)
    np.testing.assert_allclose(flipped, (expected + mirrored) / 2, rtol=1e-6)
