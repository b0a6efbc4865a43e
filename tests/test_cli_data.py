"""``catclf data``, and training on what it reads, as a shell sees them."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import Run, fill, scenes, write_hdf5
from PIL import Image

import catclf


def folder(root: Path, classes: tuple[str, ...], each: int = 6, seed: int = 0) -> Path:
    """A folder of different images for each class."""
    for place, name in enumerate(classes):
        images = scenes(each, seed * 100 + place)
        fill(root / name, {f"{i}.png": image for i, image in enumerate(images)})
    return root


# Training

TRAIN = ("train", "--iterations", "20", "--print-every", "20", "-o", "m.npz")


def test_every_source_of_the_same_images_trains_to_the_same_model(run: Run, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ("cat", "non-cat"))
    images, labels = np.concatenate([scenes(6, 0), scenes(6, 1)]), np.repeat([1, 0], 6)
    files = sorted(root.glob("*/*.png"))
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}\n" for path in files]
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(rows))
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    write_hdf5(tmp_path / "d.h5", images=images, labels=labels)
    prints = set()
    for name in ("photos", "t.csv", "d.npz", "d.h5"):
        result = run(*TRAIN, "--data", name, "--size", "32")
        assert result.code == 0, result.stderr
        model = catclf.load(tmp_path / "m.npz")
        prints.add((model.fingerprint, model.training.fingerprint, model.classes, model.costs))
    assert len(prints) == 1


@pytest.mark.parametrize(
    ("classes", "expected", "options", "note"),
    [
        ("dog non-dog", "non-dog dog", "", "dog is the positive class"),
        ("bird cat dog", "non-cat cat", "", "the other 2 classes are not"),
        ("ripe unripe", "unripe ripe", "--positive ripe", ""),
    ],
)
def test_the_positive_class_is_noted_where_it_was_chosen(
    run: Run, tmp_path: Path, classes: str, expected: str, options: str, note: str
) -> None:
    folder(tmp_path / "photos", tuple(classes.split()), 2)
    result = run(*TRAIN, "--data", "photos", "--size", "8", "-q", *options.split())
    assert result.code == 0
    assert " ".join(catclf.load(tmp_path / "m.npz").classes) == expected
    assert result.stderr.count("\n") == bool(note)
    assert note in result.stderr


def test_an_unreadable_image_ends_work_unless_it_is_skipped(run: Run, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ("cat", "dog"))
    (root / "dog" / "bad.jpg").touch()
    for args in ((*TRAIN, "--data", "photos"), ("data", "pack", "photos", "-o", "p.h5")):
        run(*args).refused("dog/bad.jpg (is empty)", "--skip-bad")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    left_out = "left out 1 unreadable image: dog/bad.jpg (is empty)"
    result = run(*TRAIN, "--data", "photos", "--skip-bad", "--size", "8")
    assert (result.code, " of 12 " in result.stdout) == (0, True)
    assert left_out in result.stderr
    result = run("data", "pack", "photos", "-o", "p.h5", "--skip-bad", "--compress", "gzip")
    assert result.stdout.startswith("p.h5: train 12 images, ")
    assert left_out in result.stderr
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["train_set_x"].shape == (12, 64, 64, 3)
        assert file["train_set_x"].compression == "gzip"


def test_what_a_killed_packing_left_is_swept_by_the_next_one(run: Run, tmp_path: Path) -> None:
    folder(tmp_path / "set", ("cat", "dog"), 1)
    fill(tmp_path, {"packed/.catclf-0123456789abcdef.tmp": b"half"})
    assert run("data", "pack", "set", "-o", "packed/").code == 0
    assert not list((tmp_path / "packed").glob(".*.tmp"))


# info


def test_info_shows_shapes_and_classes_of_both_parts(run: Run, tmp_path: Path) -> None:
    x, y = scenes(10), np.array([0] * 7 + [1] * 3)
    arrays: dict[str, Any] = {"test_set_x": x[:4], "test_set_y": np.array([0, 1, 1, 1])}
    arrays["list_classes"] = [b"non-cat", b"cat"]
    write_hdf5(tmp_path / "d.h5", train_set_x=x, train_set_y=y, **arrays)
    info = ("data", "info", "d.h5", "--format", "json", "--image", "sheet.png")
    facts = json.loads(run(*info).stdout)
    assert facts["parts"]["train"]["classes"] == {"non-cat": 7, "cat": 3}
    assert facts["parts"]["test"]["shape"] == [4, 32, 32, 3]
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert sheet.shape == (2 * 36, 12 * 36, 3)  # 14 images with frames, 12 in a row
    np.testing.assert_array_equal(sheet[2:34, 2:34], x[0])
    np.testing.assert_array_equal(sheet[38:70, 38:70], x[3])  # the fourth of the test part
    assert (sheet[0, 0] != sheet[0, 7 * 36]).any()  # frames of non-cats and cats


# verify


def test_verify_names_every_kind_of_bad_image_of_a_folder(run: Run, tmp_path: Path) -> None:
    cats = folder(tmp_path / "photos", ("cat", "dog"), 10) / "cat"
    shutil.copy(cats / "0.png", cats.parent / "dog" / "copy.png")
    Image.new("RGB", (64, 64), (9, 9, 9)).save(cats / "black.png")
    Image.fromarray(scenes(1, 9)[0][:12, :12]).save(cats / "thumb.png")
    (cats / "x\ny.png").write_text("text")
    result = run("data", "verify", "photos", "--format", "json", "--size", "32")
    assert result.code == 1
    problems = {found["kind"]: found["message"] for found in json.loads(result.stdout)["problems"]}
    assert set(problems) == {"unreadable", "small", "empty", "same-image-other-label"}
    assert r"cat/x\ny.png: " in problems["unreadable"]
    assert "cat/thumb.png has 12x12 pixels" in problems["small"]
    assert "cat/black.png" in problems["empty"]
    assert "cat/0.png = photos dog/copy.png" in problems["same-image-other-label"]


def test_verify_lists_the_images_of_a_class_that_cannot_be_read_at_all(
    run: Run, tmp_path: Path
) -> None:
    root = folder(tmp_path / "photos", ("cat", "dog"), 3)
    fill(root, {f"dog/{i}.png": b"no image" for i in range(3)})
    result = run("data", "verify", "photos", "--size", "32")
    assert (result.code, result.stderr) == (1, "")
    *named, checked = [line.partition(": ")[0] for line in result.stdout.splitlines()[:4]]
    assert named == [f"photos dog/{i}.png" for i in range(3)]
    assert checked == "checked 3 images"
    fill(root, {f"cat/{i}.png": b"no image" for i in range(3)})
    result = run("data", "verify", "photos", "--format", "json")
    assert (result.code, result.stderr) == (1, "")
    assert [found["kind"] for found in json.loads(result.stdout)["problems"]] == ["unreadable"] * 6
    run("data", "pack", "photos", "-o", "p.h5", "--skip-bad").refused("no image of class cat")


def test_verify_tells_parts_of_one_name_apart(run: Run, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        images = scenes(10, seed)
        images[3 + seed] = scenes(1, 5)[0]
        write_hdf5(tmp_path / name / "data.h5", x=images, y=np.arange(10) % 2)
    result = run("data", "verify", "a/data.h5", "b/data.h5")
    assert result.code == 1
    assert "a/data.h5 image 3" in result.stdout
    assert "b/data.h5 image 4" in result.stdout


# split


def test_split_divides_by_class_and_keeps_duplicates_together(run: Run, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ("cat", "dog"), 12)
    for i in range(4):
        image = Image.open(root / "cat" / f"{i}.png")
        shutil.copy(root / "cat" / f"{i}.png", root / "cat" / f"copy{i}.png")
        content = io.BytesIO()
        image.resize((48, 48)).save(content, "JPEG", quality=92)
        (root / "cat" / f"near{i}.jpg").write_bytes(content.getvalue())
    (root / "dog" / "bad.jpg").touch()
    split = ("data", "split", "photos", "--test", "0.25", "--size", "32", "--skip-bad", "--seed")
    result = run(*split, "3", "-o", "s.h5")
    assert result.code == 0
    assert "left out 1 unreadable image: dog/bad.jpg (is empty)" in result.stderr
    with h5py.File(tmp_path / "s.h5") as file:
        train, test = ([n.decode() for n in file[f"{p}_set_names"][:]] for p in ("train", "test"))
        labels = file["test_set_y"][:]
        classes = [name.decode() for name in file["list_classes"][:]]
        for name, label, image in zip(test, labels, file["test_set_x"][:], strict=True):
            assert classes[label] == Path(name).parent.name
            if name.endswith(".png"):
                np.testing.assert_array_equal(image, np.asarray(Image.open(root / name)))
    everything = {str(path.relative_to(root)) for path in root.glob("*/*") if path.name[0] != "b"}
    assert set(train) | set(test) == everything
    assert len(train) + len(test) == len(everything) == 32
    assert abs(np.sum(labels == 0) - 5) <= 1  # of 20 cats
    assert np.sum(labels == 1) == 3  # of 12 dogs
    for i in range(4):
        kin = {f"cat/{i}.png", f"cat/copy{i}.png", f"cat/near{i}.jpg"}
        assert kin <= set(train) or kin <= set(test)
    assert run(*split, "3", "-o", "again.h5").code == 0
    assert run(*split, "4", "-o", "other.h5").code == 0
    first, again, other = ((tmp_path / n).read_bytes() for n in ("s.h5", "again.h5", "other.h5"))
    assert first == again != other
    assert run("data", "verify", "s.h5").stdout.count("across") == 0
