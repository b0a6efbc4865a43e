"""Data sets from what Python holds: arrays, paths and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_images
from PIL import Image

import catclf
from catclf.errors import CatclfError, SettingsError


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
    chosen = catclf.open_dataset(images, options=catclf.ReadOptions(positive="dog"), labels=names)
    assert chosen.classes == ("wolf", "dog")
    assert chosen.Y.tolist() == [(1 - y).tolist()]


COLOURS = np.random.default_rng(1).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
SHAPES: dict[str, tuple[Any, Any]] = {
    "arrays of one shape": (list(COLOURS), COLOURS),
    "an array of arrays": (np.array([*COLOURS, None], object)[:-1], COLOURS),
    "types that differ": ([x if i % 2 else x / 255 for i, x in enumerate(COLOURS)], COLOURS),
    "planes among them": (
        [x if i % 2 else np.moveaxis(x, 2, 0) for i, x in enumerate(COLOURS)],
        COLOURS,
    ),
    "Pillow's": ([Image.fromarray(x) for x in COLOURS], COLOURS),
    **{
        f"Pillow's {mode}": (images, [image.convert("RGB") for image in images])
        for mode in ("P", "RGBA", "CMYK")
        for images in ([Image.fromarray(x).convert(mode) for x in COLOURS],)
    },
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("table", [False, True])
def test_images_in_a_list_or_a_column_are_taken_one_by_one(kind: str, table: bool) -> None:
    images, expected = SHAPES[kind]
    labels = ["cat", "dog"] * 3
    given = {"image": images, "label": labels, "group": list("aabbcc")} if table else images
    data = catclf.open_dataset(given, labels=None if table else labels)
    assert np.array_equal(data.images, np.stack([np.asarray(image) for image in expected]))
    assert (data.groups is not None) == table


@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [False, True, True, False], [0.0, 1.0, 1, 0]])
def test_zero_and_one_are_non_cat_and_cat(labels: list[Any]) -> None:
    data = catclf.open_dataset(np.zeros((4, 8, 8, 3), np.uint8), labels=labels)
    assert data.classes == ("non-cat", "cat")
    assert data.Y.tolist() == [[0.0, 1.0, 1.0, 0.0]]


def test_arrays_are_brought_to_a_size_as_files_are(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 30, 3), dtype=np.uint8)
    paths = save_all(tmp_path, images)
    for fit in ("squash", "crop", "pad"):
        reading = catclf.ReadOptions(size=16, fit=fit)
        held = catclf.open_dataset(images, options=reading, labels=[0, 1, 0, 1])
        read = catclf.open_dataset(paths, options=reading, labels=[0, 1, 0, 1])
        assert held.preprocess == read.preprocess
        assert np.array_equal(held.images, read.images)


def test_a_table_has_a_column_of_paths_and_one_of_labels(tmp_path: Path) -> None:
    images, y = make_images(6, size=16)
    paths = save_all(tmp_path, images)
    labels = ["cat" if label else "dog" for label in y]
    reading = catclf.ReadOptions(size=16)
    table = {"id": range(6), "Filename": paths, "Class": labels}
    data = catclf.open_dataset(table, options=reading)
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
    reading = catclf.ReadOptions(size=16)
    framed = catclf.open_dataset(frame, options=reading)
    assert np.array_equal(framed.images, images)
    assert (framed.classes, framed.Y.tolist()) == (("dog", "cat"), [y.tolist()])
    other = catclf.open_dataset(frame, options=reading, labels=1 - y)
    assert other.Y.tolist() == [(1 - y).tolist()]
    series = catclf.open_dataset(frame["path"], options=reading, labels=frame["label"])
    assert np.array_equal(series.Y, framed.Y)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_column_of_parts_is_honoured_as_in_a_file(part: Any, tmp_path: Path) -> None:
    images, _ = make_images(6, size=16)
    paths = save_all(tmp_path, images)
    splits = ["train", "val", "test", "test", "training", "test"]
    table: dict[str, Any] = {"path": paths, "label": list("abbabb"), "split": splits}
    lines = [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(table), *lines]))
    held = catclf.open_dataset(table, part)
    read = catclf.open_dataset(tmp_path / "t.csv", part)
    assert held.m == {"train": 2, "test": 3}[part]
    assert np.array_equal(held.images, read.images)
    assert (held.classes, held.Y.tolist()) == (read.classes, read.Y.tolist())


def test_labels_of_any_objects_and_paths_of_an_iterator(tmp_path: Path) -> None:
    images, y = make_images(6, size=16)
    paths = save_all(tmp_path, images)
    objects = np.array([*map(int, y)], dtype=object)
    data = catclf.open_dataset(iter(paths), labels=objects, options=catclf.ReadOptions(size=16))
    assert (data.classes, data.Y.tolist()) == (("non-cat", "cat"), [y.tolist()])
    assert np.array_equal(data.images, images)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 0}, "`size=0` is not a number of pixels"),
        ({"size": 32.5}, "`size=32.5` is not a number of pixels"),
        ({"fit": "stretch"}, "`fit=stretch` is unknown: use one of squash, crop, pad"),
        ({"workers": 0}, "`workers=0` is too small"),
    ],
)
def test_a_reading_that_makes_no_sense_is_refused(given: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        catclf.ReadOptions(**given)


def test_a_part_that_there_never_is_is_refused() -> None:
    wrong: Any = "tset"
    with pytest.raises(SettingsError, match="`split=tset` is unknown: use one of train"):
        catclf.open_dataset(np.zeros((4, 8, 8, 3), np.uint8), wrong, labels=[0, 1, 0, 1])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.full((4, 8, 8, 3), 1e4), [0, 1, 0, 1], "images is float64 from 10000 to 10000"),
        (np.zeros((4, 8, 8, 5), np.uint8), [0, 1, 0, 1], "images has shape (4, 8, 8, 5)"),
        (np.zeros((4, 9), complex), [0, 1, 0, 1], "images is complex128: pixels must be uint8"),
        (np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0], "3 labels for 4 images"),
        (np.zeros((4, 8, 8, 3), np.uint8), None, "need `labels`"),
        (np.zeros((4, 8, 8, 3), np.uint8), ["a"] * 4, "labels name 1 classes"),
        (np.zeros((2, 8, 8, 3), np.uint8), ["a", ""], "none without a name"),
        (np.zeros((2, 8, 8, 3), np.uint8), [["a", "b"]] * 2, "labels has shape (2, 2)"),
        (None, [0, 1], "arrays or paths in a list, not one NoneType"),
        (Image.new("RGB", (8, 8)), [0, 1], "arrays or paths in a list, not one Image"),
        ({"path": ["a.png"]}, None, "has no column label or class or labels; it has path"),
        ("photos", [0, 1], "one path is a data set of its own"),
        (["none.png", "nor.png"], [0, 1], "2 images cannot be read: none.png"),
        (["a.png", "b.png"], ["a", None], "labels: 1 of 2 are missing, first labels[1]"),
        (["a.png", "b.png"], ["a", float("nan")], "labels: 1 of 2 are missing, first labels[1]"),
        ({"path": ["a", "b"], "label": "ab", "split": ["train", "test"]}, [1], "1 labels for 2"),
    ],
)
def test_what_is_no_data_set_is_refused_by_name(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(CatclfError) as caught:
        catclf.open_dataset(images, labels=labels)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
