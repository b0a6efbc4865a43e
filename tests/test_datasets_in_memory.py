"""Data sets from what Python holds: arrays, paths and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_images
from PIL import Image

import catclf
from catclf.errors import CatclfError


def save_all(folder: Path, images: Any) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_arrays_are_the_images_and_names_the_classes() -> None:
    images, y = make_images(6, size=16)
    names = np.array(["dog", "wolf"])[y]
    data = catclf.open_dataset(images, labels=names)
    assert data.images is images
    assert data.classes == ("dog", "wolf")
    assert data.Y.tolist() == [y.tolist()]
    assert (data.preprocess.size, data.source) == (16, "arrays")
    chosen = catclf.open_dataset(images, reading=catclf.Reading(positive="dog"), labels=names)
    assert chosen.classes == ("wolf", "dog")
    assert chosen.Y.tolist() == [(1 - y).tolist()]


@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [False, True, True, False], [0.0, 1.0, 1, 0]])
def test_zero_and_one_are_non_cat_and_cat(labels: list[Any]) -> None:
    data = catclf.open_dataset(np.zeros((4, 8, 8, 3), np.uint8), labels=labels)
    assert data.classes == ("non-cat", "cat")
    assert data.Y.tolist() == [[0.0, 1.0, 1.0, 0.0]]


def test_arrays_are_brought_to_a_size_as_files_are(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 30, 3), dtype=np.uint8)
    paths = save_all(tmp_path, images)
    for fit in ("squash", "crop", "pad"):
        reading = catclf.Reading(size=16, fit=fit)
        held = catclf.open_dataset(images, reading=reading, labels=[0, 1, 0, 1])
        read = catclf.open_dataset(paths, reading=reading, labels=[0, 1, 0, 1])
        assert held.preprocess == read.preprocess
        assert np.array_equal(held.images, read.images)


def test_a_table_has_a_column_of_paths_and_one_of_labels(tmp_path: Path) -> None:
    images, y = make_images(6, size=16)
    paths = save_all(tmp_path, images)
    labels = ["cat" if label else "dog" for label in y]
    reading = catclf.Reading(size=16)
    table = {"id": range(6), "Filename": paths, "Class": labels}
    data = catclf.open_dataset(table, reading=reading)
    assert np.array_equal(data.images, images)
    assert (data.classes, data.Y.tolist()) == (("dog", "cat"), [y.tolist()])
    assert data.names == tuple(map(str, paths))


class Frame:
    """As much of a table of pandas as is used: names of columns, and a column by its name."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._values = columns
        self.columns = np.array(list(columns), dtype=object)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]


def pandas_frame(columns: dict[str, Any]) -> Any:
    pandas = pytest.importorskip("pandas", reason="no pandas")
    return pandas.DataFrame(columns, index=[f"row {i}" for i in range(6)])


@pytest.mark.parametrize("make", [Frame, pandas_frame])
def test_a_table_may_be_a_frame(make: Any, tmp_path: Path) -> None:
    images, y = make_images(6, size=16)
    labels = ["cat" if label else "dog" for label in y]
    frame = make({"path": list(map(str, save_all(tmp_path, images))), "label": labels})
    reading = catclf.Reading(size=16)
    framed = catclf.open_dataset(frame, reading=reading)
    assert np.array_equal(framed.images, images)
    assert (framed.classes, framed.Y.tolist()) == (("dog", "cat"), [y.tolist()])
    other = catclf.open_dataset(frame, reading=reading, labels=1 - y)
    assert other.Y.tolist() == [(1 - y).tolist()]
    series = catclf.open_dataset(frame["path"], reading=reading, labels=frame["label"])
    assert np.array_equal(series.Y, framed.Y)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 8, 8, 3)), [0, 1, 0, 1], "float64 (4, 8, 8, 3): uint8"),
        (np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1], "uint8 (4, 8, 8): uint8"),
        (np.zeros((4, 8, 8, 4), np.uint8), [0, 1, 0, 1], "uint8 (4, 8, 8, 4): uint8"),
        (np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0], "3 labels for 4 images"),
        (np.zeros((4, 8, 8, 3), np.uint8), None, "need `labels`"),
        (np.zeros((4, 8, 8, 3), np.uint8), ["a"] * 4, "labels name 1 classes"),
        (np.zeros((2, 8, 8, 3), np.uint8), ["a", ""], "none without a name"),
        (np.zeros((2, 8, 8, 3), np.uint8), [["a", "b"]], "labels (1, 2)"),
        ([np.zeros((8, 8, 3)), np.zeros((9, 9, 3))], [0, 1], "several shapes"),
        ({"path": ["a.png"]}, None, "has no column label or class or labels; it has path"),
        ("photos", [0, 1], "one path is a data set of its own"),
        (["none.png", "nor.png"], [0, 1], "2 images cannot be read: none.png"),
    ],
)
def test_what_is_no_data_set_is_refused_by_name(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(CatclfError) as caught:
        catclf.open_dataset(images, labels=labels)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
