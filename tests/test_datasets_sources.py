"""Folders, tables, archives and files on disk: the same images, and what is refused."""

from __future__ import annotations

import csv
import io
import os
import pickle
import signal
import struct
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import in_python_without_powers, make_images, opened, write_hdf5
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from catclf import machine
from catclf.datasets import Listing, ReadOptions, open_dataset, open_source
from catclf.datasets.hdf5 import DiskRows
from catclf.datasets.listing import choose_positive, two_classes
from catclf.errors import DataError
from catclf.images.preprocess import Preprocess

SIZE = 6
IMAGES = make_images(8, SIZE, seed=3)[0]
LABELS = np.array([1, 1, 1, 0, 0, 0, 0, 0])  # cats first: folders are read by name
FILES = [f"cat/c {i}.png" for i in range(3)] + [f'non-cat/n,"{i}".png' for i in range(5)]
KEYS = [("train_set_x", "train_set_y"), ("x", "y"), ("images", "labels")]


def save_images(root: Path, files: list[str], images: NDArray[np.uint8] = IMAGES) -> Path:
    for name, image in zip(files, images, strict=False):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if path.suffix.lower() in (".png", ".h5") else None
        Image.fromarray(image).save(path, kind)
    return root


def write_table(path: Path, rows: Sequence[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(rows)
    return path


def refused(path: Path, *why: str, **options: Any) -> str:
    """Opening raises a DataError of one printable line that names the source and says each."""
    with pytest.raises(DataError) as caught:
        opened(path, **options)
    text = str(caught.value)
    assert text.startswith(str(path)), text
    assert text.isprintable(), text
    for part in why:
        assert part in text, text
    return text


# The same eight images, however they are kept


def eight(folder: Path, kind: str) -> Path:
    """The eight images as one kind of source."""
    match kind.split():
        case ["folder"]:
            return save_images(folder / "photos", FILES)
        case ["csv" | "tsv" as ending]:
            save_images(folder / "photos", FILES)
            names = ["cat" if label else "non-cat" for label in LABELS]
            rows = [("n", "Label", " path ")]
            rows += [(str(i), names[i], f"photos/{file}") for i, file in enumerate(FILES)]
            return write_table(folder / f"table.{ending}", rows)
        case ["npz", *compressed]:
            save = np.savez_compressed if compressed else np.savez
            save(folder / "data.npz", x=IMAGES, y=LABELS)
            return folder / "data.npz"
        case ["hdf5", index, compression]:
            x_key, y_key = KEYS[int(index)]
            with h5py.File(folder / "data.h5", "w") as file:
                options = {} if compression == "plain" else {"compression": compression}
                file.create_dataset(x_key, data=IMAGES, **options)
                file[y_key] = LABELS
            return folder / "data.h5"
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    ["folder", "csv", "tsv", "npz", "npz compressed"]
    + [f"hdf5 {key} {how}" for key in range(3) for how in ("plain", "gzip", "lzf")],
)
def test_the_same_images_give_the_same_columns_from_every_source(tmp_path: Path, kind: str) -> None:
    data = opened(eight(tmp_path, kind), size=SIZE)
    assert data.X.dtype == np.uint8
    assert data.X.shape == (SIZE * SIZE * 3, 8)
    for column, image in zip(data.X.T, IMAGES, strict=True):
        assert column.tobytes() == image.tobytes()
    assert data.Y.dtype == np.float64
    assert data.Y.tolist() == [LABELS.tolist()]
    assert data.classes == ("non-cat", "cat")
    named = kind.split()[0] in ("folder", "csv", "tsv")
    assert len(data.notes) == (0 if named else 1)  # label 1 without a name is called cat, and said


def test_equal_data_have_one_fingerprint_and_changed_data_another(tmp_path: Path) -> None:
    kinds = ["folder", "csv", "npz", "hdf5 1 gzip"]
    prints = set()
    for place, kind in enumerate(kinds):
        (tmp_path / str(place)).mkdir()
        prints.add(opened(eight(tmp_path / str(place), kind), size=SIZE).fingerprint)
    changed = IMAGES.copy()
    changed[7, -1, -1, -1] ^= 1
    other = opened(write_hdf5(tmp_path / "other.h5", x=changed, y=LABELS))
    assert len(prints) == 1
    assert other.fingerprint not in prints


# Folders


def test_a_folder_takes_nested_and_upper_case_names_and_leaves_out_the_rest(tmp_path: Path) -> None:
    files = ["cat/B.PNG", "cat/a.png", "cat/deep/er/c.BMP", "non-cat/d.Tiff"]
    save_images(tmp_path, files)
    hidden = ["cat/._a.png", "cat/.hidden/x.png", ".git/x.png", "non-cat/deep/.y.png"]
    save_images(tmp_path, hidden)
    for junk in ("cat/Thumbs.db", "non-cat/notes.txt", "cat/.DS_Store", "readme.md"):
        (tmp_path / junk).write_bytes(b"junk")
    data = opened(tmp_path, size=SIZE)
    assert data.names == tuple(files)
    assert data.Y.tolist() == [[1, 1, 1, 0]]
    np.testing.assert_array_equal(data.images, IMAGES[:4])


def test_a_test_folder_without_classes_gives_way_to_val(tmp_path: Path) -> None:
    for part in ("train", "val"):
        save_images(tmp_path, [f"{part}/cat/a.png", f"{part}/dog/b.png"])
    save_images(tmp_path, ["test/1.png"])  # as competitions hand out unlabelled images
    assert {"train", "test"} <= open_source(tmp_path).splits


def test_classes_may_be_called_like_parts(tmp_path: Path) -> None:
    save_images(tmp_path, ["bus/a.png", "train/b.png"])
    assert not ({"train", "test"} <= open_source(tmp_path).splits)
    assert opened(tmp_path, size=SIZE).classes == ("bus", "train")


def test_a_part_that_is_not_there_is_refused_on_one_line(tmp_path: Path) -> None:
    root = save_images(tmp_path / "a\nb", ["test/cat/a.png", "test/dog/b.png"])
    with pytest.raises(DataError, match="has no train split, but test") as caught:
        opened(root)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([], "holds no class folders"),
        (["a.png", "b.png"], "holds no class folders"),
        (["cat/a.png"], "holds one class folder, cat"),
        (["cat/a.png", "dog/notes.txt"], "class folder dog holds no images"),
        (["cat/a.png", "dog/.b.png"], "class folder dog holds no images"),
        (["train/cat/a.png", "train/dog/b.txt"], "class folder dog holds no images"),
    ],
)
def test_a_folder_without_two_classes_is_refused_and_told_why(
    tmp_path: Path, files: list[str], why: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    text = refused(tmp_path, why)
    assert (".jpg" in text and ".png" in text) or "cat" in text


def test_a_nested_folder_that_may_not_be_listed_is_not_passed_over(tmp_path: Path) -> None:
    save_images(tmp_path, FILES)
    save_images(tmp_path, ["cat/locked/x.png"])
    (tmp_path / "cat" / "locked").chmod(0)
    code = "import sys\nfrom catclf.datasets import open_dataset\n"
    code += "try: open_dataset(sys.argv[1])\nexcept Exception as e: print(e)"
    try:
        shown = in_python_without_powers(code, tmp_path)
    finally:
        (tmp_path / "cat" / "locked").chmod(0o700)
    assert "locked" in shown
    assert "permission" in shown.lower()


def test_a_folder_that_needs_more_memory_than_there_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_images(tmp_path, FILES)
    monkeypatch.setattr(machine, "memory", lambda: 1000)
    refused(tmp_path, "memory", size=SIZE)


@pytest.mark.parametrize("workers", [1, 5])
def test_the_workers_and_the_progress_do_not_change_the_result(
    tmp_path: Path, workers: int
) -> None:
    files = [f"{name}/{i:03}.png" for name in ("cat", "non-cat") for i in range(70)]
    images = make_images(140, SIZE, seed=5)[0]
    save_images(tmp_path, files, images)
    seen: list[tuple[int, int]] = []
    data = opened(tmp_path, size=SIZE, workers=workers, on_progress=lambda *at: seen.append(at))
    np.testing.assert_array_equal(data.images, images)
    assert seen == [(i, 140) for i in range(1, 141)]


# Unreadable images


@pytest.mark.parametrize("count", [9, 10, 30])
def test_at_most_ten_unreadable_images_are_listed(tmp_path: Path, count: int) -> None:
    save_images(tmp_path, FILES)
    for i in range(count):
        (tmp_path / "cat" / f"bad{i:02}.jpg").touch()
    least = "at least " if count >= 10 else ""
    refused(tmp_path, f"{least}{min(count, 10)} images", "cat/bad02.jpg, … (is empty)")
    (tmp_path / "cat" / "bad00.jpg").write_text("no image")
    text = refused(tmp_path, "cat/bad00.jpg (", "cat/bad01.jpg, ", "cat/bad03.jpg, … (is empty)")
    assert text.count("is empty") == 1  # each reason is said once


def test_skip_bad_leaves_them_out_and_says_so(tmp_path: Path) -> None:
    save_images(tmp_path, FILES)
    (tmp_path / "cat" / "a\n.jpg").touch()
    data = opened(tmp_path, size=SIZE, skip_bad=True)
    assert data.names == tuple(FILES)
    np.testing.assert_array_equal(data.images, IMAGES)
    (note,) = data.notes
    assert "left out 1 unreadable" in note
    assert r"cat/a\n.jpg (is empty)" in note


@pytest.mark.parametrize("skip_bad", [True, False])
def test_a_class_without_a_readable_image_is_named(tmp_path: Path, skip_bad: bool) -> None:
    save_images(tmp_path, FILES)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "x.jpg").write_bytes(b"\xff\xd8 truncated")
    refused(tmp_path, "dog", skip_bad=skip_bad, positive="cat")


# Tables

HEADER = ("path", "label")


def table(folder: Path, *rows: tuple[str, ...], name: str = "t.csv") -> Path:
    save_images(folder, ["a.png", "b.png"])
    return write_table(folder / name, list(rows))


def test_blank_lines_and_absolute_paths_in_a_table_are_fine(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER, (str(tmp_path / "a.png"), "cat"), (), ("b.png", " dog "))
    data = opened(path, size=SIZE)
    np.testing.assert_array_equal(data.images, IMAGES[:2])
    assert data.classes == ("dog", "cat")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "it is empty"),
        (
            [("file", "kind")],
            "has no column label (or class, labels, target, targets, category, …); it has",
        ),
        ([("name of it", "label")], "line 1: has no column path (or file, filename, image, "),
        ([HEADER], "has no images"),
        ([HEADER, ("a.png", "cat"), ("c.png", "dog")], "line 3: there is no file c.png"),
        ([HEADER, ("a.png", "cat"), (".", "dog")], "line 3: there is no file ."),
        ([HEADER, ("a.png", "cat"), ("x" * 300, "dog")], "line 3: "),
        ([HEADER, ("a.png", "cat"), ("b\0.png", "dog")], "line 3: "),
        ([HEADER, ("a.png", "cat"), ("b.png",)], "line 3: has 1 of 2 columns"),
        ([HEADER, ("a.png", ""), ("b.png", "dog")], "line 2: the path or the label is empty"),
        ([HEADER, ("", "cat"), ("b.png", "dog")], "line 2: the path or the label is empty"),
        ([HEADER, ("a.png", "cat"), ("b.png", "cat")], "all images are cat"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_line(
    tmp_path: Path, rows: list[tuple[str, ...]], why: str
) -> None:
    refused(table(tmp_path, *rows), why)


def test_an_unreadable_image_of_a_table_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.png").touch()
    path = table(tmp_path, HEADER, ("a.png", "cat"), ("bad.png", "dog"), ("b.png", "dog"))
    refused(path, "line 3: bad.png (is empty)", size=SIZE)
    (note,) = opened(path, size=SIZE, skip_bad=True).notes
    assert "line 3: bad.png (is empty)" in note


@settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=60), header=st.booleans())
def test_any_bytes_as_a_table_give_a_data_error_of_one_line(
    tmp_path: Path, content: bytes, header: bool
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"path,label\n" * header + content)
    refused(path)


# Archives


def npy(array: NDArray[Any], shape: tuple[int, ...] | None = None) -> bytes:
    """An array as a ``.npy`` member, with a false shape if one is given."""
    content = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    if shape is not None:
        header["shape"] = shape
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + array.tobytes()


def archive(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            file.writestr(name, content)
    return path


GOOD = [("x.npy", npy(IMAGES)), ("y.npy", npy(LABELS))]


@pytest.mark.parametrize("keys", KEYS)
def test_an_archive_has_the_keys_of_hdf5_and_class_names(
    tmp_path: Path, keys: tuple[str, str]
) -> None:
    arrays = dict(zip(keys, (np.asfortranarray(IMAGES), LABELS.astype(">i2")), strict=True))
    np.savez(tmp_path / "d.npz", list_classes=np.array(["dog", "cat"]), **arrays)  # type: ignore[arg-type]
    data = opened(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.images, IMAGES)
    assert (data.classes, data.Y.tolist()) == (("dog", "cat"), [LABELS.tolist()])


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("key", ["x", "y", "list_classes"])
def test_a_pickle_in_an_archive_is_refused_and_never_loaded(tmp_path: Path, key: str) -> None:
    objects = np.array([Harmful(tmp_path / "harm")] * 8, dtype=object)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, np.lib.format.header_data_from_array_1_0(np.empty(8, object))
    )
    content = header.getvalue() + pickle.dumps(objects)
    members = [(name, data) for name, data in GOOD if name != f"{key}.npy"]
    refused(archive(tmp_path / "d.npz", *members, (f"{key}.npy", content)), key)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([], "has none of the keys"),
        ([GOOD[0]], "has none of the keys"),
        ([GOOD[0], GOOD[1], GOOD[1]], "holds a name twice"),
        ([GOOD[0], GOOD[1], ("x", b"")], "holds a name twice"),
        ([GOOD[0], ("y", npy(LABELS))], ""),
        ([("x.npy", npy(IMAGES, (10**9, SIZE, SIZE, 3))), GOOD[1]], "x does not hold as much"),
        ([("x.npy", npy(IMAGES, (9, SIZE, SIZE, 3))), GOOD[1]], "x does not hold as much"),
        ([("x.npy", npy(IMAGES, (8, -SIZE, -SIZE, 3))), GOOD[1]], ""),
        ([GOOD[0], ("y.npy", npy(LABELS, (10**15,)))], "y does not hold as much"),
        ([GOOD[0], ("y.npy", npy(LABELS[:7]))], "8 images, but 7 labels"),
        ([GOOD[0], ("y.npy", npy(LABELS + 2))], "labels must be 0 or 1"),
        ([GOOD[0], ("y.npy", npy(LABELS * 0.5))], "labels must be integers"),
        ([("x.npy", npy(IMAGES / 25)), GOOD[1]], "pixels must be 0 to 255"),
        ([("x.npy", npy(IMAGES[..., :2])), GOOD[1]], "(m, 64, 64, 3)"),
        ([GOOD[0], ("y.npy", b"\x93NUMPY\x09\x00")], "y is in an unknown array format"),
        ([GOOD[0], ("y.npy", b"MZ")], ""),
    ],
)
def test_an_archive_that_lies_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes]], why: str
) -> None:
    refused(archive(tmp_path / "d.npz", *members), why)


def test_a_size_that_the_directory_claims_too_is_refused_before_it_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 10**5
    claimed = npy(IMAGES, (count, 64, 64, 3))
    members = [("y.npy", npy(np.zeros(count, np.uint8))), ("x.npy", claimed)]
    path = archive(tmp_path / "d.npz", *members)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    size = len(claimed) - IMAGES.nbytes + count * 64 * 64 * 3
    struct.pack_into("<I", content, entry + 24, size)  # of the unpacked member
    path.write_bytes(content)
    refused(path, "x is truncated")
    monkeypatch.setattr(machine, "memory", lambda: 10**9)
    refused(path, "x needs 1.2 GB of memory")


@settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_changed_byte_in_an_archive_gives_the_data_or_a_data_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = archive(tmp_path / "d.npz", *GOOD)
    content = bytearray(path.read_bytes())
    pixels = content.index(IMAGES.tobytes())
    places = [*range(pixels), *range(pixels + IMAGES.nbytes, len(content))]
    content[data.draw(st.sampled_from(places))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found = opened(path)
    except DataError as refusal:
        right = str(refusal).isprintable()
    else:
        right = found.X.tobytes(order="F") == IMAGES.tobytes()
    assert right


# What is none of these


@pytest.mark.parametrize("name", ["data.rar", "data", "data.jpg", "data.h5.bak"])
def test_an_unknown_ending_lists_those_that_are_accepted(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    refused(tmp_path / name, "folder", ".h5", ".hdf5", ".csv", ".tsv", ".npz")


@pytest.mark.parametrize("name", ["data.h5", "data.npz", "data.csv", "folder"])
def test_a_source_that_does_not_exist_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path / name, "there is no such file or folder")


@pytest.mark.parametrize("ending", ["h5", "npz", "csv", "tsv"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"data.{ending}"
    os.mkfifo(path)

    def stop(*_: Any) -> None:
        raise TimeoutError("this waits for a writer")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(180)
    try:
        refused(path, "is not a file")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Classes


def source_of(*classes: str) -> Listing:
    labels = np.arange(max(len(classes), 2))
    pixels = np.zeros((len(labels), 1, 1, 3), np.uint8)
    return Listing("here", "here", classes, labels, Preprocess(1), pixels=pixels)


@pytest.mark.parametrize(
    ("classes", "wanted", "expected"),
    [
        ((), None, ("non-cat", "cat")),
        ((), "dog", ("non-dog", "dog")),
        (("cat", "non-cat"), None, ("non-cat", "cat")),
        (("non-cat", "cat"), None, ("non-cat", "cat")),
        (("cat", "dog"), None, ("dog", "cat")),
        (("cat", "dog"), "dog", ("cat", "dog")),
        (("dog", "non-dog"), None, ("non-dog", "dog")),
        (("non-dog", "dog"), None, ("non-dog", "dog")),
        (("ripe", "unripe"), None, ("ripe", "unripe")),
        (("ripe", "unripe"), "ripe", ("unripe", "ripe")),
        (("bird", "cat", "dog"), None, ("non-cat", "cat")),
        (("bird", "cat", "dog"), "dog", ("non-dog", "dog")),
        (("bird", "cow", "dog"), "cow", ("non-cow", "cow")),
    ],
)
def test_the_positive_class_is_the_one_wanted_or_the_one_meant(
    classes: tuple[str, ...], wanted: str | None, expected: tuple[str, str]
) -> None:
    positive, note = choose_positive(source_of(*classes), wanted)
    assert two_classes(classes, positive) == expected
    # A note wherever the choice was not the user's or the question's own.
    chosen_for_them = wanted is None and positive != "cat"
    assert bool(note) == (len(classes) != 2 or chosen_for_them)
    assert not note or positive in note


@pytest.mark.parametrize(
    ("classes", "wanted", "why"),
    [
        (("bird", "cow", "dog"), None, "`positive`: bird, cow, dog"),
        (("cat", "dog"), "fox", "no class is named fox: choose from cat, dog"),
        (("a\nb", "dog"), "fox", r"choose from a\nb, dog"),
    ],
)
def test_a_positive_class_that_is_not_there_or_not_said_is_refused(
    classes: tuple[str, ...], wanted: str | None, why: str
) -> None:
    with pytest.raises(DataError) as caught:
        choose_positive(source_of(*classes), wanted)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_note_on_an_odd_class_name_stays_on_one_line() -> None:
    assert choose_positive(source_of("a", "b\x1b[31m"), None)[1].isprintable()
    assert choose_positive(source_of("a", "b", "c\n"), "c\n")[1].isprintable()


def test_of_three_class_folders_one_is_positive_and_the_rest_are_not(tmp_path: Path) -> None:
    save_images(tmp_path, ["bird/a.png", "cat/b.png", "dog/c.png"])
    data = opened(tmp_path, size=SIZE)
    assert (data.classes, data.Y.tolist()) == (("non-cat", "cat"), [[0, 1, 0]])
    assert "the other 2 classes are not" in data.notes[0]


# Rows on disk

M = 70
ROWS = make_images(M, 5, seed=9)[0]
ROWS[0] = ROWS[-1] = 0  # nothing to tell a wrong place by
STORAGE: list[dict[str, Any]] = [
    {},
    {"chunks": (16, 5, 5, 3)},
    {"chunks": (16, 5, 5, 3), "maxshape": (None, 5, 5, 3)},
    {"chunks": (3, 5, 2, 3)},
    {"chunks": (16, 5, 5, 3), "compression": "gzip"},
    {"chunks": (16, 5, 5, 3), "compression": "lzf"},
    {"chunks": (16, 5, 5, 3), "fletcher32": True},
]


def on_disk(path: Path, userblock: int = 0, **options: Any) -> h5py.Dataset:
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("x", data=ROWS, **options)
    return h5py.File(path)["x"]


@pytest.mark.parametrize("userblock", [0, 4096])
@pytest.mark.parametrize("options", STORAGE)
def test_rows_from_disk_are_those_that_h5py_reads(
    tmp_path: Path, options: dict[str, Any], userblock: int
) -> None:
    rows = DiskRows(on_disk(tmp_path / "d.h5", userblock, **options), "d.h5")
    assert (len(rows), rows.shape, rows.ndim) == (M, ROWS.shape, 4)
    assert rows.dtype == np.uint8
    assert rows.nbytes == ROWS.nbytes
    np.testing.assert_array_equal(np.asarray(rows), ROWS)
    for part in (slice(3, 40), slice(None), slice(15, 17), slice(60, 99), slice(5, 5), slice(9, 3)):
        np.testing.assert_array_equal(rows[part], ROWS[part])
    for part in (slice(None, None, 7), slice(-1, 0, -5), slice(-9, None)):
        np.testing.assert_array_equal(rows[part], ROWS[part])
    chosen = np.random.default_rng(0).integers(0, M, 200)
    np.testing.assert_array_equal(rows[chosen], ROWS[chosen])
    np.testing.assert_array_equal(rows[chosen[:0]], ROWS[chosen[:0]])


@pytest.mark.parametrize("options", STORAGE)
@pytest.mark.parametrize("row", [M, M + 5, -M - 1])
def test_rows_that_are_not_there_are_an_index_error(
    tmp_path: Path, options: dict[str, Any], row: int
) -> None:
    rows = DiskRows(on_disk(tmp_path / "d.h5", **options), "d.h5")
    with pytest.raises(IndexError):
        rows[np.array([0, row])]


@pytest.mark.parametrize("options", [STORAGE[0], STORAGE[1], STORAGE[4]])
def test_a_file_cut_short_while_it_is_in_use_is_a_data_error(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "d.h5"
    rows = DiskRows(on_disk(path, **options), "d.h5: x")
    os.truncate(path, 3000)
    with pytest.raises(DataError, match=r"^d\.h5: x"):
        rows[:]


@pytest.mark.parametrize(
    ("sides", "default", "wanted", "size"),
    [
        ([(200, 150)] * 4, 128, None, 128),
        ([(200, 64)] * 4, 128, None, 64),
        ([(32, 32)] * 4, 128, None, 64),
        ([(200, 150)] * 3 + [(20, 20)], 128, None, 128),
        ([(200, 150)] * 4, 128, 96, 96),
        ([(200, 150)] * 4, 64, None, 64),
    ],
)
def test_the_default_size_is_for_images_that_have_as_much(
    sides: list[tuple[int, int]], default: int, wanted: int | None, size: int, tmp_path: Path
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number, shape in enumerate(sides):
            Image.new("RGB", shape).save(tmp_path / name / f"{number}.png")
    data = open_dataset(tmp_path, options=ReadOptions(size=wanted, default_size=default))
    assert data.size == data.preprocess.size == size


def test_files_that_cannot_be_read_do_not_decide_the_size(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (100, 100)).save(tmp_path / name / "a.png")
        (tmp_path / name / "b.png").write_bytes(b"no image")
    data = open_dataset(tmp_path, options=ReadOptions(skip_bad=True, default_size=128))
    assert data.size == 128
