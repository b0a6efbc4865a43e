"""The bundled data set and the script that draws it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import ROOT, Run
from PIL import Image

DATA = ROOT / "data"


def draw(*args: str | Path) -> str:
    """The output of scripts/draw-data, run by this Python."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.drawing", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(("part", "m"), [("train", 400), ("test", 120)])
def test_the_files_follow_the_courses_schema_with_even_classes(part: str, m: int) -> None:
    with h5py.File(DATA / f"{part}.h5") as file:
        images, labels = file[f"{part}_set_x"], file[f"{part}_set_y"]
        assert (images.shape, images.dtype) == ((m, 64, 64, 3), np.uint8)
        assert (labels.shape, labels.dtype) == ((m,), np.int64)
        assert file["list_classes"][:].tolist() == [b"non-cat", b"cat"]
        assert labels[:].sum() == m / 2
        kinds = file[f"{part}_set_kind"][:]
        assert [kind.startswith(b"cat/") for kind in kinds] == labels[:].astype(bool).tolist()


def test_the_files_are_small() -> None:
    assert sum(file.stat().st_size for file in DATA.rglob("*")) < 3_000_000


@pytest.mark.parametrize(("name", "index"), [("cat", 108), ("ginger", 64), ("fox", 6)])
def test_the_examples_are_images_of_the_test_set(name: str, index: int) -> None:
    with (
        Image.open(DATA / "examples" / f"{name}.png") as image,
        h5py.File(DATA / "test.h5") as file,
    ):
        np.testing.assert_array_equal(np.asarray(image), file["test_set_x"][index])
        assert file["test_set_y"][index] == (name != "fox")


def test_verify_finds_nothing_wrong(run: Run) -> None:
    result = run("data", "verify", DATA / "train.h5", DATA / "test.h5")
    assert result.code == 0, result.stdout


def test_the_pixel_model_learns_what_the_card_says(run: Run) -> None:
    result = run("train")
    train, test = re.findall(r"accuracy +([\d.]+) %", result.stdout)
    assert 90 <= float(train) <= 100
    assert 75 <= float(test) <= 90


def test_the_same_seed_draws_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    sums = set()
    for workers in ("1", "2"):
        draw("--count", "20", "--out", tmp_path / "few.h5", "--workers", workers)
        sums.add(hashlib.sha256((tmp_path / "few.h5").read_bytes()).hexdigest())
    assert len(sums) == 1
    draw("--count", "20", "--out", tmp_path / "few.h5", "--seed", "4")
    assert hashlib.sha256((tmp_path / "few.h5").read_bytes()).hexdigest() not in sums


def test_the_card_prints_the_census_of_the_files() -> None:
    card = (DATA / "README.md").read_text()
    for line in draw("--census").splitlines():
        assert line in card
