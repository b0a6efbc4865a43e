"""Models of features: scores, files, and what a file may not hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catclf.datasets import Dataset
from catclf.errors import ShapeError
from catclf.features import learn, patch_learning
from catclf.features.base import Features
from catclf.features.rows import prepare
from catclf.images.preprocess import Preprocess
from catclf.maths import sigmoid
from catclf.maths.threads import blas_threads
from catclf.model import Model
from catclf.model.file import load, save
from catclf.training import Settings, build_model, solve
from catclf.training.automatic import Resolved


def dataset(m: int = 40, size: int = 24, seed: int = 0) -> Dataset:
    """Coarse images with, for the positive ones, a bright stripe at the left."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (m, size // 4, size // 4, 3))
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    Y = (np.arange(m) % 2).astype(float)
    images[Y > 0.5, :, 1:3] += 55
    return Dataset(images.astype(np.uint8), Y[None], ("non-cat", "cat"), "drawn", Preprocess(size))


@pytest.fixture(autouse=True)
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch_learning, "PATCHES", 2000)


def model_of(kind: str, **options: Any) -> Model:
    data = dataset()
    encoder, rows = prepare(data, kind, workers=1)
    fit = solve(rows, Settings(l2=0.1, solver="lbfgs"), workers=1)
    return build_model(fit, data, encoder=encoder, trained=rows, **options)


@pytest.fixture(scope="module", params=["hog", "patches"])
def model(request: pytest.FixtureRequest) -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_learning, "PATCHES", 2000)
        return model_of(request.param)


def test_scores_are_the_weights_times_the_features(model: Model) -> None:
    assert model.features is not None
    images = dataset(seed=3).images
    with blas_threads(1):  # as scoring does: more round float32 products differently
        rows = model.features.transform(np.asarray(images)).astype(np.float64)
    Z = model.scores(images)
    np.testing.assert_allclose(Z.T, rows @ model.w + model.b, rtol=1e-9)
    for i in (0, 17, 39):
        np.testing.assert_array_equal(model.scores(images[i : i + 1])[0], Z[:, i])
    assert model.scores(images[:0]).shape == (1, 0)
    assert model.n == len(model.w) == model.features.n


def test_training_counts_are_those_of_the_model(model: Model) -> None:
    data = dataset()
    assert model.training.train == model.counts(data.images, data.Y)
    assert model.training.train.accuracy > 0.8


def test_a_file_gives_the_same_scores(model: Model, tmp_path: Path) -> None:
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    images = dataset(seed=5).images
    np.testing.assert_array_equal(model.scores(images), again.scores(images))
    assert again.fingerprint == model.fingerprint
    assert again.training == model.training
    save(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()


def test_the_fingerprint_covers_what_was_learned() -> None:
    one, other = model_of("patches"), model_of("patches")
    assert one.fingerprint == other.fingerprint
    assert other.features is not None
    other.features.arrays()["filters"][0, 0] += 1
    assert one.fingerprint != other.fingerprint


def test_pixels_are_written_as_ever(tmp_path: Path) -> None:
    save(Model(np.zeros((12, 1)), 0.0, Preprocess(2)), tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as file:
        assert sorted(file) == ["b", "cost_steps", "costs", "meta", "w"]
        meta = json.loads(str(file["meta"]))
    assert (meta["version"], meta["features"]) == (4, "pixels")


def test_other_images_and_weights_are_refused(model: Model) -> None:
    with pytest.raises(ShapeError):
        model.scores(dataset(size=20).images)
    with pytest.raises(ShapeError, match="w has shape"):
        Model(np.zeros((768, 1)), 0.0, Preprocess(16), features=model.features)


@pytest.mark.parametrize("kind", ["hog", "patches"])
def test_a_cache_changes_nothing(kind: str, tmp_path: Path) -> None:
    data = dataset()
    encoder, rows = prepare(data, kind, workers=1)
    for _ in range(2):  # made, then used
        kept_encoder, kept = prepare(data, kind, workers=2, cache=tmp_path / "rows")
        np.testing.assert_array_equal(kept.images[0:40], rows.images[0:40])
        np.testing.assert_array_equal(kept_encoder.standard.mean, encoder.standard.mean)
        assert kept.fingerprint == rows.fingerprint
    other = dataset(seed=9)
    np.testing.assert_array_equal(
        encoder.encode(other).images[:], kept_encoder.encode(other).images[:]
    )
    prepare(other, kind, cache=tmp_path / "rows")  # takes the file's place


def test_flipped_pixels_are_training_on_mirror_images_too() -> None:
    data = dataset(30)
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


def test_standardised_training_is_that_of_the_rows_themselves() -> None:
    """A model of standardised rows, by hand, scores as the model whose weights were folded."""
    data = dataset()
    encoder, rows = prepare(data, "hog")
    fit = solve(rows, Settings(l2=0.1, solver="lbfgs"))
    model = build_model(
        fit, data, encoder=encoder, trained=rows, resolved=Resolved(fit.settings, 0.4, None, {})
    )
    features: Features = learn("hog", data.images)
    found = features.transform(data.images[:]).astype(np.float64)
    deviation = (found.std(axis=0) + 0.01) * np.sqrt(found.shape[1])
    Z = (found - found.mean(axis=0)) / deviation @ fit.w + fit.b
    np.testing.assert_allclose(model.scores(data.images).T, Z, atol=1e-4)
    assert model.training.train.tp == int(((sigmoid(Z.T) > 0.4) & (data.Y > 0.5)).sum())
