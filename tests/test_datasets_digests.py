"""Images that are the same or nearly: digests, pairs, groups, overlaps and fingerprints."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from catclf.datasets.digests import (
    DISTANCE,
    KEPT,
    LEVELS,
    Digests,
    contradictions,
    count_kept,
    count_shared,
    digests_of,
    fingerprint,
    grouping,
    joined,
    kept_digests,
    near_groups,
    near_measures,
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


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg 75": lambda image: reencoded(image, 75),
    "jpeg 40": lambda image: reencoded(image, 40),
    "half": lambda image: image.resize((SIDE // 2, SIDE // 2)),
    "larger": lambda image: image.resize((331, 331)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
}


def at_64(images: list[Image.Image]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(image.convert("RGB").resize((64, 64))) for image in images])


# Measures of one image


@pytest.mark.parametrize("side", [1, 2, 8, 15, 16, 32, 33, 50, 64, 200])
def test_a_thumbnail_is_the_mean_of_each_area_or_repeats_pixels(side: int) -> None:
    images = np.random.default_rng(side).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    _, found = near_measures(images)
    assert found.shape == (3, 16, 16)
    for i, j in ((0, 0), (15, 15), (7, 10), (14, 1)):
        a, b = i * side // 16, j * side // 16
        c, d = max((i + 1) * side // 16, a + 1), max((j + 1) * side // 16, b + 1)
        area = images[:, a:c, b:d]
        np.testing.assert_allclose(found[:, i, j], area.mean(axis=(1, 2, 3)), atol=0.501)


def test_the_hash_is_that_of_the_cosine_transform_written_out() -> None:
    images = at_64([drawn(1), drawn(2)])
    for image, found in zip(images, near_measures(images)[0].tolist(), strict=True):
        means = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3, 4))
        waves = np.cos(np.pi * np.outer(np.arange(8), np.arange(32) + 0.5) / 32)
        low = np.einsum("ui,ij,vj->uv", waves, means, waves).reshape(64)
        middle = np.median(low[1:])
        bits = "0" + "".join("1" if value > middle else "0" for value in low[1:])
        assert f"{found:064b}" == bits


def test_digests_are_equal_for_equal_pixels_only_wherever_they_are() -> None:
    images = at_64([drawn(1), drawn(2), drawn(1), drawn(1)])
    images[3, 63, 63, 2] ^= 1
    exact = digests_of(images).exact
    assert (exact[:, None] == exact).tolist() == [
        [i == j or {i, j} == {0, 2} for j in range(4)] for i in range(4)
    ]
    assert exact.tobytes()[:16] == hashlib.sha256(images[0].tobytes()).digest()[:16]
    assert digests_of(np.asfortranarray(images)).exact.tolist() == exact.tolist()
    assert not digests_of(images).near


def test_the_block_an_image_is_in_does_not_change_its_measures() -> None:
    images = np.concatenate([at_64([drawn(seed) for seed in range(5)])] * 80)  # of two blocks
    whole = digests_of(images, near=True)
    for i in (0, 4, 399):
        alone = digests_of(images[i : i + 1], near=True)
        for a, b in zip(alone, whole.take(np.array([i])), strict=True):
            np.testing.assert_array_equal(a, b)


def test_rows_of_numbers_are_equal_or_not_and_never_near() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 3))
    rows[3] = rows[0]
    found = digests_of(rows, near=True)
    assert not found.near
    assert grouping(found, np.zeros(4)).groups.tolist() == [0, 1, 2, 0]


def test_a_fingerprint_tells_images_labels_size_and_classes_apart() -> None:
    images, names = at_64([drawn(seed) for seed in range(3)]), ("dog", "cat")
    exact, labels = digests_of(images).exact, np.array([0, 1, 0])
    known = fingerprint(exact, labels, 64, names)
    assert known == fingerprint(exact, labels.astype(float), 64, list(names))
    others = [
        fingerprint(exact[::-1], labels, 64, names),
        fingerprint(exact, 1 - labels, 64, names),
        fingerprint(exact, labels, 32, names),
        fingerprint(exact, labels, 64, ("cat", "dog")),
        fingerprint(exact[:2], labels[:2], 64, names),
    ]
    assert len({known, *others}) == 6


@pytest.mark.parametrize("m", [10, KEPT, KEPT + 5000])
def test_a_model_keeps_eight_bytes_of_up_to_65536_images(m: int) -> None:
    words = np.random.default_rng(0).integers(0, 2**63, (m, 2)).astype("<u8")
    exact = words.view("S16")[:, 0]
    kept = kept_digests(exact)
    assert kept.dtype == np.uint64
    assert len(kept) == min(m, KEPT)
    assert (np.diff(kept.astype(float)) >= 0).all()
    assert count_kept(exact, kept) == len(kept)
    assert count_kept(np.array([bytes(16), b"x" * 16], "S16"), kept) == 0
    assert count_shared(exact[:7], exact[3:]) == 4


# Changed images are near, others are not


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_drawing_stays_within_the_distance(change: str) -> None:
    images = [drawn(seed) for seed in range(40)]
    hashes, small = near_measures(at_64([*images, *map(CHANGES[change], images)]))
    pairs = zip(hashes[:40].tolist(), hashes[40:].tolist(), strict=True)
    assert max((before ^ after).bit_count() for before, after in pairs) <= DISTANCE
    assert near_groups(hashes, small).tolist() == [*range(40)] * 2


def test_different_drawings_are_not_near() -> None:
    images = at_64([drawn(seed) for seed in range(100, 400)])
    assert near_groups(*near_measures(images)).tolist() == list(range(300))


# Pairs and groups


def brute_force(hashes: NDArray[np.uint64], small: NDArray[np.uint8]) -> list[int]:
    """The first image that each can be reached from, over pairs of near ones."""
    levels = small.astype(float)
    pairs = [
        (i, j)
        for i, j in combinations(range(len(hashes)), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= 4
        and np.abs(levels[i] - levels[j]).mean() < 8
    ]
    return reached(len(hashes), pairs)


def reached(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    reach = np.eye(count, dtype=bool)
    for i, j in pairs:
        reach[i, j] = reach[j, i] = True
    for _ in range(8):  # paths of up to 2^8 steps
        reach = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
    return [int(first) for first in reach.argmax(axis=1)] if count else []


def test_a_crowd_is_one_group() -> None:
    rng = np.random.default_rng(0)
    bits = np.uint64(1) << rng.integers(0, 64, 3000).astype(np.uint64)
    small = rng.integers(100, 103, (3000, 16, 16)).astype(np.uint8)
    found = near_groups(np.uint64(0x0F0F_3C3C_55AA_1234) ^ bits, small)
    assert not found.any()  # any two differ in at most two bits: all pairs would be 4.5 million


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flips", [1, 3, 5, 8])
def test_near_groups_are_those_of_all_pairs(seed: int, flips: int) -> None:
    assert (DISTANCE, LEVELS) == (4, 8)  # what the command tells its users
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 12, dtype=np.uint64)
    hashes = centres[rng.integers(0, 12, 150)]
    for _ in range(flips):
        hashes ^= np.uint64(1) << rng.integers(0, 64, 150).astype(np.uint64)
    base = rng.integers(0, 256, (3, 16, 16))
    small = np.clip(base[rng.integers(0, 3, 150)] + rng.integers(-12, 13, (150, 1, 1)), 0, 255)
    small = small.astype(np.uint8)
    expected = brute_force(hashes, small)
    assert near_groups(hashes, small).tolist() == expected
    assert expected != list(range(150)) or flips >= 5


@given(data=st.data())
def test_near_groups_of_any_hashes_are_those_of_all_pairs(data: st.DataObject) -> None:
    centre = data.draw(st.integers(0, 2**64 - 1))
    flipped = data.draw(st.lists(st.lists(st.integers(0, 63), max_size=6), max_size=8))
    hashes = np.array(
        [centre ^ sum(1 << bit for bit in set(bits)) for bits in flipped], dtype=np.uint64
    )
    small = np.zeros((len(hashes), 16, 16), np.uint8)
    small[::3] = 8
    assert near_groups(hashes, small).tolist() == brute_force(hashes, small)


@given(pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=25))
def test_groups_are_what_can_be_reached_over_pairs(pairs: list[tuple[int, int]]) -> None:
    i, j = np.array(pairs, int).reshape(-1, 2).T
    assert joined(np.arange(20), i, j).tolist() == reached(20, pairs)


def test_equal_images_with_other_labels_contradict_each_other() -> None:
    exact = np.array([b"a", b"b", b"a", b"c", b"c", b"c"], "S16")
    assert contradictions(exact, np.array([0, 1, 1, 0, 0, 0])) == 2
    assert contradictions(exact, np.array([0, 1, 0, 0, 1, 0])) == 3
    assert contradictions(exact, np.array([1, 1, 1, 0, 0, 0])) == 0


# What stays together


def noisy_copies(base: NDArray[np.uint8], copies: int, seed: int = 0) -> NDArray[np.uint8]:
    """Each image ``copies`` times, with noise of two grey levels."""
    rng = np.random.default_rng(seed)
    several = np.repeat(base, copies, axis=0).astype(int)
    return np.clip(several + rng.integers(-2, 3, several.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("copies", [1, 3, 6])
@pytest.mark.parametrize("exact", [True, False])
def test_copies_and_near_copies_of_an_image_share_a_group(copies: int, exact: bool) -> None:
    base = at_64([drawn(seed) for seed in range(12)])  # a copied one is more than 1/10 of a class
    images = np.repeat(base, copies, axis=0) if exact else noisy_copies(base, copies)
    found = grouping(digests_of(images, near=True), np.arange(12 * copies) // copies % 2)
    assert found.groups.tolist() == (np.arange(12 * copies) // copies * copies).tolist()
    if copies == 1:
        assert not found.notes
    else:
        (note,) = found.notes
        assert note.startswith(f"12 groups hold {12 * copies} of {12 * copies} images that are ")


def test_values_of_a_group_column_stay_together_and_join_what_looks_alike() -> None:
    images = at_64([drawn(seed) for seed in (0, 1, 2, 3, 4, 1)])
    given = np.array([7, -1, 3, -1, 7, 3])
    found = grouping(digests_of(images, near=True), np.zeros(6), 2, given)
    assert found.groups.tolist() == [0, 1, 1, 3, 0, 1]
    assert "of one `group`" in found.notes[0]


def test_a_long_chain_of_similar_images_is_taken_apart_but_for_equal_ones() -> None:
    m = 100
    hashes = np.array([(1 << i // 2) - 1 for i in range(m)], np.uint64)  # 50 bits, one by one
    small = np.random.default_rng(0).integers(0, 255, (1, 16, 16)).astype(np.uint8)
    exact = np.array([str(i // 2).encode() for i in range(m)], "S16")
    digests = Digests(exact, hashes, np.repeat(small, m, axis=0))
    found = grouping(digests, np.arange(m) // 2 % 2)
    assert found.groups.tolist() == (np.arange(m) // 2 * 2).tolist()
    assert "50 groups hold 100 of 100 images" in found.notes[0]
    assert "up to 100 similar images" in found.notes[1]


def test_images_that_show_nothing_are_equal_or_not() -> None:
    images = np.full((4, 64, 64, 3), 255, np.uint8)
    images[1, 0, 0] = 254
    images[2, 5, 5] = 253
    found = grouping(digests_of(images, near=True), np.zeros(4), 2)
    assert found.groups.tolist() == [0, 1, 2, 0]
