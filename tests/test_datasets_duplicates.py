"""Images that are the same or nearly: hashes, pairs and groups."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from catclf.datasets.duplicates import (
    DISTANCE,
    LEVELS,
    digests,
    grey,
    groups,
    near_pairs,
    perceptual_hashes,
    thumbnails,
)

SIDE = 200


def drawn(seed: int) -> Image.Image:
    """A scene of a soft background and a dozen shapes, as large as a small photograph."""
    rng = np.random.default_rng(seed)
    corners = Image.fromarray(rng.integers(60, 200, (3, 3, 3)).astype(np.uint8))
    image = corners.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.integers(0, SIDE, 2)
        w, h = rng.integers(20, 90, 2)
        colour: Any = tuple(rng.integers(20, 230, 3).tolist())
        shape = pen.ellipse if rng.integers(2) else pen.rectangle
        shape((int(x - w / 2), int(y - h / 2), int(x + w / 2), int(y + h / 2)), fill=colour)
    return image


def reencoded(image: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


CHANGES: dict[str, Any] = {
    "jpeg 75": lambda image: reencoded(image, 75),
    "jpeg 40": lambda image: reencoded(image, 40),
    "half": lambda image: image.resize((SIDE // 2, SIDE // 2)),
    "larger": lambda image: image.resize((331, 331)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
}


def at_64(images: list[Image.Image]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(image.convert("RGB").resize((64, 64))) for image in images])


def bits_between(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> list[int]:
    return [(i ^ j).bit_count() for i, j in zip(a.tolist(), b.tolist(), strict=True)]


# Measures of one image


@pytest.mark.parametrize("side", [32, 64, 50, 33, 200])
def test_grey_is_the_mean_of_each_area(side: int) -> None:
    images = np.random.default_rng(side).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    edges = [k * side // 32 for k in range(33)]
    found = grey(images, 32)
    assert found.shape == (3, 32, 32)
    for i, j in ((0, 0), (31, 31), (7, 20), (30, 1)):
        area = images[:, edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
        np.testing.assert_allclose(found[:, i, j], area.mean(axis=(1, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("side", [1, 2, 8, 31])
def test_small_images_are_enlarged_by_repeating_pixels(side: int) -> None:
    images = np.random.default_rng(side).integers(0, 256, (2, side, side, 3)).astype(np.uint8)
    found = grey(images, 32)
    for i, j in ((0, 0), (31, 31), (7, 20)):
        pixel = images[:, i * side // 32, j * side // 32]
        np.testing.assert_allclose(found[:, i, j], pixel.mean(axis=1), rtol=1e-12)


def test_a_thumbnail_of_a_solid_colour_is_its_mean() -> None:
    images = np.full((1, 64, 64, 3), (10, 20, 60), np.uint8)
    assert thumbnails(images).tolist() == np.full((1, 16, 16), 30).tolist()


def test_the_hash_is_that_of_the_cosine_transform_written_out() -> None:
    images = at_64([drawn(1), drawn(2)])
    for image, found in zip(images, perceptual_hashes(images).tolist(), strict=True):
        means = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3, 4))
        at = np.arange(32)
        low = [
            float(
                (
                    means
                    * np.outer(
                        np.cos(np.pi * u * (at + 0.5) / 32), np.cos(np.pi * v * (at + 0.5) / 32)
                    )
                ).sum()
            )
            for u in range(8)
            for v in range(8)
        ]
        middle = np.median(low[1:])
        bits = "0" + "".join("1" if value > middle else "0" for value in low[1:])
        assert f"{found:064b}" == bits


def test_digests_are_equal_for_equal_pixels_only() -> None:
    images = at_64([drawn(1), drawn(2), drawn(1), drawn(1)])
    images[3, 63, 63, 2] ^= 1
    a, b, c, d = digests(images)
    assert a == c
    assert len({a, b, d}) == 3
    assert digests(np.asfortranarray(images)) == [a, b, c, d]


def test_the_block_an_image_is_in_does_not_change_its_measures() -> None:
    images = at_64([drawn(seed) for seed in range(5)])
    for measure in (perceptual_hashes, thumbnails, digests):
        alone = [measure(images[i : i + 1])[0] for i in range(5)]
        together = measure(images)
        assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


# Changed images are near, others are not


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_drawing_stays_within_the_distance(change: str) -> None:
    images = [drawn(seed) for seed in range(40)]
    before, after = at_64(images), at_64([CHANGES[change](image) for image in images])
    assert max(bits_between(perceptual_hashes(before), perceptual_hashes(after))) <= DISTANCE
    both = np.concatenate([before, after])
    assert near_pairs(perceptual_hashes(both), thumbnails(both)) == [(i, 40 + i) for i in range(40)]


def test_different_drawings_are_not_near() -> None:
    images = at_64([drawn(seed) for seed in range(100, 400)])
    assert near_pairs(perceptual_hashes(images), thumbnails(images)) == []


@pytest.mark.parametrize("change", ["jpeg 75", "half", "brighter"])
def test_nearly_all_changed_photographs_are_found_and_no_others(
    datasets: Path, change: str
) -> None:
    files = sorted((datasets / "pets-sample").glob("*/*.jpg"))[::20]
    images = [Image.open(file).convert("RGB") for file in files]
    count = len(images)
    both = np.concatenate([at_64(images), at_64([CHANGES[change](p) for p in images])])
    found = near_pairs(perceptual_hashes(both), thumbnails(both))
    right = {(i, count + i) for i in range(count)}
    assert set(found) <= right
    assert len(found) >= 0.95 * count


# Pairs and groups


def brute_force(hashes: NDArray[np.uint64], small: NDArray[np.uint8]) -> list[tuple[int, int]]:
    levels = small.astype(float)
    return [
        (i, j)
        for i, j in combinations(range(len(hashes)), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= 4
        and np.abs(levels[i] - levels[j]).mean() < 8
    ]


def require_groups(hashes: Any, small: Any, expected: list[tuple[int, int]]) -> None:
    """The pairs are some of all near pairs, as few as join the same groups."""
    m = len(hashes)
    pairs = near_pairs(hashes, small)
    assert set(pairs) <= set(expected)
    joined = groups(m, expected)
    assert groups(m, pairs).tolist() == joined.tolist()
    assert len(pairs) == m - len(set(joined.tolist()))


def test_a_crowd_has_as_many_pairs_as_members_and_not_all() -> None:
    rng = np.random.default_rng(0)
    bits = np.uint64(1) << rng.integers(0, 64, 3000).astype(np.uint64)
    small = rng.integers(100, 103, (3000, 16, 16)).astype(np.uint8)
    pairs = near_pairs(np.uint64(0x0F0F_3C3C_55AA_1234) ^ bits, small)
    assert len(pairs) == 2999  # any two differ in at most two bits: all pairs would be 4.5 million
    assert set(groups(3000, pairs).tolist()) == {0}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flips", [1, 3, 5, 8])
def test_near_pairs_are_those_of_all_pairs(seed: int, flips: int) -> None:
    assert (DISTANCE, LEVELS) == (4, 8)  # what the command tells its users
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 12, dtype=np.uint64)
    hashes = centres[rng.integers(0, 12, 150)]
    for _ in range(flips):
        hashes ^= np.uint64(1) << rng.integers(0, 64, 150).astype(np.uint64)
    base = rng.integers(0, 256, (3, 16, 16))
    small = np.clip(base[rng.integers(0, 3, 150)] + rng.integers(-12, 13, (150, 1, 1)), 0, 255)
    expected = brute_force(hashes, small.astype(np.uint8))
    require_groups(hashes, small.astype(np.uint8), expected)
    assert expected or flips >= 5


@settings(deadline=None, derandomize=True, max_examples=100)
@given(data=st.data())
def test_near_pairs_of_any_hashes_are_those_of_all_pairs(data: st.DataObject) -> None:
    centre = data.draw(st.integers(0, 2**64 - 1))
    flipped = data.draw(st.lists(st.lists(st.integers(0, 63), max_size=6), max_size=8))
    hashes = np.array(
        [centre ^ sum(1 << bit for bit in set(bits)) for bits in flipped], dtype=np.uint64
    )
    small = np.zeros((len(hashes), 16, 16), np.uint8)
    small[::3] = 8
    require_groups(hashes, small, brute_force(hashes, small))


@pytest.mark.parametrize("bits", range(0, 64, 5))
def test_four_differing_bits_are_near_wherever_they_are_and_five_are_not(bits: int) -> None:
    places = [(bits + step * 13) % 64 for step in range(5)]
    four = sum(1 << place for place in places[:4])
    hashes = np.array([0, four, four | 1 << places[4]], dtype=np.uint64)
    assert near_pairs(hashes, np.zeros((3, 16, 16), np.uint8)) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_has_no_pairs(count: int) -> None:
    assert near_pairs(np.zeros(count, np.uint64), np.zeros((count, 16, 16), np.uint8)) == []


@settings(deadline=None, derandomize=True, max_examples=100)
@given(pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=25))
def test_groups_are_what_can_be_reached_over_pairs(pairs: list[tuple[int, int]]) -> None:
    reach = np.eye(20, dtype=bool)
    for i, j in pairs:
        reach[i, j] = reach[j, i] = True
    for _ in range(5):  # paths of up to 2^5 steps
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    assert groups(20, pairs).tolist() == reach.argmax(axis=1).tolist()
