"""How options, data and models are named, and help, through the installed command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wording
from conftest import GREEN, Run, fill, make_images, paint, shell, write_hdf5

import catclf
from catclf.images.preprocess import Preprocess

SPLITS = ("train", "validation", "test")


def test_an_option_may_be_given_as_click_takes_it(run: Run, model: Path) -> None:
    paint(model.parent / "a.png", GREEN)
    usual = run("predict", "a.png", "--model", "model.npz", "--quiet")
    assert usual.code == 0
    assert run("predict", "-qmmodel.npz", "a.png") == usual
    assert run("predict", "-q", "--model=model.npz", "--quiet", "--", "a.png") == usual


@pytest.mark.parametrize(
    ("usual", "others"),
    [
        (
            "evaluate d.npz --model model.npz",
            ["evaluate --data d.npz", "evaluate model.npz d.npz", "evaluate -mmodel.npz d.npz"],
        ),
        ("data info d.npz", ["data info --data d.npz", "data info --data=d.npz"]),
        ("data verify d.npz d.npz", ["data verify --data d.npz --data d.npz"]),
        ("inspect model.npz", ["inspect", "inspect -m model.npz", "inspect --model model.npz"]),
        ("predict a.png -m model.npz", ["predict model.npz a.png", "predict --data a.png"]),
        (
            "explain d.npz --index 1 -m model.npz",
            ["explain --data d.npz --index 1", "explain model.npz --index 1 d.npz"],
        ),
        ("train --data d.npz --iterations 2 -q", ["train d.npz --iterations 2 -q"]),
    ],
)
def test_data_and_model_are_named_alike_in_every_command(
    run: Run, model: Path, tmp_path: Path, usual: str, others: list[str]
) -> None:
    images, labels = make_images(20, size=64)
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    paint(tmp_path / "a.png", GREEN)
    expected = run(*usual.split())
    assert expected.code in (0, 1)
    if "train" in usual:
        model.write_bytes(b"")
    for line in others:
        assert run(*line.split()) == expected
    if "train" in usual:
        catclf.load(model)


def test_a_variable_names_one_model_whatever_its_name_and_an_empty_one_none(
    run: Run, model: Path
) -> None:
    empty = run("predict", "none.png", env={"CATCLF_MODEL": ""})
    assert f"none.png: {wording.NO_IMAGE}" in empty.stderr
    model.rename(model.parent / "my model.npz")
    run("inspect", env={"CATCLF_MODEL": "my model.npz"}).done()


def test_a_group_alone_shows_its_help(run: Run) -> None:
    for group in ([], ["data"]):
        assert run(*group).done().strip() == run(*group, "--help").done().strip()


@pytest.mark.parametrize("args", ["", "data", "train --help"])
def test_help_that_cannot_be_written_ends_as_results_do(tmp_path: Path, args: str) -> None:
    for goes_to, code in (("| true", "0\n141\n"), (">/dev/full", "2\n")):
        result = shell(f"catclf {args} {goes_to}; echo ${{PIPESTATUS[0]}}", tmp_path)
        assert result.stdout in code  # 0 where the reader was slower to go
        assert (wording.UNWRITTEN in result.stderr) == (code == "2\n")
        assert result.stderr.count("\n") == (code == "2\n")


FIT = "--fit crop changes no stored image: it only says how they were made\n"


def test_a_fit_that_changes_nothing_is_noted(run: Run, small_hdf5: Path, tmp_path: Path) -> None:
    for args in (
        ("train", "small.h5", "--size", "8", "--iterations", "5"),
        ("compare", "small.h5", "--iterations", "5", "--folds", "2", "--lr", "0.1"),
        ("data", "info", "small.h5"),
        ("data", "pack", "small.h5", "-o", "p.h5"),
    ):
        result = run(*args, "--fit", "crop")
        assert result.code == 0
        assert result.stderr.startswith(f"catclf: small.h5: {FIT}")
    assert catclf.load(tmp_path / "model.npz").preprocess.fit == "crop"
    assert FIT not in run("data", "info", "small.h5").stderr
    fill(tmp_path / "photos", {"cat/a.png": GREEN, "dog/a.png": GREEN})
    run("data", "info", "photos", "--fit", "crop").done()


def test_a_split_that_is_not_there_is_not_taken_for_another(run: Run, tmp_path: Path) -> None:
    x, y = make_images(20)
    write_hdf5(tmp_path / "half.h5", train_set_x=x, train_set_y=y)
    np.savez(tmp_path / "half.npz", train_set_x=x, train_set_y=y)
    write_hdf5(tmp_path / "plain.h5", x=x, y=y)
    catclf.save(catclf.Model(np.zeros((192, 1)), 0.1, Preprocess(8)), tmp_path / "model.npz")
    says = "has no test split, but train: leave --split out\n"
    for line in ("evaluate half.h5", "explain half.npz --index 0", "report --data half.npz"):
        run(*line.split(), "--split", "test").refused(says)
        assert run(*line.split()).code == 0
    result = run("evaluate", "plain.h5", "--split", "test")
    assert result.code == 0
    assert "plain.h5: is not divided into splits: --split test changes nothing\n" in result.stderr
    three: dict[str, Any] = {
        f"{name}_{key}": part for name in SPLITS for key, part in (("x", x), ("y", y))
    }
    np.savez(tmp_path / "three.npz", **three)
    assert run("evaluate", "three.npz", "--split", "validation").code == 0
