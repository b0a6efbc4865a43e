"""Class folders as people keep them: parts, wrappers, copies, system folders, names with labels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import conftest
import numpy as np
import pytest
from PIL import Image

from catclf.datasets import ReadOptions, open_source
from catclf.datasets.names import label_in_name, split_named
from catclf.errors import DataError

SIZE = 4


def save(root: Path, *names: str) -> Path:
    """Images of one tone each, numbered in the order of ``names``."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), (number, 100, 200)).save(root / name, "PNG")
    return root


opened = partial(conftest.opened, size=SIZE)


def refused(root: Path, *why: str) -> None:
    with pytest.raises(DataError) as caught:
        opened(root)
    for text in why:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "train") for name in ("train", "Training", "train1", "seg_train", "train_set")),
        *((name, "train") for name in ("training_set", "TRAIN", "train-images", "set_train")),
        *((name, "test") for name in ("test", "test1", "testing", "test_set", "seg_test")),
        *((name, "validation") for name in ("val", "valid", "validation", "eval", "dev_set")),
        *((name, "other") for name in ("seg_pred", "unlabeled")),
        *((name, None) for name in ("cat", "trainer", "testudo", "valley", "train_station", "set")),
    ],
)
def test_parts_are_recognised_by_their_names(name: str, kind: str | None) -> None:
    assert split_named(name) == kind


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("training_set/training_set", "test_set/test_set"),
        ("archive/train", "archive/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Train", "Valid"),
        ("a/b/train", "a/b/val"),
    ],
)
def test_the_classes_of_parts_are_seen_through_wrappers(
    tmp_path: Path, train: str, test: str
) -> None:
    names = (f"{part}/{name}/0.png" for part in (train, test) for name in ("cats", "dogs"))
    save(tmp_path, *names)
    assert open_source(tmp_path).splits == {"train", "test"}
    trained, tested = opened(tmp_path), opened(tmp_path, "test")
    assert trained.classes == tested.classes == ("dogs", "cats")
    assert trained.images[:, 0, 0, 0].tolist() == [0, 1]
    assert tested.images[:, 0, 0, 0].tolist() == [2, 3]
    assert trained.Y.tolist() == tested.Y.tolist() == [[1, 0]]


def test_a_third_part_is_validation(tmp_path: Path) -> None:
    parts = ("train", "val", "test")
    save(tmp_path, *(f"{part}/{name}/0.png" for part in parts for name in ("cat", "dog")))
    assert open_source(tmp_path).splits == {"train", "validation", "test"}
    assert opened(tmp_path, "validation").images[:, 0, 0, 0].tolist() == [2, 3]


def test_parts_within_classes_are_turned(tmp_path: Path) -> None:
    save(tmp_path, *(f"{name}/{part}/0.png" for part in ("train", "test") for name in "ab"))
    assert opened(tmp_path, "test").classes == ("a", "b")
    assert opened(tmp_path, "test").images[:, 0, 0, 0].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (["train/cat.0.jpg", "test1/dog.1.jpg"], "are no classes, but splits"),
        (["train/a/x.jpg", "test/1.jpg"], "test"),
        (["images/x.jpg", "annotations/trimaps/x.png"], "are no classes"),
        (["images/x.jpg", "labels/x.png", "masks/x.png"], "are no classes"),
        (["a/cats/0.png", "a/dogs/0.png", "b/cats/0.png", "b/dogs/0.png"], "give `data="),
        (["v1/cats/0.png", "v1/dogs/0.png", "v2/Cats/0.png", "v2/Dogs/0.png"], "give `data="),
    ],
)
def test_folders_that_are_no_classes_are_refused(
    tmp_path: Path, files: list[str], why: str
) -> None:
    refused(save(tmp_path, *files), why)


def test_files_named_after_classes_are_read_when_asked(tmp_path: Path) -> None:
    names = ("cat.0.jpg", "cat.1.jpg", "dog.0.jpg")
    save(tmp_path, *(f"train/{name}" for name in names), "test1/1.jpg")
    refused(tmp_path, "`label_from=name` reads them")
    data = opened(tmp_path, label_from="name")
    assert (data.classes, data.Y.tolist()) == (("dog", "cat"), [[1, 1, 0]])
    save(tmp_path / "flat", *names)
    assert opened(tmp_path / "flat", label_from="name").Y.tolist() == [[1, 1, 0]]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("cat.0.jpg", "cat"),
        ("dog_12.png", "dog"),
        ("Maine_Coon_104.jpg", "Maine_Coon"),
        ("cat (3).jpg", "cat"),
        ("cat-1-2.jpg", "cat"),
        ("cat.jpg", "cat"),
        ("001.jpg", ""),
        ("12_34.jpg", ""),
    ],
)
def test_the_label_in_a_name_is_its_beginning(name: str, label: str) -> None:
    assert label_in_name(name) == label


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir", "__MACOSX", "lost+found", "#recycle", "$RECYCLE.BIN", "__pycache__"),
        *("System Volume Information", ".ipynb_checkpoints", ".Trash-1000"),
    ],
)
def test_system_folders_are_no_classes_and_hold_no_images(tmp_path: Path, name: str) -> None:
    save(tmp_path, "cat/0.png", "dog/1.png", f"{name}/2.png", f"cat/{name}/cat.png/3.png")
    data = opened(tmp_path)
    assert (data.classes, data.m) == (("dog", "cat"), 2)


def test_an_empty_folder_beside_two_classes_is_a_note(tmp_path: Path) -> None:
    save(tmp_path, "cat/0.png", "dog/1.png")
    (tmp_path / "empty").mkdir()
    data = opened(tmp_path)
    assert data.classes == ("dog", "cat")
    assert any("class folder empty is empty" in note for note in data.notes)


@pytest.mark.parametrize(
    ("one", "other"), [("cat", "Cat"), ("caf\u00e9", "cafe\u0301"), ("CAT", "cat ")]
)
def test_two_spellings_of_one_class_are_refused_by_both_names(
    tmp_path: Path, one: str, other: str
) -> None:
    refused(save(tmp_path, f"{one}/0.png", f"{other}/1.png"), "two spellings of one class")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("Cat", "Dog"), ("Dog", "Cat")),
        (("cats", "dogs"), ("dogs", "cats")),
        (("CAT", "NOT_CAT"), ("NOT_CAT", "CAT")),
        (("not a dog", "Dog"), ("not a dog", "Dog")),
        (("non_cat", "cat"), ("non_cat", "cat")),
    ],
)
def test_the_class_cat_is_found_in_any_spelling(
    tmp_path: Path, names: tuple[str, str], classes: tuple[str, str]
) -> None:
    assert opened(save(tmp_path, *(f"{name}/0.png" for name in names))).classes == classes


def test_the_positive_class_may_be_spelled_otherwise(tmp_path: Path) -> None:
    data = opened(save(tmp_path, "Katze/0.png", "Hund/1.png"), positive="katze ")
    assert data.classes == ("Hund", "Katze")
    assert any("Katze is the class that is meant" in note for note in data.notes)


def test_a_validation_part_is_the_test_part_where_there_is_no_other(tmp_path: Path) -> None:
    save(tmp_path, *(f"{part}/{name}/0.png" for part in ("train", "val") for name in ("a", "b")))
    notes = opened(tmp_path, "test").notes
    assert any("its validation split is taken as its test split" in note for note in notes)
    assert not any("test split" in note for note in opened(tmp_path).notes)


def test_images_of_one_tone_are_counted(tmp_path: Path) -> None:
    save(tmp_path, "cat/0.png", "dog/1.png")
    Image.new("L", (SIZE, SIZE), 7).save(tmp_path / "dog" / "2.png")
    notes = opened(tmp_path).notes
    assert any("1 image of 3 show one tone alone, the first dog/2.png" in note for note in notes)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    save(tmp_path, "cat/0.png", "dog/1.png", "cat/no_ending", "dog/2.jpg_large", "dog/3.mpo")
    (tmp_path / "cat" / "notes.txt").write_text("x")
    (tmp_path / "cat" / "raw.dng").write_bytes(b"II*\0")
    data = opened(tmp_path)
    assert data.m == 5  # endings that are unknown do not matter: the bytes are an image's
    assert any("left out 2 files: 1 .txt, 1 .dng" in note for note in data.notes)


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    save(tmp_path / "store", "a/0.png", "b/1.png")
    photos = save(tmp_path / "photos", "dog/2.png")
    (photos / "cat").symlink_to(tmp_path / "store")
    (photos / "cat" / "again").symlink_to(tmp_path / "store" / "a")
    (photos / "dog" / "loop").symlink_to(photos / "dog")
    data = opened(photos)
    assert (data.m, data.Y.sum()) == (3, 2)
    assert any("links to folders that are read already" in note for note in data.notes)


def test_a_part_may_lack_some_of_many_negatives(tmp_path: Path) -> None:
    from catclf.datasets import open_parts

    save(tmp_path, *(f"train/{name}/0.png" for name in ("bird", "cat", "dog")))
    save(tmp_path, *(f"test/{name}/0.png" for name in ("cat", "dog")))
    train, test = open_parts(open_source(tmp_path, ReadOptions(size=SIZE)))
    assert test is not None
    assert train.classes == test.classes == ("non-cat", "cat")
    np.testing.assert_array_equal(test.Y, [[1, 0]])
    save(tmp_path / "other", "cow/0.png", "horse/0.png")
    with pytest.raises(DataError, match="cow, horse"):
        open_parts(
            open_source(tmp_path / "train", ReadOptions(size=SIZE)),
            open_source(tmp_path / "other", ReadOptions(size=SIZE)),
        )
