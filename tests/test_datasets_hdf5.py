"""Data sets in HDF5: every accepted layout, every refusal; what is packed, whole or not at all."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import (
    GREEN,
    RED,
    Run,
    contents,
    fill,
    in_python_without_powers,
    limited,
    make_images,
    opened,
    unopened,
    write_hdf5,
)
from numpy.typing import NDArray

from catclf.datasets import Dataset, Listing, Split, open_parts, open_source
from catclf.datasets.hdf5 import write
from catclf.errors import DataError, OutputError
from catclf.images.preprocess import Preprocess

X, Y = make_images(6, size=4)
NAMES = [b"non-cat", b"cat"]
pytestmark = pytest.mark.usefixtures("no_hang")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.h5"


def holds(data: Dataset | None, images: NDArray[Any] = X, labels: NDArray[Any] = Y) -> bool:
    assert data is not None
    assert (data.images.dtype.name, data.Y.dtype.name) == ("uint8", "float64")
    assert data.Y.shape == (1, len(labels))
    return np.array_equal(data.images, images) and data.Y[0].tolist() == labels.tolist()


# What is accepted


def test_images_that_compress_extremely_well_are_read(path: Path) -> None:
    black, labels = np.zeros((100, 64, 64, 3), dtype=np.uint8), np.arange(100) % 2
    most = {"chunks": black.shape, "compression": "gzip", "compression_opts": 9}
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=black, **most)
        file["y"] = labels
    assert path.stat().st_size < black.nbytes / 50
    assert holds(opened(path), black, labels)


@pytest.mark.parametrize("fixed", [True, False])
def test_class_names_may_be_text_of_any_kind(path: Path, fixed: bool) -> None:
    names = ["nicht-Katze", "Kätzchen 猫"]
    with h5py.File(write_hdf5(path, x=X, y=Y), "a") as file:
        file["list_classes"] = [name.encode() for name in names] if fixed else names
    assert opened(path).classes == tuple(names)


def test_the_columns_of_x_are_the_images_and_no_copy(small_hdf5: Path) -> None:
    data = opened(small_hdf5)
    assert data.X.shape == (8 * 8 * 3, 20)
    assert np.shares_memory(data.X, data.images)
    np.testing.assert_array_equal(data.X.T, np.reshape(data.images, (20, -1)))


NOT_UTF_8 = pytest.param(os.fsdecode(b"\xff.h5"), id="bytes")


@pytest.mark.parametrize("name", ["-o.h5", "[b].H5", "a\nb.h5", "n" * 252 + ".h5", NOT_UTF_8])
def test_any_file_name_is_opened_and_shown_on_one_line(tmp_path: Path, name: str) -> None:
    odd = write_hdf5(tmp_path / "data.h5", x=X, y=Y).rename(tmp_path / name)
    assert holds(opened(odd))
    with pytest.raises(DataError, match=r"\.(h5|H5): x has images of 4x4") as caught:
        opened(odd, size=64)
    assert str(caught.value).isprintable()


def test_opening_a_file_loads_few_modules(path: Path) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=NAMES)
    code = "import sys\nfrom catclf.datasets import open_dataset\nopen_dataset(sys.argv[1])\n"
    code += "print(*(name for name, module in sys.modules.items() if name.startswith('catclf')"
    code += " and not module.__file__.endswith('__init__.py')))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert 0 < len(done.stdout.split()) <= 20, done.stdout


def test_equal_data_in_different_layouts_have_one_fingerprint(path: Path) -> None:
    data = opened(write_hdf5(path, x=X, y=Y))
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file.create_dataset("train_set_x", data=X, compression="gzip", chunks=(2, 4, 4, 3))
        file["train_set_y"] = Y.reshape(1, 6).astype(bool)
        file["list_classes"], file["unrelated"] = NAMES, np.arange(9)
    assert len(data.fingerprint) == 64
    assert opened(other).fingerprint == data.fingerprint
    assert opened(other, positive="non-cat").fingerprint != data.fingerprint
    spread = Dataset(np.asfortranarray(data.images), data.Y, data.classes, "elsewhere")
    assert spread.fingerprint == data.fingerprint


# What is refused: files


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        *((each, "is not an HDF5 file") for each in (b"not HDF5\n" * 100, bytes(5000))),
        (random.Random(0).randbytes(5000), "is not an HDF5 file"),
    ],
)
def test_a_file_that_is_not_hdf5_is_unopened(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    unopened(path, why)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_truncated_file_is_unopened(path: Path, share: float, libver: str) -> None:
    with h5py.File(path, "w", libver=libver) as file:
        file["x"], file["y"], file["list_classes"] = X, Y, NAMES
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    unopened(path, "" if share < 0.1 else f"truncated: {int(len(whole) * share)} of {len(whole)}")


def test_a_file_without_permission_is_unopened(path: Path) -> None:
    write_hdf5(path, x=X, y=Y).chmod(0)
    code = "import sys\nfrom catclf.datasets import open_dataset\n"
    code += "try: open_dataset(sys.argv[1])\nexcept Exception as e: print(e)"
    shown = in_python_without_powers(code, path)
    assert shown == f"{path}: cannot be read as HDF5: permission denied\n"


# What is refused: contents


@pytest.mark.parametrize(
    ("images", "labels", "why"),
    [
        (X[0], Y, "x has 4 images, but 6 labels"),
        (X[:, :3], Y, "x has images of 3x4"),
        (X[:, :0, :0], Y, "x "),
        (np.uint8(3), Y, "x has shape ()"),
        (X.astype(np.int8), Y, "x is int8 from "),
        (X[:5], Y, "x has 5 images, but 6 labels"),
        (X, Y[:1], "x has 6 images, but 1 label"),
        (X, Y[:0], "x has 6 images, but 0 labels"),
        (X[:0], Y[:0], "it has no images"),
        (X, Y + 2, "y has label 3 at image"),
        (X, -Y, "y has label -1 at image"),
        (X, np.array([0, 1, 0, 1, 255, 0], np.uint8), "y has label 255 at image 4"),
        (X, np.array([0, 1, 0, 1, 2**64 - 1, 0], np.uint64), "y has label"),
        (X, np.int64(1), "y has shape ()"),
        (X, Y.reshape(2, 3), "y has shape (2, 3)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(path: Path, images: Any, labels: Any, why: str) -> None:
    unopened(write_hdf5(path, x=images, y=labels), why)


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_without_a_class_name_is_unopened(path: Path, label: int) -> None:
    labels = np.array([0, 1, 2, 0, 1, label])
    write_hdf5(path, x=X, y=labels, list_classes=[b"ant", b"bee", b"cat"])
    unopened(path, f"y has label {label} at image 5: labels must be 0 to 2")


def variable_integers() -> NDArray[Any]:
    rows = np.empty(2, dtype=h5py.vlen_dtype(np.int32))
    rows[0], rows[1] = np.array([1, 2], np.int32), np.array([3], np.int32)
    return rows


@pytest.mark.parametrize(
    "names",
    [
        np.array([0, 1]),
        np.array([0.5, 1.5]),
        np.array(b"cat"),
        np.array([b"cat"]),
        np.array([[b"non-cat", b"cat"]]),
        np.array([b"cat", b"cat"]),
        np.array([b"", b"cat"]),
        np.array([str(i).encode() for i in range(1001)]),
        variable_integers(),
        h5py.Empty("S3"),
        "references",
    ],
)
def test_class_names_of_a_wrong_kind_are_unopened(path: Path, names: Any) -> None:
    with h5py.File(write_hdf5(path, x=X, y=Y), "a") as file:
        dtype = getattr(names, "dtype", h5py.ref_dtype)
        values = [file["x"].ref] * 2 if isinstance(names, str) else names
        file.create_dataset("list_classes", data=values, dtype=dtype)
    unopened(path, "list_classes")


def test_numbers_of_several_lengths_are_no_images_and_no_damage(path: Path) -> None:
    with h5py.File(write_hdf5(path, y=Y[:2]), "a") as file:
        file.create_dataset("x", data=variable_integers(), dtype=h5py.vlen_dtype(np.int32))
    unopened(path, "x holds text or records, and no images")


# What is refused: places outside of the file, and sizes that are not there


def hostile(file: h5py.File, key: str, kind: str) -> None:
    """Puts something under a key in place of a plain data set of this file."""
    known: dict[str, NDArray[Any]] = {"x": X, "y": Y, "list_classes": np.array(NAMES)}
    plain = known[key]
    folder = Path(file.filename).parent
    os.mkfifo(folder / "pipe")
    (folder / "raw").write_bytes(plain.tobytes())
    write_hdf5(folder / "other.h5", secret=plain)
    virtual = h5py.VirtualLayout(plain.shape, plain.dtype)
    virtual[:] = h5py.VirtualSource(folder / "other.h5", "secret", plain.shape)
    many, chunks = (10**6, *plain.shape[1:]), (6, *plain.shape[1:])
    match kind.split(": "):
        case "soft link", place:
            file["elsewhere"] = plain
            file[key] = h5py.SoftLink(place.replace("itself", key))
        case "external link", name:
            file[key] = h5py.ExternalLink(name, "/secret")
        case "external storage", name:
            raw = [(str(folder / name), 0, plain.nbytes)]
            file.create_dataset(key, plain.shape, plain.dtype, external=raw)
        case ["virtual"]:
            file.create_virtual_dataset(key, virtual)
        case ["group"]:
            file.create_group(key)
        case ["type"]:
            file[key] = np.dtype("u1")
        case ["null"]:
            file[key] = h5py.Empty("u1")
        case ["unwritten"]:
            file.create_dataset(key, plain.shape, plain.dtype)
        case ["huge"]:
            file.create_dataset(key, (10**12, *plain.shape[1:]), plain.dtype, chunks=plain.shape)
        case ["begun"]:
            file.create_dataset(key, many, plain.dtype, chunks=chunks, compression="gzip")
            file[key][: len(plain)] = plain


LINK = "is a link to another place: links are not followed"
OUTSIDE = "keeps its data in other files: they are not read"
HOSTILE = {
    **{f"soft link: /{place}": LINK for place in ("elsewhere", "nowhere", "itself")},
    **{f"external link: {name}": LINK for name in ("other.h5", "none.h5", "pipe")},
    **{f"external storage: {name}": OUTSIDE for name in ("raw", "pipe")},
    "virtual": OUTSIDE,
    **dict.fromkeys(("group", "type", "null"), "is not a data set"),
    **dict.fromkeys(("unwritten", "huge", "begun"), "declares"),
}


@pytest.mark.parametrize("key", ["x", "y", "list_classes"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_not_stored_in_the_file_itself_is_not_read(path: Path, key: str, kind: str) -> None:
    with h5py.File(path, "w") as file:
        for other, plain in (("x", X), ("y", Y), ("list_classes", NAMES)):
            if other != key:
                file[other] = plain
        hostile(file, key, kind)
    dangling = "itself" in kind or "nowhere" in kind or "none" in kind
    unopened(path, key if dangling else f": {key} {HOSTILE[kind]}")


def damage(path: Path, place: Callable[[Any], int]) -> None:
    """Overwrites sixteen bytes of the file where ``place`` finds them."""
    with h5py.File(path) as file:
        offset = place(file)
    content = bytearray(path.read_bytes())
    content[offset : offset + 16] = b"\xaa" * 16
    path.write_bytes(content)


@pytest.mark.parametrize("filters", [{"compression": "gzip"}, {"fletcher32": True}])
@pytest.mark.parametrize("key", ["x", "y"])
def test_a_damaged_chunk_is_unopened(path: Path, key: str, filters: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, plain in (("x", X), ("y", Y)):
            file.create_dataset(name, data=plain, chunks=plain.shape, **filters)
    damage(path, lambda file: int(file[key].id.get_chunk_info(0).byte_offset))
    unopened(path, f"{key} is damaged and cannot be read")


@pytest.mark.parametrize("key", ["x", "y", "list_classes"])
def test_a_damaged_object_header_is_unopened(path: Path, key: str) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=NAMES)
    damage(path, lambda file: int(h5py.h5o.get_info(file[key].id).addr))
    unopened(path)


# Both classes, both parts


@pytest.mark.parametrize(("label", "name"), [(0, "non-cat"), (1, "cat")])
def test_one_class_only_is_refused_for_training(path: Path, label: int, name: str) -> None:
    data = opened(write_hdf5(path, x=X, y=np.full(6, label)))
    with pytest.raises(DataError, match=rf"^data\.h5: every image is {name}: "):
        data.require_both_classes()


def test_a_test_file_is_preferred_to_the_part_of_the_data(path: Path, small_hdf5: Path) -> None:
    images, labels = make_images(4, 8, seed=5)
    write_hdf5(path, test_set_x=images, test_set_y=labels)
    train, test = open_parts(open_source(small_hdf5))
    assert holds(train, *make_images(20))
    assert holds(test, *make_images(10, seed=1))
    assert holds(open_parts(open_source(small_hdf5), open_source(path))[1], images, labels)


@pytest.mark.parametrize("named", [True, False])
def test_the_test_part_follows_the_positive_class_of_training(path: Path, named: bool) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=NAMES)
    other = write_hdf5(path.with_name("test.h5"), x=X, y=1 - Y if named else Y)
    if named:
        with h5py.File(other, "a") as file:
            file["list_classes"] = NAMES[::-1]
    train, test = open_parts(open_source(path), open_source(other))
    assert test is not None
    assert holds(test)
    assert test.classes == train.classes == ("non-cat", "cat")


@pytest.mark.parametrize(
    ("size", "classes", "why"),
    [
        (8, [b"dog", b"cat"], r"test\.h5: .*images of 8x8,? .* 4x4"),
        (4, [b"cow", b"cat"], r"test\.h5: the classes .* are cow and cat, .* dog and cat"),
    ],
)
def test_parts_of_other_sizes_or_classes_are_unopened(
    path: Path, size: int, classes: list[bytes], why: str
) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=[b"dog", b"cat"])
    x, y = make_images(6, size)
    other = write_hdf5(path.with_name("test.h5"), x=x, y=y, list_classes=classes)
    with pytest.raises(DataError, match=why):
        open_parts(open_source(path), open_source(other))


def test_the_course_files_are_what_they_are_known_to_be(course: tuple[Path, Path]) -> None:
    train, test = open_parts(*map(open_source, course))
    assert test is not None
    assert (train.m, train.positives, train.size) == (209, 72, 64)
    assert (test.m, test.positives, test.size) == (50, 33, 64)
    assert train.classes == test.classes == ("non-cat", "cat")
    # Train image 146 is test image 17, byte for byte.
    np.testing.assert_array_equal(train.X[:, 146], test.X[:, 17])
    with h5py.File(course[0]) as file:
        assert holds(train, file["train_set_x"][:], file["train_set_y"][:])


# What is packed

SIZE = 6
IMAGES, LABELS = make_images(150, SIZE, seed=2)
CALLED = (*(f"ä {i}.png" for i in range(149)), "\udcff\n.png")
CLASSES = ("non-cat", "cat")


def source(**changes: Any) -> Listing:
    known: dict[str, Any] = {"classes": CLASSES, "labels": LABELS, "pixels": IMAGES}
    known |= {"preprocess": Preprocess(SIZE, "pad"), "called": CALLED}
    return Listing("here", "here", **{**known, **changes})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "p.h5"


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
    assert (data.names, data.classes, data.preprocess) == (CALLED, CLASSES, Preprocess(SIZE, "pad"))
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
