"""Folders and archives with metadata.csv or metadata.jsonl, as Hugging Face's imagefolder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import conftest
import numpy as np
import pytest
from archive_files import WRITERS
from PIL import Image
from test_datasets_archives import packed

from catclf.datasets import Dataset, open_source
from catclf.errors import DataError

SIZE = 4
Table = Sequence[tuple[str, str]]
ROWS: Table = [("0.png", "dog"), ("1.png", "cat"), ("2.png", "cat")]


opened = partial(conftest.opened, size=SIZE)


def write(path: Path, rows: Table, columns: tuple[str, str] = ("file_name", "label")) -> None:
    """A table, and an image for each of its rows: its red is the number in the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, _ in rows:
        file = path.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), (int(file.stem), 100, 200)).save(file)
    text = io.StringIO(newline="")
    if path.suffix == ".csv":
        csv.writer(text).writerows([columns, *rows])
    else:
        text.writelines(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
    path.write_text(text.getvalue())


def reds(data: Dataset) -> list[int]:
    return [int(red) for red in np.asarray(data.images)[:, 0, 0, 0]]


every_table = pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
every_kind = pytest.mark.parametrize("kind", ["folder", *WRITERS])


def made(root: Path, kind: str) -> Path:
    return root if kind == "folder" else packed(root, kind, root.parent)


@every_table
@every_kind
def test_a_table_in_the_folder_labels_its_images(tmp_path: Path, kind: str, name: str) -> None:
    write(tmp_path / "a" / name, ROWS)
    source = made(tmp_path / "a", kind)
    data = opened(source)
    assert (data.classes, data.Y.tolist(), reds(data)) == (("dog", "cat"), [[0, 1, 1]], [0, 1, 2])
    assert open_source(source).splits == set()
    prefix = "" if kind == "folder" else f"{source}:"
    assert data.names == tuple(f"{prefix}{file}" for file, _ in ROWS)


@every_table
@pytest.mark.parametrize("kind", ["folder", "deflated"])
def test_each_part_may_have_a_table(tmp_path: Path, kind: str, name: str) -> None:
    write(tmp_path / "a" / "train" / name, ROWS)
    write(tmp_path / "a" / "validation" / name, [("5.png", "cat"), ("6.png", "dog")])
    source = made(tmp_path / "a", kind)
    assert open_source(source).splits == {"train", "test"}
    assert reds(opened(source)) == [0, 1, 2]
    assert reds(opened(source, "test")) == [5, 6]


@every_table
def test_folders_in_the_paths_of_one_table_are_parts(tmp_path: Path, name: str) -> None:
    rows = [(f"{part}/{i}.png", label) for part in ("train", "test") for i, label in ((3, "a"),)]
    rows += [("train/4.png", "b"), ("test/8.png", "b")]
    write(tmp_path / "a" / name, rows)
    assert open_source(tmp_path / "a").splits == {"train", "test"}
    assert reds(opened(tmp_path / "a", "test")) == [3, 8]


def test_labels_are_numbers_too_and_other_columns_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a" / "metadata.jsonl", [("0.png", "0"), ("1.png", "1")])
    assert opened(tmp_path / "a", classes=("dog", "cat")).classes == ("dog", "cat")
    path = tmp_path / "b" / "metadata.jsonl"
    write(path, ROWS, ("file_name", "animal"))
    with pytest.raises(DataError, match=r"metadata\.jsonl: has no column label; it has file_name"):
        opened(tmp_path / "b")
    assert opened(tmp_path / "b", columns=("file_name", "animal")).m == 3
    numbers = [{"file_name": f"{i}.png", "label": i % 2} for i in range(3)]
    path.write_text("\n".join(map(json.dumps, numbers)))
    assert opened(tmp_path / "b").Y.tolist() == [[0, 1, 0]]


def test_file_name_goes_before_other_columns_of_paths(tmp_path: Path) -> None:
    write(tmp_path / "metadata.csv", ROWS)
    rows = "".join(f"other/{i},{name},{label}\n" for i, (name, label) in enumerate(ROWS))
    (tmp_path / "metadata.csv").write_text(f"image,file_name,label\n{rows}")
    assert reds(opened(tmp_path)) == [0, 1, 2]


def test_class_folders_with_a_table_of_captions_are_class_folders(tmp_path: Path) -> None:
    write(
        tmp_path / "metadata.csv", [("cat/0.png", "x"), ("dog/1.png", "y")], ("file_name", "text")
    )
    data = opened(tmp_path)
    assert data.classes == ("dog", "cat")
    assert any("left out 1 file: 1 .csv" in note for note in data.notes)


def test_several_archives_with_a_table_each_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a" / "metadata.csv", ROWS)
    for number in range(2):
        packed(tmp_path / "a", "stored", tmp_path).rename(tmp_path / f"{number}.zip")
    with pytest.raises(DataError, match=r"holds metadata\.csv twice: give one at a time"):
        opened(tmp_path / "*.zip")
    assert opened(tmp_path / "1.zip").m == 3


@every_kind
def test_paths_may_be_spelled_otherwise(tmp_path: Path, kind: str) -> None:
    rows = [("img/0.png", "dog"), ("img/1.png", "cat"), ("img/2.png", "cat")]
    write(tmp_path / "a" / "metadata.csv", rows)
    (tmp_path / "a" / "metadata.csv").write_text(
        "file_name,label\nIMG\\0.PNG,dog\nimg/1,cat\nimg/2.png,cat\n"
    )
    data = opened(made(tmp_path / "a", kind))
    assert reds(data) == [0, 1, 2]
    assert any("2 paths are spelled otherwise" in note for note in data.notes)


@pytest.mark.parametrize("kind", list(WRITERS))
@pytest.mark.parametrize("path", ["../secret.png", "{root}/secret.png", "/secret.png"])
def test_paths_do_not_lead_out_of_an_archive(tmp_path: Path, kind: str, path: str) -> None:
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "secret.png")
    path = path.format(root=tmp_path)
    writer, name = WRITERS[kind]
    archive = writer(tmp_path / name, {"metadata.csv": f"file_name,label\n{path},1\n".encode()})
    with pytest.raises(DataError, match="there is no file"):
        opened(archive)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '{"file_name": "0.png", "label": "a"}\n{"file_name": "0.png"}\n',
            "line 2: the path or the label",
        ),
        ('{"file_name": "0.png", "label": "a"}\n\n{', "line 3: is no JSON"),
        ('{"file_name": "0.png", "label": "a"}\n[]', "line 2: is no object"),
        ('{"file_name": "0.png", "label": ["a"]}', "line 1: the path or the label is empty"),
        ('{"file_name": "0.png", "label": null}', "line 1: the path or the label is empty"),
        ("[" * 100_000, "line 1: is no JSON"),
        (" " * (2 << 20), "line 1: has more than 1048576 bytes"),
        ("", "it is empty"),
        ('{"what": 1}', "has no column path"),
    ],
)
def test_lines_that_are_no_rows_are_named(tmp_path: Path, text: str, why: str) -> None:
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "0.png")
    (tmp_path / "list.jsonl").write_text(text)
    with pytest.raises(DataError, match=why):
        opened(tmp_path / "list.jsonl")
