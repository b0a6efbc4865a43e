"""``catclf sort``: each image in the folder of its class, and nothing ever overwritten."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import zipfile
from itertools import cycle
from pathlib import Path

import pytest
from conftest import GREEN, RED, Run, command, contents, fill, paint


@pytest.fixture
def photos(model: Path, tmp_path: Path) -> Path:
    """Two cats, two others and a broken image, on two floors."""
    images = {"a.png": GREEN, "more/a.png": RED, "more/b.JPG": GREEN, "x.bmp": RED}
    return fill(tmp_path / "photos", images | {"bad.png": b"no image"})


EXPECTED = {"cat/a.png", "cat/more/b.JPG", "non-cat/more/a.png", "non-cat/x.bmp"}


@pytest.mark.parametrize("how", ["copied", "moved", "linked"])
def test_each_image_lies_in_the_folder_of_its_class(run: Run, photos: Path, how: str) -> None:
    before, out = contents(photos), photos.parent / "out"
    options = {"moved": ["--move"], "linked": ["--link"], "copied": ["--copy"]}[how]
    result = run("sort", "photos", "-o", "out", *options)
    assert result.code == 3
    assert result.stdout == f"out/non-cat: 2 images {how}\nout/cat: 2 images {how}\n"
    assert result.stderr == "catclf: photos/bad.png: is not an image in a format read here\n"
    assert set(contents(out)) == EXPECTED
    for name, each in contents(out).items():
        assert each == before[name.partition("/")[2]]
    assert set(contents(photos)) == ({"bad.png"} if how == "moved" else set(before))
    if how == "linked":
        assert (out / "cat" / "a.png").samefile(photos / "a.png")
    again = run("sort", "photos", "-o", "out", *options)
    there = "" if how == "moved" else "4 images were there already\n"
    assert again.stdout == f"out/non-cat: 0 images {how}\nout/cat: 0 images {how}\n{there}"
    assert set(contents(out)) == EXPECTED


def test_nothing_is_overwritten(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paint(tmp_path / "other" / "a.png", GREEN, (70, 70))
    kept = {"cat/a.png": b"kept", "cat/a-2.png": b"kept, too"}
    fill(tmp_path / "out", kept)
    for _ in range(2):
        run("sort", "photos", "other", "photos/a.png", "-o", "out", "-q")
    found = contents(tmp_path / "out")
    assert {name: found.pop(name) for name in kept} == kept
    assert set(found) == EXPECTED - {"cat/a.png"} | {"cat/a-3.png", "cat/a-4.png"}


def test_unsure_images_have_a_folder_and_what_is_sorted_is_not_sorted_again(
    run: Run, photos: Path
) -> None:
    result = run("sort", ".", "-o", "photos/sorted", "--unsure", "0.000001,0.999999")
    assert "photos/sorted/unsure: 4 images copied\n" in result.stdout
    assert "photos/sorted/unsure/photos/more/b.JPG" in str(list(photos.rglob("*.JPG")))
    again = run("sort", ".", "-o", "photos/sorted", "--unsure", "0.000001,0.999999")
    assert "4 images were there already" in again.stdout


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("-o", "out", "--move", "--link"), "exclude each other"),
        (("-o", "out", "--move", "--copy"), "exclude each other"),
        (("-o", "out", "--unsure", "0.8,0.2"), "--unsure 0.8,0.2: give two probabilities"),
        (("-o", "s3://bucket/x"), "sorted on disk"),
        (("-o", "model.npz"), "model.npz/cat/a.png: cannot be written"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, photos: Path, args: tuple[str, ...], why: str
) -> None:
    before = contents(photos.parent)
    run("sort", "photos/a.png", *args).refused(why)
    assert contents(photos.parent) == before


def test_images_in_archives_stay_there(run: Run, photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(photos / "a.png", "a.png")
    result = run("sort", "a.zip", "-o", "out")
    assert (result.code, "a.zip:a.png: is in an archive: unpack it" in result.stderr) == (3, True)


def test_stopped_at_any_moment_and_run_again_every_image_is_sorted_once(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    for number in range(200):
        paint(photos / f"{number}.png", GREEN if number % 2 else RED, (20 + number, 20))
    before = contents(photos)
    stops = zip((0.3, 0.4, 0.5, 0.6, 0.7), cycle((signal.SIGKILL, signal.SIGTERM)), strict=False)
    for wait, sent in stops:
        process = subprocess.Popen(
            [command(), "sort", "photos", "-o", "out", "--move", "-q"],
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(wait)
        process.send_signal(sent)
        process.wait(timeout=60)
    assert run("sort", "photos", "-o", "out", "--move", "-q").code == 3
    found = {name.partition("/")[2]: each for name, each in contents(tmp_path / "out").items()}
    assert found | {"bad.png": before["bad.png"]} == before
    assert os.listdir(photos / "more") == []  # noqa: PTH208


def test_a_link_becomes_the_image_that_it_leads_to(run: Run, photos: Path, tmp_path: Path) -> None:
    link = tmp_path / "snapshot" / "c.png"
    link.parent.mkdir()
    link.symlink_to("../photos/a.png")
    for option, stays in (("--link", True), ("--move", False)):
        assert run("sort", "snapshot", "-o", f"out{option}", option, "-q").code == 0
        assert contents(tmp_path / f"out{option}") == {"cat/c.png": (photos / "a.png").read_bytes()}
        assert link.is_symlink() == stays
