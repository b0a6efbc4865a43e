"""The forward pass beside a plain one in float64, channels first, and its bits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import random_weights
from numpy.typing import NDArray

from catclf.errors import ShapeError
from catclf.features.network import forward
from catclf.features.network.architecture import BIAS_LIMIT, LARGEST, SCALE_LIMIT, Weights
from catclf.features.network.forward import Network
from catclf.maths.threads import blas_threads

F64 = NDArray[np.float64]


def image(side: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def convolve(x: F64, kernels: F64, stride: int, depthwise: bool) -> F64:
    """(inputs, h, w) with kernels (outputs, inputs of each, k, k), padded as TensorFlow does."""
    k, pads = kernels.shape[2], []
    for length in x.shape[1:]:
        total = max((int(np.ceil(length / stride)) - 1) * stride + k - length, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, [(0, 0), *pads])
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    if depthwise:
        return np.asarray(np.einsum("chwij,cij->chw", windows, kernels[:, 0]))
    return np.asarray(np.einsum("chwij,ocij->ohw", windows, kernels, optimize=True))


def plain(weights: Weights, pixels: NDArray[np.uint8]) -> F64:
    """The features by the definition of each layer."""
    x = ((pixels.astype(np.float64) - 127) / 128).transpose(2, 0, 1)
    block = x
    for layer, w, b in weights.layers():
        if layer.depthwise:
            kernels = w.astype(np.float64).transpose(2, 0, 1)[:, None]
        else:
            shape = (layer.kernel, layer.kernel, layer.inputs, layer.outputs)
            kernels = w.astype(np.float64).reshape(shape).transpose(3, 2, 0, 1)
        x = convolve(x, kernels, layer.stride, layer.depthwise) + b[:, None, None]
        if layer.relu6:
            x = np.minimum(np.maximum(x, 0), 6)
        if layer.residual:
            x = x + block
        if not layer.relu6:
            block = x
    return np.asarray(x.mean(axis=(1, 2)))


@pytest.mark.parametrize("side", [32, 33, 47, 64])
def test_features_are_those_of_the_definition(side: int) -> None:
    expected = plain(random_weights(), image(side))
    with blas_threads(1):
        found = Network(random_weights(), side)(image(side))
    assert found.dtype == np.float32
    assert expected.std() > 0.1  # alive, and not all at 0 or 6
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


def test_bands_of_any_height_give_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = plain(random_weights(), image(37))
    for band in (1, 2_000, 9_000, 30_000, 1 << 30):
        monkeypatch.setattr(forward, "BAND", band)
        monkeypatch.setattr(forward, "PIXELS", 1)
        with blas_threads(1):
            found = Network(random_weights(), 37)(image(37))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


def test_one_image_has_the_same_bits_after_others_and_beside_others() -> None:
    side = 64
    network = Network(random_weights(), side)
    images = [image(side, seed) for seed in range(12)]
    with blas_threads(1):
        alone = [Network(random_weights(), side)(pixels) for pixels in images]
        for workers in (1, 2, 3):
            with ThreadPoolExecutor(workers) as pool:
                for found, expected in zip(pool.map(network, images), alone, strict=True):
                    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("side", [33, 64])
def test_compiled_sums_have_the_same_bits(side: int) -> None:
    kernels = pytest.importorskip("catclf.features.numba_kernels")
    with blas_threads(1):
        expected = Network(random_weights(), side)(image(side))
        found = Network(random_weights(), side, kernels)(image(side))
    np.testing.assert_array_equal(found, expected)


def test_a_float_image_has_the_features_of_its_whole_numbers() -> None:
    network = Network(random_weights(), 32)
    with blas_threads(1):
        np.testing.assert_array_equal(network(image(32)), network(image(32).astype(np.float32)))


def test_images_of_another_side_are_refused() -> None:
    with pytest.raises(ShapeError, match="does not fit"):
        Network(random_weights(), 33)(image(32))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sign", [-1, 1])
def test_no_weights_within_the_bounds_overflow(sign: int) -> None:
    sound = random_weights()
    largest = Weights(
        np.full_like(sound.values, sign * LARGEST),
        np.full_like(sound.scales, SCALE_LIMIT),
        np.full_like(sound.biases, BIAS_LIMIT),
    )
    with blas_threads(1):
        assert np.isfinite(Network(largest, 32)(image(32))).all()
