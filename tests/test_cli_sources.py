"""Sources as the data of every command: notes, hints, and what is refused of them."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_files import add, image_bytes, stored, tar
from conftest import GREEN, RED, Run, fill, make_images, write_hdf5
from parquet_files import write
from PIL import Image

import catclf
from catclf.images.preprocess import Preprocess

SIZE = 8
TWO = ("cat", "dog")
NAMES = [f"{name}/{i}.png" for i in range(4) for name in TWO]
SHARDS = "s-{0..1}.tar"
TRAIN = ("train", "--iterations", "3", "--size", "8", "-q")


# Archives and shards


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A zip of class folders, two tars of samples and two Parquet files, of the same images."""
    contents = {name: image_bytes(seed) for seed, name in enumerate(NAMES)}
    stored(tmp_path / "a.zip", contents)
    for shard in range(2):
        some = NAMES[4 * shard :][:4]
        files: dict[str, bytes] = {}
        for number, name in enumerate(some, 4 * shard):
            files |= {f"{number}.png": contents[name], f"{number}.cls": name[:3].encode()}
        tar(tmp_path / f"s-{shard}.tar", files)
        labels = [TWO.index(name[:3]) for name in some]
        write(tmp_path / f"p-{shard}.parquet", [contents[name] for name in some], labels, TWO)
    return tmp_path


@pytest.mark.parametrize("source", ["a.zip", SHARDS, "p-*.parquet"])
def test_every_command_reads_archives(run: Run, sources: Path, source: str) -> None:
    assert run(*TRAIN, "--data", source, "-o", "m.npz").code == 0
    assert catclf.load(sources / "m.npz").classes == ("dog", "cat")
    assert "8 images, 4 cat" in run("evaluate", source, "-m", "m.npz").stdout
    info = run("data", "info", source, "--image", "sheet.png").stdout
    assert info.startswith(f"{source}, 0.0 MB\ntrain: 8 images")
    verified = run("data", "verify", source, "--size", "8")
    assert verified.code == 1  # it is noise
    assert f"checked 8 images: {source} 8" in verified.stdout
    explained = run("explain", source, "--index", "0", "-m", "m.npz").stdout
    first = {"a.zip": "a.zip:cat/0.png", SHARDS: f"{SHARDS} s-0.tar:0.png"}
    assert explained.startswith(first.get(source, "p-*.parquet p-0.parquet:0.png"))
    streamed = (*TRAIN, "--method", "stream", "--data")
    assert run(*streamed, source, "-o", "m.npz").code == 0
    packed = "packed.h5" if source == "a.zip" else "packed/"
    assert run("data", "pack", source, "--size", "8", "-o", packed).code == 0
    assert run(*streamed, packed, "-o", "again.npz").code == 0
    one, other = (catclf.load(sources / name) for name in ("m.npz", "again.npz"))
    assert one.w.tobytes() == other.w.tobytes()


def test_problems_are_named_by_archive_and_member(run: Run, sources: Path) -> None:
    files = {f"{name}/{i}.png": image_bytes(i) for name in TWO for i in (0, 1)}
    stored(sources / "a.zip", files | {"cat/bad.png": b"x"})
    found = run("data", "verify", "a.zip").stdout
    assert "\na.zip:cat/bad.png: is not an image" in f"\n{found}"
    assert "same image, labels cat, dog: a.zip:cat/0.png = a.zip:dog/0.png" in found
    why = "a.zip: 1 image cannot be read: a.zip:cat/bad.png (is not an image"
    run(*TRAIN, "--data", "a.zip").refused(why, "--skip-bad")
    kept = run(*TRAIN, "--data", "a.zip", "--skip-bad").stderr
    assert "left out 1 unreadable image: a.zip:cat/bad.png (" in kept


def test_damaged_archives_and_missing_labels_are_problems(run: Run, sources: Path) -> None:
    content = (sources / "s-1.tar").read_bytes()
    (sources / "s-1.tar").write_bytes(content[: content.index(b"6.cls") + 100])
    found = run("data", "verify", SHARDS).stdout
    assert f"{SHARDS}: s-1.tar: is damaged, or not a tar archive" in found
    assert f"{SHARDS}: left out 1 sample without a label: s-1.tar:6.png" in found
    (sources / "p-1.parquet").write_bytes(b"PAR1")
    found = run("data", "verify", "p-*.parquet").stdout
    assert "p-*.parquet: p-1.parquet: is damaged, or not a Parquet file" in found


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("none-*.tar", "none-*.tar: there is no file of such a name"),
        ("s-{0..2}.tar", "s-2.tar: there is no such file or folder"),
        ("a.tgz", "a.tgz: cannot be read: it is damaged, or not compressed as its name says"),
        ("*", "only archives or Parquet files are read together"),
        ("{1..1000000}{1..1000000}.tar", "stands for 1000000000000 names: give fewer"),
        ("shards", "shards/0.tar: is damaged, or not a tar archive: empty file"),
        ("evil.tar", "evil.tar: holds no class folders"),
    ],
)
def test_what_is_no_source_is_one_line(run: Run, sources: Path, source: str, why: str) -> None:
    fill(sources, {"a.tgz": b"\x1f\x8b", "shards/0.tar": b"", "shards/1.tar": b""})
    with tarfile.open(sources / "evil.tar", "w") as archive:
        add(archive, "cat", type=tarfile.SYMTYPE, linkname="/etc")
        add(archive, "../dog.png", type=tarfile.LNKTYPE, linkname="/etc/passwd")
    before = sorted(sources.rglob("*"))
    run(*TRAIN, "--data", source).refused(why)
    assert sorted(sources.rglob("*")) == before


# Photos and arrays


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Green is cat, red is dog."""
    w = np.zeros((SIZE * SIZE, 3))
    w[:, 0], w[:, 1] = -0.1, 0.1
    path = tmp_path / "model.npz"
    catclf.save(catclf.Model(w.reshape(-1, 1), 0.0, Preprocess(SIZE), ("dog", "cat")), path)
    return path


def photos(root: Path, *splits: str) -> Path:
    classes = {"cat": GREEN, "dog": RED}.items()
    for split in splits or ("",):
        fill(root / split, {f"{name}/{i}.png": c for name, c in classes for i in range(3)})
    return root


def test_a_link_to_itself_is_one_failed_input(run: Run, model: Path, tmp_path: Path) -> None:
    folder = photos(tmp_path / "d") / "cat"
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "loop").symlink_to("loop")
    result = run("predict", "d/cat")
    assert result.code == 3
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == [*["cat"] * 3, "", ""]
    assert result.stderr.count("too many levels of symbolic links") == 2


def test_only_takes_a_class_in_any_spelling(run: Run, model: Path, tmp_path: Path) -> None:
    photos(tmp_path / "d")
    for spelling in ("CAT", " cat", "cats"):
        result = run("predict", "-r", "d", "--only", spelling)
        assert result.stdout.splitlines() == [f"d/cat/{i}.png" for i in range(3)]


def test_lists_of_windows_are_read(run: Run, model: Path, tmp_path: Path) -> None:
    photos(tmp_path / "d")
    for encoding in ("utf-8-sig", "utf-16", "utf-16-be"):
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        text = f"{mark}d/cat/0.png\r\nd/dog/0.png\r\n"
        (tmp_path / "list.txt").write_bytes(text.encode(encoding))
        lines = run("predict", "@list.txt").done().splitlines()
        assert [line.split("\t")[1] for line in lines] == ["cat", "dog"]


def test_predict_points_to_what_reads_other_files(run: Run, model: Path, tmp_path: Path) -> None:
    write_hdf5(tmp_path / "d.h5", x=make_images(4)[0], y=make_images(4)[1])
    fill(tmp_path, dict.fromkeys(("t.csv", "list.txt"), "path,label\na.png,cat\n"))
    for name in ("d.h5", "t.csv"):
        assert "catclf evaluate takes data sets" in run("predict", name).stderr
    result = run("predict", "list.txt")
    assert (result.code, "@FILE reads a list" in result.stderr) == (3, True)


def colours(count: int) -> tuple[Any, Any]:
    """Green images of label 1 and red ones of label 0, no two alike."""
    y = np.arange(count) % 2
    x = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    x[y == 1, ..., 1] = 200
    x[y == 0, ..., 0] = 200
    x[..., 2] = np.random.default_rng(0).integers(0, 50, (count, SIZE, SIZE))
    return x, y


def test_swapped_and_unnamed_labels_are_told_of(run: Run, model: Path, tmp_path: Path) -> None:
    x, y = colours(40)
    write_hdf5(tmp_path / "right.h5", x=x, y=y, list_classes=[b"dog", b"cat"])
    write_hdf5(tmp_path / "swapped.h5", x=x, y=1 - y, list_classes=[b"dog", b"cat"])
    assert "swapped" not in run("evaluate", "right.h5").stderr
    stderr = run("evaluate", "swapped.h5").stderr
    assert "ROC AUC 0.000 is far below chance: are its labels swapped?" in stderr
    assert "--classes" in stderr
    write_hdf5(tmp_path / "d.h5", x=x, y=y)
    unnamed = run("train", "--data", "d.h5", "--iterations", "5")
    assert "label 1 is taken as cat (--classes dog,cat names 0 and 1)" in unnamed.stderr
    named = run("train", "--data", "d.h5", "--iterations", "5", "--classes", "cat,dog")
    assert "label 1 is taken" not in named.stderr
    assert catclf.load(tmp_path / "model.npz").classes == ("dog", "cat")


def test_a_validation_part_is_used_and_said(run: Run, tmp_path: Path) -> None:
    photos(tmp_path / "d", "train", "val", "test")
    result = run("train", "--data", "d", "--iterations", "5", "--size", "8")
    assert result.code == 0
    assert "the 6 images of its validation split select the weights" in result.stderr
    assert "validation " in result.stdout
    named = run("train", "--data", "d", "--iterations", "5", "--size", "8", "--validation", "0.3")
    assert "validation part" not in named.stderr


def test_a_contact_sheet_decodes_the_images_that_it_shows(run: Run, tmp_path: Path) -> None:
    names = [f"{name}/{i:03}.png" for name in ("cat", "dog") for i in range(100)]
    fill(tmp_path / "d", dict.fromkeys(names, b"unreadable"))
    # Of 200 the sheet shows 96, spread evenly: the second is not among them.
    shown = np.linspace(0, 199, 96).round().astype(int)
    assert 1 not in shown
    fill(tmp_path / "d", {names[row]: GREEN for row in shown.tolist()})
    run("data", "info", "d", "--size", "8", "--image", "sheet.png").done()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (12 * 12, 8 * 12)


def test_parts_of_two_sizes_make_no_contact_sheet_and_the_file_is_named(
    run: Run, tmp_path: Path
) -> None:
    (x, y), (small, _) = make_images(4), make_images(4, size=4)
    arrays: dict[str, Any] = {"train_set_x": x, "train_set_y": y}
    arrays |= {"test_set_x": small, "test_set_y": y, "list_classes": [b"dog", b"cat"]}
    write_hdf5(tmp_path / "d.h5", **arrays)
    line = run("data", "info", "d.h5", "--image", "sheet.png").refused()
    assert line.startswith("catclf: d.h5: has no image, or images of several sizes")
    assert run("data", "info", "d.h5").code == 0


def test_large_and_cut_images_are_read_when_asked(run: Run, tmp_path: Path) -> None:
    photos(tmp_path / "d")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "d" / "cat" / "cut.jpg"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    options = ("train", "--data", "d", "--size", "8", "--iterations", "2", "-q")
    run(*options).refused("--truncated reads what is there")
    assert run(*options, "--truncated").code == 0
    run(*options, "--truncated", "--max-pixels", "4000").refused("--max-pixels 4096 reads it")
