"""Packing to a store: the bytes of a folder on disk, sent whole, resumed, and one line else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import GREEN, RED, Run, make_images, paint, write_both_parts

from catclf.datasets import (
    Listing,
    ReadOptions,
    Split,
    hdf5,
    open_dataset,
    open_source,
)
from catclf.datasets.dataset import MANIFEST
from catclf.datasets.hdf5 import require_output
from catclf.datasets.packed import Packed, load, require_folder, write_folder
from catclf.errors import OutputError
from catclf.text import printable

fsspec = pytest.importorskip("fsspec")

PARTS: tuple[Split, ...] = ("train", "test")
STORE = Path("memory://far/packed")
NAMES = [
    MANIFEST,
    "test-00000.h5",
    "train-00000.h5",
    "train-00001.h5",
    "train-00002.h5",
    "train-00003.h5",
]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which nothing is left at the end."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield tmp_path / "tmp"
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images of 4x4 with a test part of 30."""
    return write_both_parts(tmp_path_factory.mktemp("packing") / "source.h5", 300, 30, 4)


@pytest.fixture(scope="module")
def parts(source: Path) -> dict[Split, Listing]:
    return {part: open_source(source, ReadOptions()).split(part) for part in PARTS}


@pytest.fixture(scope="module")
def expected(parts: dict[Split, Listing], source: Path) -> dict[str, bytes]:
    """The files of a folder on disk."""
    packed(parts, source.with_name("here"))
    return {path.name: path.read_bytes() for path in source.with_name("here").iterdir()}


def packed(
    parts: dict[Split, Listing], output: Path, shard_images: int = 80
) -> dict[Split, Packed]:
    require_folder(output, [])
    return write_folder(output, parts, shard_images=shard_images)


def contents(store: Any) -> dict[str, bytes]:
    return {Path(name).name: store.cat(name) for name in store.find("/far/packed")}


@pytest.fixture
def copies(store: Any, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of files in the temporary folder after each file that is fetched from a store."""
    counts, fetch = list[int](), type(store).get_file

    def counted(*args: Any, **options: Any) -> None:
        fetch(*args, **options)
        counts.append(len(list(temporary.iterdir())))

    monkeypatch.setattr(type(store), "get_file", counted)
    return counts


def test_a_store_holds_the_files_of_a_folder_on_disk(
    store: Any,
    source: Path,
    parts: dict[Split, Listing],
    expected: dict[str, bytes],
    copies: list[int],
) -> None:
    result = packed(parts, STORE)
    assert contents(store) == expected
    assert sorted(expected) == NAMES
    assert (result["train"].shards, result["train"].kept) == (4, 0)
    assert copies == []  # what was written is not fetched again
    for part in PARTS:
        assert open_dataset(STORE, part).fingerprint == open_dataset(source, part).fingerprint


def test_a_rerun_keeps_the_shards_that_are_right_one_copy_at_a_time(
    store: Any, parts: dict[Split, Listing], expected: dict[str, bytes], copies: list[int]
) -> None:
    packed(parts, STORE)
    store.pipe("/far/packed/train-00001.h5", expected["train-00001.h5"][:-1] + b"x")
    store.rm("/far/packed/train-00002.h5")
    times = {name: store.created(f"/far/packed/{name}") for name in NAMES if "2" not in name}
    result = packed(parts, STORE)
    assert (result["train"].shards, result["train"].kept, result["test"].kept) == (4, 2, 1)
    assert contents(store) == expected
    changed = {name for name in times if store.created(f"/far/packed/{name}") != times[name]}
    assert changed == {MANIFEST, "train-00001.h5"}
    assert copies == [1] * 4  # those of the right sizes
    del copies[:]
    assert packed(parts, STORE)["train"].kept == 4
    assert copies == [1] * 5
    assert contents(store) == expected
    store.pipe("/far/packed/notes", b"mine")
    packed(parts, STORE, 200)  # has fewer shards
    assert sorted(contents(store)) == sorted([*NAMES[:4], "notes"])


def test_a_store_that_fails_is_named_and_the_next_run_goes_on(
    store: Any,
    parts: dict[Split, Listing],
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_file = type(store).put_file

    def failing(self: Any, lpath: str, rpath: str, **rest: Any) -> None:
        if rpath.endswith("train-00001.h5"):
            self.pipe_file(rpath, b"half of it")
            raise OSError("the line is dead")
        put_file(self, lpath, rpath, **rest)

    monkeypatch.setattr(type(store), "put_file", failing)
    with pytest.raises(OutputError) as error:
        packed(parts, STORE)
    assert str(error.value) == (
        "memory://far/packed/train-00001.h5: cannot be written: the line is dead"
    )
    manifest = load(STORE)
    assert not manifest.complete
    assert [shard.file for shard in manifest.splits["train"].shards] == ["train-00000.h5"]
    monkeypatch.setattr(type(store), "put_file", put_file)
    assert packed(parts, STORE)["train"].kept == 1
    assert contents(store) == expected


def test_a_store_that_takes_nothing_ends_the_run_before_its_work(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*args: Any, **rest: Any) -> None:
        raise PermissionError(13, "Access Denied")

    output, file = Path("memory://closed/packed"), Path("memory://closed/x.h5")
    with monkeypatch.context() as patch:
        for method in ("put_file", "pipe_file"):
            patch.setattr(type(store), method, refuses)
        with pytest.raises(
            OutputError, match=rf"^{printable(output)}/{MANIFEST}: cannot be written: "
        ):
            require_folder(output, [])
        with pytest.raises(
            OutputError, match=rf"^{printable(file)}: cannot be written: access denied"
        ):
            require_output(file, [])
        patch.setattr(type(store), "ls", refuses)
        with pytest.raises(
            OutputError, match=rf"^{printable(output)}: cannot be a folder: access den"
        ):
            require_folder(output, [])


def test_other_folders_and_the_source_are_not_written_to(
    store: Any, source: Path, parts: dict[Split, Listing], tmp_path: Path
) -> None:
    url = Path(f"file://{tmp_path}")
    for output, taken in ((url, tmp_path), (tmp_path, url), (url, url), (STORE, STORE)):
        with pytest.raises(OutputError, match="is what is read: give another output name"):
            require_folder(output, [source, taken])
    store.pipe("/far/packed/notes", b"mine")
    with pytest.raises(OutputError, match=r"^memory://far/packed: holds other files: give a new"):
        packed(parts, STORE)
    assert contents(store) == {"notes": b"mine"}
    for other in (source, Path(f"file://{source}")):
        with pytest.raises(OutputError, match=r"source\.h5: is another file of this run"):
            require_output(Path(f"file://{source}"), [other])


def test_images_that_are_left_out_leave_the_fingerprint_of_the_others(
    store: Any, tmp_path: Path, copies: list[int]
) -> None:
    for name, colour in (("cat", GREEN), ("dog", RED)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            paint(tmp_path / "photos" / name / f"{number}.png", colour, (9, 9))
    (tmp_path / "photos" / "cat" / "3.png").write_bytes(b"nothing")
    reading = ReadOptions(size=8, skip_bad=True)
    left: dict[Split, Listing] = {"train": open_source(tmp_path / "photos", reading).split("train")}
    assert write_folder(STORE, left, shard_images=4)["train"].shards == 3
    assert copies == []
    data = open_dataset(tmp_path / "photos", options=reading)
    assert load(STORE).splits["train"].fingerprint == data.fingerprint


def test_the_command_packs_to_a_url_and_trains_from_it(
    run: Run, source: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/far"
    result = run("data", "pack", source, "-o", url, "--shard-images", "80")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == (
        f"{url}: train 300 images in 4 shards\n{url}: test 30 images in 1 shard\n"
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "far").iterdir()} == expected
    assert run("train", "--data", url, "--iterations", "2", "-q").code == 0
    assert run("data", "pack", source, "-o", f"{url}.h5", "-q").code == 0
    assert run("data", "pack", source, "-o", "here.h5", "-q").code == 0
    assert (tmp_path / "far.h5").read_bytes() == (tmp_path / "here.h5").read_bytes()
    assert make_images(300, 4)[0].tobytes() == open_dataset(tmp_path / "far.h5").images[:].tobytes()
    result = run("data", "pack", source, "-o", f"file://{source}/packed/")
    assert (result.code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"catclf: file://{source}/packed/{MANIFEST}: cannot be written")


class _StoppedError(Exception):
    """The end of a run that is not heard."""


def test_a_run_that_is_stopped_at_any_shard_goes_on_and_forgets_none(
    source: Path, tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "packed"
    one: dict[Split, Listing] = {"train": open_source(source, ReadOptions()).split("train")}
    write, files, stop_at = hdf5.fill, list[str](), [0]

    def stopping(path: Path, output: Path, *rest: Any, **more: Any) -> Any:
        files.append(output.name)
        if len(files) == stop_at[0]:
            raise _StoppedError
        return write(path, output, *rest, **more)

    monkeypatch.setattr(hdf5, "fill", stopping)
    for number in (1, 2):  # before the first shard, and before the second
        stop_at[0] = number
        files.clear()
        with pytest.raises(_StoppedError):
            packed(one, folder)
        assert not load(folder).complete
    stop_at[0] = 0
    assert packed(one, folder)["train"].kept == 1
    (folder / "train-00000.h5").unlink()
    stop_at[0] = (
        2  # after the first shard, which is the only one to be made: nothing is left to stop
    )
    files.clear()
    assert packed(one, folder)["train"].kept == 3
    (folder / "train-00000.h5").unlink()
    (folder / "train-00002.h5").unlink()
    files.clear()
    with pytest.raises(_StoppedError):
        packed(one, folder)
    shards = load(folder).splits["train"].shards
    assert [each.file for each in shards] == [f"train-0000{n}.h5" for n in range(4)]
    stop_at[0] = 0
    assert packed(one, folder)["train"].kept == 3
    for name in NAMES[2:]:
        assert (folder / name).read_bytes() == expected[name]


def test_a_damaged_shard_is_a_problem_of_its_data_set(
    run: Run, source: Path, tmp_path: Path
) -> None:
    assert run("data", "pack", source, "-o", "packed/", "--shard-images", "100").code == 0
    shard = tmp_path / "packed" / "train-00001.h5"
    content = bytearray(shard.read_bytes())
    content[-100] ^= 255
    shard.write_bytes(content)
    result = run("data", "verify", "packed")
    assert result.code == 1
    assert "packed train: left out 1 damaged shard" in result.stdout
