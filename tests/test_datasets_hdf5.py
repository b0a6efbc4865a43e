"""Data sets in HDF5: every accepted layout, every refusal, and the fingerprint."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import in_python_without_powers, make_images, opened, unopened, write_hdf5
from numpy.typing import NDArray

from catclf.datasets import Dataset, open_parts, open_source
from catclf.errors import DataError

X, Y = make_images(6, size=4)
NAMES = [b"non-cat", b"cat"]


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """An error in place of waiting for ever."""

    def stop(*_: Any) -> None:
        raise TimeoutError("this hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.h5"


def holds(data: Dataset, images: NDArray[Any] = X, labels: NDArray[Any] = Y) -> bool:
    return (
        data.images.dtype == np.uint8
        and np.array_equal(data.images, images)
        and data.Y.dtype == np.float64
        and data.Y.shape == (1, len(labels))
        and data.Y[0].tolist() == labels.tolist()
    )


# What is accepted


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "compression_opts": 9, "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
        {"chunks": (1, 4, 4, 1)},
        {"chunks": (6, 4, 4, 3), "maxshape": (None, 4, 4, 3)},
    ],
)
def test_every_storage_of_images_is_read(path: Path, options: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("train_set_x", data=X, **options)
        file["train_set_y"] = Y
    assert holds(opened(path))


def test_images_that_compress_extremely_well_are_read(path: Path) -> None:
    black = np.zeros((100, 64, 64, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "x", data=black, chunks=black.shape, compression="gzip", compression_opts=9
        )
        file["y"] = np.arange(100) % 2
    assert path.stat().st_size < black.nbytes / 50
    assert holds(opened(path), black, np.arange(100) % 2)


@pytest.mark.parametrize("names", [["non-cat", "cat"], ["nicht-Katze", "Kätzchen 猫"]])
def test_class_names_may_be_text_of_any_kind(path: Path, names: list[str]) -> None:
    write_hdf5(path, x=X, y=Y)
    fixed = path.with_name("fixed.h5")
    write_hdf5(fixed, x=X, y=Y, list_classes=[name.encode() for name in names])
    with h5py.File(path, "a") as file:
        file["list_classes"] = names  # of variable length
    assert opened(path).classes == tuple(names)
    assert opened(fixed).classes == tuple(names)


def test_a_byte_in_a_class_name_that_is_not_text_becomes_one_character(path: Path) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=[b"K\xe4fer", b"cat"])
    negative, positive = opened(path).classes
    assert (negative[0], negative[2:], positive) == ("K", "fer", "cat")


def test_the_columns_of_x_are_the_images_and_no_copy(small_hdf5: Path) -> None:
    data = opened(small_hdf5)
    assert data.X.shape == (8 * 8 * 3, 20)
    assert np.shares_memory(data.X, data.images)
    for j in range(data.m):
        assert data.X[:, j].tolist() == data.images[j].ravel().tolist()


@pytest.mark.parametrize("name", ["-o.h5", "[b].H5", "ä 猫.h5", "a\nb.h5", "n" * 252 + ".h5"])
def test_any_file_name_is_opened(tmp_path: Path, name: str) -> None:
    assert holds(opened(write_hdf5(tmp_path / name, x=X, y=Y)))


def test_a_name_of_undecodable_bytes_is_opened_and_shown_escaped(
    tmp_path: Path, path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"\xff.h5")
    write_hdf5(path, x=X, y=Y).rename(odd)
    assert holds(opened(odd))
    with pytest.raises(DataError, match=r"/\\xff\.h5: x has images of 4x4"):
        opened(odd, size=64)


def test_opening_a_file_loads_few_modules(path: Path) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=NAMES)
    code = "import sys\nfrom catclf.datasets import open_dataset\nopen_dataset(sys.argv[1])\n"
    code += "print(*(name for name, module in sys.modules.items() if name.startswith('catclf')"
    code += " and not module.__file__.endswith('__init__.py')))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert len(done.stdout.split()) <= 20, done.stdout


# The fingerprint


def fingerprint(path: Path, images: NDArray[Any] = X, labels: NDArray[Any] = Y) -> str:
    return opened(write_hdf5(path, x=images, y=labels)).fingerprint


def test_equal_data_in_different_layouts_have_one_fingerprint(path: Path) -> None:
    expected = fingerprint(path)
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file.create_dataset("train_set_x", data=X, compression="gzip", chunks=(2, 4, 4, 3))
        file["train_set_y"] = Y.reshape(1, 6).astype(bool)
        file["list_classes"] = ["cat", "non-cat"]
        file["unrelated"] = np.arange(9)
    assert opened(other, positive="non-cat").fingerprint != expected
    with h5py.File(other, "a") as file:
        del file["list_classes"]
        file["list_classes"] = NAMES
    assert opened(other).fingerprint == expected
    data = opened(path)
    spread = Dataset(np.asfortranarray(data.images), data.Y, data.classes, "elsewhere")
    assert spread.fingerprint == expected
    assert len(expected) == 64


# What is refused: files


def test_a_path_under_a_file_or_too_long_is_unopened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    unopened(tmp_path / "file" / "data.h5")
    unopened(tmp_path / ("n" * 300))


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe", "dangling link"])
def test_what_is_not_a_regular_file_is_refused_without_waiting(path: Path, kind: str) -> None:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "link to a pipe":
            os.mkfifo(path.with_name("pipe"))
            path.symlink_to("pipe")
        case _:
            path.symlink_to("nowhere")
    unopened(path)


@pytest.mark.parametrize(
    "content", [b"", b"not HDF5\n" * 100, bytes(5000), random.Random(0).randbytes(5000)]
)
def test_a_file_that_is_not_hdf5_is_unopened(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    unopened(path, "it is empty" if not content else "is not an HDF5 file")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
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
    assert shown == f"{path}: may not be read: check its permissions\n"


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
def test_images_and_labels_that_do_not_fit_are_refused_by_key(
    path: Path, images: Any, labels: Any, why: str
) -> None:
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
    ],
)
def test_class_names_of_a_wrong_kind_are_unopened(path: Path, names: Any) -> None:
    write_hdf5(path, x=X, y=Y)
    with h5py.File(path, "a") as file:
        file.create_dataset("list_classes", data=names, dtype=getattr(names, "dtype", None))
    unopened(path, "list_classes")


def test_numbers_of_several_lengths_are_no_images_and_no_damage(path: Path) -> None:
    write_hdf5(path, y=Y[:2])
    with h5py.File(path, "a") as file:
        file.create_dataset("x", data=variable_integers(), dtype=h5py.vlen_dtype(np.int32))
    unopened(path, "x holds rows of several lengths")


def test_class_names_that_are_a_group_or_references_are_unopened(path: Path) -> None:
    with h5py.File(write_hdf5(path, x=X, y=Y), "a") as file:
        file.create_group("list_classes")
    unopened(path, "list_classes is not a data set")
    with h5py.File(path, "a") as file:
        del file["list_classes"]
        file.create_dataset("list_classes", data=[file["x"].ref] * 2, dtype=h5py.ref_dtype)
    unopened(path, "list_classes")


# What is refused: places outside of the file, and sizes that are not there


def hostile(file: h5py.File, key: str, kind: str) -> None:
    """Puts something under a key in place of a plain data set of this file."""
    known: dict[str, NDArray[Any]] = {"x": X, "y": Y, "list_classes": np.array(NAMES)}
    plain = known[key]
    folder = Path(file.filename).parent
    match kind:
        case "soft link":
            file["elsewhere"] = plain
            file[key] = h5py.SoftLink("/elsewhere")
        case "dangling soft link":
            file[key] = h5py.SoftLink("/nowhere")
        case "looping soft link":
            file[key] = h5py.SoftLink(f"/{key}")
        case "external link":
            write_hdf5(folder / "other.h5", secret=plain)
            file[key] = h5py.ExternalLink("other.h5", "/secret")
        case "dangling external link":
            file[key] = h5py.ExternalLink("none.h5", "/secret")
        case "external link to a pipe":
            os.mkfifo(folder / "pipe")
            file[key] = h5py.ExternalLink("pipe", "/secret")
        case "external storage":
            (folder / "raw").write_bytes(plain.tobytes())
            raw = [(str(folder / "raw"), 0, plain.nbytes)]
            file.create_dataset(key, plain.shape, plain.dtype, external=raw)
        case "external storage in a pipe":
            os.mkfifo(folder / "pipe")
            raw = [(str(folder / "pipe"), 0, plain.nbytes)]
            file.create_dataset(key, plain.shape, plain.dtype, external=raw)
        case "virtual":
            write_hdf5(folder / "other.h5", secret=plain)
            layout = h5py.VirtualLayout(plain.shape, plain.dtype)
            layout[:] = h5py.VirtualSource(folder / "other.h5", "secret", plain.shape)
            file.create_virtual_dataset(key, layout)
        case "group":
            file.create_group(key)
        case "type":
            file[key] = np.dtype("u1")
        case "null":
            file[key] = h5py.Empty("u1")
        case "unwritten":
            file.create_dataset(key, plain.shape, plain.dtype)
        case "huge":
            file.create_dataset(key, (10**12, *plain.shape[1:]), plain.dtype, chunks=plain.shape)
        case "huge and begun":
            size = (10**6, *plain.shape[1:])
            chunks = (6, *plain.shape[1:])
            file.create_dataset(key, size, plain.dtype, chunks=chunks, compression="gzip")
            file[key][: len(plain)] = plain
        case _:
            raise ValueError(kind)


LINK = "is a link to another place: links are not followed"
OUTSIDE = "keeps its data in other files: they are not read"


@pytest.mark.parametrize("key", ["x", "y", "list_classes"])
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("soft link", LINK),
        ("dangling soft link", ""),
        ("looping soft link", ""),
        ("external link", LINK),
        ("dangling external link", ""),
        ("external link to a pipe", LINK),
        ("external storage", OUTSIDE),
        ("external storage in a pipe", OUTSIDE),
        ("virtual", OUTSIDE),
        ("group", "is not a data set"),
        ("type", "is not a data set"),
        ("null", "is not a data set"),
        ("unwritten", "declares"),
        ("huge", "declares"),
        ("huge and begun", "declares"),
    ],
)
def test_what_is_not_stored_in_the_file_itself_is_not_read(
    path: Path, key: str, kind: str, why: str
) -> None:
    with h5py.File(path, "w") as file:
        for other, plain in (("x", X), ("y", Y), ("list_classes", NAMES)):
            if other == key:
                hostile(file, key, kind)
            else:
                file[other] = plain
    unopened(path, f": {key} {why}" if why else key)


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


FLIP = """
import os, random, resource, sys
from pathlib import Path
import h5py
from catclf.datasets import ReadOptions, Split, open_parts, open_source
from catclf.errors import DataError

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
path, rng = Path(sys.argv[1]), random.Random(0)
whole = path.read_bytes()
for position in rng.sample(range(len(whole)), int(sys.argv[2])):
    damaged = bytearray(whole)
    damaged[position] ^= rng.choice([1, 128, 255])
    path.write_bytes(damaged)
    child = os.fork()
    if child == 0:
        code = 0
        try:
            open_parts(open_source(path))
        except DataError as error:
            code = 0 if str(error).isprintable() else 1
        except BaseException as error:
            print(position, type(error).__name__, error, flush=True)
            code = 1
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and status:  # a crash inside libhdf5 is not ours to prevent
        sys.exit(1)
"""


@pytest.mark.parametrize(("text", "count"), [("S", 60), ("variable", 6)])
def test_a_flipped_byte_gives_a_data_set_or_a_data_error_and_nothing_else(
    path: Path, text: str, count: int
) -> None:
    with h5py.File(path, "w") as file:
        for part in ("train", "test"):
            file.create_dataset(f"{part}_set_x", data=X, chunks=(2, 4, 4, 3), compression="gzip")
            file[f"{part}_set_y"] = Y
        file["list_classes"] = np.array(NAMES) if text == "S" else NAMES
    done = subprocess.run(
        [sys.executable, "-c", FLIP, path, str(count)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "")


# Both classes, both parts


@pytest.mark.parametrize(("label", "name"), [(0, "non-cat"), (1, "cat")])
def test_one_class_only_is_refused_for_training(path: Path, label: int, name: str) -> None:
    data = opened(write_hdf5(path, x=X, y=np.full(6, label)))
    with pytest.raises(DataError, match=rf"^data\.h5: every image is {name}: "):
        data.require_both_classes()


def test_the_test_part_is_taken_from_the_same_file_when_it_holds_both(small_hdf5: Path) -> None:
    train, test = open_parts(open_source(small_hdf5))
    assert holds(train, *make_images(20))
    assert test is not None
    assert holds(test, *make_images(10, seed=1))


def test_a_test_file_is_preferred_to_the_test_part_of_the_data(
    path: Path, small_hdf5: Path
) -> None:
    images, labels = make_images(4, seed=5)
    write_hdf5(path, test_set_x=images, test_set_y=labels)
    test = open_parts(open_source(small_hdf5), open_source(path))[1]
    assert test is not None
    assert holds(test, images, labels)


@pytest.mark.parametrize("test_names", [[b"cat", b"non-cat"], None])
def test_the_test_part_follows_the_positive_class_of_the_training_part(
    path: Path, test_names: list[bytes] | None
) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=NAMES)
    other = path.with_name("test.h5")
    if test_names is None:
        write_hdf5(other, x=X, y=Y)
    else:
        write_hdf5(other, x=X, y=1 - Y, list_classes=test_names)
    train, test = open_parts(open_source(path), open_source(other))
    assert test is not None
    assert holds(test)
    assert test.classes == train.classes == ("non-cat", "cat")


def test_parts_of_different_sizes_are_unopened(path: Path, small_hdf5: Path) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=NAMES)
    with pytest.raises(DataError, match=r"data\.h5: .*images of 4x4,? .* 8x8"):
        open_parts(open_source(small_hdf5), open_source(path))


def test_parts_with_different_classes_are_unopened(path: Path) -> None:
    write_hdf5(path, x=X, y=Y, list_classes=[b"dog", b"cat"])
    other = write_hdf5(path.with_name("test.h5"), x=X, y=Y, list_classes=[b"cow", b"cat"])
    with pytest.raises(
        DataError, match=r"test\.h5: the classes of the test split are cow and cat, .* dog and cat"
    ):
        open_parts(open_source(path), open_source(other))


# The real thing


def test_the_course_files_are_what_they_are_known_to_be(course: tuple[Path, Path]) -> None:
    train, test = open_parts(*map(open_source, course))
    assert test is not None
    assert (train.m, train.positives, train.size) == (209, 72, 64)
    assert (test.m, test.positives, test.size) == (50, 33, 64)
    assert train.classes == test.classes == ("non-cat", "cat")
    assert train.X.shape == (12288, 209)
    # Train image 146 is test image 17, byte for byte.
    np.testing.assert_array_equal(train.X[:, 146], test.X[:, 17])
    with h5py.File(course[0]) as file:
        assert holds(train, file["train_set_x"][:], file["train_set_y"][:])
