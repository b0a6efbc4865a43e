"""The bundled data set is what its card says."""

from __future__ import annotations

import re
from collections import Counter

import h5py
import numpy as np
import pytest
from conftest import ROOT, Run
from PIL import Image

DATA = ROOT / "data"


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


def test_the_pixel_model_learns_what_the_card_says_and_verify_finds_nothing(run: Run) -> None:
    assert run("data", "verify", DATA / "train.h5", DATA / "test.h5").code == 0
    train, test = re.findall(r"accuracy +([\d.]+) %", run("train").stdout)
    assert 90 <= float(train) <= 100
    assert 75 <= float(test) <= 90


def test_the_card_prints_the_census_of_the_files() -> None:
    card = (DATA / "README.md").read_text()
    kinds = {}
    for part in ("train", "test"):
        with h5py.File(DATA / f"{part}.h5") as file:
            subjects = [kind.decode().split("/")[0] for kind in file[f"{part}_set_kind"][:]]
            kinds[part] = Counter(subjects) + Counter(all=len(subjects))
    for kind, count in kinds["train"].items():
        [row] = re.findall(rf"^\| {kind} \|.*\| (\d+) / (\d+) \|$", card, re.MULTILINE)
        assert row == (str(count), str(kinds["test"][kind]))
