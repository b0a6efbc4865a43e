"""Packing: what is in the file, flat memory, and a file that is whole or not there."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import GREEN, RED, Run, contents, fill, limited, make_images, opened, unopened

from catclf.datasets import Listing, Split
from catclf.datasets.hdf5 import write
from catclf.errors import OutputError
from catclf.images.preprocess import Preprocess

SIZE = 6
IMAGES, LABELS = make_images(150, SIZE, seed=2)
NAMES = (*(f"ä {i}.png" for i in range(149)), "\udcff\n.png")
CLASSES = ("non-cat", "cat")


def source(**changes: Any) -> Listing:
    known: dict[str, Any] = {"classes": CLASSES, "labels": LABELS, "pixels": IMAGES}
    known |= {"preprocess": Preprocess(SIZE, "pad"), "called": NAMES}
    return Listing("here", "here", **{**known, **changes})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "p.h5"


# What is in the file


@pytest.mark.parametrize("compression", ["none", "gzip", "lzf"])
def test_a_file_has_the_schema_and_is_read(tmp_path: Path, output: Path, compression: str) -> None:
    parts: dict[Split, Listing] = {"train": source(), "test": source(labels=1 - LABELS)}
    written = write(output, parts, compression)
    assert written["train"].tolist() == LABELS.tolist()
    with h5py.File(output) as file:
        x = file["train_set_x"]
        np.testing.assert_array_equal(x[:], IMAGES, strict=True)
        assert x.chunks == (64, SIZE, SIZE, 3)
        assert x.compression == (None if compression == "none" else compression)
        assert (x.attrs["catclf_fit"], x.attrs["catclf_resampling"]) == (b"pad", b"bicubic")
        assert file["train_set_y"][:].tolist() == LABELS.tolist()
        assert file["test_set_y"][:].tolist() == (1 - LABELS).tolist()
        assert file["list_classes"][:].tolist() == [b"non-cat", b"cat"]
        names = file["train_set_names"][:].tolist()
        assert (names[0], names[-1]) == ("ä 0.png".encode(), b"\xff\n.png")
    data = opened(output)
    np.testing.assert_array_equal(data.images, IMAGES)
    assert data.Y.tolist() == [LABELS.tolist()]
    assert (data.names, data.classes, data.preprocess) == (NAMES, CLASSES, Preprocess(SIZE, "pad"))
    write(tmp_path / "again.h5", parts, compression)
    assert (tmp_path / "again.h5").read_bytes() == output.read_bytes()


def test_what_a_source_does_not_say_is_not_in_the_file(output: Path) -> None:
    write(output, {"train": source(classes=(), called=None)})
    with h5py.File(output) as file:
        assert set(file) == {"train_set_x", "train_set_y"}


def test_three_classes_stay_three_classes(output: Path) -> None:
    labels = np.arange(150) % 3
    write(output, {"train": source(classes=("ant", "bee", "cat"), labels=labels)})
    with h5py.File(output) as file:
        assert file["train_set_y"][:].tolist() == labels.tolist()
    assert opened(output, positive="bee").Y.tolist() == [(labels == 1).tolist()]


def test_a_pack_is_read_as_it_was_made_and_in_no_other_way(output: Path) -> None:
    write(output, {"train": source()})
    unopened(output, "packed with `fit=pad`, not crop", fit="crop")
    unopened(output, "images of 6x6, not 64x64", size=64)
    assert opened(output, fit="pad").m == 150
    for fit in ("stretch", 3):
        with h5py.File(output, "a") as file:
            file["train_set_x"].attrs["catclf_fit"] = fit
        unopened(output, "does not know")


# Wholly or not at all


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from catclf.datasets.hdf5 import write
from catclf.datasets import Listing
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


@pytest.mark.parametrize("before", [{}, {"p.h5": b"the old file"}])
def test_a_kill_in_the_middle_leaves_no_half_file(output: Path, before: dict[str, bytes]) -> None:
    fill(output.parent, before)
    done = subprocess.run([sys.executable, "-c", KILLED, output], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert contents(output.parent).get("p.h5") == before.get("p.h5")
    write(output, {"train": source()})  # and the next run is not disturbed
    assert opened(output).m == 150


def test_a_file_that_cannot_grow_leaves_nothing(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "photos", {"cat/0.png": GREEN, "dog/0.png": RED})
    env = {"PYTHONDONTWRITEBYTECODE": "1"}  # else compiled modules would be cut short, too
    with limited(100_000):
        packed = run("data", "pack", "photos", "-o", "p.h5", "--size", "400", env=env)
    packed.refused("p.h5: cannot be written: ")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_no_byte_without_room_is_lost(output: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Among these are rooms in which the library would fail as it closes its file."""
    write(output, {"train": source()})
    size = output.stat().st_size
    output.unlink()
    for room in [*range(1000, size, 1931), size - 1]:
        why = r"p\.h5: cannot be written: file too large"
        with pytest.raises(OutputError, match=why), limited(room):
            write(output, {"train": source()})
        assert contents(output.parent) == {}
    with limited(size):
        write(output, {"train": source()})
    assert np.array_equal(np.asarray(opened(output).images), IMAGES)
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
    fill(tmp_path, {f"{i}.png": image for i, image in enumerate(make_images(2, 8)[0])})
    few, many = peak_of_packing(tmp_path, 500), peak_of_packing(tmp_path, 2500)
    assert many - few < 12  # held, the 2000 more would take 25 MB as bytes and 197 as float64
