"""What commands say of sources: notes, hints, and options that name what the data do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GREEN, RED, Run, fill, make_images, write_hdf5
from PIL import Image

import catclf
from catclf.images.preprocess import Preprocess

SIZE = 8


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
    for split in splits:
        fill(root / split, {f"{name}/{i}.png": c for name, c in classes for i in range(3)})
    return root


def test_a_link_to_itself_is_one_failed_input(run: Run, model: Path, tmp_path: Path) -> None:
    folder = photos(tmp_path / "d", "") / "cat"
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "loop").symlink_to("loop")
    result = run("predict", "d/cat")
    assert result.code == 3
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == [*["cat"] * 3, "", ""]
    assert result.stderr.count("too many levels of symbolic links") == 2


@pytest.mark.parametrize("spelling", ["CAT", " cat", "cats"])
def test_only_takes_a_class_in_any_spelling(
    run: Run, model: Path, tmp_path: Path, spelling: str
) -> None:
    photos(tmp_path / "d", "")
    result = run("predict", "-r", "d", "--only", spelling)
    assert result.stdout.splitlines() == [f"d/cat/{i}.png" for i in range(3)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_lists_of_windows_are_read(run: Run, model: Path, tmp_path: Path, encoding: str) -> None:
    photos(tmp_path / "d", "")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = f"{mark}d/cat/0.png\r\nd/dog/0.png\r\n"
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    result = run("predict", "@list.txt")
    assert [line.split("\t")[1] for line in result.done().splitlines()] == ["cat", "dog"]


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


def test_an_area_far_below_chance_hints_at_swapped_labels(
    run: Run, model: Path, tmp_path: Path
) -> None:
    x, y = colours(40)
    write_hdf5(tmp_path / "right.h5", x=x, y=y, list_classes=[b"dog", b"cat"])
    write_hdf5(tmp_path / "swapped.h5", x=x, y=1 - y, list_classes=[b"dog", b"cat"])
    assert "swapped" not in run("evaluate", "right.h5").stderr
    stderr = run("evaluate", "swapped.h5").stderr
    assert "ROC AUC 0.000 is far below chance: are its labels swapped?" in stderr
    assert "--classes" in stderr


def test_labels_without_names_are_named_by_an_option(run: Run, tmp_path: Path) -> None:
    x, y = colours(40)
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
    run("data", "info", "d.h5", "--image", "sheet.png").refused("d.h5: has no image, or images of")
    assert run("data", "info", "d.h5").code == 0


def test_large_and_cut_images_are_read_when_asked(run: Run, tmp_path: Path) -> None:
    photos(tmp_path / "d", "")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "d" / "cat" / "cut.jpg")
    content = (tmp_path / "d" / "cat" / "cut.jpg").read_bytes()
    (tmp_path / "d" / "cat" / "cut.jpg").write_bytes(content[:1500])
    options = ("train", "--data", "d", "--size", "8", "--iterations", "2", "-q")
    run(*options).refused("--truncated reads what is there")
    assert run(*options, "--truncated").code == 0
    run(*options, "--truncated", "--max-pixels", "4000").refused("--max-pixels 4096 reads it")
