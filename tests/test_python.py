"""The public names of Python: sources by their path, results as the commands print them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import GREEN, RED, Run, fill, make_images

import catclf

CLASSES = {"cat": GREEN, "dog": RED}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {f"{name}/{i}.png": colour for name, colour in CLASSES.items() for i in range(6)}
    return fill(tmp_path / "photos", files)


def test_a_path_trains_to_the_model_of_the_command(folder: Path, run: Run) -> None:
    assert run("train", folder, "--iterations", "20", "-o", "typed.npz").code == 0
    model = catclf.train(str(folder), iterations=20)
    typed = catclf.load(folder.parent / "typed.npz")
    assert np.array_equal(model.w, typed.w)
    assert model.training.fingerprint == typed.training.fingerprint
    assert catclf.train(folder, features="hog", l2=1.0).features is not None
    assert repr(model) == "Model(cat or dog: 12288 weights of pixels, trained on photos)"
    data = catclf.open_dataset(folder)
    assert repr(data) == "Dataset(photos: 12 images 64x64, 6 dog, 6 cat)"
    assert catclf.read_image(folder / "cat" / "0.png").shape == (64, 64, 3)


def test_the_test_split_of_a_path_is_evaluated(tmp_path: Path, small_hdf5: Path) -> None:
    model = catclf.train(small_hdf5, iterations=5)
    assert model.training.test is not None
    assert model.training.test.total == 10


def test_what_no_source_can_be_is_one_line() -> None:
    for source in ("none", 3):
        with pytest.raises(catclf.CatclfError):
            catclf.train(source)
    with pytest.raises(catclf.CatclfError, match="no setting iteration: did you mean iterations"):
        catclf.train("none", iteration=3)


def test_evaluate_and_compare_return_what_the_commands_print(run: Run, tmp_path: Path) -> None:
    images, labels = make_images(60, size=64)
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    model = catclf.train(tmp_path / "d.npz", iterations=20)
    catclf.save(model, tmp_path / "model.npz")
    printed = json.loads(run("evaluate", "d.npz", "--format", "json").stdout)
    for one in (model, tmp_path / "model.npz"):
        found = json.loads(json.dumps(catclf.evaluate(one, tmp_path / "d.npz")))
        assert found == printed
    data = catclf.open_dataset(tmp_path / "d.npz")
    assert catclf.evaluate(model, data)["accuracy"] == printed["accuracy"]
    args = ("--iterations", "20", "--lr", "0.01,0.1", "--l2", "0", "--folds", "3")
    printed = json.loads(run("compare", "d.npz", *args, "--format", "json").stdout)
    found = catclf.compare(data, learning_rate=[0.01, 0.1], l2=[0], iterations=20, folds=3)
    assert json.loads(json.dumps(found)) == printed
