"""The model file: what it keeps, what it refuses, and what a crash leaves of it."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import stat
import sys
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from catclf.errors import ModelError, OutputError
from catclf.images.preprocess import Preprocess
from catclf.maths.metrics import Counts
from catclf.model import Model, Training
from catclf.model.file import CURVE, VERSION, load, save, thinned

Members = dict[str, bytes]


def make_model(size: int = 2, seed: int = 0) -> Model:
    rng = np.random.default_rng(seed)
    return Model(
        w=rng.normal(size=(size * size * 3, 1)),
        b=-0.1,
        preprocess=Preprocess(size, "crop", "lanczos", (1, 2, 3)),
        classes=("non-cat", "cat"),
        threshold=0.25,
        costs=(0.7, 0.6, 0.5),
        cost_steps=(0, 100, 150),
        training=Training(
            source="a.h5",
            fingerprint="f" * 64,
            images=7,
            positives=3,
            steps=150,
            interrupted=True,
            settings={"learning_rate": 0.005, "method": "auto"},
            train=Counts(1, 2, 3, 4),
            test=Counts(5, 6, 7, 8),
            catclf="0.0.1",
        ),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved model."""
    path = tmp_path / "model.npz"
    save(make_model(), path)
    return path


def refused(path: Path, why: str = ": ") -> None:
    """Loading raises one ModelError of one short line that names the file, and nothing else.

    No warning, and no descriptor left open.
    """
    descriptors = len(list(Path("/dev/fd").iterdir()))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ModelError, match=why) as caught:
            load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: "), text
    assert text.count(str(path)) == 1, text
    assert text.isprintable(), text
    assert len(text) < len(str(path)) + 200, text
    assert not warned, [str(warning.message) for warning in warned]
    assert len(list(Path("/dev/fd").iterdir())) == descriptors


@contextmanager
def memory(limit: int) -> Iterator[None]:
    """The block may not allocate more bytes than this at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def outcome(path: Path) -> Model | str:
    """The model, or the text of its refusal, which is one line that begins with the file."""
    try:
        return load(path)
    except ModelError as error:
        text = str(error)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    return text


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, members: Members) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def raw_npy(header: str, data: bytes, version: bytes = b"\x01\x00") -> bytes:
    """An array file with any header at all."""
    size = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + header.encode("latin-1") + data


def put(path: Path, name: str, content: bytes) -> None:
    """The model file with one member replaced or added."""
    pack(path, members(path) | {name: content})


def put_meta(path: Path, text: str) -> None:
    put(path, "meta.npy", npy(np.array(text)))


def get_meta(path: Path) -> Any:
    return json.loads(str(np.load(path)["meta"]))


def same(found: Model, expected: Model) -> bool:
    """Equal bit for bit."""
    others = {each.name for each in fields(Model)} - {"w", "b", "digests"}
    return (
        found.w.dtype == np.float64
        and found.w.shape == expected.w.shape
        and found.w.tobytes() == expected.w.tobytes()
        and np.float64(found.b).tobytes() == np.float64(expected.b).tobytes()
        and np.array_equal(found.digests, expected.digests)
        and all(getattr(found, name) == getattr(expected, name) for name in others)
    )


# What it keeps


@pytest.mark.parametrize("size", [1, 2, 64])
def test_a_model_comes_back_as_it_was(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.npz"
    save(make_model(size), path)
    assert same(load(path), make_model(size))
    assert same(load(str(path)), make_model(size))


def test_an_unedited_copy_of_the_members_is_still_a_model(path: Path) -> None:
    """The tests below change one thing; this shows that it is that thing which is refused."""
    pack(path, members(path))
    put_meta(path, json.dumps(get_meta(path)))
    model = make_model()
    put(path, "w.npy", npy(model.w))
    put(path, "b.npy", npy(np.array(model.b)))
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"
    put(path, "costs.npy", raw_npy(header, np.array(model.costs).tobytes()))
    assert same(load(path), model)


numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(), min_size=1)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    w=arrays(np.float64, (12, 1), elements=numbers),
    b=numbers,
    classes=st.tuples(words, words).filter(lambda pair: pair[0] != pair[1]),
    threshold=st.floats(0, 1),
    costs=st.lists(numbers, max_size=5),
)
@example(np.full((12, 1), -0.0), -0.0, ("\udcff", '"\\\n\0'), 0.0, [])
@example(np.full((12, 1), 5e-324), 1.7976931348623157e308, ("猫", "😀"), 1.0, [0.1])
def test_any_sound_model_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    w: NDArray[np.float64],
    b: float,
    classes: tuple[str, str],
    threshold: float,
    costs: list[float],
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    model = replace(
        make_model(),
        w=w,
        b=b,
        classes=classes,
        threshold=threshold,
        costs=tuple(costs),
        cost_steps=tuple(range(len(costs))),
    )
    save(model, path)
    assert same(load(path), model)


def test_equal_models_are_equal_files_whenever_and_wherever_they_are_saved(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 4e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2150, 1, 1, 0, 0, 0, 0, 0, 0))
    save(make_model(), tmp_path / "later")
    save(load(path), tmp_path / "copy")
    assert (tmp_path / "later").read_bytes() == path.read_bytes()
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_the_layout_of_weights_in_memory_is_not_kept(tmp_path: Path, path: Path) -> None:
    model = make_model()
    spread = np.zeros((24, 2))
    spread[::2, :1] = model.w
    save(replace(model, w=spread[::2, :1]), tmp_path / "strided")
    save(replace(model, w=model.w.astype(">f8").astype(">f8")), tmp_path / "swapped")
    assert (tmp_path / "strided").read_bytes() == path.read_bytes()
    assert (tmp_path / "swapped").read_bytes() == path.read_bytes()


def test_numpy_alone_can_read_a_model_without_pickles(path: Path) -> None:
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    meta = json.loads(str(found.pop("meta")))
    np.testing.assert_array_equal(found["w"], make_model().w, strict=True)
    assert {name: array.tolist() for name, array in found.items() if name != "w"} == {
        "b": -0.1,
        "costs": [0.7, 0.6, 0.5],
        "cost_steps": [0, 100, 150],
    }
    training = meta.pop("training")
    assert meta == {
        "format": "catclf-model",
        "version": VERSION,
        "classes": ["non-cat", "cat"],
        "positive": "cat",
        "threshold": 0.25,
        "features": "pixels",
        "preprocess": {
            "size": 2,
            "fit": "crop",
            "resampling": "lanczos",
            "background": [1, 2, 3],
            "scale": 255.0,
        },
    }
    assert training["test"] == {"tp": 5, "fp": 6, "tn": 7, "fn": 8}


def test_what_cannot_be_written_is_an_output_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for place in ("missing/model.npz", "folder", "pipe"):
        with pytest.raises(OutputError, match=f"{place}: "):
            save(make_model(), tmp_path / place)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


# What it refuses: files that are no models


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("none", r"no such file or directory: train one first \(catclf train\), or name"),
        ("below a file", "not a directory"),
        ("folder", "is not a regular file|is a folder"),
        ("pipe", "is not a regular file"),
        ("device", "is not a regular file"),
        ("link to a pipe", "is not a regular file"),
    ],
)
def test_what_is_not_a_regular_file_is_refused_without_waiting(
    tmp_path: Path, kind: str, why: str
) -> None:
    path, other = tmp_path / "model.npz", tmp_path / "other"
    match kind:
        case "below a file":
            other.write_bytes(b"")
            path = other / "model.npz"
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "link to a pipe":
            os.mkfifo(other)
            path.symlink_to("other")
    refused(path, why)


class Evil:
    """Proves that a pickle was loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("import builtins; builtins.catclf_was_here = True",))


def foreign() -> dict[str, bytes]:
    plain, compressed, other_zip = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(plain, w=np.zeros((12, 1)), b=np.zeros(()))
    np.savez_compressed(compressed, w=np.zeros((12, 1)), b=np.zeros(()))
    with zipfile.ZipFile(other_zip, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    return {
        "empty": b"",
        "one byte": b"P",
        "zeros": bytes(10_000),
        "random": random.Random(0).randbytes(10_000),
        "random that begins as a zip": b"PK\x03\x04" + random.Random(1).randbytes(10_000),
        "text": b"w = 1, 2, 3\n" * 100,
        "npy": npy(np.zeros((12, 1))),
        "pickle": pickle.dumps(Evil()),
        "pickle in an npy": raw_npy(
            "{'descr': '|O', 'fortran_order': False, 'shape': (), }", pickle.dumps(Evil())
        ),
        "npz": plain.getvalue(),
        "compressed npz": compressed.getvalue(),
        "zip": other_zip.getvalue(),
        "empty zip": b"PK\x05\x06" + bytes(18),
    }


@pytest.mark.parametrize("kind", foreign())
def test_a_foreign_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(foreign()[kind])
    refused(path, "is not a catclf model")


def test_a_truncated_model_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save(make_model(size=64), path)
    whole = path.read_bytes()
    assert len(whole) > 64 * 64 * 3 * 8
    for length in [*range(0, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path, "is not a catclf model, or is truncated")


def test_a_flipped_byte_is_refused_or_changes_nothing(path: Path) -> None:
    """Checksums cover all that matters; the rest is dates and attributes of the zip format."""
    whole, original = path.read_bytes(), make_model()
    rng = random.Random(0)
    loaded = 0
    for position in rng.sample(range(len(whole)), 600):
        damaged = bytearray(whole)
        damaged[position] ^= rng.choice([0x01, 0x20, 0x80, 0xFF])
        path.write_bytes(damaged)
        found = outcome(path)
        if isinstance(found, Model):
            assert same(found, original), position
        loaded += isinstance(found, Model)
    assert loaded < 300


def test_a_damaged_weight_is_named_as_damage(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[whole.index(make_model().w.tobytes())] ^= 1
    path.write_bytes(whole)
    refused(path, "is damaged: its checksum is wrong")


def test_a_file_larger_than_any_model_is_refused_unread(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(10**12)  # a hole: no disk is used
    with memory(10_000_000):
        refused(path, "is too large: 1000000000000 bytes")


# What it refuses: members


MEMBERS = ["w", "b", "costs", "cost_steps", "meta"]


@pytest.mark.parametrize(
    ("name", "as_name"),
    [
        *((None, extra) for extra in ("x.npy", "README", "w", "sub/w.npy", "../w.npy", "folder/")),
        *(("w.npy", other) for other in ("../w.npy", "/w.npy", "./w.npy", "w.NPY", "W.npy", "w")),
        *((f"{name}.npy", None) for name in MEMBERS),
    ],
)
def test_members_added_renamed_or_missing_are_refused(
    path: Path, name: str | None, as_name: str | None
) -> None:
    content = members(path)
    moved = content.pop(name) if name else npy(np.zeros((12, 1)))
    pack(path, content | ({as_name: moved} if as_name else {}))
    gone = name == "meta.npy"
    refused(path, "no member meta" if gone else "must hold exactly w, b, costs, cost_steps, meta")
    assert not (path.parent.parent / "w.npy").exists()


def test_digests_of_training_images_come_back(tmp_path: Path) -> None:
    kept = np.array([0, 3, 2**64 - 1], np.uint64)
    save(replace(make_model(), digests=kept), tmp_path / "model.npz")
    found = load(tmp_path / "model.npz").digests
    assert found.dtype == np.uint64
    assert found.tolist() == kept.tolist()
    for odd in ([3, 0], [3, 3]):
        with pytest.raises(ModelError, match="do not go up"):
            save(replace(make_model(), digests=np.array(odd, np.uint64)), tmp_path / "x.npz")


@pytest.mark.parametrize(
    "digests",
    [
        np.array([3, 1], "<u8"),
        np.array([1, 1], "<u8"),
        np.arange(65_537, dtype="<u8"),
        np.arange(3, dtype="<i8"),
        np.arange(3.0),
        np.zeros((2, 2), "<u8"),
        np.array(5, "<u8"),
    ],
)
def test_digests_that_are_none_are_refused(path: Path, digests: Any) -> None:
    put(path, "digests.npy", npy(digests))
    refused(path, "digests")


def test_a_repeated_member_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("w.npy", npy(np.ones((12, 1))))
    refused(path, "members are repeated")


def test_an_encrypted_member_is_refused(path: Path) -> None:
    content = members(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.getinfo("w.npy").flag_bits |= 1
    refused(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["w.npy", "meta.npy"])
@pytest.mark.parametrize("declared", ["honest", "modest"])
def test_a_zip_bomb_is_refused_before_it_expands(
    path: Path, method: int, name: str, declared: str
) -> None:
    """A modest one declares the size of a sound member, and the checksum of its beginning."""
    content = members(path)
    sound = content[name]
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in content.items():
            if member != name:
                archive.writestr(member, data)
        archive.writestr(name, sound + bytes(80_000_000), method)
        if declared == "modest":
            info = archive.getinfo(name)
            info.file_size, info.CRC = len(sound), zlib.crc32(sound)
    assert path.stat().st_size < 200_000
    with memory(10_000_000):
        found = outcome(path)
    assert declared == "modest" or isinstance(found, str)


@pytest.mark.parametrize("size", [10**8, 2**32 - 2, 10**15])
def test_a_member_that_declares_more_than_any_model_is_refused(path: Path, size: int) -> None:
    content = members(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.getinfo("costs.npy").file_size = size
    refused(path, "too large")


# What it refuses: arrays

HEADER = "{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}"
W = make_model().w


@pytest.mark.parametrize(
    ("name", "array"),
    [
        *(("w", W.astype(dtype)) for dtype in ("<f4", ">f8", "<c16", "<i8")),
        *(("w", array) for array in (W[:11], W.T, W[:, 0], W.reshape(12, 1, 1), W[:0])),
        ("w", np.zeros(12, dtype=[("x", "<f8")])),
        *(("b", array) for array in (np.zeros(1), np.float32(0), np.array("0.5"))),
        *(("costs", np.zeros(shape)) for shape in ((3, 1), (), 2, 1_000_001)),
        ("costs", np.zeros(3, np.float32)),
        *(("cost_steps", np.zeros(3, dtype)) for dtype in ("<f8", "<i4")),
        ("cost_steps", np.zeros(4, "<i8")),
        *(("meta", array) for array in (np.array(b"{}"), np.array(["{}"]), np.zeros(3))),
    ],
)
def test_an_array_of_another_type_or_shape_is_refused(path: Path, name: str, array: Any) -> None:
    put(path, f"{name}.npy", npy(array))
    refused(path, rf": has {'cost_steps' if name == 'costs' else name} of |: has {name} of ")


def w_of(dtype: str, shape: Any, fortran: bool = False, version: bytes = b"\x01\x00") -> bytes:
    """The weights behind a header that says something else."""
    return raw_npy(HEADER.format(dtype, fortran, shape), W.tobytes(), version)


HEADERS = {
    "fortran": w_of("<f8", (12, 1), fortran=True),
    "huge": w_of("<f8", (10**12, 1)),
    "overflow": w_of("<f8", (2**62, 4)),
    "negative": w_of("<f8", (-12, 1)),
    "python 2": w_of("<f8", "(12L, 1L)"),
    "float": w_of("<f8", "(12.0, 1)"),
    "old type": w_of("a8", (12, 1)),
    "no type": w_of("<f9", (12, 1)),
    "format 2": w_of("<f8", (12, 1), version=b"\x02\x00"),
    "nested header": raw_npy("{" * 9000, W.tobytes()),
    "long header": raw_npy(" " * 60_000 + "{}", W.tobytes()),
    "odd escape": raw_npy(r"'\d'", W.tobytes()),
    "code": raw_npy("__import__('os')", W.tobytes()),
    "a byte missing": npy(W)[:-1],
    "a byte too many": npy(W) + b"\0",
    "half a header": npy(W)[:40],
    "empty": b"",
    "another magic": b"\x93NUMPX" + npy(W)[6:],
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_wrong_array_header_is_refused_without_much_memory(path: Path, kind: str) -> None:
    put(path, "w.npy", HEADERS[kind])
    with memory(10_000_000):
        refused(path)


@pytest.mark.parametrize("name", ["w", "b", "meta"])
def test_pickled_objects_are_refused_and_never_run(path: Path, name: str) -> None:
    array = np.array(Evil(), dtype=object) if name != "w" else np.full((12, 1), Evil())
    put(path, f"{name}.npy", npy(array))
    refused(path, f"has pickled objects in {name}: they are never loaded")
    assert not hasattr(__builtins__, "catclf_was_here")
    assert "catclf_was_here" not in vars(sys.modules["builtins"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["w", "b", "costs"])
def test_values_that_are_not_finite_are_refused(path: Path, name: str, value: float) -> None:
    array = np.load(path)[name]
    array.reshape(-1)[-1] = value
    put(path, f"{name}.npy", npy(array))
    refused(path, f"values in {name} that are not finite")


# What it refuses: meta


MISSING = object()


def edited(meta: Any, place: str, value: Any) -> None:
    """Change one place in meta, such as ``preprocess.size``, or take it out."""
    *way, last = place.split(".")
    for key in way:
        meta = meta[key]
    if value is MISSING:
        del meta[last]
    else:
        meta[last] = value


@pytest.mark.parametrize("version", [VERSION + 1, 10**9, 10**4000], ids=["5", "10**9", "10**4000"])
def test_a_newer_model_is_refused_with_the_advice_to_upgrade(path: Path, version: int) -> None:
    meta = get_meta(path) | {"version": version, "features": "of the future"}
    put_meta(path, json.dumps(meta))
    put(path, "extra.npy", npy(np.zeros(3)))
    refused(path, "was made by a newer catclf: upgrade")


def test_a_key_that_a_later_version_adds_to_the_format_is_left_alone(path: Path) -> None:
    put_meta(path, json.dumps(get_meta(path) | {"colour": "sRGB"}))
    assert load(path).classes == ("non-cat", "cat")


NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**4000
# By place in meta: what is wrong there.
WRONG: dict[str, list[Any]] = {
    "version": [MISSING, "1", True, 1.0, 4.0, 0, None],
    "classes": [MISSING, ["cat", "cat"], ["", "cat"], ["non-cat", ""], ["cat"], ["a", "b", "c"]],
    "classes ": [[0, 1], "ab", {"a": 1, "b": 2}, [["a"], ["b"]]],
    "positive": ["non-cat", "dog", None],
    "threshold": [MISSING, 2, -0.1, "0.5", True, None, 10**400],
    "z_threshold": [None, True, "40.0"],
    "features": [MISSING, "hog", None],
    "preprocess": [MISSING, []],
    "preprocess.size": [MISSING, 0, -2, 1025, 10**9, HUGE, "2", True, 64.5, 2.0],
    "preprocess.fit": ["stretch", None, ["squash"]],
    "preprocess.resampling": ["magic", 3],
    "preprocess.scale": [MISSING, 1.0, "255.0", 255],
    "preprocess.background": [MISSING, [0, 0], [0, 0, 256], [0, 0, -1], [0, 0, 0.5], "white"],
    "preprocess.background ": [[True, True, True], [[0], [0], [0]]],
    "preprocess.more": [1],
    "training": [MISSING, []],
    "training.unknown": [1],
    "training.train": [MISSING, None, [1, 2, 3, 4]],
    "training.train.tp": [-1, 1.5, 10**400],
    "training.test": [MISSING],
    "training.test.tp": ["1", True],
    "training.test.xx": [1],
    "training.source": [5],
    "training.fingerprint": [None],
    "training.images": ["7", 10**400, 2],
    "training.positives": [3.5, 8, -1],
    "training.steps": [[150], -1],
    "training.interrupted": [1],
    "training.settings": ["lr=1"],
    "training.ended": [[], {"reason": 1}, {"within": 1}, {"raised": 1.0}, {"other": "x"}],
    "training.catclf": [1],
}
# What is refused before its place is looked at.
WRONG_FIRST: list[tuple[str, Any, str]] = [
    ("threshold", NAN, "not finite"),
    ("z_threshold", INFINITY, "not finite"),
    ("preprocess.size", INFINITY, "not finite"),
    ("training.settings", {"learning_rate": NAN}, "not finite"),
    ("training.settings", {"l2": [[INFINITY]]}, "not finite"),
    ("format", "other", "is not a catclf model"),
    ("format", MISSING, "is not a catclf model"),
    ("version", 3, "was made by an older catclf: train it again"),
    ("preprocess.size", 3, "has w of"),
]


@pytest.mark.parametrize("place", WRONG)
def test_meta_that_makes_no_sense_is_refused(path: Path, place: str) -> None:
    """The place is named, or the object that is to have it."""
    sys.set_int_max_str_digits(0)  # to write what a hostile file may hold
    try:
        for value in WRONG[place]:
            meta = get_meta(path)
            edited(meta, place.strip(), value)
            put_meta(path, json.dumps(meta))
            refused(path, rf"its meta\.?{place.rpartition('.')[0]}[\w.]* makes no sense")
            save(make_model(), path)
    finally:
        sys.set_int_max_str_digits(4300)


@pytest.mark.parametrize(("place", "value", "why"), WRONG_FIRST)
def test_meta_of_another_model_is_refused(path: Path, place: str, value: Any, why: str) -> None:
    meta = get_meta(path)
    edited(meta, place, value)
    put_meta(path, json.dumps(meta))
    refused(path, why)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        '["catclf-model"]',
        "null",
        "1",
        '"catclf-model"',
        "{}",
        '{"format": "catclf-model"',
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 100_000,
        '{"format": "catclf-model", "version": ' + "9" * 100_000 + "}",
        "NaN",
        '{"format": "catclf-model", "version": NaN}',
        '{"format": "catclf-model", "version": Infinity}',
        '{"format": "catclf-model", "version": 1e999}',
        "\ufeff{}",
    ],
    ids=lambda text: text[:50] if len(text) < 100 else f"{text[:45]} and so on",
)
def test_meta_that_is_not_a_json_object_of_ours_is_refused(path: Path, text: str) -> None:
    put_meta(path, text)
    refused(path)


def test_characters_that_do_not_exist_in_meta_are_refused(path: Path) -> None:
    header = "{'descr': '<U2', 'fortran_order': False, 'shape': (), }"
    put(path, "meta.npy", raw_npy(header, b"\xff" * 8))
    refused(path)


def test_meta_longer_than_the_limit_is_refused(path: Path) -> None:
    put_meta(path, json.dumps(get_meta(path)) + " " * 1024 * 1024 + ".")
    refused(path, "has meta of ")


# Limits that saving and loading share


def with_curves(count: int, validated: int) -> Model:
    """A model with so many costs, and so many of held-out images."""
    model = make_model()
    validation = {
        "source": "",
        "best_step": 1,
        "best_cost": 0.1,
        "costs": [1.0 / 3.0 / (step + 1) for step in range(validated)],
        "cost_steps": list(range(validated)),
        "counts": {"tp": 1, "fp": 2, "tn": 3, "fn": 4},
    }
    costs = tuple(0.7 / (step + 1) for step in range(count))
    training = replace(model.training, validation=validation)
    return replace(model, costs=costs, cost_steps=tuple(range(count)), training=training)


@pytest.mark.parametrize("validated", [1, 10_000, 10_001, 50_000])
def test_validation_costs_come_back_however_many(tmp_path: Path, validated: int) -> None:
    model = with_curves(3, validated)
    save(model, tmp_path / "m.npz")
    assert same(load(tmp_path / "m.npz"), model)


def test_curves_beyond_the_limit_are_thinned_evenly_and_keep_their_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catclf.model.file.COSTS_LIMIT", 20_000)
    count = 50_000
    save(with_curves(count, count), tmp_path / "m.npz")
    found = load(tmp_path / "m.npz")
    expected = [*range(0, count - 1, 3), count - 1]  # every third is the first that fits
    assert list(found.cost_steps) == expected
    assert found.training.validation["cost_steps"] == expected
    assert found.costs[-1] == 0.7 / count
    assert found.training.validation["costs"][1] == 1.0 / 3.0 / 4


@settings(deadline=None, derandomize=True, max_examples=200)
@given(count=st.integers(0, 5000), limit=st.integers(2, 60))
def test_thinning_keeps_as_many_points_as_fit_at_even_distances(count: int, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("catclf.model.file.COSTS_LIMIT", limit)
        kept = thinned(CURVE, range(count), range(count))["cost_steps"].tolist()
    assert len(kept) <= limit
    assert kept[:1] == list(range(min(count, 1)))
    assert kept[-1:] == list(range(count))[-1:]
    if count > limit:
        distances = np.diff(kept)
        assert len(set(distances[:-1])) <= 1
        assert 0 < distances[-1] <= distances[0]
        wider = int(distances[0]) - 1
        assert len({*range(0, count, wider), count - 1}) > limit  # a smaller distance does not fit
    else:
        assert kept == list(range(count))


def test_a_model_that_no_file_may_hold_is_refused_before_writing(path: Path) -> None:
    before = path.read_bytes()
    training = replace(make_model().training, source="x" * 2**20)
    with pytest.raises(OutputError, match="too large for a file"):
        save(replace(make_model(), training=training), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("", "cat")}, r"meta\.classes makes no sense"),
        ({"classes": ("cat", "cat")}, r"meta\.classes makes no sense"),
        ({"threshold": 2.0}, r"meta\.threshold makes no sense"),
        ({"z_threshold": float("inf")}, "has numbers in its meta that are not finite"),
        ({"b": float("nan")}, "has weights that are not finite numbers"),
        ({"w": np.full((12, 1), np.inf)}, "has weights that are not finite numbers"),
        ({"preprocess": Preprocess(2, "stretch")}, r"meta\.preprocess\.fit makes"),
    ],
)
def test_a_model_that_could_not_be_read_is_not_written(
    change: dict[str, Any], message: str, path: Path
) -> None:
    before = path.read_bytes()
    with pytest.raises(ModelError, match=message):
        save(replace(make_model(), **change), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("z", [39.5, -745.25, 0.1])
def test_a_threshold_kept_as_a_score_comes_back_and_marks_the_model(
    tmp_path: Path, path: Path, z: float
) -> None:
    plain = make_model()
    model = replace(plain, z_threshold=z)
    save(model, tmp_path / "z.npz")
    found = load(tmp_path / "z.npz")
    assert same(found, model)
    assert found.boundary == z
    assert found.fingerprint == model.fingerprint != plain.fingerprint
    meta = get_meta(tmp_path / "z.npz")
    assert meta.pop("z_threshold") == z
    assert meta == get_meta(path)  # nothing else differs, and nothing is there without it
