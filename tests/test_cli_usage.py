"""Mistakes of usage, and help, through the installed command."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import wording
from conftest import GREEN, Run, command, make_images, paint, write_hdf5

import catclf
from catclf.settings import METHODS, SOLVERS

SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["train", "--data", ""], "--data"),
        (["train", "--data="], "--data"),
        (["train", "-o", ""], "-o"),
        (["predict", ""], "an argument"),
        (["predict", "", ""], "an argument"),
        (["predict", "a.jpg", "-m", ""], "-m"),
        (["compare", ""], "an argument"),
        (["data", "info", ""], "an argument"),
        (["data", "pack", "photos", "-o", ""], "-o"),
    ],
)
def test_an_empty_value_is_no_folder_but_a_mistake(run: Run, args: list[str], named: str) -> None:
    result = run(*args)
    assert (result.code, result.stdout) == (2, "")
    assert re.match(rf"catclf: {named}:? is empty: leave it out", result.stderr)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train", "--lr", "0.1", "--lr", "0.2"], "--lr 0.1 and --lr 0.2: give one of them"),
        (["train", "--lr=0.1", "--learning-rate=0.2"], "--lr 0.1 and --learning-rate 0.2: give"),
        (["train", "--flip", "--no-flip"], "--flip and --no-flip: give one of them"),
        (["report", "-qm", "x.npz", "-m", "y.npz"], "-m x.npz and -m y.npz: give"),
        (["train", "--epochs", "3"], "there is no option --epochs: did you mean --iterations?"),
        (["train", "--iteration", "3"], "no option --iteration: did you mean --iterations?"),
        (["train", "--lambda=1"], "there is no option --lambda: did you mean --l2?"),
        (["predict", "--n-jobs", "2"], "there is no option --n-jobs: see --help"),
        (["evaluate", "-z"], "there is no option -z: see --help"),
        (["train", "--lr"], "--lr: needs a value"),
        (["fit"], "there is no command fit: did you mean train?"),
        (["classify"], "there is no command classify: did you mean predict?"),
        (["evalute"], "there is no command evalute: did you mean evaluate?"),
        (["xyzzy"], "there is no command xyzzy: 'catclf --help' lists them"),
    ],
)
def test_mistakes_of_usage_name_what_is_meant(run: Run, args: list[str], says: str) -> None:
    result = run(*args)
    assert (result.code, result.stdout) == (2, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


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


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("train a.h5 b.h5", "a.h5 and b.h5: give one of them"),
        ("train a.h5 --data b.h5", "b.h5 and a.h5: give one of them"),
        ("data info a.h5 --data b.h5", "a.h5 and b.h5: give one of them"),
        ("inspect a.npz -m b.npz", "a.npz and b.npz: give one of them"),
        ("train --quiet=yes", "--quiet: takes no value"),
    ],
)
def test_one_thing_is_named_once(run: Run, args: str, says: str) -> None:
    result = run(*args.split())
    assert (result.code, result.stdout, result.stderr) == (2, "", f"catclf: {says}\n")


def test_a_variable_names_one_model_whatever_its_name(run: Run, model: Path) -> None:
    images, labels = make_images(20, size=64)
    np.savez(model.parent / "d.npz", x=images, y=labels)
    model.rename(model.parent / "my model.npz")
    result = run("evaluate", "d.npz", env={"CATCLF_MODEL": "my model.npz"})
    assert result.code == 0, result.stderr


@pytest.mark.parametrize(
    ("args", "ending"),
    [
        ("train -o model.onnx", ".npz"),
        ("train -o model.h5", ".npz"),
        ("train --plot cost.png", ".svg"),
        ("report -o page.pdf", ".html or .htm"),
        ("inspect --image w.jpg", ".png"),
        ("explain a.png --image e.svg", ".png"),
        ("data info a.h5 --image s.jpg", ".png"),
    ],
)
def test_an_ending_says_what_is_written(run: Run, args: str, ending: str) -> None:
    result = run(*args.split())
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.endswith(f": another kind of file is written: end it in {ending}\n")


def test_an_empty_variable_leaves_the_default(run: Run, model: Path) -> None:
    assert run("inspect", "model.npz", env={"CATCLF_MODEL": ""}).code == 0
    assert (
        f"none.png: {wording.NO_IMAGE}"
        in run("predict", "none.png", env={"CATCLF_MODEL": ""}).stderr
    )


@pytest.mark.parametrize("name", ["-dash.jpg", "-model.jpg", "--wide.jpg"])
def test_a_file_that_looks_like_an_option_is_hinted_at(
    run: Run, model: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    result = run("predict", name)
    assert (result.code, result.stdout) == (2, "")
    assert f": if the file {name} is meant, give ./{name}, or -- before it\n" in result.stderr
    assert result.stderr.count("\n") == 1
    assert f"{name}: {wording.EMPTY}" in run("predict", "--", name).stderr
    (tmp_path / name).unlink()
    assert "./" not in run("predict", name).stderr


@pytest.mark.parametrize("group", [[], ["data"]])
def test_a_group_alone_shows_its_help(run: Run, group: list[str]) -> None:
    result = run(*group)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.strip() == run(*group, "--help").stdout.strip()


@pytest.mark.parametrize("args", ["", "--help", "--version", "data", "data --help", "train -h"])
def test_help_that_nobody_reads_ends_as_results_do(args: str) -> None:
    done = subprocess.run(
        ["/bin/bash", "-c", f"'{command()}' {args} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout in ("0\n", "141\n")  # 0 where the reader was slower to go


@pytest.mark.parametrize("args", ["", "--help", "data", "train --help"])
def test_help_that_cannot_be_written_is_not_success(args: str) -> None:
    done = subprocess.run(
        ["/bin/bash", "-c", f"'{command()}' {args} >/dev/full"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"catclf: {wording.UNWRITTEN}")


@pytest.mark.parametrize(
    ("option", "choices"),
    [("solver", SOLVERS), ("method", METHODS)],
)
def test_choices_are_shown_in_help_and_in_the_error(
    run: Run, option: str, choices: tuple[str, ...]
) -> None:
    help = " ".join(run("help", "settings").stdout.split())
    assert all(re.search(rf"\b{word}\b", help) for word in choices)
    result = run("train", f"--{option}", "magic")
    assert (result.code, result.stdout) == (2, "")
    known = f"{', '.join(choices[:-1])} or {choices[-1]}"
    assert result.stderr == f"catclf: --{option} magic is unknown: use {known}\n"


def test_patience_without_validation_is_a_mistake(run: Run, small_hdf5: Path) -> None:
    train = ("train", "--data", "small.h5", "--size", "8", "--patience", "3", "--iterations", "5")
    result = run(*train)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("catclf: --patience waits for --validation")
    assert run(*train, "--validation", "0.2").code == 0


FIT = "--fit crop changes no stored image: it only says how they were made\n"


def test_a_fit_that_changes_nothing_is_noted(run: Run, small_hdf5: Path, tmp_path: Path) -> None:
    data = ("--data", "small.h5")
    for args in (
        ("train", *data, "--size", "8", "--iterations", "5"),
        ("compare", "small.h5", "--iterations", "5"),
        ("check", *data, "--examples", "2"),
        ("data", "info", "small.h5"),
        ("data", "pack", "small.h5", "-o", "p.h5"),
    ):
        result = run(*args, "--fit", "crop")
        assert result.code == 0
        assert result.stderr.startswith(f"catclf: small.h5: {FIT}")
        assert FIT not in run(*args).stderr
    assert catclf.load(tmp_path / "model.npz").preprocess.fit == "squash"
    assert run("train", *data, "--fit", "crop", "--iterations", "5").code == 0
    assert catclf.load(tmp_path / "model.npz").preprocess.fit == "crop"
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        paint(tmp_path / "photos" / name / "a.png", GREEN)
    assert run("data", "info", "photos", "--fit", "crop").stderr == ""


def test_a_split_that_is_not_there_is_not_taken_for_another(
    run: Run, small_hdf5: Path, tmp_path: Path
) -> None:
    with h5py.File(small_hdf5) as file:
        x, y = file["train_set_x"][:], file["train_set_y"][:]
    write_hdf5(tmp_path / "half.h5", train_set_x=x, train_set_y=y)
    np.savez(tmp_path / "half.npz", train_set_x=x, train_set_y=y)
    write_hdf5(tmp_path / "plain.h5", x=x, y=y)
    assert run("train", "--data", "small.h5", "--size", "8", "--iterations", "5").code == 0
    for name in ("half.h5", "half.npz"):
        for args in (
            ("evaluate", name),
            ("explain", name, "--index", "0"),
            ("report", "--data", name),
        ):
            result = run(*args, "--split", "test")
            assert (result.code, result.stdout) == (2, "")
            assert result.stderr == (
                f"catclf: {name}: has no test split, but train: leave --split out\n"
            )
            assert run(*args).code == run(*args, "--split", "train").code == 0
    result = run("evaluate", "plain.h5", "--split", "test")
    assert result.code == 0
    assert "plain.h5: is not divided into splits: --split test changes nothing\n" in result.stderr
    np.savez(
        tmp_path / "three.npz",
        **{f"{name}_x": x for name in SPLITS},
        **{f"{name}_y": y for name in SPLITS},
    )
    for name in SPLITS:
        assert run("evaluate", "three.npz", "--split", name).code == 0
    result = run("evaluate", "none.h5", "--split", "test")
    assert (result.code, result.stderr) == (2, f"catclf: none.h5: {wording.NO_SOURCE}\n")


def test_explain_says_how_to_choose_an_image_of_a_data_set(
    run: Run, model: Path, small_hdf5: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("small.h5", "photos"):
        result = run("explain", name)
        assert (result.code, result.stdout) == (2, "")
        assert result.stderr.endswith(": of a data set say which image, as --index 0\n")
    result = run("explain", "a.png", "--split", "test")
    assert (result.code, result.stdout) == (2, "")
    assert "--index" in result.stderr
