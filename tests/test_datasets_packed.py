"""Packed folders: the bytes of one file, shard by shard, on disk or in a store, resumed; or no."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import (
    CLASSES,
    GREEN,
    RED,
    Run,
    contents,
    fails,
    fill,
    make_images,
    opened,
    write_both_parts,
    write_hdf5,
)

from catclf.datasets import Listing, Split, hdf5, open_source, stores_pixels
from catclf.datasets.dataset import MANIFEST
from catclf.datasets.hdf5 import require_output
from catclf.datasets.packed import Packed, PackedRows, load, require_folder, write_folder
from catclf.errors import DataError, OutputError

Parts = dict[Split, Listing]
PARTS: tuple[Split, ...] = ("train", "test")
SHARDS = [f"train-0000{number}.h5" for number in range(4)]
NAMES = [MANIFEST, "test-00000.h5", *SHARDS]
STORE = Path("memory://far/packed")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images of 4x4 with a test part of 30."""
    return write_both_parts(tmp_path_factory.mktemp("packing") / "source.h5", 300, 30, 4)


@pytest.fixture(scope="module")
def parts(source: Path) -> Parts:
    return {part: open_source(source).split(part) for part in PARTS}


@pytest.fixture(scope="module")
def expected(parts: Parts, source: Path) -> dict[str, bytes]:
    """The files of a folder on disk."""
    pack(parts, source.with_name("here"))
    return contents(source.with_name("here"))


@pytest.fixture
def packed(expected: dict[str, bytes], tmp_path: Path) -> Path:
    return fill(tmp_path / "packed", expected)


def pack(parts: Parts, output: Path, shard_images: int = 80) -> dict[Split, Packed]:
    require_folder(output, [])
    return write_folder(output, parts, shard_images=shard_images)


def photos(root: Path, count: int, *bad: str) -> Path:
    """As many images of two classes, of which some cannot be read."""
    colours = {"cat": GREEN, "dog": RED}
    files = {f"{name}/{i}.png": colours[name] for name in colours for i in range(count)}
    return fill(root / "photos", {**files, **dict.fromkeys(bad, b"nothing")})


# Reading


def test_the_manifest_says_what_is_there(expected: dict[str, bytes]) -> None:
    fields = json.loads(expected[MANIFEST])
    assert (fields["complete"], fields["classes"]) == (True, ["non-cat", "cat"])
    assert fields["preprocess"]["size"] == 4
    shards = fields["splits"]["train"]
    assert [(each["file"], each["images"]) for each in shards] == list(
        zip(SHARDS, (80, 80, 80, 60), strict=True)
    )
    for shard in shards:
        content = expected[shard["file"]]
        assert shard["sha256"] == hashlib.sha256(content).hexdigest()
        assert shard["bytes"] == len(content)
    assert sorted(expected) == NAMES


def test_a_folder_is_one_data_set(packed: Path, source: Path) -> None:
    assert set(PARTS) <= open_source(packed).splits
    assert stores_pixels(packed)
    for part in PARTS:
        one, many = (opened(path, part) for path in (source, packed))
        assert np.array_equal(np.asarray(many.images), np.asarray(one.images))
        assert np.array_equal(many.Y, one.Y)
        assert (many.classes, many.preprocess) == (one.classes, one.preprocess)
        assert many.fingerprint == one.fingerprint
        here, there = (opened(path, part, positive="non-cat") for path in (source, packed))
        assert there.fingerprint == here.fingerprint != one.fingerprint


@pytest.mark.parametrize("most", [1, None])
def test_slices_cross_shards_of_which_few_are_open(
    packed: Path, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    if most is not None:
        monkeypatch.setattr("catclf.datasets.packed.OPEN", most)
    images, _ = make_images(300, 4)
    rows = PackedRows(packed, load(packed), "train")
    pieces: list[Any] = [slice(0, 300), slice(70, 170), slice(80, 160), slice(299, 300)]
    pieces += [slice(5, 5), slice(10, 290, 7), slice(-3, None), np.array([299, 0, 80, -1])]
    for piece in pieces:
        assert np.array_equal(rows[piece], images[piece])
        assert most is None or len(rows._open) <= most
    with pytest.raises(IndexError, match="there are 300 rows"):
        rows[np.array([300])]


def test_commands_read_a_folder_as_one_source(run: Run, packed: Path) -> None:
    assert run("train", "--data", "packed", "--iterations", "9", "-q").done() == ""
    assert "300 images, uint8 300 x 4 x 4 x 3" in run("data", "info", "packed").stdout


Harm = Callable[[dict[str, Any]], object]
HARMS: list[Harm] = [
    lambda m: m.update(version=2),
    lambda m: m.update(format="other"),
    lambda m: m.pop("splits"),
    lambda m: m["splits"]["train"][0].update(file="../train-00000.h5"),
    lambda m: m["splits"]["train"][0].update(images=-1),
    lambda m: m["splits"]["train"][0].update(images=127),
    lambda m: m["preprocess"].update(size="8"),
    lambda m: m.update(classes=["cat", "dog"]),
    lambda _: "[" * 100_000,
]


@pytest.mark.parametrize("harm", HARMS)
def test_a_manifest_that_is_not_sound_is_refused(packed: Path, harm: Harm) -> None:
    fields = json.loads((packed / MANIFEST).read_text())
    text = harm(fields)
    (packed / MANIFEST).write_text(text if isinstance(text, str) else json.dumps(fields))
    with pytest.raises(DataError, match=r"packed/catclf-manifest\.json: |is not the shard "):
        opened(packed)


@pytest.mark.parametrize(
    ("harm", "why"), [("gone", "is missing"), ("cut", "bytes and not"), ("changed", "SHA-256")]
)
def test_a_changed_shard_is_named_or_left_out(run: Run, packed: Path, harm: str, why: str) -> None:
    shard = packed / SHARDS[1]
    data = bytearray(shard.read_bytes())
    data[-1000] ^= 1
    shard.unlink() if harm == "gone" else shard.write_bytes(data[: -1 if harm == "cut" else None])
    train = ("train", "--data", "packed/", "--iterations", "2")
    text = run(*train).refused(f"catclf: packed/{SHARDS[1]}: ", why, "leave the shard out with")
    reason = text.partition(": ")[2].partition(": pack")[0]
    done = run(*train, "--skip-bad")
    assert done.code == 0
    assert f"catclf: packed: left out 1 damaged shard: {reason}" in done.stderr
    shown = run("inspect", "model.npz").stdout
    assert "220 images" in shown
    assert SHARDS[1] in shown
    checked = run("data", "verify", "packed")
    assert checked.code == 1
    assert "packed train: left out 1 damaged shard" in checked.stdout
    for name in SHARDS:
        (packed / name).unlink(missing_ok=True)
    run(*train, "--skip-bad").refused("left out 4 damaged shards: ")


# Packing, to a disk


def test_a_changed_source_is_packed_anew_from_there(run: Run, packed: Path, tmp_path: Path) -> None:
    x, y = make_images(300, 4)
    x[200] += 1
    for name, classes in (("same.h5", CLASSES), ("other.h5", [b"a", b"b"])):
        write_hdf5(tmp_path / name, train_set_x=x, train_set_y=y, list_classes=classes)
    args = ("data", "pack", "-o", packed, "--shard-images", "80")
    assert run(*args, "same.h5").stdout.endswith("4 shards, 3 of them kept\n")
    assert np.array_equal(np.asarray(opened(packed).images), x)
    assert not (packed / "test-00000.h5").exists()
    assert run(*args, "other.h5").stdout.endswith("4 shards\n")
    assert opened(packed, positive="a").classes == ("b", "a")


def test_unreadable_images_are_left_out_and_none_is_lost(run: Run, tmp_path: Path) -> None:
    root = photos(tmp_path, 9, "cat/3.png", "cat/4.png", "dog/8.png")
    args = ("data", "pack", "photos", "-o", "p/", "--size", "8", "--shard-images", "4")
    run(*args).refused("1 image cannot be read: cat/3.png")
    run("train", "--data", "p").refused("p: packing was stopped before its end")
    assert run(*args, "--skip-bad").stdout.startswith("p: train 15 images in 5 shards")
    data, expected = opened(tmp_path / "p"), opened(root, size=8, skip_bad=True)
    assert np.array_equal(np.asarray(data.images), np.asarray(expected.images))
    assert data.names == expected.names
    assert data.fingerprint == expected.fingerprint
    assert run(*args).code == 2  # shards that left images out are not what was asked for


class _StoppedError(Exception):
    """The end of a run that is not heard."""


def test_a_run_that_is_stopped_at_any_shard_goes_on_and_forgets_none(
    parts: Parts, tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write = tmp_path / "packed", hdf5.fill
    one: Parts = {"train": parts["train"]}

    def packed_until(stop: int | None, *missing: str) -> int:
        """The number of shards that were kept by a run that ends before it writes this one."""
        written = count(1)

        def stopping(*args: Any, **more: Any) -> Any:
            if next(written) == stop:
                raise _StoppedError
            return write(*args, **more)

        for name in missing:
            (folder / name).unlink()
        monkeypatch.setattr(hdf5, "fill", stopping)
        return pack(one, folder)["train"].kept

    for number in (1, 2):
        with pytest.raises(_StoppedError):
            packed_until(number)
        assert not load(folder).complete
    assert packed_until(None) == 1
    assert packed_until(2, SHARDS[0]) == 3  # nothing is left to stop
    with pytest.raises(_StoppedError):
        packed_until(2, SHARDS[0], SHARDS[2])
    assert [each.file for each in load(folder).splits["train"]] == SHARDS
    assert packed_until(None) == 3
    assert all((folder / name).read_bytes() == expected[name] for name in SHARDS)


# Packing, to a store


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which nothing is left at the end."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield tmp_path / "tmp"
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def copies(store: Any, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of files in the temporary folder after each file that is fetched from a store."""
    counts, fetch = list[int](), type(store).get_file

    def counted(*args: Any, **options: Any) -> None:
        fetch(*args, **options)
        counts.append(len(list(temporary.iterdir())))

    monkeypatch.setattr(type(store), "get_file", counted)
    return counts


def stored(store: Any) -> dict[str, bytes]:
    return {Path(name).name: store.cat(name) for name in store.find("/far/packed")}


def test_a_store_holds_the_files_of_a_folder_on_disk_and_a_rerun_keeps_the_right_ones(
    store: Any, source: Path, parts: Parts, expected: dict[str, bytes], copies: list[int]
) -> None:
    result = pack(parts, STORE)
    assert stored(store) == expected
    assert (result["train"].shards, result["train"].kept) == (4, 0)
    assert copies == []  # what was written is not fetched again
    for part in PARTS:
        assert opened(STORE, part).fingerprint == opened(source, part).fingerprint
    del copies[:]
    store.pipe(f"/far/packed/{SHARDS[1]}", expected[SHARDS[1]][:-1] + b"x")
    store.rm(f"/far/packed/{SHARDS[2]}")
    times = {name: store.created(f"/far/packed/{name}") for name in NAMES if name != SHARDS[2]}
    result = pack(parts, STORE)
    assert (result["train"].shards, result["train"].kept, result["test"].kept) == (4, 2, 1)
    assert stored(store) == expected
    changed = {name for name in times if store.created(f"/far/packed/{name}") != times[name]}
    assert changed == {MANIFEST, SHARDS[1]}
    assert copies == [1] * 4  # one at a time, those of the right sizes
    del copies[:]
    assert pack(parts, STORE)["train"].kept == 4
    assert copies == [1] * 5
    assert stored(store) == expected
    store.pipe("/far/packed/notes", b"mine")
    pack(parts, STORE, 200)  # has fewer shards
    assert sorted(stored(store)) == sorted([*NAMES[:4], "notes"])


def test_a_store_that_fails_is_named_and_the_next_run_goes_on(
    store: Any,
    temporary: Path,
    parts: Parts,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_file = type(store).put_file

    def failing(self: Any, lpath: str, rpath: str, **rest: Any) -> None:
        if rpath.endswith(SHARDS[1]):
            self.pipe_file(rpath, b"half of it")
            raise OSError("the line is dead")
        put_file(self, lpath, rpath, **rest)

    monkeypatch.setattr(type(store), "put_file", failing)
    why = rf"^memory://far/packed/{SHARDS[1]}: cannot be written: the line is dead$"
    with pytest.raises(OutputError, match=why):
        pack(parts, STORE)
    manifest = load(STORE)
    assert not manifest.complete
    assert [shard.file for shard in manifest.splits["train"]] == SHARDS[:1]
    monkeypatch.setattr(type(store), "put_file", put_file)
    assert pack(parts, STORE)["train"].kept == 1
    assert stored(store) == expected


def test_a_store_that_takes_nothing_ends_the_run_before_its_work(
    store: Any, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = fails(PermissionError(13, "Access Denied"))
    output, file = Path("memory://closed/packed"), Path("memory://closed/x.h5")
    for method in ("put_file", "pipe_file"):
        monkeypatch.setattr(type(store), method, refuses)
    with pytest.raises(OutputError, match=rf"^memory://closed/packed/{MANIFEST}: cannot be wr"):
        require_folder(output, [])
    with pytest.raises(OutputError, match=r"^memory://closed/x.h5: cannot be written: access den"):
        require_output(file, [])
    monkeypatch.setattr(type(store), "ls", refuses)
    with pytest.raises(OutputError, match=r"^memory://closed/packed: cannot be a folder: access"):
        require_folder(output, [])


def test_other_folders_and_the_source_are_not_written_to(
    store: Any, source: Path, parts: Parts, tmp_path: Path
) -> None:
    url = Path(f"file://{tmp_path}")
    for output, taken in ((url, tmp_path), (tmp_path, url), (url, url), (STORE, STORE)):
        with pytest.raises(OutputError, match="is what is read: give another output name"):
            require_folder(output, [source, taken])
    store.pipe("/far/packed/notes", b"mine")
    with pytest.raises(OutputError, match=r"^memory://far/packed: holds other files: give a new"):
        pack(parts, STORE)
    assert stored(store) == {"notes": b"mine"}
    for other in (source, Path(f"file://{source}")):
        with pytest.raises(OutputError, match=r"source\.h5: is another file of this run"):
            require_output(Path(f"file://{source}"), [other])


def test_the_command_packs_to_a_url_and_trains_from_it(
    run: Run, source: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("fsspec")
    url, pack_source = f"file://{tmp_path}/far", partial(run, "data", "pack", source, "-o")
    assert pack_source(url, "--shard-images", "80").done() == (
        f"{url}: train 300 images in 4 shards\n{url}: test 30 images in 1 shard\n"
    )
    assert contents(tmp_path / "far") == expected
    assert run("train", "--data", url, "--iterations", "2", "-q").code == 0
    for output in (f"{url}.h5", "here.h5"):
        assert pack_source(output, "-q").code == 0
    assert (tmp_path / "far.h5").read_bytes() == (tmp_path / "here.h5").read_bytes()
    assert make_images(300, 4)[0].tobytes() == opened(tmp_path / "far.h5").images[:].tobytes()
    inside = f"file://{source}/packed/"
    pack_source(inside).refused(f"catclf: {inside}{MANIFEST}: cannot be written")
