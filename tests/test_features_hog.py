"""Oriented gradients beside scikit-image, colours beside a plain mean."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.feature import hog

from catclf.errors import SettingsError, ShapeError
from catclf.features.hog import COLOURS, HogFeatures, oriented_gradients


def scenes(m: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images with edges, flat parts and noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 20, (m, size, size, 3))
    for image in images:
        for _ in range(6):
            top, left = rng.integers(0, size - 4, 2)
            height, width = rng.integers(3, size, 2)
            image[top : top + height, left : left + width] += rng.integers(0, 39, 3)
    images[:, : size // 4] //= 10  # nearly flat
    return images.astype(np.uint8)


@pytest.mark.parametrize("size", [16, 64, 128])
def test_the_histograms_are_those_of_scikit_image(size: int) -> None:
    images = scenes(5, size)
    rows = HogFeatures(size, flip=False).transform(images)
    assert rows.dtype == np.float32
    cell = (size // 8, size // 8)
    for image, row in zip(images, rows, strict=True):
        expected = hog(image, 9, cell, (2, 2), block_norm="L2-Hys", channel_axis=-1)
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [16, 20, 64, 67])
def test_the_colours_are_means_of_cells(size: int) -> None:
    images = scenes(2, size)
    rows = HogFeatures(size, flip=False).transform(images)
    colours = rows[:, -(COLOURS**2) * 3 :].reshape(2, COLOURS, COLOURS, 3)
    of = [i * COLOURS // size for i in range(size)]
    for row in range(COLOURS):
        for column in range(COLOURS):
            down = [i for i in range(size) if of[i] == row]
            across = [i for i in range(size) if of[i] == column]
            cell = images[:, down][:, :, across].mean(axis=(1, 2)) / 255
            np.testing.assert_allclose(colours[:, row, column], cell, rtol=1e-6)


def test_an_image_and_its_mirror_image_have_one_row() -> None:
    images = scenes(4, 64)
    features = HogFeatures(64)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    np.testing.assert_array_equal(features.transform(images), features.transform(mirrored))
    plain = HogFeatures(64, flip=False)
    np.testing.assert_allclose(
        features.transform(images),
        (plain.transform(images) + plain.transform(mirrored)) / 2,
        rtol=1e-6,
        atol=1e-7,
    )


def test_an_image_of_one_colour_has_no_gradients() -> None:
    flat = np.full((1, 64, 64, 3), (255, 0, 51), dtype=np.uint8)
    row = HogFeatures(64).transform(flat)[0]
    assert not row[:1764].any()
    np.testing.assert_allclose(row[1764:].reshape(-1, 3), np.tile([1.0, 0.0, 0.2], (64, 1)))


def test_small_images_and_other_shapes_are_refused() -> None:
    with pytest.raises(SettingsError, match="16 pixels are needed"):
        HogFeatures(15)
    with pytest.raises(ShapeError):
        HogFeatures(16).transform(scenes(1, 17))
    with pytest.raises(ShapeError):
        HogFeatures(16).transform(scenes(1, 16).astype(np.int64))


def tied_images(count: int = 40) -> NDArray[np.uint8]:
    """Images with a pixel whose gradients are equally long in red and green, and point elsewhere.

    First those for which np.hypot, which does not round correctly, says that green is longer.
    """
    sums = defaultdict(list)
    for a in range(1, 256):
        for b in range(a, 256):
            sums[a * a + b * b].append((a, b))
    pairs = [pair for ways in sums.values() for pair in combinations(ways, 2)]
    pairs.sort(key=lambda pair: float(np.hypot(*pair[1])) <= float(np.hypot(*pair[0])))
    images = np.zeros((count, 16, 16, 3), np.uint8)
    for image, (red, green) in zip(images, pairs, strict=False):
        image[9, 8, :2], image[8, 9, :2] = (red[0], green[0]), (red[1], green[1])
    return images


def test_of_equally_long_gradients_the_first_channel_is_taken() -> None:
    for image in tied_images():
        expected = np.zeros((8, 8, 9))
        pixels = image.astype(int).tolist()
        for y in range(16):
            for x in range(16):
                gradients = []
                for c in range(3):
                    down = pixels[y + 1][x][c] - pixels[y - 1][x][c] if 0 < y < 15 else 0
                    across = pixels[y][x + 1][c] - pixels[y][x - 1][c] if 0 < x < 15 else 0
                    gradients.append((down, across))
                down, across = max(gradients, key=lambda each: each[0] ** 2 + each[1] ** 2)
                angle = math.degrees(math.atan2(down, across)) % 180
                expected[y // 2, x // 2, int(angle // 20) % 9] += math.hypot(down, across) / 4
        np.testing.assert_allclose(oriented_gradients(image[None])[0], expected, rtol=1e-12)
