"""``catclf train --features``, and the commands that use its models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, make_images, write_both_parts, write_hdf5
from PIL import Image

import catclf


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty 20x20 images, and twenty more to test with."""
    return write_both_parts(tmp_path / "data.h5", 40, 20, 20)


@pytest.mark.parametrize(("asked", "kind"), [("hog", "hog"), ("auto", "patches")])
def test_every_command_takes_a_model_of_features(
    run: Run, data: Path, asked: str, kind: str
) -> None:
    write_both_parts(data, 20, 6, 20)
    trained = run("train", "--data", data, "--features", asked)
    assert trained.code == 0, trained.stderr
    said = {line[:15].strip(): line[16:].strip() for line in trained.stdout.splitlines()}
    told = ["train accuracy", "out of fold", "test accuracy", "model", "ended"]
    assert [name for name in said if name != "labels"] == told
    assert "of 20" in said["out of fold"]
    note, _, steps = trained.stderr.partition("step 0  cost 0.693147\n")
    assert note.startswith("catclf: --features patches: the images have 20") == (asked == "auto")
    assert steps.startswith("step 1  cost ")

    inspected = json.loads(run("inspect", "model.npz", "--format", "json").stdout)
    assert inspected["features"]["kind"] == kind
    assert inspected["training"]["settings"]["solver"] == "lbfgs"
    assert inspected["training"]["settings"]["chosen"]["names"] == ["l2"]
    drawn = run("inspect", "model.npz", "--image", "atoms.png")
    if kind == "hog":
        drawn.refused("hog have no image")
    else:
        with Image.open(data.parent / "atoms.png") as image:
            assert image.size == ((16 * 7 - 1) * 6, (8 * 7 - 1) * 6)

    evaluated = json.loads(run("evaluate", data, "--format", "json").stdout)
    model = catclf.load(data.parent / "model.npz")
    assert model.training.test is not None
    assert evaluated["accuracy"] == pytest.approx(model.training.test.accuracy)

    image = catclf.open_dataset(data, "test").images[0]
    Image.fromarray(image).save(data.parent / "a.png")
    record = json.loads(run("predict", "a.png", "--format", "jsonl").stdout.splitlines()[-1])
    assert record["z"] == pytest.approx(float(model.scores(image[None])[0, 0]), abs=1e-9)
    explained = json.loads(run("explain", data, "--index", "0", "--format", "json").stdout)
    assert explained["z"] == pytest.approx(record["z"], abs=1e-6)
    parts = explained["bias"] + sum(explained["parts"].values())
    assert parts == pytest.approx(explained["z"], abs=1e-9)

    reported = run("report", "--data", data, "-o", "report.html")
    assert reported.code == 0, reported.stderr
    assert kind in (data.parent / "report.html").read_text()


def test_options_lead_to_other_models(run: Run, data: Path) -> None:
    models = {}
    for name, more in {
        "plain": [],
        "one-sided": ["--no-flip"],
        "balanced": ["--class-weight", "balanced"],
        "strong": ["--l2", "5"],
        "threshold": ["--threshold", "auto"],
        "gd": ["--solver", "gd"],
        "stream": ["--method", "stream", "--l2", "1"],
        "batches": ["--batch-size", "16", "--l2", "1", "--iterations", "50"],
        "validated": ["--validation", "0.2", "--l2", "0", "--iterations", "50"],
    }.items():
        result = run("train", "--data", data, "--features", "hog", "-q", "-o", name, *more)
        assert result.code == 0, result.stderr
        models[name] = catclf.load(data.parent / name)
    settings = {name: model.training.settings for name, model in models.items()}
    by_descent = {name for name in settings if settings[name]["solver"] == "gd"}
    assert by_descent == {"gd", "batches", "validated"}
    assert settings["strong"]["l2"] == 5
    assert settings["gd"]["learning_rate"] == 1.9
    assert settings["threshold"]["chosen"]["names"] == ["l2", "threshold"]
    assert models["threshold"].threshold != 0.5
    assert models["validated"].training.validation["best_step"] > 0
    # Classes are balanced already, and the threshold is no weight.
    assert len({model.w.tobytes() for model in models.values()}) == len(models) - 2
    assert models["gd"].costs[-1] > models["plain"].costs[-1]


def test_pixels_can_be_flipped_weighed_and_penalised_by_themselves(run: Run, data: Path) -> None:
    assert run("train", "--data", data, "-q").code == 0
    settings = catclf.load(data.parent / "model.npz").training.settings
    assert not {"flip", "chosen", "class_weight"} & set(settings)
    assert (settings["solver"], settings["learning_rate"], settings["l2"]) == ("gd", 0.005, 0.0)
    result = run("train", "--data", data, "--flip", "--l2", "auto", "--threshold", "auto")
    assert result.code == 0, result.stderr
    model = catclf.load(data.parent / "model.npz")
    assert model.features is None
    weights = model.w.reshape(20, 20, 3)
    np.testing.assert_allclose(weights, weights[:, ::-1], atol=1e-6)
    assert model.training.settings["flip"] is True
    assert model.training.settings["l2"] > 0


def test_too_few_images_to_choose_with(run: Run, tmp_path: Path) -> None:
    x, y = make_images(8, size=16)
    write_hdf5(tmp_path / "few.h5", train_set_x=x, train_set_y=y)
    assert run("train", "--data", "few.h5", "--features", "hog").code == 0  # in four folds
    chosen = catclf.load(tmp_path / "model.npz").training.settings["chosen"]
    assert (chosen["folds"], chosen["images"]) == (4, 8)
    write_hdf5(tmp_path / "few.h5", train_set_x=x[3:6], train_set_y=y[3:6])
    result = run("train", "--data", "few.h5", "--features", "hog")
    assert result.code == 0
    assert "are not selected: cross-validation needs 2 images" in result.stderr
    assert catclf.load(tmp_path / "model.npz").training.settings["l2"] > 0


def test_compare_takes_features(run: Run, data: Path) -> None:
    compare = ("compare", data, "--features", "hog", "--iterations", "20")
    result = run(*compare, "--l2", "0.1,1")
    assert result.code == 0, result.stderr
    assert "take --features hog --l2 " in result.stdout
    found = run(*compare, "--format", "json", "-q").stdout
    (data.parent / "c.json").write_text(found)
    assert json.loads(found)["candidates"][0]["features"] == "hog"
    assert run("train", "--data", data, "-q").code == 0
    assert run("report", "--compare", "c.json").code == 0
    assert "hog, λ auto" in (data.parent / "report.html").read_text()
