"""``catclf data pack -o packed/ --cluster``: the bytes of one machine, counted before written."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archive_files import image_bytes, stored, tar
from conftest import GREEN, RED, contents, fill, make_images, paint
from typer.testing import CliRunner, Result

from catclf.cli.app import app
from catclf.cluster import packing
from catclf.cluster.engine import Engine
from catclf.cluster.packing import Files, Packers, Stored, listing_digest, sender
from catclf.datasets import ReadOptions, open_source
from catclf.datasets.dataset import MANIFEST
from catclf.datasets.packed import Job, Made, load, write_folder
from catclf.errors import DataError, ImageError

pytest.importorskip("distributed")

SHARD = 8
SKIPS = ReadOptions(size=8, skip_bad=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """41 images in two classes, of which some that stand together are broken."""
    root = tmp_path_factory.mktemp("packing") / "photos"
    for number in range(41):
        folder = root / ("cat" if number < 20 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        paint(folder / f"{number:02d}.png", GREEN if number < 20 else RED, (9, 9))
    for number in (0, 7, 8, 9, 22, 40):
        next(root.glob(f"*/{number:02d}.png")).write_bytes(b"no image")
    return root


def packed(
    source: Path, output: Path, reading: ReadOptions, engine: Engine | None = None
) -> dict[str, bytes]:
    output.mkdir(exist_ok=True)
    opened = open_source(source, reading).split("train")
    packers = None if engine is None else Packers(engine, source, 1).done
    write_folder(output, {"train": opened}, shard_images=SHARD, workers=packers)
    return contents(output)


def test_workers_write_the_bytes_of_one_machine(
    workers: Engine, photos: Path, tmp_path: Path
) -> None:
    expected = packed(photos, tmp_path / "one", SKIPS)
    assert packed(photos, tmp_path / "two", SKIPS, workers) == expected
    shards = load(tmp_path / "two").splits["train"]
    assert [each.images for each in shards] == [6, 6, 7, 8, 8]
    x, y = make_images(20, 4)
    np.savez(tmp_path / "source.npz", x=x, y=y)
    expected = packed(tmp_path / "source.npz", tmp_path / "three", ReadOptions())
    assert packed(tmp_path / "source.npz", tmp_path / "four", ReadOptions(), workers) == expected


def test_shards_of_a_pattern_are_packed_by_workers_in_another_folder(
    workers: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        files = {f"{i}.png": image_bytes(i) for i in range(12)}
        files |= {f"{i}.cls": b"%d" % (i % 2) for i in range(12)}
        tar(tmp_path / f"{number:02}.tar", files)
    monkeypatch.chdir(tmp_path)
    source, reading = Path("{00..01}.tar"), ReadOptions(size=8)
    expected = packed(source, tmp_path / "one", reading)
    assert packed(source, tmp_path / "two", reading, workers) == expected


def test_shards_that_are_there_stay_and_others_are_written_again(
    workers: Engine, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "packed"
    expected = packed(photos, output, SKIPS, workers)
    manifest = load(output)
    removed = manifest.splits["train"].pop(1)
    (output / removed.file).unlink()
    manifest.complete = False
    manifest.write(output)
    (output / "train-00003.h5").write_bytes(b"damaged")
    times = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    source = open_source(photos, SKIPS).split("train")
    packers = Packers(workers, photos, 1).done
    result = write_folder(output, {"train": source}, shard_images=SHARD, workers=packers)
    assert (result["train"].shards, result["train"].kept) == (5, 3)
    assert contents(output) == expected
    for name in ("train-00000.h5", "train-00002.h5", "train-00004.h5"):
        assert (output / name).stat().st_mtime_ns == times[name]


def test_a_worker_that_outlives_a_run_reads_what_is_there_in_the_next(
    workers: Engine, tmp_path: Path
) -> None:
    x, y = make_images(20, 4)
    path, remote = tmp_path / "x.npz", Path(f"file://{tmp_path}/x.npz")
    for pixels in (x, 255 - x):
        np.savez(path, x=pixels, y=y)
        expected = packed(path, tmp_path / f"one{pixels[0, 0, 0, 0]}", ReadOptions())
        for source, name in ((path, "disk"), (remote, "store")):
            output = tmp_path / f"{name}{pixels[0, 0, 0, 0]}"
            assert packed(source, output, ReadOptions(), workers) == expected


def killing(sent: Files | Stored, job: Job) -> Made:
    """As ``made``, but the first worker dies when its shard is there, and nobody knows."""
    mark = job.output.parent / "mark"
    first = not mark.exists()
    mark.touch()
    shard = _made(sent, job)
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return shard


_made = packing.made


def test_a_worker_that_is_killed_changes_no_byte(
    workers: Engine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = packed(photos, tmp_path / "one", SKIPS)
    monkeypatch.setattr(packing, "made", killing)
    assert packed(photos, tmp_path / "killed", SKIPS, workers) == expected
    assert (tmp_path / "mark").exists()


def test_what_cannot_be_read_ends_after_the_other_shards(
    workers: Engine, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*mend them, or leave them out"):
        packed(photos, tmp_path / "packed", replace(SKIPS, skip_bad=False), workers)
    shards = load(tmp_path / "packed").splits["train"]
    assert [each.first for each in shards] == [24, 32]
    assert not load(tmp_path / "packed").complete
    sent = Stored(str(photos), "train", SKIPS, "0" * 64, ())
    with pytest.raises(DataError, match="a worker sees other images there"):
        sent.opened()
    assert listing_digest(open_source(photos, SKIPS).split("train")) != "0" * 64


@pytest.mark.usefixtures("shared")
def test_the_command_is_that_of_one_machine(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = ["--size=8", "--skip-bad", f"--shard-images={SHARD}", "--workers=1"]

    def pack(output: str, *more: str) -> Result:
        return CliRunner().invoke(app, ["data", "pack", str(photos), "-o", output, *told, *more])

    by_workers, alone = pack("two/", "--cluster=local:2"), pack("one/")
    assert (by_workers.exit_code, alone.exit_code) == (0, 0)
    assert by_workers.stdout == alone.stdout.replace("one:", "two:")
    assert by_workers.stderr == alone.stderr
    assert "left out 6 unreadable images" in alone.stderr
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert MANIFEST in contents(tmp_path / "two")
    for _ in range(2):
        again = pack(f"file://{tmp_path}/far", "--cluster=local:2")
        assert contents(tmp_path / "far") == contents(tmp_path / "one")
    assert "in 5 shards, 5 of them kept" in again.stdout
    refused = pack("two.h5", "--cluster=local:2")
    assert refused.exit_code == 2
    assert "--cluster writes shards: give a folder" in refused.stderr


# The rows that tasks bring, wherever a worker is and whatever it lists

Files_ = dict[str, bytes]


def two_classes() -> Files_:
    return {f"{['cat', 'dog'][i % 2]}/{i}.png": image_bytes(i) for i in range(12)}


def write_parquet(path: Path, files: Files_) -> None:
    parquet = pytest.importorskip("parquet_files")
    parquet.write(path, list(files.values()), [0, 1] * 6)


def write_table(path: Path, files: Files_) -> None:
    fill(path.parent, files)
    lines = [f"{name},{name.partition('/')[0]}" for name in files]
    path.write_text("\n".join(["path,label", *lines]))


WRITERS: dict[str, Callable[[Path, Files_], object]] = {
    "photos": fill,
    "a.tar": tar,
    "a.zip": stored,
    "a.parquet": write_parquet,
    "a.csv": write_table,
}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder than the one in which a test works."""
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "elsewhere"


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_read_in_another_folder_under_their_names(
    name: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(name)
    WRITERS[name](path, two_classes())
    source = open_source(path, SKIPS).split("train")
    pixels = np.concatenate([block for _, block in source.blocks()])
    names = source.names()
    sent = sender(source, path, "train")(3, 8)
    assert isinstance(sent, Files)
    monkeypatch.chdir(elsewhere)
    rows = pickle.loads(pickle.dumps(sent)).opened()
    assert names is not None
    assert rows.names() == list(names[3:8])
    np.testing.assert_array_equal(rows.labels, source.labels[3:8])
    np.testing.assert_array_equal(np.concatenate([b for _, b in rows.blocks()]), pixels[3:8])
    assert rows.label_of(0).endswith(names[3])


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.usefixtures("elsewhere")
def test_a_worker_that_sees_other_files_says_so(name: str) -> None:
    path = Path(name)
    WRITERS[name](path, two_classes())
    sent = sender(open_source(path, SKIPS).split("train"), path, "train")(0, 12)
    WRITERS[name](path, {each: content + b"\0" for each, content in two_classes().items()})
    with pytest.raises(DataError, match=f"{name}.*: a worker sees other images there than this"):
        sent.opened()


@pytest.mark.usefixtures("elsewhere")
def test_failures_of_members_are_sent_with_them() -> None:
    content = bytearray(stored(Path("a.zip"), two_classes()).read_bytes())
    content[content.rindex(b"PK\1\2") + 8] |= 1  # encrypted
    Path("a.zip").write_bytes(content)
    path = Path("a.zip")
    rows = sender(open_source(path, SKIPS).split("train"), path, "train")(6, 12).opened()
    assert sum(len(block) for _, block in rows.blocks()) == 5
    assert "encrypted" in rows.skipped[0][1]
    error = pickle.loads(pickle.dumps(ImageError("empty", "is empty")))
    assert (error.kind, str(error)) == ("empty", "is empty")


def test_stored_pixels_are_opened_by_the_worker(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    np.savez("a.npz", x=x, y=[0, 1] * 3)
    source = open_source(Path("a.npz"), ReadOptions()).split("train")
    sent = sender(source, Path("a.npz"), "train")(2, 4)
    assert isinstance(sent, Stored)
    monkeypatch.chdir(elsewhere)
    opened = sent.opened()
    np.testing.assert_array_equal(np.concatenate([b for _, b in opened.blocks()]), x[2:4])
