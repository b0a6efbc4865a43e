"""No output takes the place of an image that is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import wording
from conftest import Run, contents, fill
from PIL import Image


@pytest.fixture
def photos(model: Path, tmp_path: Path) -> Path:
    """Class folders, a table of the same images and of one without an ending, and a model."""
    names = [f"photos/{name}/{i}.png" for name in ("cat", "dog") for i in range(5)]
    noise = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    rows = ["path,label", *(f"{name},{name.split('/')[1]}" for name in names)]
    table = "\n".join([*rows, "bare,dog", "none.png,dog"]) + "\n"
    fill(tmp_path, dict(zip(names, noise, strict=True)) | {"t.csv": table})
    Image.new("RGB", (8, 8)).save(tmp_path / "bare", "PNG")
    for name in ("link.png", "link.svg"):
        (tmp_path / name).symlink_to(IMAGE)
    for name in ("hard.png", "hard.jsonl"):
        os.link(tmp_path / IMAGE, tmp_path / name)
    return tmp_path


TRAIN = ("train", "--iterations", "5", "--skip-bad", "--size", "8", "--data")
IMAGE, BROKEN = "photos/cat/0.png", "photos/cat/broken.png"
WRITERS = [
    (*TRAIN, "photos", "-o", IMAGE),
    (*TRAIN, "t.csv", "-o", "bare"),
    (*TRAIN, "photos", "-o", "link.png"),
    (*TRAIN, "photos", "-o", "hard.png"),
    (*TRAIN, "photos", "--plot", "link.svg"),
    (*TRAIN, "photos", "--log", "hard.jsonl"),
    (*TRAIN, "t.csv", "--plot", IMAGE),
    (*TRAIN, "photos", "--features", "hog", "--cache", IMAGE),
    ("train", "--test", "photos", "-o", IMAGE),
    ("report", "--data", "photos", "-o", IMAGE),
    ("data", "info", "photos", "--image", IMAGE),
    ("explain", "photos", "--index", "0", "--image", IMAGE),
    ("predict", "photos", "-r", "-o", "hard.jsonl"),
    ("predict", "@list", "-o", "hard.jsonl"),
    ("predict", "-r", "photos", "-o", BROKEN),
]


@pytest.mark.parametrize("args", WRITERS, ids=" ".join)
def test_an_image_that_is_read_is_not_replaced(
    run: Run, photos: Path, args: tuple[str, ...]
) -> None:
    fill(photos, {"list": "photos/dog/0.png\nphotos/cat/0.png\n", BROKEN: b"no image"})
    before = contents(photos)
    result = run(*args)
    assert (result.code, result.stdout) == (2, "")
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"catclf: {args[-1]}: ")
    said = ("is an image ", "end it in .", "another file of this run")
    assert any(text in last for text in said)
    assert contents(photos) == before


@pytest.mark.parametrize(
    ("option", "name", "content", "kind"),
    [
        ("-o", "m.npz", b"PK\3\4 of photographs", "an archive"),
        ("-o", "m", b"\x89HDF\r\n\x1a\n of measurements", "an HDF5 file of another program"),
        ("-o", "notes", b"text under another name", "a file of another kind"),
        ("--log", "steps.jsonl", b"path,label\n\0", "a file of another kind"),
    ],
)
def test_files_of_others_are_not_replaced(
    run: Run, photos: Path, option: str, name: str, content: bytes, kind: str
) -> None:
    (photos / name).write_bytes(content)
    run(*TRAIN, "photos", option, name).refused(f"catclf: {name}: is {kind}")
    assert (photos / name).read_bytes() == content


def test_a_run_that_does_not_begin_leaves_an_old_log_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "steps.jsonl").write_text("old\n")
    assert run("train", "--data", "none.h5", "--log", "steps.jsonl").code == 2
    assert (tmp_path / "steps.jsonl").read_text() == "old\n"


def test_two_spaces_of_a_name_stay_two(run: Run, photos: Path) -> None:
    (photos / "a  b").mkdir()
    (photos / "a  b" / "c  d.png").touch()
    missing = "no  such"
    for args, line in (
        (("predict", "a  b/c  d.png"), "a  b/c  d.png: is empty"),
        (("predict", "a  b/c  d.png", "-o", "a  b"), "a  b: is a folder"),
        (("explain", missing), f"{missing}: {wording.NO_IMAGE}"),
        (("inspect", missing), f"{missing}: {wording.NO_FILE}"),
        (("check", "--data", missing), f"{missing}: {wording.NO_SOURCE}"),
        (("predict", "x.png", "--only", missing), f"--only {missing}: "),
    ):
        assert line in run(*args).stderr, args


def test_other_files_among_the_images_are_replaced(run: Run, photos: Path) -> None:
    for args in (
        (*TRAIN, "t.csv", "-o", "photos/model.npz"),
        ("data", "info", "photos", "--image", "photos/sheet.png"),
        ("predict", "photos", "-r", "-o", "photos/scores"),
    ):
        assert run(*args).code == 0
        assert run(*args).code == 0
