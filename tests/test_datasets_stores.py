"""Archives, Parquet, HDF5 and .npz in a store are read as the same files on disk."""

from __future__ import annotations

import errno
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_files import image_bytes, stored, tar
from conftest import Run

from catclf.datasets import ReadOptions, open_dataset, open_source
from catclf.datasets.hdf5 import write
from catclf.datasets.packed import write_folder
from catclf.errors import DataError
from catclf.storage import location
from catclf.storage.location import locate

fsspec = pytest.importorskip("fsspec")


def folders(prefix: str = "", count: int = 6) -> dict[str, bytes]:
    """Files of two class folders."""
    return {f"{prefix}{['cat', 'dog'][i % 2]}/{i}.png": image_bytes(i) for i in range(count)}


def samples(first: int, count: int = 6) -> dict[str, bytes]:
    """Files of labelled samples."""
    files = {}
    for i in range(first, first + count):
        files[f"{i:04}.png"], files[f"{i:04}.cls"] = image_bytes(i), b"%d" % (i % 2)
    return files


def write_hdf5(path: Path) -> None:
    write(
        path,
        {
            "train": open_source(tar(path.parent / "of.tar", folders()), ReadOptions()).split(
                "train"
            )
        },
    )


def write_npz(path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez(path, x=rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8), y=[0, 1, 0, 1, 1, 0])


def write_parquet(path: Path) -> None:
    parquet = pytest.importorskip("parquet_files")
    parquet.write(path, [image_bytes(i) for i in range(6)], [0, 1] * 3)


WRITERS = {
    "photos.tar": lambda path: tar(path, folders()),
    "photos.zip": lambda path: stored(path, folders("in/")),
    "00000.tar": lambda path: tar(path, samples(0)),
    "a.h5": write_hdf5,
    "a.npz": write_npz,
    "a.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_in_a_store_is_read_as_on_disk(store: Any, tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    store.put(str(tmp_path / name), f"/in/{name}")
    reading = ReadOptions(size=8) if name != "a.h5" else ReadOptions()
    url = f"memory://in/{name}"
    here, there = (open_dataset(each, "train", reading) for each in (tmp_path / name, url))
    np.testing.assert_array_equal(there.images, here.images)
    np.testing.assert_array_equal(there.Y, here.Y)
    assert there.classes == here.classes
    assert there.fingerprint == here.fingerprint
    assert there.source == here.source
    place = f"{tmp_path / name}:"
    here_names = [each.replace(place, f"{url}:") for each in here.names or ()]
    assert list(there.names or ()) == here_names


@pytest.mark.parametrize("pattern", ["{00000..00001}.tar", "0000*.tar"])
def test_shards_of_a_pattern_are_copied_once_and_kept_when_packed_again(
    store: Any, tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        path = tar(tmp_path / f"{number:05}.tar", samples(6 * number))
        store.put(str(path), f"/shards/{path.name}")
    fetched: list[str] = []
    fetch = type(store).get_file

    def counting(self: Any, name: str, *args: Any, **options: Any) -> None:
        fetched.append(name)
        fetch(self, name, *args, **options)

    monkeypatch.setattr(type(store), "get_file", counting)
    monkeypatch.setattr(location, "_copies", {})
    url = Path(f"memory://shards/{pattern}")
    for kept in (0, 3):
        source = open_source(url, ReadOptions(size=8)).split("train")
        (tmp_path / "packed").mkdir(exist_ok=True)
        result = write_folder(tmp_path / "packed", {"train": source}, shard_images=5)["train"]
        assert (result.shards, result.kept) == (3, kept)
    assert fetched == [f"/shards/{number:05}.tar" for number in range(2)]
    names = open_dataset(tmp_path / "packed").names
    assert names is not None
    assert names[6] == "memory://shards/00001.tar:0006.png"


def test_copies_end_with_their_process_and_are_renewed_with_their_file(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "_copies", {})
    url = "memory://in/photos.tar"
    names = []
    for count in (6, 8):
        store.put(str(tar(tmp_path / "a.tar", folders(count=count))), "/in/photos.tar")
        assert open_dataset(url, "train", ReadOptions(size=8)).m == count
        assert locate(url).state() == locate(Path(url)).state()
        names.append(str(locate(url).local()))
    assert not Path(names[0]).exists()
    assert Path(names[1]).read_bytes() == store.cat_file("/in/photos.tar")
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
def test_other_remote_sources_are_one_line_that_names_them(
    store: Any, tmp_path: Path, name: str, why: str
) -> None:
    for file in ("table.csv", "photos/cat/1.png", "photos.tar.gz"):
        store.pipe_file(f"/in/{file}", b"x" * 10)
    tar(tmp_path / "cut.tar", folders())
    write_hdf5(tmp_path / "cut.h5")
    for file in ("cut.tar", "cut.h5"):
        store.pipe_file(f"/in/{file}", (tmp_path / file).read_bytes()[:6000])
    with pytest.raises(DataError, match=why) as caught:
        open_dataset(f"memory://in/{name}", "train", ReadOptions(size=8))
    assert str(caught.value).startswith("memory://in/")
    assert "\n" not in str(caught.value)


def test_parts_of_remote_shards_are_those_of_their_names(store: Any, tmp_path: Path) -> None:
    for part in ("train", "test"):
        store.put(str(tar(tmp_path / "a.tar", folders())), f"/in/{part}-00000.tar")
    assert open_source(Path("memory://in/*.tar")).splits == {"train", "test"}


def test_commands_read_a_url_as_the_file(run: Run, tmp_path: Path) -> None:
    tar(tmp_path / "photos.tar", folders(count=12))
    url = f"file://{tmp_path}/photos.tar"
    for source, model in (("photos.tar", "here.npz"), (url, "there.npz")):
        result = run("train", "--data", source, "--iterations", "20", "-q", "-o", model)
        assert result.code == 0
        assert result.stderr.startswith(f"catclf: {source}") or not result.stderr
    assert (tmp_path / "here.npz").read_bytes() == (tmp_path / "there.npz").read_bytes()
    info = run("data", "info", url)
    assert info.stdout.splitlines()[0].startswith(f"{url}, 0.0 MB")
    assert tarfile.is_tarfile(tmp_path / "photos.tar")


def test_versions_are_those_of_the_file_however_the_store_tells_of_it(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts: dict[str, Any] = {"name": "/in/a", "size": 3, "type": "file"}
    monkeypatch.setattr(type(store), "info", lambda *_: facts)
    facts |= {"ETag": "1", "LastModified": "then"}
    first = locate("memory://in/a").version()
    facts |= {"Key": "in/a", "LastModified": "then+00:00", "StorageClass": "STANDARD"}
    assert locate("memory://in/a").version() == first
    facts["ETag"] = "2"
    assert locate("memory://in/a").version() != first


def test_a_full_disk_is_no_damage_and_says_what_to_do(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packed").mkdir()
    source = open_source(tar(tmp_path / "a.tar", folders()), ReadOptions(size=8)).split("train")
    write_folder(tmp_path / "packed", {"train": source}, shard_images=3)
    store.put(str(tmp_path / "packed"), "/packed", recursive=True)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(type(store), "get_file", full)
    with pytest.raises(DataError, match=r"train-00000.h5: .*no room.*: set tmpdir to a larger"):
        open_dataset("memory://packed", "train", ReadOptions(skip_bad=True))
    monkeypatch.undo()
    store.rm("/packed/train-00001.h5")
    assert open_dataset("memory://packed", "train", ReadOptions(skip_bad=True)).m == 3
