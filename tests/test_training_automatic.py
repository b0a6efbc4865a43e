"""Thresholds beyond every probability, and selection that does not see held-out images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import CLASSES, Run, dataset, fill, write_hdf5
from numpy.typing import NDArray

import catclf
from catclf.datasets import Dataset
from catclf.maths import Floats, Pixels
from catclf.samples import split
from catclf.training import Settings, prepare_job
from catclf.training.pipeline import resolve


class Rows(NamedTuple):
    """Rows of features with labels, as the solvers see them."""

    images: Any
    Y: Floats


def noise(m: int, size: int, seed: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Images and labels that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (m, size, size, 3)).astype(np.uint8)
    return images, (rng.random(m) < 0.7).astype(np.int64)


def test_a_threshold_above_all_probabilities_still_tells_classes_apart(
    run: Run, tmp_path: Path
) -> None:
    """Of images and labels that are learned by heart, so that scores are large."""
    images, labels = noise(40, 4, seed=15)
    write_hdf5(tmp_path / "d.h5", x=images, y=labels, list_classes=CLASSES)
    fill(tmp_path / "images", {f"{i:02}.png": image for i, image in enumerate(images)})
    args = ("--data", "d.h5", "--size", "4", "--threshold", "auto", "--l2", "1e-12")
    assert run("train", *args, "-o", "m.npz").code == 0
    saturated, data = catclf.load(tmp_path / "m.npz"), catclf.open_dataset(tmp_path / "d.h5")
    Z = saturated.scores(data.images)[0]
    assert saturated.z_threshold is not None
    assert saturated.z_threshold > 40  # σ(40) is 1.0
    assert saturated.threshold == 1.0
    positive = saturated.z_threshold < Z
    assert 0 < positive.sum() < 40
    assert positive[Z.argmax()]

    trained = saturated.training.train
    assert trained.tp + trained.fp == positive.sum()
    rows = [json.loads(line) for line in predict(run, "images", "--format", "jsonl").splitlines()]
    assert [row["label"] == "cat" for row in rows] == positive.tolist()
    evaluated = json.loads(run("evaluate", "d.h5", "-m", "m.npz", "--format", "json").stdout)
    assert evaluated["confusion"]["tp"] + evaluated["confusion"]["fp"] == positive.sum()
    assert "\tcat\t" in predict(run, "images", "--threshold", "0.5")
    A = saturated.probabilities(data.images)[0]
    given = run("evaluate", "d.h5", "-m", "m.npz", "--threshold", "0.5", "--format", "json")
    confusion = json.loads(given.stdout)["confusion"]  # what is given goes before the model's
    assert confusion["tp"] + confusion["fp"] == (A > 0.5).sum() != positive.sum()
    for row in (int(Z.argmax()), int(Z.argmin())):
        args = ("explain", "d.h5", "--index", str(row), "-m", "m.npz", "--format", "json")
        explained = json.loads(run(*args).stdout)
        assert (explained["predicted"] == "cat") == positive[row]


def predict(run: Run, *args: str) -> str:
    result = run("predict", "-m", "m.npz", *args)
    assert result.code == 0, result.stderr
    return result.stdout


# Images that are held out


@pytest.mark.usefixtures("few_patches")
@pytest.mark.parametrize("features", ["pixels", "patches"])
def test_nothing_that_is_selected_sees_the_images_that_are_held_out(features: str) -> None:
    images, labels = noise(60, 20, seed=2)
    images = (images // 2 + 60 * labels.reshape(-1, 1, 1, 1)).astype(np.uint8)
    settings = Settings(
        validation=0.25,
        iterations=20,
        class_weight="balanced",
        features=features,
        l2="auto",
        threshold="auto",
    )
    held = split(dataset(images, labels), 0.25, settings.seed)[1]
    rows = held.images.rows  # type: ignore[attr-defined]
    assert len(rows) == round(0.25 * labels.sum()) + round(0.25 * (60 - labels.sum()))

    other_images = images.copy()
    other_images[rows] = 255 - other_images[rows][:, ::-1]
    found = [of_job(settings, dataset(some, labels)) for some in (images, other_images)]
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)

    seen = images.copy()
    seen[np.setdiff1d(np.arange(60), rows)[:5]] //= 3  # the same change among the others shows
    different = of_job(settings, dataset(seen, labels))
    assert any(not np.array_equal(a, b) for a, b in zip(found[0], different, strict=True))


def of_job(settings: Settings, data: Dataset) -> list[Any]:
    """λ, the threshold, what the features learned, and the rows that are trained on."""
    job = prepare_job(data, settings)
    resolved = job.resolved
    learned = job.encoder.features.arrays() if job.encoder else {}
    return [
        resolved.settings.l2,
        resolved.z_threshold,
        resolved.recorded["chosen"],
        *learned.values(),
        np.asarray(job.trained.images[:]),
    ]


def test_notes_of_validation_images_are_warnings(run: Run, tmp_path: Path) -> None:
    images, labels = noise(30, 8, seed=4)
    write_hdf5(tmp_path / "d.h5", x=images, y=labels, list_classes=CLASSES)
    files = {f"v/{('non-cat', 'cat')[labels[i]]}/{i}.png": images[i] for i in range(30)}
    fill(tmp_path, {**files, "v/cat/bad.png": "not an image"})
    args = ("train", "--data", "d.h5", "--size", "8", "--iterations", "2", "-q", "--skip-bad")
    result = run(*args, "--validation", "v")
    assert result.code == 0
    left_out, trained_on = result.stderr.splitlines()
    assert left_out.startswith("catclf: v: left out 1 unreadable image")
    assert "30 of its 30 images are also trained on" in trained_on


@pytest.mark.parametrize(
    ("given", "solver"),
    [
        ({"features": "hog", "l2": 1.0}, "lbfgs"),
        ({"features": "hog", "l2": 1.0, "schedule": "linear"}, "gd"),
        ({"features": "hog", "l2": 1.0, "batch_size": 10}, "gd"),
        ({"features": "hog", "l2": 0.0}, "gd"),
        ({"l2": "auto"}, "lbfgs"),
        ({"l2": 1.0}, "gd"),
        ({"features": "hog", "l2": 1.0, "solver": "gd"}, "gd"),
    ],
)
def test_the_default_solver_follows_features_and_penalty(
    given: dict[str, Any], solver: str
) -> None:
    rng = np.random.default_rng(3)
    rows = rng.random((60, 2), dtype=np.float32)
    data = Rows(rows, (rows[:, 0] + rng.normal(0, 0.1, 60) > 0.5).astype(float)[None])
    assert resolve(Settings(**given), data).settings.solver == solver
