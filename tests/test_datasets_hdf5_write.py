"""Packing: what is in the file, flat memory, and a file that is whole or not there."""

from __future__ import annotations

import csv
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import make_images
from PIL import Image

from catclf.datasets import Dataset, Listing, ReadOptions, Split, open_dataset, open_source
from catclf.datasets.hdf5 import write
from catclf.errors import DataError, OutputError
from catclf.images.preprocess import Preprocess

SIZE = 6
IMAGES, LABELS = make_images(150, SIZE, seed=2)
NAMES = (*(f"ä {i}.png" for i in range(149)), "\udcff\n.png")
CLASSES = ("non-cat", "cat")


def source(**changes: Any) -> Listing:
    known: dict[str, Any] = {
        "shown": "here",
        "name": "here",
        "classes": CLASSES,
        "labels": LABELS,
        "preprocess": Preprocess(SIZE, "pad"),
        "pixels": IMAGES,
        "called": NAMES,
    }
    return Listing(**{**known, **changes})


def folder(root: Path, size: tuple[int, int] = (SIZE, SIZE)) -> Path:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(3):
            image = Image.fromarray(make_images(1, max(size), seed=i)[0][0])
            image.crop((0, 0, *size)).save(root / name / f"{i}.png")
    return root


def pack(path: Path, output: Path, part: Split = "train", **options: Any) -> Dataset:
    reading = ReadOptions(**options)
    write(output, {part: open_source(path, reading).split(part)})
    return open_dataset(output, part)


# What is in the file


@pytest.mark.parametrize("compression", ["none", "gzip", "lzf"])
def test_the_file_is_in_the_course_schema_with_names_and_settings(
    tmp_path: Path, compression: str
) -> None:
    output = tmp_path / "p.h5"
    written = write(output, {"train": source(), "test": source(labels=1 - LABELS)}, compression)
    with h5py.File(output) as file:
        x = file["train_set_x"]
        np.testing.assert_array_equal(x[:], IMAGES)
        assert x.dtype == np.uint8
        assert x.chunks == (64, SIZE, SIZE, 3)
        assert x.compression == (None if compression == "none" else compression)
        assert x.attrs["catclf_fit"] == b"pad"
        assert x.attrs["catclf_resampling"] == b"bicubic"
        assert file["train_set_y"][:].tolist() == LABELS.tolist()
        assert file["test_set_y"][:].tolist() == (1 - LABELS).tolist()
        assert file["list_classes"][:].tolist() == [b"non-cat", b"cat"]
        names = file["train_set_names"][:].tolist()
        assert names[0] == "ä 0.png".encode()
        assert names[-1] == b"\xff\n.png"
    assert written["train"].tolist() == LABELS.tolist()


@pytest.mark.parametrize("compression", ["none", "gzip", "lzf"])
def test_what_was_packed_is_read_back(tmp_path: Path, compression: str) -> None:
    write(tmp_path / "p.h5", {"train": source()}, compression)
    data = open_dataset(tmp_path / "p.h5")
    np.testing.assert_array_equal(data.images, IMAGES)
    assert data.Y.tolist() == [LABELS.tolist()]
    assert data.names == NAMES
    assert data.classes == CLASSES
    assert data.preprocess == Preprocess(SIZE, "pad")


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write(tmp_path / name, {"train": source()}, "gzip")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_without_classes_and_names_there_are_none_in_the_file(tmp_path: Path) -> None:
    write(tmp_path / "p.h5", {"train": source(classes=(), called=None)})
    with h5py.File(tmp_path / "p.h5") as file:
        assert set(file) == {"train_set_x", "train_set_y"}


def test_some_rows_are_packed_with_their_labels_and_names(tmp_path: Path) -> None:
    rows = np.array([1, 70, 149])
    write(tmp_path / "p.h5", {"train": source().select(rows)})
    data = open_dataset(tmp_path / "p.h5")
    np.testing.assert_array_equal(data.images, IMAGES[rows])
    assert data.names == tuple(NAMES[row] for row in rows)
    assert data.Y.tolist() == [LABELS[rows].tolist()]


def test_three_classes_stay_three_classes(tmp_path: Path) -> None:
    labels = np.arange(150) % 3
    write(tmp_path / "p.h5", {"train": source(classes=("ant", "bee", "cat"), labels=labels)})
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["train_set_y"][:].tolist() == labels.tolist()
    data = open_dataset(tmp_path / "p.h5", options=ReadOptions(positive="bee"))
    assert data.Y.tolist() == [(labels == 1).tolist()]


def test_a_pack_is_not_read_with_another_fit_or_size(tmp_path: Path) -> None:
    write(tmp_path / "p.h5", {"train": source()})
    with pytest.raises(DataError, match="packed with `fit=pad`, not crop"):
        open_dataset(tmp_path / "p.h5", options=ReadOptions(fit="crop"))
    with pytest.raises(DataError, match="images of 6x6, not 64x64"):
        open_dataset(tmp_path / "p.h5", options=ReadOptions(size=64))
    assert open_dataset(tmp_path / "p.h5", options=ReadOptions(fit="pad")).m == 150


@pytest.mark.parametrize("fit", ["stretch", 3])
def test_a_pack_made_in_an_unknown_way_is_refused(tmp_path: Path, fit: Any) -> None:
    write(tmp_path / "p.h5", {"train": source()})
    with h5py.File(tmp_path / "p.h5", "a") as file:
        file["train_set_x"].attrs["catclf_fit"] = fit
    with pytest.raises(DataError, match="does not know"):
        open_dataset(tmp_path / "p.h5")


def test_unreadable_images_are_left_out_with_their_labels_and_names(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos")
    (root / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        pack(root, tmp_path / "p.h5", size=SIZE)
    assert not list(tmp_path.glob("*.h5"))
    data = pack(root, tmp_path / "p.h5", size=SIZE, skip_bad=True)
    assert data.names == ("cat/0.png", "cat/2.png", "dog/0.png", "dog/1.png", "dog/2.png")
    assert data.Y.tolist() == [[1, 1, 0, 0, 0]]


# Wholly or not at all


class Failing(Listing):
    """Fails after two blocks."""

    error: BaseException = DataError("here: fails")

    def blocks(self) -> Iterator[tuple[Any, Any]]:
        for place, block in enumerate(super().blocks()):
            if place == 2:
                raise self.error
            yield block


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (DataError("here: fails"), DataError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, "No space left on device"), OutputError),
    ],
)
@pytest.mark.parametrize("before", [None, b"the old file"])
def test_a_failure_in_the_middle_leaves_what_was_there(
    tmp_path: Path, error: BaseException, shown: type[BaseException], before: bytes | None
) -> None:
    output = tmp_path / "p.h5"
    if before is not None:
        output.write_bytes(before)
    failing = Failing(**vars(source()))
    failing.error = error
    with pytest.raises(shown):
        write(output, {"train": failing})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from catclf.datasets.hdf5 import write
from catclf.datasets import Listing, ReadOptions, Split, open_source
from catclf.images.preprocess import Preprocess

class Killing(Listing):
    def blocks(self):
        for place, block in enumerate(super().blocks()):
            if place == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield block

m = 400
pixels = np.ones((m, 8, 8, 3), np.uint8)
source = Killing("k", "k", (), np.arange(m) % 2, Preprocess(8), pixels=pixels)
write(Path(sys.argv[1]), {"train": source})
"""


@pytest.mark.parametrize("before", [None, b"the old file"])
def test_a_kill_in_the_middle_leaves_no_half_file_under_the_name(
    tmp_path: Path, before: bytes | None
) -> None:
    output = tmp_path / "p.h5"
    if before is not None:
        output.write_bytes(before)
    done = subprocess.run([sys.executable, "-c", KILLED, output], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert (output.read_bytes() if output.exists() else None) == before
    write(output, {"train": source()})  # and the next run is not disturbed
    assert open_dataset(output).m == 150


LIMITED = """
import resource, sys
from catclf.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.argv[0] = "catclf"
main()
"""


def test_a_file_that_cannot_grow_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos")
    command = ["data", "pack", str(root), "-o", str(tmp_path / "p.h5"), "--size", "400"]
    done = subprocess.run([sys.executable, "-c", LIMITED, *command], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "p.h5: cannot be written: " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_no_byte_that_finds_no_room_is_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Among these are rooms in which the library would fail as it closes its file."""
    write(tmp_path / "p.h5", {"train": source()})
    size = (tmp_path / "p.h5").stat().st_size
    (tmp_path / "p.h5").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in [*range(1000, size, 1931), size - 1, size]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            if room < size:
                with pytest.raises(OutputError, match=r"p\.h5: cannot be written: file too large"):
                    write(tmp_path / "p.h5", {"train": source()})
                assert list(tmp_path.iterdir()) == []
            else:
                write(tmp_path / "p.h5", {"train": source()})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert np.array_equal(np.asarray(open_dataset(tmp_path / "p.h5").images), IMAGES)
    assert capfd.readouterr().err == ""


PEAK = """
import sys
from catclf.cli import main
sys.argv[0] = "catclf"
try:
    main()
finally:
    lines = open("/proc/self/status").read().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


def peak_of_packing(folder: Path, count: int) -> int:
    """Megabytes at most held by a process that packs so many images of 64x64."""
    rows = [("path", "label")] + [(f"{i % 2}.png", "ab"[i % 2]) for i in range(count)]
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "data", "pack", "t.csv", "-o", "p.h5", "--workers", "2"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    )
    with h5py.File(folder / "p.h5") as file:
        assert file["train_set_x"].shape == (count, 64, 64, 3)
    return int(done.stdout.splitlines()[-1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    for i, image in enumerate(make_images(2, 8)[0]):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    few, many = peak_of_packing(tmp_path, 600), peak_of_packing(tmp_path, 6000)
    assert many - few < 12  # held, the 5400 more would take 66 MB as bytes and 531 as float64
