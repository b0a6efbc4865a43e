"""Arrays as people store them: taken if there is one way to, with a note; else refused."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import fill, opened, scenes, told, unopened, write_hdf5
from numpy.typing import NDArray
from PIL import Image

from catclf.datasets import Dataset, ReadOptions, open_dataset, open_source
from catclf.datasets.dataset import SPLITS
from catclf.errors import DataError

M, SIZE = 8, 8
Y = np.arange(M) % 2
ONE_HOT, NAMES = np.eye(2)[Y], np.array(["dog", "cat"])[Y]
X = scenes(M, 5, SIZE, 3)
PLANES = np.moveaxis(X, 3, 1)
GREY = X.mean(axis=3).round().astype(np.uint8)
GREYS = np.repeat(GREY[..., None], 3, 3)
EMPTIED = np.where(Y[:, None, None, None], 0, X).astype(np.uint8)


def stored(path: Path, **arrays: Any) -> Path:
    """The arrays under these keys."""
    if path.suffix != ".npz":
        return write_hdf5(path, **arrays)
    np.savez(path, **arrays)
    return path


def held(path: Path, x: Any, y: Any) -> Dataset:
    """Images and labels out of a file, or out of memory where the path has no ending."""
    return opened(stored(path, x=x, y=y)) if path.suffix else open_dataset(x, labels=y)


@pytest.fixture(params=["d.h5", "d.npz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


@pytest.fixture(params=["d.h5", "d.npz", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


FORMS: dict[str, tuple[Any, NDArray[np.uint8], str]] = {
    "int64": (X.astype(np.int64), X, "is int64 of 0 to 255"),
    "uint16 within 255": (X.astype(np.uint16), X, "is uint16 of 0 to 255"),
    "float 0..255": (X.astype(np.float32), X, "is float32 of 0 to 255"),
    "float 0..1": (X / 255.0, X, "taken x 255"),
    "float32 0..1": ((X / 255.0).astype(np.float32), X, "taken x 255"),
    "grey": (GREY, GREYS, "is taken as grey"),
    "grey channel": (GREY[..., None], GREYS, "is taken as grey"),
    "opaque RGBA": (np.concatenate([X, np.full_like(X[..., :1], 255)], 3), X, "opacity"),
    "clear RGBA": (np.concatenate([X, 0 * X[..., :1]], 3), np.full_like(X, 255), "opacity"),
    "channels first": (PLANES, X, "channels first"),
    "flat rows": (X.reshape(M, -1), X, "flat rows"),
    "flat planes": (PLANES.reshape(M, -1), X, "planes"),
    "the course's X": (X.reshape(M, -1).T, X, "one image a column"),
    "float16 of planes": ((PLANES / 255).astype(np.float16), X, "channels first"),
    "bytes of another order": (X.astype(">u2"), X, "is >u2 of 0 to 255"),
    "booleans": (GREY > 128, np.repeat(255 * (GREY > 128)[..., None], 3, 3), "booleans"),
    "rows never written": (
        EMPTIED,
        EMPTIED,
        "4 images of 8 are empty (black): the first is image 1",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_that_can_be_taken_in_one_way_are_with_a_note(place: Path, form: str) -> None:
    images, expected, note = FORMS[form]
    data = held(place, images, Y)
    np.testing.assert_array_equal(data.images, expected)
    assert any(note in text for text in data.notes)


@pytest.mark.parametrize(
    ("images", "why"),
    [
        (X / 127.5 - 1, "is float64 from -1 to 1: pixels must be 0 to 255"),
        (X.astype(np.uint16) * 257, "x = ((x - black) / (white - black) * 255)"),
        (X / 25.5, "or floats from 0 to 1"),
        (X.astype(np.int64) - 128, "is int64 from -128 to 127"),
        (np.where(X > 128, np.nan, 0.5), "is float64 from nan to nan"),
        (np.where(X > 128, np.inf, 0.5), "is float64 from 0.5 to inf"),
        (np.moveaxis(X, 0, 3), "np.moveaxis brings axes in this order"),
        (X.reshape(M, -1)[:, :-1], "x = x.reshape(m, height, width, 3)"),
        (X[:, None], "(m, 64, 64, 3) or another square is needed"),
        (X * 1j, "x = x.astype('uint8')"),
        ((X / 255.0).round().astype(np.uint8), "(x * 255).round().astype('uint8')"),
        ((X / 255.0).round().astype(np.int64), "(x * 255).round().astype('uint8')"),
    ],
)
def test_images_are_refused_with_what_to_try(place: Path, images: Any, why: str) -> None:
    with pytest.raises(DataError) as caught:
        held(place, images, Y)
    assert why in str(caught.value)


def test_stored_images_must_be_square_and_images(path: Path) -> None:
    unopened(stored(path, x=X[:, :6], y=Y), "images of 6x8: cut or pad them to squares")
    unopened(stored(path, x=np.array([b"a.png"] * M), y=Y), "text or records", "make a .csv")


def encoded(image: NDArray[np.uint8]) -> bytes:
    content = BytesIO()
    Image.fromarray(image).resize((200, 200)).save(content, "PNG")
    return content.getvalue()


def of_variable_length(path: Path, contents: list[bytes]) -> Any:
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", M, h5py.vlen_dtype(np.uint8))
        for row, content in enumerate(contents):
            x[row] = np.frombuffer(content, np.uint8)
        file["y"] = NAMES.astype("S3")
    return path


def of_one_length(path: Path, contents: list[bytes]) -> Any:
    longest = max(map(len, contents))
    void = np.array([np.void(content.ljust(longest, b"\0")) for content in contents])
    return stored(path, x=void, y=NAMES.astype("S3"))


def of_text(path: Path, contents: list[bytes]) -> Any:
    return stored(path, x=np.array(contents), y=NAMES.astype("S3"))


def listed(path: Path, contents: list[bytes]) -> Any:
    return {"image": contents, "label": NAMES}


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (of_variable_length, "e.h5"),
        *((write, name) for write in (of_one_length, of_text) for name in ("e.h5", "e.npz")),
        (listed, ""),
    ],
)
def test_encoded_images_are_read_as_in_a_folder(tmp_path: Path, write: Any, name: str) -> None:
    contents = [encoded(image) for image in X]
    contents[3] = contents[3][:60]
    files = {f"{NAMES[i]}/{i}.png": content for i, content in enumerate(contents)}
    options = ReadOptions(skip_bad=True, default_size=96)
    expected = open_dataset(fill(tmp_path, files), options=options)
    given = write(tmp_path / name, contents)
    data = open_dataset(given, options=options)
    assert (data.size, data.m, data.classes) == (96, M - 1, expected.classes)
    assert sorted(map(bytes, data.images)) == sorted(map(bytes, expected.images))
    with pytest.raises(DataError, match=r"1 image cannot be read: .*leave them out"):
        open_dataset(given)


LABELS: list[tuple[Any, str]] = [
    *((Y.astype(kind), "") for kind in (np.float64, bool, np.int8, ">i4", np.uint64)),
    (Y.reshape(1, M), ""),
    (Y.reshape(M, 1, 1), ""),
    (ONE_HOT, "one-hot"),
    (ONE_HOT.astype(np.int64), "one-hot"),
    (2 * Y - 1, "-1 and 1"),
    (Y + 1, "from 1 to 2"),
    ((Y + 1).astype(np.float32), "from 1 to 2"),
]


@pytest.mark.parametrize(("labels", "note"), LABELS)
def test_labels_that_can_be_taken_in_one_way_are(place: Path, labels: Any, note: str) -> None:
    data = held(place, X, labels)
    assert data.Y.tolist() == [Y.tolist()]
    assert not note or any(note in text for text in data.notes)


@pytest.mark.parametrize("type", ["S3", "U3"])
def test_labels_may_be_names(place: Path, type: str) -> None:
    data = held(place, X, NAMES.astype("S3" if place.suffix == ".h5" else type))
    assert (data.classes, data.Y.tolist()) == (("dog", "cat"), [Y.tolist()])


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (Y * 0.5, "y = (y > 0.5)"),
        (Y * 7, "y = (y == LABEL)"),
        (np.ones((M, 2)), "y = y.argmax(axis=1)"),
    ],
)
def test_labels_are_refused_with_what_converts_them(path: Path, labels: Any, why: str) -> None:
    unopened(stored(path, x=X, y=labels), why)


@pytest.mark.parametrize(
    "keys",
    [
        ("train_set_x", "train_set_y"),
        ("test_set_x", "test_set_y"),
        ("x", "y"),
        ("images", "labels"),
        ("X", "Y"),
        ("data", "label"),
        ("images", "targets"),
        ("image", "label"),
        ("x_train", "y_train"),
    ],
)
def test_keys_that_are_plain_are_recognised(path: Path, keys: tuple[str, str]) -> None:
    stored(path, **dict(zip(keys, (X, Y), strict=True)))
    for split in SPLITS:
        np.testing.assert_array_equal(open_dataset(path, split).images, X)


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("trainX", "trainY", "testX", "testY"),
        ("train_images", "train_labels", "val_images", "val_labels"),
        ("train/images", "train/labels", "test/images", "test/labels"),
    ],
)
def test_keys_of_parts_are_recognised(path: Path, keys: tuple[str, str, str, str]) -> None:
    stored(path, **dict(zip(keys, (X[:6], Y[:6], X[6:], Y[6:]), strict=True)))
    assert open_source(path).splits == {"train", "test"}
    np.testing.assert_array_equal(open_dataset(path, "train").images, X[:6])
    np.testing.assert_array_equal(open_dataset(path, "test").images, X[6:])


def test_other_keys_are_named_with_the_setting(path: Path) -> None:
    stored(path, pics=X, ans=Y, other=Y)
    unopened(path, "it holds ", "`keys=images,labels` names others")
    unopened(stored(path.with_stem("empty")), "it holds nothing")
    assert opened(path, keys=("pics", "ans")).Y.tolist() == [Y.tolist()]
    unopened(path, "has no key none", keys=("pics", "none"))


@pytest.mark.parametrize("key", ["list_classes", "classes", "class_names"])
def test_class_names_are_read_under_their_usual_keys(path: Path, key: str) -> None:
    data = opened(stored(path, x=X, y=Y, **{key: np.array([b"dog", b"cat"])}))
    assert (data.classes, data.notes) == (("dog", "cat"), ())


@pytest.mark.parametrize("place", ["/", "x", "y"])
@pytest.mark.parametrize("text", [np.array([b"dog", b"cat"]), ["dog", "cat"]])
def test_class_names_may_be_an_attribute(tmp_path: Path, place: str, text: Any) -> None:
    with h5py.File(stored(tmp_path / "d.h5", x=X, y=Y), "a") as file:
        file[place].attrs["class_names"] = text
    assert opened(tmp_path / "d.h5").classes == ("dog", "cat")


def test_labels_without_names_are_said_to_be_and_can_be_named(path: Path) -> None:
    stored(path, x=X, y=Y)
    data = opened(path)
    assert data.classes == ("non-cat", "cat")
    told(data, "label 1 is taken as cat")
    named = opened(path, classes=("cat", "dog"))
    assert (named.classes, named.Y.tolist()) == (("dog", "cat"), [(1 - Y).tolist()])
    assert opened(path, classes=("cat", "dog"), positive="dog").Y.tolist() == [Y.tolist()]
    assert opened(path, positive="dog").classes == ("non-dog", "dog")


def test_axes_of_matlab_are_turned_by_its_attribute_and_never_by_shape(tmp_path: Path) -> None:
    # MATLAB's X(m, 8, 8, 3), and X(8, 8, 3, m), are stored with their axes in reverse.
    for axes in ((3, 2, 1, 0), (0, 3, 2, 1)):
        path = stored(tmp_path / "m.mat.h5", x=np.transpose(X, axes), y=Y.reshape(1, M))
        with h5py.File(path, "a") as file:
            file["x"].attrs["MATLAB_class"] = np.bytes_("uint8")
        data = opened(path)
        np.testing.assert_array_equal(data.images, X)
        told(data, "MATLAB")
    plain = stored(tmp_path / "plain.h5", x=np.transpose(X, (0, 2, 1, 3)), y=Y)
    np.testing.assert_array_equal(opened(plain).images, np.transpose(X, (0, 2, 1, 3)))


def test_a_filter_that_is_not_installed_is_named_and_not_called_damage(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk(X.shape)
        settings.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        space = h5py.h5s.create_simple(X.shape)
        data = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, settings)
        data.write_direct_chunk((0, 0, 0, 0), X.tobytes())
        file["y"] = Y
    with pytest.raises(DataError, match="packed with filter 32015, a filter that is not"):
        opened(tmp_path / "d.h5")
