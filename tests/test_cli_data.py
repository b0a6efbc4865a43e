"""``catclf data`` and training on every kind of source, as a shell sees them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import GREEN, RED, Result, Run, make_images, paint, write_hdf5
from numpy.typing import NDArray
from PIL import Image

SIZE = 32


def scenes(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Different smooth images (count, 32, 32, 3) with neighbours that correlate as in photos."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(c).resize((SIZE, SIZE), bicubic)) for c in coarse])


def folder(root: Path, classes: tuple[str, ...], each: int = 6, seed: int = 0) -> Path:
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i, image in enumerate(scenes(each, seed * 100 + place)):
            Image.fromarray(image).save(root / name / f"{i}.png")
    return root


def model(path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The arrays of a model file as bytes, and its meta without where the data lay."""
    with np.load(path) as file:
        arrays = {name: file[name].tobytes() for name in file.files if name != "meta"}
        meta = json.loads(str(file["meta"]))
    del meta["training"]["source"]
    return arrays, meta


def failed(result: Result, *why: str) -> None:
    """Exit code 2, nothing on stdout, and one line on stderr that says each of these."""
    assert result.code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("catclf: ")
    assert result.stderr.count("\n") == 1
    for text in why:
        assert text in result.stderr


def strict(text: str) -> Any:
    """JSON without NaN and Infinity, which are not JSON."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


# Training on every source

TRAIN = ("train", "--iterations", "20", "--print-every", "20", "-o", "m.npz")


def test_every_source_of_the_same_images_trains_to_the_same_model(run: Run, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ("cat", "non-cat"))
    images = np.concatenate([scenes(6, 0), scenes(6, 1)])
    labels = np.repeat([1, 0], 6)
    files = sorted(root.glob("*/*.png"))
    with (tmp_path / "t.csv").open("w", newline="") as file:
        rows = [(str(path.relative_to(tmp_path)), path.parent.name) for path in files]
        csv.writer(file).writerows([("path", "label"), *rows])
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    write_hdf5(tmp_path / "d.h5", images=images, labels=labels)
    models = []
    for name in ("photos", "t.csv", "d.npz", "d.h5"):
        result = run(*TRAIN, "--data", name, "--size", "32")
        assert result.code == 0, result.stderr
        models.append(model(tmp_path / "m.npz"))
    assert all(other == models[0] for other in models[1:])


@pytest.mark.parametrize(
    ("classes", "options", "expected", "note"),
    [
        (("dog", "non-dog"), [], ["non-dog", "dog"], "dog is the positive class"),
        (("bird", "cat", "dog"), [], ["non-cat", "cat"], "the other 2 classes are not"),
        (("ripe", "unripe"), ["--positive", "ripe"], ["unripe", "ripe"], None),
    ],
)
def test_the_positive_class_is_noted_where_it_was_chosen(
    run: Run,
    tmp_path: Path,
    classes: tuple[str, ...],
    options: list[str],
    expected: list[str],
    note: str | None,
) -> None:
    folder(tmp_path / "photos", classes, 2)
    result = run(*TRAIN, "--data", "photos", "--size", "8", "-q", *options)
    assert result.code == 0
    notes = [line for line in result.stderr.splitlines() if line.startswith("catclf: ")]
    assert model(tmp_path / "m.npz")[1]["classes"] == expected
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


def test_an_unreadable_image_ends_training_unless_it_is_skipped(run: Run, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ("cat", "dog"))
    (root / "dog" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    failed(run(*TRAIN, "--data", "photos"), "dog/bad.jpg (", "--skip-bad")
    assert not (tmp_path / "m.npz").exists()
    result = run(*TRAIN, "--data", "photos", "--skip-bad", "--size", "8")
    assert result.code == 0
    assert "left out 1 unreadable image: dog/bad.jpg (" in result.stderr
    assert " of 12 " in result.stdout


# pack


def test_pack_refuses_what_it_could_not_read_again_or_would_destroy(
    run: Run, tmp_path: Path
) -> None:
    source = write_hdf5(tmp_path / "d.h5", x=scenes(4), y=np.array([0, 1, 0, 1]))
    before = source.read_bytes()
    failed(run("data", "pack", "d.h5", "-o", "d.h5"), "d.h5: is another file of this run")
    failed(run("data", "pack", "d.h5", "-o", "packed"), "packed: ", ".h5")
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["d.h5"]


def test_pack_says_which_images_it_left_out(run: Run, tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ("cat", "dog"))
    (root / "dog" / "bad.jpg").touch()
    failed(run("data", "pack", "photos", "-o", "p.h5"), "dog/bad.jpg (is empty)", "--skip-bad")
    assert not (tmp_path / "p.h5").exists()
    result = run("data", "pack", "photos", "-o", "p.h5", "--skip-bad", "--compress", "gzip")
    assert result.code == 0
    assert result.stdout.startswith("p.h5: train 12 images, ")
    assert "left out 1 unreadable image: dog/bad.jpg (is empty)" in result.stderr
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["train_set_x"].shape == (12, 64, 64, 3)
        assert file["train_set_x"].compression == "gzip"


# info


def test_info_shows_shapes_classes_and_shares_of_both_parts(run: Run, tmp_path: Path) -> None:
    x, y = scenes(10), np.array([0] * 7 + [1] * 3)
    arrays: dict[str, Any] = {"test_set_x": x[:4], "test_set_y": np.array([0, 1, 1, 1])}
    arrays["list_classes"] = [b"non-cat", b"cat"]
    write_hdf5(tmp_path / "d.h5", train_set_x=x, train_set_y=y, **arrays)
    text = run("data", "info", "d.h5").stdout
    assert "train: 10 images, uint8 10 x 32 x 32 x 3" in text
    assert "test: 4 images" in text
    table = [line.split() for line in text.splitlines() if line.startswith("  ")]
    assert table == [
        ["non-cat", "7", "70.0", "%"],
        ["cat", "3", "30.0", "%"],
        ["non-cat", "1", "25.0", "%"],
        ["cat", "3", "75.0", "%"],
    ]
    result = run("data", "info", "d.h5", "--format", "json", "--image", "sheet.png")
    facts = strict(result.stdout)
    assert facts["parts"]["train"]["classes"] == {"non-cat": 7, "cat": 3}
    assert facts["parts"]["test"]["shape"] == [4, 32, 32, 3]
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert sheet.shape == (2 * 36, 12 * 36, 3)  # 14 images with frames, 12 in a row
    np.testing.assert_array_equal(sheet[2:34, 2:34], x[0])
    np.testing.assert_array_equal(sheet[38:70, 38:70], x[3])  # the fourth of the test part
    assert (sheet[0, 0] != sheet[0, 7 * 36]).any()  # frames of non-cats and cats


# verify


def test_verify_finds_what_is_known_of_the_course_files(
    run: Run, course: tuple[Path, Path]
) -> None:
    result = run("data", "verify", *course, "--format", "json")
    assert result.code == 1
    assert result.stderr == ""
    report = strict(result.stdout)
    names = ["train_catvnoncat.h5", "test_catvnoncat.h5"]
    assert report["checked"] == [
        {"split": names[0], "images": 209},
        {"split": names[1], "images": 50},
    ]
    leak, shares = report["problems"]
    assert leak == {
        "kind": "same-image-across-parts",
        "message": f"same image: {names[0]} image 146 = {names[1]} image 17",
    }
    assert shares["kind"] == "class-shares"
    assert f"34.4 % of {names[0]} and 66.0 % of {names[1]}" in shares["message"]


def test_verify_of_clean_data_says_what_was_checked(run: Run, tmp_path: Path) -> None:
    folder(tmp_path / "photos" / "train", ("cat", "dog"), 20)
    folder(tmp_path / "photos" / "test", ("cat", "dog"), 10, seed=1)
    result = run("data", "verify", "photos", "--size", "32")
    assert result.code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "checked 60 images: photos train 40, photos test 20"
    assert lines[-1] == "problems: none"
    said = " ".join(lines[1:-1])
    for text in ("equal", "near-duplicates", "within 4 of 64 bits", "class balance", "scrambled"):
        assert text in said


def test_verify_names_every_kind_of_bad_image_of_a_folder(run: Run, tmp_path: Path) -> None:
    cats = folder(tmp_path / "photos", ("cat", "dog"), 10) / "cat"
    shutil.copy(cats / "0.png", cats.parent / "dog" / "copy.png")
    Image.new("RGB", (64, 64), (9, 9, 9)).save(cats / "black.png")
    Image.fromarray(scenes(1, 9)[0][:12, :12]).save(cats / "thumb.png")
    (cats / "x\ny.png").write_text("text")
    result = run("data", "verify", "photos", "--format", "json", "--size", "32")
    assert result.code == 1
    problems = {found["kind"]: found["message"] for found in strict(result.stdout)["problems"]}
    assert set(problems) == {"unreadable", "small", "empty", "same-image-other-label"}
    assert r"cat/x\ny.png: " in problems["unreadable"]
    assert "cat/thumb.png has 12x12 pixels" in problems["small"]
    assert "cat/black.png" in problems["empty"]
    assert "cat/0.png = photos dog/copy.png" in problems["same-image-other-label"]


def test_verify_lists_the_images_of_a_class_that_cannot_be_read_at_all(
    run: Run, tmp_path: Path
) -> None:
    root = folder(tmp_path / "photos", ("cat", "dog"), 3)
    for path in (root / "dog").iterdir():
        path.write_bytes(b"no image")
    result = run("data", "verify", "photos", "--size", "32")
    assert (result.code, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == [
        f"photos dog/{i}.png" for i in range(3)
    ]
    assert lines[3] == "checked 3 images: photos 3"
    for path in (root / "cat").iterdir():
        path.write_bytes(b"no image")
    result = run("data", "verify", "photos", "--format", "json")
    assert (result.code, result.stderr) == (1, "")
    assert [found["kind"] for found in strict(result.stdout)["problems"]] == ["unreadable"] * 6
    failed(run("data", "pack", "photos", "-o", "p.h5", "--skip-bad"), "no image of class cat")


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
    root = folder(tmp_path / "photos", ("cat", "dog"), 20)
    for i in range(6):
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
    assert len(train) + len(test) == len(everything) == 52
    assert abs(np.sum(labels == 0) - 8) <= 1  # of 32 cats
    assert np.sum(labels == 1) == 5  # of 20 dogs
    for i in range(6):
        kin = {f"cat/{i}.png", f"cat/copy{i}.png", f"cat/near{i}.jpg"}
        assert kin <= set(train) or kin <= set(test)
    assert run(*split, "3", "-o", "again.h5").code == 0
    assert run(*split, "4", "-o", "other.h5").code == 0
    first, again, other = ((tmp_path / n).read_bytes() for n in ("s.h5", "again.h5", "other.h5"))
    assert first == again != other
    assert run("data", "verify", "s.h5").stdout.count("across") == 0


def test_split_of_data_that_have_a_test_part_already_is_refused(run: Run, tmp_path: Path) -> None:
    x, y = make_images(20)
    arrays = {f"{part}_set_{k}": v for part in ("train", "test") for k, v in (("x", x), ("y", y))}
    write_hdf5(tmp_path / "d.h5", **arrays)
    failed(run("data", "split", "d.h5", "-o", "s.h5"), "d.h5: ", "test split")


@pytest.mark.parametrize("share", ["0", "1", "0.01"])
def test_split_refuses_a_part_without_images(run: Run, tmp_path: Path, share: str) -> None:
    write_hdf5(tmp_path / "d.h5", x=scenes(10), y=np.arange(10) % 2)
    failed(run("data", "split", "d.h5", "-o", "s.h5", "--test", share), "cannot be divided")
    assert not (tmp_path / "s.h5").exists()


def test_what_a_killed_packing_left_is_swept_by_the_next_one(run: Run, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        paint(tmp_path / "set" / name / "0.png", GREEN if name == "cat" else RED)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / ".catclf-0123456789abcdef.tmp").write_bytes(b"half")
    assert run("data", "pack", "set", "-o", "packed/").code == 0
    assert not [path for path in (tmp_path / "packed").iterdir() if path.suffix == ".tmp"]
