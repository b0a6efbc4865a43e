"""The model file: what it keeps, what it refuses, and what is never written."""

from __future__ import annotations

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
from conftest import fill
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from model_files import MISSING, members, npy, opened, zipped

from catclf.errors import ModelError, OutputError
from catclf.images.preprocess import Preprocess
from catclf.maths.metrics import Counts
from catclf.model import Model, Training
from catclf.model.file import VERSION, load, save

W = np.random.default_rng(0).normal(size=(12, 1))
TRAINING = Training(
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
)
MODEL = Model(
    w=W,
    b=-0.1,
    preprocess=Preprocess(2, "crop", "lanczos", (1, 2, 3)),
    threshold=0.25,
    costs=(0.7, 0.6, 0.5),
    cost_steps=(0, 100, 150),
    training=TRAINING,
)
NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**4000


def sized(size: int) -> Model:
    w = np.random.default_rng(size).normal(size=(size * size * 3, 1))
    return replace(MODEL, w=w, preprocess=Preprocess(size))


def with_curves(count: int, validated: int) -> Model:
    """A model with so many costs, and so many of held-out images."""
    validation = {
        "source": "",
        "best_step": 1,
        "best_cost": 0.1,
        "costs": [1.0 / 3.0 / (step + 1) for step in range(validated)],
        "cost_steps": list(range(validated)),
        "counts": {"tp": 1, "fp": 2, "tn": 3, "fn": 4},
    }
    costs = tuple(0.7 / (step + 1) for step in range(count))
    training = replace(TRAINING, validation=validation)
    return replace(MODEL, costs=costs, cost_steps=tuple(range(count)), training=training)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved model."""
    path = tmp_path / "model.npz"
    save(MODEL, path)
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


def put(path: Path, name: str, content: bytes) -> None:
    """The model file with one array replaced or added."""
    path.write_bytes(zipped(members(path) | {f"{name}.npy": content}))


def require_same(found: Model, expected: Model) -> None:
    """Equal bit for bit."""
    assert found.w.dtype == np.float64
    assert found.w.shape == expected.w.shape
    assert found.w.tobytes() == expected.w.tobytes()
    assert np.float64(found.b).tobytes() == np.float64(expected.b).tobytes()
    np.testing.assert_array_equal(found.digests, expected.digests, strict=True)
    for name in {each.name for each in fields(Model)} - {"w", "b", "digests"}:
        assert getattr(found, name) == getattr(expected, name)


# What it keeps


def test_an_unedited_copy_of_the_members_is_still_a_model(path: Path) -> None:
    """The tests below change one thing; this shows that it is that thing which is refused."""
    opened(path).put("colour", "a key that a later version adds").write(path)
    header = HEADER.format("<f8", False, (3,))
    put(path, "costs", raw_npy(header, np.array(MODEL.costs).tobytes()))
    require_same(load(path), MODEL)


numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(), min_size=1)


def with_lists(costs: list[float], digests: set[int], **values: Any) -> Model:
    values["cost_steps"] = tuple(range(len(costs)))
    values["digests"] = np.array(sorted(digests), np.uint64)
    return replace(MODEL, costs=tuple(costs), **values)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    st.builds(
        with_lists,
        st.lists(numbers, max_size=5),
        st.sets(st.integers(0, 2**64 - 1), max_size=7),
        w=arrays(np.float64, (12, 1), elements=numbers),
        b=numbers,
        classes=st.tuples(words, words).filter(lambda pair: pair[0] != pair[1]),
        threshold=st.floats(0, 1),
        z_threshold=st.none() | numbers,
    )
)
@example(with_lists([], {0, 3, 2**64 - 1}, w=np.full((12, 1), -0.0), b=-0.0, threshold=0.0))
@example(with_lists([0.1], {5}, w=np.full((12, 1), 5e-324), b=sys.float_info.max, threshold=1.0))
@example(replace(MODEL, classes=("\udcff", '"\\\n\0'), z_threshold=39.5))
@example(replace(MODEL, classes=("猫", "😀")))
@example(sized(64))
@example(with_curves(3, 10_001))
def test_any_sound_model_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, model: Model
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    save(model, path)
    require_same(load(str(path)), model)


def test_equal_models_are_equal_files_whenever_and_wherever_they_are_saved(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 4e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2150, 1, 1, 0, 0, 0, 0, 0, 0))
    strided = np.zeros((24, 2))[::2, :1]
    strided[:] = W
    for w in (W, load(path).w, strided, W.astype(">f8")):
        save(replace(MODEL, w=w), tmp_path / "later")
        assert (tmp_path / "later").read_bytes() == path.read_bytes()


def test_numpy_alone_can_read_a_model_without_pickles(path: Path) -> None:
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    meta = json.loads(str(found.pop("meta")))
    np.testing.assert_array_equal(found.pop("w"), W, strict=True)
    assert {name: array.tolist() for name, array in found.items()} == {
        "b": -0.1,
        "costs": [0.7, 0.6, 0.5],
        "cost_steps": [0, 100, 150],
    }
    assert meta.pop("training")["test"] == {"tp": 5, "fp": 6, "tn": 7, "fn": 8}
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


def test_a_threshold_kept_as_a_score_marks_the_model(tmp_path: Path, path: Path) -> None:
    save(replace(MODEL, z_threshold=-745.25), tmp_path / "z.npz")
    found = load(tmp_path / "z.npz")
    assert found.boundary == -745.25
    assert found.fingerprint != MODEL.fingerprint
    # Nothing else differs, and nothing is there without it.
    assert opened(tmp_path / "z.npz").meta == opened(path).meta | {"z_threshold": -745.25}


# What it refuses: files that are no models


def test_what_is_not_a_regular_file_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    """Nor does anybody wait for a pipe."""
    fill(tmp_path, {"file": "", "folder/file": ""})
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to("pipe")
    reasons = {
        "none": r"no such file or directory: train one first \(catclf train\), or name",
        "file/below": "not a directory",
        "folder": "is not a regular file|is a folder",
        **dict.fromkeys(("pipe", "device", "link"), "is not a regular file"),
    }
    for name, why in reasons.items():
        refused(tmp_path / name, why)
    for name in ("missing/model.npz", "folder", "pipe"):
        with pytest.raises(OutputError, match=f"{name}: "):
            save(MODEL, tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


HEADER = "{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}"


def raw_npy(header: str, data: bytes, version: bytes = b"\x01\x00") -> bytes:
    """An array file with any header at all."""
    size = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + header.encode("latin-1") + data


class Evil:
    """Proves that a pickle was loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("import builtins; builtins.catclf_was_here = True",))


NPZ = {"w.npy": npy(np.zeros((12, 1))), "b.npy": npy(np.zeros(()))}
FOREIGN = {
    "empty": b"",
    "zeros": bytes(10_000),
    "random that begins as a zip": b"PK\x03\x04" + random.Random(1).randbytes(10_000),
    "text": b"w = 1, 2, 3\n" * 100,
    "npy": NPZ["w.npy"],
    "pickle": pickle.dumps(Evil()),
    "pickle in an npy": raw_npy(HEADER.format("|O", False, ()), pickle.dumps(Evil())),
    "npz": zipped(NPZ),
    "compressed npz": zipped(NPZ, zipfile.ZIP_DEFLATED),
    "zip": zipped({"word/document.xml": b"<x/>"}),
    "empty zip": zipped({}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(FOREIGN[kind])
    refused(path, "is not a catclf model")
    require_no_pickle_loaded()


def require_no_pickle_loaded() -> None:
    assert "catclf_was_here" not in vars(sys.modules["builtins"])


def test_a_truncated_model_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save(sized(64), path)
    whole = path.read_bytes()
    assert len(whole) > 64 * 64 * 3 * 8
    for length in [*range(0, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path, "is not a catclf model, or is truncated")


def test_a_flipped_byte_is_refused_or_changes_nothing(path: Path) -> None:
    """Checksums cover all that matters; the rest is dates and attributes of the zip format."""
    whole = path.read_bytes()
    rng = random.Random(0)
    loaded = 0
    for position in rng.sample(range(len(whole)), 600):
        damaged = bytearray(whole)
        damaged[position] ^= rng.choice([0x01, 0x20, 0x80, 0xFF])
        path.write_bytes(damaged)
        try:
            found = load(path)
        except ModelError:
            refused(path)
        else:
            require_same(found, MODEL)
            loaded += 1
    assert loaded < 300
    damaged = bytearray(whole)
    damaged[whole.index(W.tobytes())] ^= 1
    path.write_bytes(damaged)
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
    moved = content.pop(name) if name else npy(W)
    path.write_bytes(zipped(content | ({as_name: moved} if as_name else {})))
    gone = name == "meta.npy"
    refused(path, "no member meta" if gone else "must hold exactly w, b, costs, cost_steps, meta")
    assert not (path.parent.parent / "w.npy").exists()


@pytest.mark.parametrize(
    ("attribute", "value", "why"),
    [
        ("flag_bits", 1, "encrypted"),
        ("external_attr", 0o120777 << 16, "links"),
        ("filename", "w.npy", "members are repeated"),
        *(("file_size", size, "too large") for size in (10**8, 2**32 - 2, 10**15)),
    ],
)
def test_an_odd_entry_in_the_directory_is_refused(
    path: Path, attribute: str, value: int, why: str
) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        setattr(archive.getinfo("costs.npy"), attribute, value)
        archive.comment = b"so that the directory is written again"
    refused(path, why)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["w.npy", "meta.npy"])
@pytest.mark.parametrize("declared", ["honest", "modest"])
def test_a_zip_bomb_is_refused_before_it_expands(
    path: Path, method: int, name: str, declared: str
) -> None:
    """A modest one declares the size of a sound member, and the checksum of its beginning."""
    content = members(path)
    sound = content.pop(name)
    path.write_bytes(zipped(content))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, sound + bytes(20_000_000), method)
        if declared == "modest":
            info = archive.getinfo(name)
            info.file_size, info.CRC = len(sound), zlib.crc32(sound)
    assert path.stat().st_size < 200_000
    with memory(5_000_000):
        refused(path, "is not sound: members are compressed, encrypted or links")


# What it refuses: arrays


def ending_in(array: Any, value: float) -> Any:
    """A copy of an array whose last number is this."""
    changed = np.array(array, np.float64)
    changed.reshape(-1)[-1] = value
    return changed


@pytest.mark.parametrize(
    ("name", "array", "why"),
    [
        *(("w", W.astype(dtype), "has w of") for dtype in ("<f4", ">f8", "<c16", "<i8")),
        *(("w", w, "has w of") for w in (W[:11], W.T, W[:, 0], W.reshape(12, 1, 1), W[:0])),
        ("w", np.zeros(12, dtype=[("x", "<f8")]), "has w of"),
        *(("b", b, "has b of") for b in (np.zeros(1), np.float32(0), np.array("0.5"))),
        *(("costs", np.zeros(shape), "has costs of") for shape in ((3, 1), (), 1_000_001)),
        ("costs", np.zeros(3, np.float32), "has costs of"),
        ("costs", np.zeros(2), "has cost_steps of"),
        *(("cost_steps", np.zeros(3, dtype), "has cost_steps of") for dtype in ("<f8", "<i4")),
        ("cost_steps", np.zeros(4, "<i8"), "has cost_steps of"),
        *(("meta", m, "has meta of") for m in (np.array(b"{}"), np.array(["{}"]), np.zeros(3))),
        ("meta", np.array("{}" + " " * 1024 * 1024 + "."), "has meta of"),
        *(("digests", np.array(d, "<u8"), "has digests that") for d in ([3, 1], [1, 1])),
        *(("digests", np.zeros(s, "<u8"), "has digests of") for s in (65_537, (2, 2), ())),
        *(("digests", np.arange(3, dtype=d), "has digests of") for d in ("<i8", "<f8")),
        *(
            (name, ending_in(array, value), f"values in {name} that are not finite")
            for name, array in {"w": W, "b": 0.0, "costs": MODEL.costs}.items()
            for value in (NAN, INFINITY, -INFINITY)
        ),
        ("w", np.full((12, 1), Evil()), "has pickled objects in w: they are never loaded"),
        ("b", np.array(Evil(), object), "has pickled objects in b: they are never loaded"),
        ("meta", np.array(Evil(), object), "has pickled objects in meta: they are never loaded"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_an_array_of_another_type_shape_or_value_is_refused(
    path: Path, name: str, array: Any, why: str
) -> None:
    put(path, name, npy(array))
    refused(path, f": has {why.removeprefix('has ')}")
    require_no_pickle_loaded()


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


# What it refuses: meta


@pytest.mark.parametrize("version", [VERSION + 1, HUGE], ids=["next", "10**4000"])
def test_a_newer_model_is_refused_with_the_advice_to_upgrade(path: Path, version: int) -> None:
    opened(path).put("version", version).put("features", "of the future").write(path)
    put(path, "extra", npy(np.zeros(3)))
    refused(path, "was made by a newer catclf: upgrade")


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


@pytest.mark.parametrize("place", WRONG)
def test_meta_that_makes_no_sense_is_refused(path: Path, place: str) -> None:
    """The place is named, or the object that is to have it."""
    for value in WRONG[place]:
        opened(path).put(place.strip(), value).write(path)
        refused(path, rf"its meta\.?{place.rpartition('.')[0]}[\w.]* makes no sense")
        save(MODEL, path)


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        ("threshold", NAN, "not finite"),
        ("z_threshold", INFINITY, "not finite"),
        ("preprocess.size", INFINITY, "not finite"),
        ("training.settings", {"learning_rate": NAN}, "not finite"),
        ("training.settings", {"l2": [[INFINITY]]}, "not finite"),
        ("format", "other", "is not a catclf model"),
        ("format", MISSING, "is not a catclf model"),
        ("version", 3, "was made by an older catclf: train it again"),
        ("preprocess.size", 3, "has w of"),
    ],
)
def test_meta_of_another_model_is_refused(path: Path, place: str, value: Any, why: str) -> None:
    opened(path).put(place, value).write(path)
    refused(path, why)


OF_OURS = '{"format": "catclf-model", "version": '
NO_META = [
    *("", "not JSON", "[]", '["catclf-model"]', "null", "1", '"catclf-model"', "{}", "\ufeff{}"),
    *("[" * 100_000, '{"a":' * 100_000, "9" * 100_000, "NaN"),
    *(OF_OURS.partition(",")[0], OF_OURS + "9" * 100_000 + "}"),
    *(f"{OF_OURS}{number}}}" for number in ("NaN", "Infinity", "1e999")),
]


ODD_CONTENT = {
    **{kind: ("w", content) for kind, content in HEADERS.items()},
    **{text[:50]: ("meta", npy(np.array(text))) for text in NO_META},
    "characters that do not exist": ("meta", raw_npy(HEADER.format("<U2", False, ()), b"\xff" * 8)),
}


@pytest.mark.parametrize("kind", ODD_CONTENT)
def test_odd_content_of_a_member_is_refused_without_much_memory(path: Path, kind: str) -> None:
    put(path, *ODD_CONTENT[kind])
    with memory(10_000_000):
        refused(path)


# Limits that saving and loading share


@settings(max_examples=100)
@given(count=st.integers(0, 3000), limit=st.integers(2, 60))
def test_curves_beyond_the_limit_are_thinned_evenly_and_keep_their_ends(
    tmp_path_factory: pytest.TempPathFactory, count: int, limit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "thinned.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("catclf.model.file.COSTS_LIMIT", limit)
        save(with_curves(count, count), path)
        found = load(path)
    kept = list(found.cost_steps)
    assert kept == found.training.validation["cost_steps"]
    assert found.costs == tuple(0.7 / (step + 1) for step in kept)
    assert kept[:1] + kept[-1:] == [*range(count)][:1] + [*range(count)][-1:]
    assert len(kept) == min(count, limit)
    assert count < 2 or np.ptp(np.diff(kept)) <= 1


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        ({"classes": ("", "cat")}, ModelError, r"meta\.classes makes no sense"),
        ({"classes": ("cat", "cat")}, ModelError, r"meta\.classes makes no sense"),
        ({"threshold": 2.0}, ModelError, r"meta\.threshold makes no sense"),
        ({"z_threshold": INFINITY}, ModelError, "meta, which has numbers that are not finite"),
        ({"b": NAN}, ModelError, "has weights that are not finite numbers"),
        ({"w": np.full((12, 1), np.inf)}, ModelError, "has weights that are not finite numbers"),
        ({"preprocess": Preprocess(2, "stretch")}, ModelError, r"meta\.preprocess\.fit makes"),
        ({"digests": np.array([3, 0], np.uint64)}, ModelError, "do not go up"),
        ({"digests": np.array([3, 3], np.uint64)}, ModelError, "do not go up"),
        ({"training": replace(TRAINING, source="x" * 2**20)}, OutputError, "too large for a file"),
    ],
)
def test_a_model_that_could_not_be_read_is_not_written(
    change: dict[str, Any], error: type[Exception], why: str, path: Path
) -> None:
    before = path.read_bytes()
    with pytest.raises(error, match=why):
        save(replace(MODEL, **change), path)
    assert path.read_bytes() == before
