"""Enlarging and reducing beside Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from catclf.features.network.embedding import resampling, resize


@pytest.mark.parametrize(("size", "side"), [(64, 224), (100, 224), (300, 224), (40, 33), (1, 5)])
def test_pixels_are_those_of_pillow(size: int, side: int) -> None:
    """Pillow rounds after each direction: 0.5, by 1.25 where weights change sign, and 0.5 again.

    It clips there, too, hence no extremes.
    """
    rng = np.random.default_rng(size)
    smooth = np.kron(rng.integers(60, 196, (10, 10, 3)), np.ones((size // 10 + 1,) * 2 + (1,)))
    pixels = smooth[:size, :size].astype(np.uint8)
    expected = np.asarray(
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC), np.float64
    )
    np.testing.assert_allclose(resize(pixels, side), expected, rtol=0, atol=1.15)


def test_rows_of_weights_sum_to_one() -> None:
    for size, side in ((64, 224), (500, 224), (3, 224)):
        np.testing.assert_allclose(resampling(size, side).sum(axis=1), 1, atol=1e-6)


def test_an_image_that_fits_stays_as_it_is() -> None:
    pixels = np.zeros((7, 7, 3), np.uint8)
    assert resize(pixels, 7) is pixels


def test_results_stay_within_the_range_of_pixels() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255  # a cubic overshoots at an edge
    found = resize(pixels, 32)
    assert (found.min(), found.max()) == (0, 255)
