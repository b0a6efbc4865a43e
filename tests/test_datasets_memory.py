"""Data sets from what Python holds: arrays, paths and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fill, make_images
from PIL import Image

import catclf
from catclf.errors import CatclfError, SettingsError

IMAGES, LABELS = make_images(6, size=16)
NAMED = ["cat" if label else "dog" for label in LABELS]
SMALL = catclf.ReadOptions(size=16)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """The files of the images."""
    fill(tmp_path, {f"{number}.png": image for number, image in enumerate(IMAGES)})
    return [tmp_path / f"{number}.png" for number in range(6)]


def holds(data: Any, classes: tuple[str, str] = ("dog", "cat"), Y: Any = LABELS) -> bool:
    same = np.array_equal(data.images, IMAGES)
    return same and (data.classes, data.Y.tolist()) == (classes, [Y.tolist()])


def test_arrays_are_the_images_and_names_the_classes() -> None:
    names = np.array(["dog", "wolf"])[LABELS]
    data = catclf.open_dataset(IMAGES, labels=names)
    assert data.images is IMAGES
    assert holds(data, ("dog", "wolf"))
    assert (data.preprocess.size, data.source) == (16, "arrays")
    chosen = catclf.open_dataset(IMAGES, options=catclf.ReadOptions(positive="dog"), labels=names)
    assert holds(chosen, ("wolf", "dog"), 1 - LABELS)


COLOURS = np.random.default_rng(1).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
PICTURES = [Image.fromarray(x) for x in COLOURS]
SHAPES: dict[str, tuple[Any, Any]] = {
    "arrays of one shape": (list(COLOURS), COLOURS),
    "an array of arrays": (np.array([*COLOURS, None], object)[:-1], COLOURS),
    "types that differ": ([x if i % 2 else x / 255 for i, x in enumerate(COLOURS)], COLOURS),
    "planes among them": (
        [x if i % 2 else np.moveaxis(x, 2, 0) for i, x in enumerate(COLOURS)],
        COLOURS,
    ),
    "Pillow's": (PICTURES, COLOURS),
    **{
        f"Pillow's {mode}": (images, [image.convert("RGB") for image in images])
        for mode in ("P", "RGBA", "CMYK")
        for images in ([image.convert(mode) for image in PICTURES],)
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


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_arrays_are_brought_to_a_size_as_files_are(tmp_path: Path, fit: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), dtype=np.uint8)
    fill(tmp_path, {f"{number}.png": image for number, image in enumerate(images)})
    reading = catclf.ReadOptions(size=16, fit=fit)
    held = catclf.open_dataset(images, options=reading, labels=[0, 1])
    read = catclf.open_dataset(sorted(tmp_path.glob("*.png")), options=reading, labels=[0, 1])
    assert held.preprocess == read.preprocess
    assert np.array_equal(held.images, read.images)


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


@pytest.mark.parametrize("make", [dict, Frame, pandas_frame])
def test_a_table_has_a_column_of_paths_and_one_of_labels(make: Any, paths: list[Path]) -> None:
    table = make({"id": range(6), "Filename": list(map(str, paths)), "Class": NAMED})
    data = catclf.open_dataset(table, options=SMALL)
    assert holds(data)
    assert data.names == tuple(map(str, paths))
    other = catclf.open_dataset(table, options=SMALL, labels=1 - LABELS)
    assert holds(other, ("non-cat", "cat"), 1 - LABELS)
    assert holds(catclf.open_dataset(table["Filename"], options=SMALL, labels=table["Class"]))


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_column_of_parts_is_honoured(part: Any, paths: list[Path], tmp_path: Path) -> None:
    splits = ["train", "val", "test", "test", "training", "test"]
    table: dict[str, Any] = {"path": paths, "label": list("abbabb"), "split": splits}
    lines = [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(table), *lines]))
    read = catclf.open_dataset(tmp_path / "t.csv", part, SMALL)
    assert read.m == {"train": 2, "test": 3}[part]
    for given in (table, table | {"path": list(IMAGES)}):
        held = catclf.open_dataset(given, part, SMALL)
        assert np.array_equal(held.images, read.images)
        assert (held.classes, held.Y.tolist()) == (read.classes, read.Y.tolist())


def test_labels_of_any_objects_and_paths_of_an_iterator(paths: list[Path]) -> None:
    objects = np.array([*map(int, LABELS)], dtype=object)
    data = catclf.open_dataset(iter(paths), labels=objects, options=SMALL)
    assert holds(data, ("non-cat", "cat"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 0}, "`size=0` is not a number of pixels"),
        ({"size": 32.5}, "`size=32.5` is not a number of pixels"),
        ({"fit": "stretch"}, "`fit=stretch` is unknown: use one of squash, crop, pad"),
        ({"workers": 0}, "`workers=0` is too small"),
        ({"split": "tset"}, "`split=tset` is unknown: use one of train"),
    ],
)
def test_a_reading_that_makes_no_sense_is_refused(given: Any, message: str) -> None:
    split = given.pop("split", "train")
    with pytest.raises(SettingsError, match=re.escape(message)):
        catclf.open_dataset(IMAGES, split, catclf.ReadOptions(**given), labels=LABELS)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 9), complex), [0, 1, 0, 1], "images is complex128: pixels must be uint8"),
        (IMAGES, [0, 1, 0], "3 labels for 6 images"),
        (IMAGES, None, "need `labels`"),
        (IMAGES, ["a"] * 6, "labels name 1 classes"),
        (IMAGES[:2], ["a", ""], "none without a name"),
        (IMAGES[:2], [["a", "b"]] * 2, "labels has shape (2, 2)"),
        (None, [0, 1], "arrays or paths in a list, not one NoneType"),
        (PICTURES[0], [0, 1], "arrays or paths in a list, not one Image"),
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
