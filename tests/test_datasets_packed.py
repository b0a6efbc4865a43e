"""Packed folders: the bytes of one file, shard by shard, resumed, and refused where not sound."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import GREEN, RED, Run, make_images, paint, write_both_parts, write_hdf5

import catclf
from catclf.datasets import ReadOptions, Split, open_dataset, open_source, stores_pixels
from catclf.datasets.dataset import MANIFEST
from catclf.datasets.packed import PackedRows, load
from catclf.errors import DataError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """300 images of 4x4 with a test part of 30."""
    return write_both_parts(tmp_path / "source.h5", 300, 30, 4)


@pytest.fixture
def packed(run: Run, source: Path, tmp_path: Path) -> Path:
    result = run("data", "pack", source, "-o", "packed/", "--shard-images", "128")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == (
        "packed: train 300 images in 3 shards\npacked: test 30 images in 1 shard\n"
    )
    return tmp_path / "packed"


def test_the_manifest_says_what_is_there(packed: Path) -> None:
    fields = json.loads((packed / MANIFEST).read_text())
    assert (fields["complete"], fields["classes"]) == (True, ["non-cat", "cat"])
    assert fields["preprocess"]["size"] == 4
    shards = fields["splits"]["train"]["shards"]
    assert [shard["images"] for shard in shards] == [128, 128, 44]
    for shard in shards:
        path = packed / shard["file"]
        assert shard["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert shard["bytes"] == path.stat().st_size
    assert sorted(path.name for path in packed.iterdir()) == sorted(
        [MANIFEST, "test-00000.h5", "train-00000.h5", "train-00001.h5", "train-00002.h5"]
    )


def test_a_folder_is_one_data_set(packed: Path, source: Path) -> None:
    assert {"train", "test"} <= open_source(packed).splits
    assert stores_pixels(packed)
    parts: tuple[Split, ...] = ("train", "test")
    for part in parts:
        one, many = (open_dataset(path, part) for path in (source, packed))
        assert np.array_equal(np.asarray(many.images), np.asarray(one.images))
        assert np.array_equal(many.Y, one.Y)
        assert (many.classes, many.preprocess) == (one.classes, one.preprocess)
        assert many.fingerprint == one.fingerprint
        other = open_dataset(packed, part, ReadOptions(positive="non-cat"))
        expected = open_dataset(source, part, ReadOptions(positive="non-cat"))
        assert other.fingerprint == expected.fingerprint != one.fingerprint


def test_slices_cross_shards(packed: Path) -> None:
    images, _ = make_images(300, 4)
    rows = PackedRows(packed, load(packed), "train")
    slices: list[slice] = [slice(0, 300), slice(120, 260), slice(128, 256), slice(299, 300)]
    for piece in [*slices, slice(5, 5), slice(10, 290, 7), slice(-3, None)]:
        assert np.array_equal(rows[piece], images[piece])
    numbers = np.array([299, 0, 128, -1])
    assert np.array_equal(rows[numbers], images[numbers])
    with pytest.raises(IndexError, match="there are 300 rows"):
        rows[np.array([300])]


def test_more_shards_than_may_be_open_are_read(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catclf.datasets.packed.OPEN", 1)
    rows = PackedRows(packed, load(packed), "train")
    assert np.array_equal(rows[0:300], make_images(300, 4)[0])
    assert np.array_equal(rows[100:140], make_images(300, 4)[0][100:140])
    assert len(rows._open) == 1


def test_commands_read_a_folder_as_one_source(run: Run, packed: Path) -> None:
    result = run("train", "--data", "packed", "--iterations", "9", "-q")
    assert (result.code, result.stderr) == (0, "")
    assert run("evaluate", "packed").code == 0
    assert "300 images, uint8 300 x 4 x 4 x 3" in run("data", "info", "packed").stdout


def test_a_source_that_changed_is_packed_anew_from_there(
    run: Run, packed: Path, tmp_path: Path
) -> None:
    x, y = make_images(300, 4)
    x[200] += 1
    write_hdf5(tmp_path / "source.h5.new", train_set_x=x, train_set_y=y, list_classes=[b"a", b"b"])
    (tmp_path / "source.h5.new").rename(tmp_path / "other.h5")
    write_hdf5(
        tmp_path / "same.h5", train_set_x=x, train_set_y=y, list_classes=[b"non-cat", b"cat"]
    )
    args = ("data", "pack", "-o", packed, "--shard-images", "128")
    assert run(*args, "same.h5").stdout.endswith("3 shards, 2 of them kept\n")
    assert np.array_equal(np.asarray(open_dataset(packed).images), x)
    assert not (packed / "test-00000.h5").exists()
    assert run(*args, "other.h5").stdout.endswith("3 shards\n")
    assert open_dataset(packed, options=ReadOptions(positive="a")).classes == ("b", "a")


def test_unreadable_images_are_left_out_and_none_is_lost(run: Run, tmp_path: Path) -> None:
    for name, colour in (("cat", GREEN), ("dog", RED)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(9):
            paint(tmp_path / "photos" / name / f"{number}.png", colour)
    for bad in ("cat/3.png", "cat/4.png", "dog/8.png"):
        (tmp_path / "photos" / bad).write_bytes(b"nothing")
    args = ("data", "pack", "photos", "-o", "p/", "--size", "8", "--shard-images", "4")
    refused = run(*args)
    assert refused.code == 2
    assert "1 image cannot be read: cat/3.png" in refused.stderr
    stopped = run("train", "--data", "p")
    assert (stopped.code, stopped.stderr) == (
        2,
        "catclf: p: packing was stopped before its end: run it again to go on\n",
    )
    done = run(*args, "--skip-bad")
    assert done.stdout.startswith("p: train 15 images in 5 shards")
    data = open_dataset(tmp_path / "p")
    expected = open_dataset(tmp_path / "photos", options=ReadOptions(size=8, skip_bad=True))
    assert np.array_equal(np.asarray(data.images), np.asarray(expected.images))
    assert data.names == expected.names
    assert run(*args).code == 2  # shards that left images out are not what was asked for


@pytest.mark.parametrize("harm", ["missing", "short", "changed"])
def test_a_shard_that_is_not_the_packed_one_is_named(run: Run, packed: Path, harm: str) -> None:
    shard = packed / "train-00001.h5"
    data = bytearray(shard.read_bytes())
    data[-1000] ^= 1
    shard.unlink() if harm == "missing" else shard.write_bytes(
        data[: -1 if harm == "short" else None]
    )
    result = run("train", "--data", "packed/", "--iterations", "3")
    assert result.code == 2
    assert result.stderr.startswith("catclf: packed/train-00001.h5: ")
    expected = {"missing": "is missing", "short": "bytes and not", "changed": "SHA-256"}[harm]
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "harm",
    [
        lambda m: m.update(version=2),
        lambda m: m.update(format="other"),
        lambda m: m.pop("splits"),
        lambda m: m["splits"]["train"]["shards"][0].update(file="../train-00000.h5"),
        lambda m: m["splits"]["train"]["shards"][0].update(images=-1),
        lambda m: m["splits"]["train"]["shards"][0].update(images=127),
        lambda m: m["preprocess"].update(size="8"),
        lambda m: m.update(classes=["cat", "dog"]),
    ],
)
def test_a_manifest_that_is_not_sound_is_refused(packed: Path, harm: object) -> None:
    fields = json.loads((packed / MANIFEST).read_text())
    harm(fields)  # type: ignore[operator]
    (packed / MANIFEST).write_text(json.dumps(fields))
    with pytest.raises(DataError, match="packed"):
        open_dataset(packed)
    (packed / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(DataError, match="is damaged"):
        open_dataset(packed)


def test_no_output_replaces_a_shard(run: Run, packed: Path) -> None:
    before = (packed / "train-00000.h5").read_bytes()
    result = run("train", "--data", packed, "-o", packed / "train-00000.h5")
    assert result.code == 2
    assert (packed / "train-00000.h5").read_bytes() == before
    assert catclf.open_dataset(packed).m == 300


def test_the_command_leaves_damaged_shards_out_only_when_told(
    run: Run, packed: Path, tmp_path: Path
) -> None:
    (packed / "train-00001.h5").unlink()
    args = ("train", "--data", "packed", "--iterations", "2")
    refused = run(*args)
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "train-00001.h5: the shard is missing: pack" in refused.stderr
    assert "leave the shard out with --skip-bad" in refused.stderr
    done = run(*args, "--skip-bad")
    assert done.code == 0
    note = "packed: left out 1 damaged shard: packed/train-00001.h5: the shard is missing"
    assert f"catclf: {note}\n" in done.stderr
    shown = run("inspect", "model.npz").stdout
    assert "172 images" in shown
    assert "train-00001.h5" in shown
    (packed / "train-00000.h5").unlink()
    (packed / "train-00002.h5").unlink()
    none = run(*args, "--skip-bad")
    assert (none.code, none.stderr.count("\n")) == (2, 1)
    assert "left out 3 damaged shards: " in none.stderr
