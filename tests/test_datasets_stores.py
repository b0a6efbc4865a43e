"""Archives, Parquet, HDF5, .npz and packed folders in a store are read as the same ones on disk."""

from __future__ import annotations

import errno
import gc
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_files import image_bytes, samples, stored, tar
from conftest import contents, fails, make_images, opened, unopened, write_hdf5, write_packed

import catclf
from catclf.datasets import ReadOptions, open_source, stores_pixels
from catclf.datasets.packed import write_folder
from catclf.errors import DataError
from catclf.storage import location
from catclf.storage.location import locate
from catclf.training import Settings

fsspec = pytest.importorskip("fsspec")
EIGHT = ReadOptions(size=8)
X, Y = make_images(6)
LABELS = [0, 1] * 3


def folders(prefix: str = "", count: int = 6) -> dict[str, bytes]:
    """Files of two class folders."""
    return {f"{prefix}{['cat', 'dog'][i % 2]}/{i}.png": image_bytes(i) for i in range(count)}


def write_parquet(path: Path) -> None:
    parquet = pytest.importorskip("parquet_files")
    parquet.write(path, [image_bytes(i) for i in range(6)], LABELS)


WRITERS = {
    "photos.tar": lambda path: tar(path, folders()),
    "photos.zip": lambda path: stored(path, folders("in/")),
    "00000.tar": lambda path: tar(path, samples(LABELS)),
    "a.h5": lambda path: write_hdf5(path, x=X, y=Y),
    "a.npz": lambda path: np.savez(path, x=X, y=Y),
    "a.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_in_a_store_is_read_as_on_disk(store: Any, tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    store.put(str(tmp_path / name), f"/in/{name}")
    url = f"memory://in/{name}"
    here, there = (opened(each, size=8) for each in (tmp_path / name, url))
    np.testing.assert_array_equal(there.images, here.images)
    np.testing.assert_array_equal(there.Y, here.Y)
    assert (there.classes, there.fingerprint) == (here.classes, here.fingerprint)
    assert there.source == here.source
    names = [each.replace(f"{tmp_path / name}:", f"{url}:") for each in here.names or ()]
    assert list(there.names or ()) == names


@pytest.mark.parametrize("pattern", ["{00000..00001}.tar", "0000*.tar"])
def test_shards_of_a_pattern_are_copied_once_and_kept_when_packed_again(
    store: Any, tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        path = tar(tmp_path / f"{number:05}.tar", samples(LABELS, first=6 * number))
        store.put(str(path), f"/shards/{path.name}")
    fetched: list[str] = []
    fetch = type(store).get_file

    def counting(self: Any, name: str, *args: Any, **options: Any) -> None:
        fetched.append(name)
        fetch(self, name, *args, **options)

    monkeypatch.setattr(type(store), "get_file", counting)
    monkeypatch.setattr(location, "_copies", {})
    (tmp_path / "packed").mkdir()
    for kept in (0, 3):
        source = open_source(f"memory://shards/{pattern}", EIGHT).split("train")
        result = write_folder(tmp_path / "packed", {"train": source}, shard_images=5)["train"]
        assert (result.shards, result.kept) == (3, kept)
    assert fetched == [f"/shards/{number:05}.tar" for number in range(2)]
    names = opened(tmp_path / "packed").names
    assert names is not None
    assert names[6] == "memory://shards/00001.tar:000006.png"


def test_copies_end_with_their_process_and_are_renewed_with_their_file(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "_copies", {})
    url = "memory://in/photos.tar"
    names = []
    for count in (6, 8):
        store.put(str(tar(tmp_path / "a.tar", folders(count=count))), "/in/photos.tar")
        assert opened(url, size=8).m == count
        assert locate(url).state() == locate(Path(url)).state()
        names.append(Path(str(locate(url).local())))  # else the path keeps the copy
    assert not names[0].exists()
    assert names[1].read_bytes() == store.cat_file("/in/photos.tar")
    assert locate(tmp_path).local() == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none.tar", "no such file"),
        ("none.h5", "no such file"),
        ("none*.tar", "no file of such a name"),
        ("{0..1}.tar", "no such file"),
        ("photos", "class folders and tables are read from disk alone"),
        ("table.csv", "class folders and tables are read from disk alone"),
        ("photos/cat/1.png", "cannot tell what this is"),
        ("photos.tar.gz", "is damaged, or not compressed"),
        ("cut.tar", "is damaged"),
        ("cut.h5", "is truncated"),
    ],
)
def test_other_remote_sources_are_one_line(store: Any, tmp_path: Path, name: str, why: str) -> None:
    for file in ("table.csv", "photos/cat/1.png", "photos.tar.gz"):
        store.pipe_file(f"/in/{file}", b"x" * 10)
    for writer, file in (("photos.tar", "cut.tar"), ("a.h5", "cut.h5")):
        WRITERS[writer](tmp_path / file)
        content = (tmp_path / file).read_bytes()
        store.pipe_file(f"/in/{file}", content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=why) as caught:
        opened(f"memory://in/{name}", size=8)
    assert str(caught.value).startswith("memory://in/")
    assert str(caught.value).isprintable()


# Packed folders


@pytest.fixture
def packed(store: Any, tmp_path: Path) -> Path:
    """300 images of 4x4 in three shards, on disk and in the store."""
    folder = write_packed(tmp_path, 300, 4, 128)
    store.put(str(folder), "/packed", recursive=True)
    return folder


def copies() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("catclf-*.h5"))


def test_a_packed_folder_in_a_store_trains_as_one_on_disk(packed: Path, tmp_path: Path) -> None:
    settings = Settings(iterations=5, method="stream")
    assert stores_pixels(Path("memory://packed"))
    before = copies()
    data = opened("memory://packed")
    for each, name in ((data, "remote.npz"), (opened(packed), "here.npz")):
        catclf.save(catclf.train(each, settings), tmp_path / name)
    assert (tmp_path / "remote.npz").read_bytes() == (tmp_path / "here.npz").read_bytes()
    assert len(copies() - before) == 3
    del data, each
    gc.collect()
    assert copies() == before


def test_a_damaged_or_missing_shard_in_a_store_is_one_line(store: Any, packed: Path) -> None:
    content = bytearray(contents(packed)["train-00001.h5"])
    content[3000] = ord("x")
    store.pipe("/packed/train-00001.h5", bytes(content))
    data = opened("memory://packed")
    with pytest.raises(DataError, match=r"^memory://packed/train-00001\.h5: is not the shard "):
        catclf.train(data, Settings(iterations=1, method="stream"))
    store.rm("/packed/train-00001.h5")
    with pytest.raises(DataError, match=r"^memory://packed/train-00001\.h5: the shard is missing"):
        opened("memory://packed")
    unopened("memory://nothing", "there is no such file or folder")


def test_a_full_disk_is_named(store: Any, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = fails(OSError(errno.ENOSPC, "no space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "get_file", full)
        with pytest.raises(DataError, match=r"train-00000.h5: .*no room.*: set tmpdir to a larger"):
            opened("memory://packed", skip_bad=True)
    store.rm("/packed/train-00001.h5")
    assert opened("memory://packed", skip_bad=True).m == 300 - 128
