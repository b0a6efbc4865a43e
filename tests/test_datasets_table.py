"""Tables as people write them: columns, splits, encodings, and paths that nearly fit."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pytest
from archive_files import image_bytes
from conftest import fill, told, unopened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from catclf.datasets import Dataset
from catclf.errors import DataError

ROWS = [("img/0.jpg", "dog"), ("img/1.jpg", "cat"), ("img/2.jpg", "dog"), ("img/3.jpg", "cat")]
NAMES = [(name.removeprefix("img/"), label) for name, label in ROWS]
opened = partial(conftest.opened, size=4)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for number in range(4):
        image = Image.new("RGB", (4, 4), (number, 100, 200))
        image.save(tmp_path / "img" / f"{number}.jpg", "PNG")
    return tmp_path


def table(root: Path, text: str, encoding: str = "utf-8", name: str = "t.csv") -> Path:
    (root / name).write_bytes(text.encode(encoding, "surrogateescape"))
    return root / name


def lines(header: str, rows: Iterable[Sequence[str]] = ROWS, mark: str = ",") -> str:
    return "\n".join([header, *(mark.join(row) for row in rows), ""])


def require_all(data: Dataset) -> None:
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert (data.classes, data.Y.tolist()) == (("dog", "cat"), [[0, 1, 0, 1]])


def refused(path: Path, why: str, **options: Any) -> None:
    unopened(path, why, size=4, **options)


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
    refused(path, "`columns=path,label` names others")
    require_all(opened(path, columns=("What", "kind")))
    require_all(opened(path, columns=("1", "2")))
    refused(path, "has no column none; it has what, kind", columns=("what", "none"))
    path = table(root, lines("path,label,label", [(*row, "x") for row in ROWS]))
    told(opened(path), "2 columns label, of which the first")


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
        lines('"path","label"', [(f'"./{path}"', f'"{label}"') for path, label in ROWS]),
        lines("").strip(),
        lines("label, path", [(label, " " + path) for path, label in ROWS]),
        lines("path,label", [(path.replace("/", "\\"), label) for path, label in ROWS]),
        lines("id,label", [(path.removesuffix(".jpg"), label) for path, label in ROWS]),
        lines("path,label", [(path.upper(), label) for path, label in ROWS]),
    ],
)
def test_what_spreadsheets_and_other_systems_write_is_read(root: Path, text: str) -> None:
    require_all(opened(table(root, text)))


OBJECTS = "".join(f'{{"path": "{name}", "label": "{label}"}}\n' for name, label in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", lines("path\tlabel", mark="\t").encode()),
        ("t.csv.gz", gzip.compress(lines("path,label").encode())),
        ("t.ndjson.gz", gzip.compress(OBJECTS.encode())),
        ("t.jsonl", b"\xef\xbb\xbf" + OBJECTS.encode()),
        ("t.txt", "".join(f"{a} {b}\n" for a, b in ROWS).encode()),
        ("train.csv", lines("id,label", NAMES).encode()),  # beside the folder of its images
    ],
)
def test_tables_of_other_forms(root: Path, name: str, content: bytes) -> None:
    (root / name).write_bytes(content)
    data = opened(root / name)
    require_all(data)
    apart = name == "train.csv"
    assert any("its images are those in img" in note for note in data.notes) == apart


def test_of_two_folders_beside_a_table_the_one_of_its_split_is_taken(root: Path) -> None:
    (root / "img").rename(root / "train_images")
    fill(root, {f"test_images/{name}": image_bytes(1) for name, _ in NAMES})
    require_all(opened(table(root, lines("id,label", NAMES), name="train.csv")))
    path = table(root, lines("id,label", NAMES), name="sample_submission.csv")
    refused(path, "a form for answers")


def test_an_id_that_two_files_fit_is_refused(root: Path) -> None:
    (root / "img" / "0.png").write_bytes((root / "img" / "0.jpg").read_bytes())
    rows = [(path.removesuffix(".jpg"), label) for path, label in ROWS]
    refused(table(root, lines("id,label", rows)), "line 2: there is no file img/0")


@pytest.mark.parametrize(("written", "on_disk"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")])
def test_accents_are_composed_or_not(root: Path, written: str, on_disk: str) -> None:
    (root / "img" / "0.jpg").rename(root / f"{on_disk}.jpg")
    require_all(opened(table(root, lines("path,label", [(f"{written}.jpg", "dog"), *ROWS[1:]]))))


def test_windows_1252_is_read(root: Path) -> None:
    (root / "img" / "0.jpg").rename(root / "\u00e9.jpg")
    rows = [("\u00e9.jpg", "f\u00e9e"), *((path, "cat") for path, _ in ROWS[1:])]
    data = opened(table(root, lines("path,label", rows), "cp1252"))
    assert (data.classes, data.m) == (("f\u00e9e", "cat"), 4)
    assert any("labels that are not in UTF-8, read as Windows-1252" in n for n in data.notes)


HEADER = "path,label"
GOOD = "img/0.jpg,cat"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("file,kind", "has no column label (or class, labels, target, targets, category, …); it"),
        ("name of it,label", "line 1: has no column path (or file, filename, image, "),
        (HEADER, "has no images"),
        (f"{HEADER}\n{GOOD}\nc.png,dog", "line 3: there is no file c.png"),
        (f"{HEADER}\n{GOOD}\n.,dog", "line 3: there is no file ."),
        (f"{HEADER}\n{GOOD}\n{'x' * 300},dog", "line 3: "),
        (f"{HEADER}\n{GOOD}\nb\0.png,dog", "line 3: "),
        (f"{HEADER}\n{GOOD}\nimg/1.jpg", "line 3: has 1 of 2 columns"),
        (f"{HEADER}\nimg/0.jpg,\nimg/1.jpg,dog", "line 2: the path or the label is empty"),
        (f"{HEADER}\n,cat\nimg/1.jpg,dog", "line 2: the path or the label is empty"),
        (f"{HEADER}\n{GOOD}\nimg/1.jpg,cat", "all images are cat"),
        (f"{HEADER}\n{GOOD}\nimg/1.jpg,Cat", "'Cat' and 'cat' are two spellings of one class"),
        (
            f"{HEADER},split\n{GOOD},train\nimg/1.jpg,dog,\nimg/2.jpg,dog,test",
            "write train, validation or test in each row",
        ),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_line(root: Path, text: str, why: str) -> None:
    refused(table(root, text), why)


ONE = '{"file_name": "img/0.jpg", "label": "a"}\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ONE + '{"file_name": "img/1.jpg"}\n', "line 2: the path or the label"),
        (ONE + "\n{", "line 3: is no JSON"),
        (ONE + "[]", "line 2: is no object"),
        ('{"file_name": "0.png", "label": ["a"]}', "line 1: the path or the label is empty"),
        ('{"file_name": "0.png", "label": null}', "line 1: the path or the label is empty"),
        ('{"path": "0", "label": "a", "label": "b"}', "line 1: is no JSON: a key is there twice"),
        ("[" * 100_000, "line 1: is no JSON"),
        (" " * (2 << 20), "line 1: has more than 1048576 bytes"),
        ("", "it is empty"),
        ('{"what": 1}', "has no column path"),
    ],
)
def test_objects_that_are_no_rows_are_named(root: Path, text: str, why: str) -> None:
    refused(table(root, text, name="list.jsonl"), why)


def test_an_unreadable_image_is_named_with_its_line(root: Path) -> None:
    (root / "bad.png").touch()
    path = table(root, lines(HEADER, [ROWS[0], ("bad.png", "dog"), *ROWS[1:]]))
    refused(path, "line 3: bad.png (is empty)")
    (note,) = opened(path, skip_bad=True).notes
    assert "line 3: bad.png (is empty)" in note


@settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=60), header=st.booleans())
def test_any_bytes_give_an_error_of_one_line(tmp_path: Path, content: bytes, header: bool) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"path,label\n" * header + content)
    refused(path, "")


def test_rows_that_lead_out_of_the_folder_are_read_if_that_was_asked_for(root: Path) -> None:
    fill(root, {"away/a.png": image_bytes(1)})
    path = table(root / "img", lines(HEADER, [*NAMES, ("../away/a.png", "cat")]))
    refused(path, "1 path of 5 lead out of its folder, the first on line 6: ../away/a.png: `out")
    assert opened(path, outside=True).m == 5
    inside = [(str(root / "img" / name), label) for name, label in NAMES]
    require_all(opened(table(root / "img", lines(HEADER, inside))))
    metadata = table(root / "img", lines("file_name,label", inside), name="metadata.csv")
    with pytest.raises(DataError, match="4 paths of 4 lead out"):
        opened(metadata.parent)


def test_urls_in_rows_are_fetched_if_that_was_asked_for(root: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/rows/a.png", image_bytes(9))
    path = table(root, lines(HEADER, [*ROWS, ("memory://rows/a.png", "cat")]))
    refused(path, "line 6: memory://rows/a.png is a URL, and what rows name is not fetched")
    assert opened(path, skip_bad=True).m == 4
    data = opened(path, remote_rows=True)
    image = Image.open(io.BytesIO(image_bytes(9)))
    alone = image.resize((4, 4), Image.Resampling.BICUBIC, reducing_gap=3)
    np.testing.assert_array_equal(data.images[4], np.asarray(alone))
