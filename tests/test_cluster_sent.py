"""The rows that tasks bring are those of the run, wherever a worker is and whatever it lists."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archive_files import image_bytes, stored, tar

from catclf.cluster.packing import Files, Stored, sender
from catclf.datasets import ReadOptions, open_source
from catclf.errors import DataError, ImageError

READING = ReadOptions(size=8, skip_bad=True)
Files_ = dict[str, bytes]


def two_classes() -> Files_:
    return {f"{['cat', 'dog'][i % 2]}/{i}.png": image_bytes(i) for i in range(12)}


def write_folder(path: Path, files: Files_) -> None:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def write_parquet(path: Path, files: Files_) -> None:
    parquet = pytest.importorskip("parquet_files")
    parquet.write(path, list(files.values()), [0, 1] * 6)


def write_table(path: Path, files: Files_) -> None:
    write_folder(path.parent, files)
    lines = [f"{name},{name.partition('/')[0]}" for name in files]
    path.write_text("\n".join(["path,label", *lines]))


WRITERS: dict[str, Callable[[Path, Files_], object]] = {
    "photos": write_folder,
    "a.tar": tar,
    "a.zip": stored,
    "a.parquet": write_parquet,
    "a.csv": write_table,
}


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_read_in_another_folder_under_their_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(name)
    WRITERS[name](path, two_classes())
    source = open_source(path, READING).split("train")
    pixels = np.concatenate([block for _, block in source.blocks()])
    names = source.names()
    sent = sender(source, path, "train")(3, 8)
    assert isinstance(sent, Files)
    monkeypatch.chdir(tmp_path / "elsewhere")
    rows = pickle.loads(pickle.dumps(sent)).opened()
    assert names is not None
    assert rows.names() == list(names[3:8])
    np.testing.assert_array_equal(rows.labels, source.labels[3:8])
    np.testing.assert_array_equal(np.concatenate([b for _, b in rows.blocks()]), pixels[3:8])
    assert rows.label_of(0).endswith(names[3])


@pytest.mark.parametrize("name", WRITERS)
def test_a_worker_that_sees_other_files_says_so(name: str) -> None:
    path = Path(name)
    WRITERS[name](path, two_classes())
    sent = sender(open_source(path, READING).split("train"), path, "train")(0, 12)
    WRITERS[name](path, {each: content + b"\0" for each, content in two_classes().items()})
    with pytest.raises(DataError, match=f"{name}.*: a worker sees other images there than this"):
        sent.opened()


def test_failures_of_members_are_sent_with_them() -> None:
    content = bytearray(stored(Path("a.zip"), two_classes()).read_bytes())
    content[content.rindex(b"PK\1\2") + 8] |= 1  # encrypted
    Path("a.zip").write_bytes(content)
    path = Path("a.zip")
    rows = sender(open_source(path, READING).split("train"), path, "train")(6, 12).opened()
    assert sum(len(block) for _, block in rows.blocks()) == 5
    assert "encrypted" in rows.skipped[0][1]
    error = pickle.loads(pickle.dumps(ImageError("empty", "is empty")))
    assert (error.kind, str(error)) == ("empty", "is empty")


def test_stored_pixels_are_opened_by_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    np.savez("a.npz", x=x, y=[0, 1] * 3)
    source = open_source(Path("a.npz"), ReadOptions()).split("train")
    sent = sender(source, Path("a.npz"), "train")(2, 4)
    assert isinstance(sent, Stored)
    monkeypatch.chdir(tmp_path / "elsewhere")
    opened = sent.opened()
    np.testing.assert_array_equal(np.concatenate([b for _, b in opened.blocks()]), x[2:4])
