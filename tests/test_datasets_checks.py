"""What spoils data: every kind of finding, and none on clean data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import fill, make_images, scenes
from numpy.typing import NDArray

from catclf.datasets import Dataset, Listing, ReadOptions, open_source
from catclf.datasets.checks import Part, doubts, duplicate_groups, findings, measure
from catclf.images.preprocess import Preprocess

SIZE = 32


def part(
    images: NDArray[np.uint8],
    labels: Any = None,
    label: str = "data",
    classes: tuple[str, ...] = ("non-cat", "cat"),
) -> Part:
    values = np.arange(len(images)) % 2 if labels is None else np.array(labels)
    preprocess = Preprocess(images.shape[1])
    return measure(label, Listing(label, label, classes, values, preprocess, pixels=images))


def found(*parts: Part, smallest: int = 32) -> list[tuple[str, str]]:
    return [(f.kind, f.message) for f in findings(parts, smallest)]


def test_clean_parts_have_no_findings() -> None:
    train, test = part(scenes(200), label="train"), part(scenes(150, seed=1), label="test")
    assert found(train, test) == []


@pytest.mark.parametrize(
    ("labels", "finding"),
    [
        ([0, 1, 0], ("same-image", "same image: data image 0 = data image 2")),
        (
            [0, 1, 1],
            (
                "same-image-other-label",
                "same image, labels cat, non-cat: data image 0 = data image 2",
            ),
        ),
    ],
)
def test_equal_images_in_a_part_are_found(labels: list[int], finding: tuple[str, str]) -> None:
    images = scenes(3)
    images[2] = images[0]
    assert found(part(images, labels)) == [finding]


def test_an_image_that_is_there_many_times_is_one_finding() -> None:
    images = np.repeat(scenes(2), (9, 1), axis=0)
    ((kind, message),) = found(part(images, [1] * 9 + [0]))
    assert kind == "same-image"
    assert message.endswith("image 4 and 4 more")


def test_nearly_equal_images_are_found_within_and_across_parts() -> None:
    train, test = scenes(20), scenes(20, seed=1)
    train[3] = train[2] // 8 * 8  # 32 levels instead of 256
    test[4] = train[8] // 8 * 8
    similar = found(part(train, [0] * 10 + [1] * 10, "train"), part(test, label="test"))
    assert [kind for kind, _ in similar] == ["similar-image", "similar-image-across-parts"]
    assert "train image 2 = train image 3" in similar[0][1]
    assert "train image 8 = test image 4" in similar[1][1]


def test_a_test_image_that_was_trained_on_is_a_leak_whatever_names_its_class() -> None:
    train, test = scenes(20), scenes(20, seed=1)
    test[5] = train[7]
    message = "same image: train image 7 = test image 5"
    for classes in (("non-cat", "cat"), ()):  # without names label 1 is cat, as in training
        leak = found(part(train, label="train"), part(test, label="test", classes=classes))
        assert leak == [("same-image-across-parts", message)]


def test_training_is_told_of_test_and_validation_images_that_it_is_trained_on() -> None:
    images = scenes(40)
    labels = np.arange(40.0)[None] % 2

    def dataset(rows: list[int], source: str, turned: bool = False) -> Dataset:
        Y = 1 - labels[:, rows] if turned else labels[:, rows]
        return Dataset(images[rows], Y, ("dog", "cat"), source, Preprocess(SIZE))

    trained, other = dataset([*range(20)], "a"), dataset([*range(20, 30)], "b")
    assert list(doubts(trained, other, None)) == []
    tested, judging = dataset([*range(15, 25)], "c"), dataset([0, 30], "d", turned=True)
    first, second = doubts(trained, tested, judging)
    assert first.startswith("c: 5 of its 10 images are also trained on: ")
    assert second.startswith("d: 1 of its 2 images is also trained on: ")
    twice = dataset([0, 1, 2, 0], "e")
    twice.Y[0, 3] = 1
    (line,) = doubts(twice, None, None)
    assert "e: 2 of 4 images are there with both labels" in line


# Class shares


def with_cats(total: int, cats: int, label: str, seed: int = 0, turned: bool = False) -> Part:
    values = (np.arange(total) < cats).astype(int)
    if turned:
        return part(scenes(total, seed), 1 - values, label, ("cat", "non-cat"))
    return part(scenes(total, seed), values, label)


@pytest.mark.parametrize("turned", [False, True])
def test_class_shares_that_differ_are_found_with_both(turned: bool) -> None:
    parts = with_cats(200, 60, "train"), with_cats(100, 70, "test", 1, turned)
    ((kind, message),) = found(*parts)
    assert kind == "class-shares"
    assert "cat is 30.0 % of train and 70.0 % of test" in message


@pytest.mark.parametrize(("a", "b"), [((200, 100), (200, 104)), ((20, 10), (10, 3))])
def test_class_shares_that_differ_little_are_fine(a: tuple[int, int], b: tuple[int, int]) -> None:
    # 2 points; and 20 points with a standard error of 19.
    assert found(with_cats(*a, "train"), with_cats(*b, "test", 1)) == []


# Odd images


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 10, 90)])
def test_constant_and_nearly_empty_images_are_found_and_pale_ones_are_not(colour: Any) -> None:
    images = scenes(6)
    images[1] = colour
    images[2], images[3] = 250, 251  # are not called similar
    images[3, 5, 5] = 200  # a speck of dust
    images[4] = 120 + images[4] // 10
    empty = "constant or nearly empty image: data image"
    assert found(part(images)) == [("empty", f"{empty} {i}") for i in (1, 2, 3)]


@pytest.mark.parametrize("m", [30, 100])
def test_pixels_scrambled_by_a_wrong_reshape_are_found(m: int) -> None:
    images = scenes(m)
    columns = images.reshape(-1, m)  # the mistake: (n, m), but of mixed images
    scrambled = np.ascontiguousarray(columns.T).reshape(images.shape)
    right, wrong = part(images, label="right"), part(scrambled, label="wrong")
    green = images[..., 1].astype(float)
    neighbours = [green[:, :, :-1], green[:, :-1]], [green[:, :, 1:], green[:, 1:]]
    one, other = (np.concatenate([each.ravel() for each in side]) for side in neighbours)
    assert right.correlation == pytest.approx(np.corrcoef(one, other)[0, 1], rel=1e-9)
    [message] = [message for kind, message in found(right, wrong) if kind == "scrambled"]
    assert "wrong" in message
    assert "reshape(-1, m)" in message


def test_noise_is_called_scrambled_and_empty_images_are_not() -> None:
    assert "scrambled" in [kind for kind, _ in found(part(make_images(50, SIZE)[0]))]
    empty = part(np.full((3, 8, 8, 3), 7, np.uint8), [0, 0, 0])
    assert {kind for kind, _ in found(empty)} == {"empty", "same-image"}


def test_files_are_found_small_or_unreadable_among_others(
    tmp_path: Path,
) -> None:
    one, other, half, tiny = scenes(4)
    files = {"cat/a.png": b"", "cat/b.png": one, "dog/c.png": other, "dog/d.png": one}
    fill(tmp_path, {**files, "cat/half.png": half[:16, :30], "cat/tiny.png": tiny[:15, :30]})
    source = open_source(tmp_path, ReadOptions(size=SIZE, skip_bad=True)).split("train")
    assert found(measure("photos", source)) == [
        ("unreadable", "photos cat/a.png: is empty"),
        ("small", "small image: photos cat/tiny.png has 30x15 pixels"),
        (
            "same-image-other-label",
            "same image, labels cat, dog: photos cat/b.png = photos dog/d.png",
        ),
    ]


# Groups


def test_groups_join_equal_and_similar_images_over_parts_and_keep_empty_ones_apart() -> None:
    images = scenes(8)
    images[3] = images[0]
    images[4] = images[0] // 8 * 8
    images[5], images[6] = 250, 251
    found = duplicate_groups(part(images), 0.5)
    assert found.groups.tolist() == [0, 1, 2, 0, 0, 5, 6, 7]
    assert found.notes[0].startswith("1 group holds 3 of 8 images")
    bursts = part(scenes(8))
    bursts.source.groups = np.array([0, -1, 0, -1, 1, 1, -1, -1])  # a column `group`
    assert duplicate_groups(bursts, 0.5).groups.tolist() == [0, 1, 0, 3, 4, 4, 6, 7]


# The course's files


def test_the_course_data_scrambled_are_flagged(course: tuple[Path, Path]) -> None:
    with h5py.File(course[0]) as file:
        images, labels = file["train_set_x"][:], file["train_set_y"][:]
    scrambled = images.reshape(-1, len(images)).T.reshape(images.shape)
    assert [kind for kind, _ in found(part(scrambled, labels), smallest=64)] == ["scrambled"]
