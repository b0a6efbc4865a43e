"""Tables as people write them: columns, parts, separators, encodings, and paths that nearly fit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import conftest
import pytest
from PIL import Image

from catclf.datasets import Dataset
from catclf.errors import DataError

ROWS = [("img/0.jpg", "dog"), ("img/1.jpg", "cat"), ("img/2.jpg", "dog"), ("img/3.jpg", "cat")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for number in range(4):
        image = Image.new("RGB", (4, 4), (number, 100, 200))
        image.save(tmp_path / "img" / f"{number}.jpg", "PNG")
    return tmp_path


def table(root: Path, text: str, encoding: str = "utf-8", name: str = "t.csv") -> Path:
    (root / name).write_bytes(text.encode(encoding))
    return root / name


def lines(header: str, rows: Iterable[tuple[str, ...]] = ROWS, mark: str = ",") -> str:
    return "\n".join([header, *(mark.join(row) for row in rows), ""])


opened = partial(conftest.opened, size=4)


def require_all(data: Dataset) -> None:
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert (data.classes, data.Y.tolist()) == (("dog", "cat"), [[0, 1, 0, 1]])


@pytest.mark.parametrize(
    "header",
    [
        *("path,label", "file_name,label", "image_path,target", "Filename,Class", "id,labels"),
        *("image,category", "filepath,class_name", " Path , Label ", "image-id,label"),
    ],
)
def test_columns_are_known_under_many_names(root: Path, header: str) -> None:
    require_all(opened(table(root, lines(header))))


def test_other_columns_are_named_or_counted(root: Path) -> None:
    path = table(root, lines("what,kind"))
    with pytest.raises(DataError, match="`columns=path,label` names others"):
        opened(path)
    require_all(opened(path, columns=("What", "kind")))
    require_all(opened(path, columns=("1", "2")))
    with pytest.raises(DataError, match="has no column none; it has what, kind"):
        opened(path, columns=("what", "none"))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_separators_and_encodings_are_recognised(root: Path, mark: str, encoding: str) -> None:
    data = opened(table(root, lines(mark.join(("path", "label")), mark=mark), encoding))
    require_all(data)
    said = " ".join(data.notes)
    assert ("separated by" in said) == (mark != ",")
    assert ("UTF-16" in said) == encoding.startswith("utf-16")


@pytest.mark.parametrize(
    "text",
    [
        lines("path,label") + ",\n,,\n\n",
        "sep=;\n" + lines("path;label", mark=";"),
        lines("path,label").replace("\n", "\r\n"),
        "\n".join(["img/0.jpg,dog", "img/1.jpg,cat", "img/2.jpg,dog", "img/3.jpg,cat"]),
        lines("label, path", [(label, " " + path) for path, label in ROWS]),
        lines("path,label", [(path.replace("/", "\\"), label) for path, label in ROWS]),
        lines("id,label", [(path.removesuffix(".jpg"), label) for path, label in ROWS]),
        lines("path,label", [(path.upper(), label) for path, label in ROWS]),
    ],
)
def test_what_spreadsheets_and_other_systems_write_is_read(root: Path, text: str) -> None:
    require_all(opened(table(root, text)))


def test_an_id_that_two_files_fit_is_refused(root: Path) -> None:
    (root / "img" / "0.png").write_bytes((root / "img" / "0.jpg").read_bytes())
    rows = [(path.removesuffix(".jpg"), label) for path, label in ROWS]
    with pytest.raises(DataError, match="line 2: there is no file img/0"):
        opened(table(root, lines("id,label", rows)))


@pytest.mark.parametrize(("written", "on_disk"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")])
def test_accents_are_composed_or_not(root: Path, written: str, on_disk: str) -> None:
    (root / "img" / "0.jpg").rename(root / f"{on_disk}.jpg")
    require_all(opened(table(root, lines("path,label", [(f"{written}.jpg", "dog"), *ROWS[1:]]))))


def test_windows_1252_is_read(root: Path) -> None:
    (root / "img" / "0.jpg").rename(root / "\u00e9.jpg")
    rows = [("\u00e9.jpg", "f\u00e9e"), *((path, "cat") for path, _ in ROWS[1:])]
    data = opened(table(root, lines("path,label", rows), "cp1252"))
    assert (data.classes, data.m) == (("f\u00e9e", "cat"), 4)


def test_a_column_of_parts_with_gaps_beside_test_is_refused(root: Path) -> None:
    rows = [(*row, split) for row, split in zip(ROWS, ["train", "", "test", "test"], strict=True)]
    with pytest.raises(DataError, match="write train, validation or test in each row"):
        opened(table(root, lines("path,label,split", rows)))


def test_two_spellings_of_a_label_are_refused(root: Path) -> None:
    rows = [*ROWS[:3], ("img/3.jpg", "Cat")]
    with pytest.raises(DataError, match="'Cat' and 'cat' are two spellings of one class"):
        opened(table(root, lines("path,label", rows)))
