"""Folders, tables, archives and files on disk: the same images, and what is refused."""

from __future__ import annotations

import io
import os
import random
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import fill, make_images, opened, unopened
from numpy.typing import NDArray

from catclf import machine
from catclf.datasets import Listing, ReadOptions, open_dataset, open_source
from catclf.datasets.hdf5 import DiskRows
from catclf.datasets.listing import choose_positive, two_classes
from catclf.datasets.packed import load, write_folder
from catclf.errors import DataError
from catclf.images.preprocess import Limits, Preprocess

SIZE = 6
IMAGES = make_images(8, SIZE, seed=3)[0]
LABELS = np.array([1, 1, 1, 0, 0, 0, 0, 0])  # cats first: folders are read by name
FILES = [f"cat/c {i}.png" for i in range(3)] + [f'non-cat/n,"{i}".png' for i in range(5)]


def photos(root: Path) -> Path:
    return fill(root, dict(zip(FILES, IMAGES, strict=True)))


def test_too_little_memory_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 1000)
    unopened(photos(tmp_path), "memory", size=SIZE)


@pytest.mark.parametrize("workers", [1, 5])
def test_workers_and_progress_do_not_change_the_result(tmp_path: Path, workers: int) -> None:
    files = [f"{name}/{i:03}.png" for name in ("cat", "non-cat") for i in range(70)]
    images = make_images(140, SIZE, seed=5)[0]
    fill(tmp_path, dict(zip(files, images, strict=True)))
    seen: list[tuple[int, int]] = []
    data = opened(tmp_path, size=SIZE, workers=workers, on_progress=lambda *at: seen.append(at))
    np.testing.assert_array_equal(data.images, images)
    assert seen == [(i, 140) for i in range(1, 141)]


# Unreadable images


@pytest.mark.parametrize("count", [9, 30])
def test_at_most_ten_unreadable_images_are_listed(tmp_path: Path, count: int) -> None:
    fill(photos(tmp_path), {f"cat/bad{i:02}.jpg": b"" for i in range(count)})
    least = "at least " if count >= 10 else ""
    unopened(tmp_path, f"{least}{min(count, 10)} images", "cat/bad02.jpg, … (is empty)")
    (tmp_path / "cat" / "bad00.jpg").write_text("no image")
    text = unopened(tmp_path, "cat/bad00.jpg (", "cat/bad01.jpg, ", "cat/bad03.jpg, … (is empty)")
    assert text.count("is empty") == 1  # each reason is said once


def test_skip_bad_leaves_them_out_and_says_so(tmp_path: Path) -> None:
    fill(photos(tmp_path), {"cat/a\n.jpg": b""})
    data = opened(tmp_path, size=SIZE, skip_bad=True)
    assert data.names == tuple(FILES)
    np.testing.assert_array_equal(data.images, IMAGES)
    (note,) = data.notes
    assert "left out 1 unreadable" in note
    assert r"cat/a\n.jpg (is empty)" in note


# Archives of arrays


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


def test_compressed_arrays_of_other_orders_are_read(tmp_path: Path) -> None:
    x, y = np.asfortranarray(IMAGES), LABELS.astype(">i2")
    np.savez_compressed(tmp_path / "d.npz", x=x, y=y)
    data = opened(tmp_path / "d.npz")
    assert (data.X.tobytes(order="F"), data.Y.tolist()) == (IMAGES.tobytes(), [LABELS.tolist()])


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("key", ["x", "y", "list_classes"])
def test_a_pickle_in_an_archive_is_refused_and_never_loaded(tmp_path: Path, key: str) -> None:
    content = io.BytesIO()
    np.save(content, np.array([Harmful(tmp_path / "harm")] * 8, dtype=object))
    members = dict(GOOD) | {f"{key}.npy": content.getvalue()}
    unopened(archive(tmp_path / "d.npz", *members.items()), key)
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
        ([GOOD[0], ("y.npy", b"\x93NUMPY\x09\x00")], "y is in an unknown array format"),
        ([GOOD[0], ("y.npy", b"MZ")], ""),
    ],
)
def test_an_archive_that_lies_is_unopened(tmp_path: Path, members: list[Any], why: str) -> None:
    unopened(archive(tmp_path / "d.npz", *members), why)


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
    unopened(path, "x is truncated")
    monkeypatch.setattr(machine, "memory", lambda: 10**9)
    unopened(path, "x needs 1.2 GB of memory")


def test_a_changed_byte_in_an_archive_gives_the_data_or_a_data_error(tmp_path: Path) -> None:
    path = archive(tmp_path / "d.npz", *GOOD)
    whole = path.read_bytes()
    pixels, rng = whole.index(IMAGES.tobytes()), random.Random(0)
    places = [*range(pixels), *range(pixels + IMAGES.nbytes, len(whole))]
    for place in rng.sample(places, 150):
        content = bytearray(whole)
        content[place] ^= rng.randint(1, 255)
        path.write_bytes(content)
        try:
            right = opened(path).X.tobytes(order="F") == IMAGES.tobytes()
        except DataError as refusal:
            right = str(refusal).isprintable()
        assert right, place


# What is none of these


@pytest.mark.parametrize("name", ["data.rar", "data", "data.jpg", "data.h5.bak"])
def test_an_unknown_ending_lists_those_that_are_accepted(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    unopened(tmp_path / name, "folder", ".h5", ".hdf5", ".csv", ".tsv", ".npz")


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("ending", [".h5", ".npz", ".csv", ".tsv", ""])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"pipe{ending}")
    for name, target in (("link", f"pipe{ending}"), ("zero", "/dev/zero"), ("nowhere", "none")):
        (tmp_path / f"{name}{ending}").symlink_to(target)
    (tmp_path / "file").touch()
    for name in ("pipe", "link", "zero"):
        unopened(tmp_path / f"{name}{ending}", "is not a file" if ending else "")
    for name in ("none", "nowhere"):
        unopened(tmp_path / f"{name}{ending}", "there is no such file or folder")
    for name in ("file/data", "n" * 300):
        unopened(tmp_path / f"{name}{ending}")


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
        (("Cat", "Dog"), None, ("Dog", "Cat")),
        (("cats", "dogs"), None, ("dogs", "cats")),
        (("CAT", "NOT_CAT"), None, ("NOT_CAT", "CAT")),
        (("cat", "dog"), "dog", ("cat", "dog")),
        (("Hund", "Katze"), "katze ", ("Hund", "Katze")),
        (("Dog", "not a dog"), None, ("not a dog", "Dog")),
        (("non-dog", "dog"), None, ("non-dog", "dog")),
        (("ripe", "unripe"), None, ("ripe", "unripe")),
        (("ripe", "unripe"), "ripe", ("unripe", "ripe")),
        (("bird", "cat", "dog"), None, ("non-cat", "cat")),
        (("bird", "cat", "dog"), "dog", ("non-dog", "dog")),
        (("bird", "cow", "dog"), "cow", ("non-cow", "cow")),
        (("a", "b\x1b[31m"), None, ("a", "b\x1b[31m")),
        (("a", "b", "c\n"), "c\n", ("non-c\n", "c\n")),
    ],
)
def test_the_positive_class_is_the_one_wanted_or_the_one_meant(
    classes: tuple[str, ...], wanted: str | None, expected: tuple[str, str]
) -> None:
    positive, note = choose_positive(source_of(*classes), wanted)
    assert two_classes(classes, positive) == expected
    assert note.isprintable()
    # A note wherever the choice was not the user's or the question's own.
    chosen_for_them = wanted != positive and positive.lower() not in ("cat", "cats")
    assert bool(note) == (len(classes) != 2 or chosen_for_them)


@pytest.mark.parametrize(
    ("classes", "wanted", "why"),
    [
        (("bird", "cow", "dog"), None, "`positive`: bird, cow, dog"),
        (("cat", "dog"), "fox", "no class is named fox: choose from cat, dog"),
        (("a\nb", "dog"), "fox", r"choose from a\nb, dog"),
    ],
)
def test_a_positive_class_that_is_not_there_or_not_said_is_unopened(
    classes: tuple[str, ...], wanted: str | None, why: str
) -> None:
    with pytest.raises(DataError) as caught:
        choose_positive(source_of(*classes), wanted)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


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


def on_disk(path: Path, userblock: int = 0, **options: Any) -> DiskRows:
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("x", data=ROWS, **options)
    return DiskRows(h5py.File(path)["x"], "d.h5: x")


@pytest.mark.parametrize("userblock", [0, 4096])
@pytest.mark.parametrize("options", STORAGE)
def test_rows_from_disk_are_those_that_h5py_reads(
    tmp_path: Path, options: dict[str, Any], userblock: int
) -> None:
    rows = on_disk(tmp_path / "d.h5", userblock, **options)
    assert (len(rows), rows.shape, rows.ndim) == (M, ROWS.shape, 4)
    assert (rows.dtype, rows.nbytes) == (np.dtype(np.uint8), ROWS.nbytes)
    np.testing.assert_array_equal(np.asarray(rows), ROWS)
    chosen = np.random.default_rng(0).integers(0, M, 200)
    parts: list[Any] = [slice(3, 40), slice(None), slice(15, 17), slice(60, 99), slice(5, 5)]
    parts += [slice(9, 3), slice(None, None, 7), slice(-1, 0, -5), slice(-9, None)]
    for part in (*parts, chosen, chosen[:0]):
        np.testing.assert_array_equal(rows[part], ROWS[part])
    for row in (M, M + 5, -M - 1):
        with pytest.raises(IndexError):
            rows[np.array([0, row])]


@pytest.mark.parametrize("options", [STORAGE[0], STORAGE[1], STORAGE[4]])
def test_a_file_cut_short_in_use_is_a_data_error(tmp_path: Path, options: dict[str, Any]) -> None:
    rows = on_disk(tmp_path / "d.h5", **options)
    os.truncate(tmp_path / "d.h5", 3000)
    with pytest.raises(DataError, match=r"^d\.h5: x"):
        rows[:]


# Sizes, and how images were decoded


@pytest.mark.parametrize(
    ("sides", "default", "wanted", "size"),
    [
        ([(200, 150)] * 4, 128, None, 128),
        ([(200, 64)] * 4, 128, None, 64),
        ([(32, 32)] * 4, 128, None, 64),
        ([(200, 150)] * 3 + [(20, 20)], 128, None, 128),
        ([(200, 150), (0, 0)], 128, None, 128),  # what cannot be read does not decide
        ([(200, 150)] * 4, 128, 96, 96),
        ([(200, 150)] * 4, 64, None, 64),
    ],
)
def test_the_default_size_is_for_images_that_have_as_much(
    sides: list[tuple[int, int]], default: int, wanted: int | None, size: int, tmp_path: Path
) -> None:
    files = dict[str, Any]()
    for name in ("cat", "dog"):
        for number, shape in enumerate(sides):
            image = np.zeros((*shape, 3), np.uint8)
            files[f"{name}/{number}.png"] = image if image.size else b"no image"
    options = ReadOptions(size=wanted, default_size=default, skip_bad=True)
    data = open_dataset(fill(tmp_path, files), options=options)
    assert data.size == data.preprocess.size == size


def test_shards_are_kept_if_they_were_decoded_alike(tmp_path: Path) -> None:
    photos(tmp_path / "d")
    (tmp_path / "packed").mkdir()

    def kept(**options: object) -> int:
        listing = open_source(tmp_path / "d", ReadOptions(size=8, **options)).split()  # type: ignore[arg-type]
        return write_folder(tmp_path / "packed", {"train": listing}, shard_images=5)["train"].kept

    assert (kept(), kept(), kept(limits=Limits(10_000))) == (0, 2, 0)
    assert (kept(limits=Limits(10_000, truncated=True)), kept()) == (0, 0)
    assert [each.images for each in load(tmp_path / "packed").splits["train"]] == [5, 3]
