"""Rows made once: in order, standardised, folded into weights, kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from catclf.errors import DataError, OutputError
from catclf.features import learn
from catclf.features.base import Rows
from catclf.features.rows import (
    HEAD,
    Standardizer,
    cached,
    encode,
    encoded,
    key_of,
)


def images_of(m: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (m, 16, 16, 3), dtype=np.uint8)


def rows_of(m: int, n: int) -> Rows:
    return np.random.default_rng(1).normal(3, 2, (m, n)).astype(np.float32)


@pytest.mark.parametrize("m", [1, 16, 5 * 16 + 3])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_rows_are_in_order_for_any_number_of_workers(m: int, workers: int) -> None:
    images, features = images_of(m), learn("hog", images_of(1))
    seen: list[tuple[int, int]] = []
    phase = lambda what: nullcontext(lambda *at: seen.append(at))  # noqa: E731
    rows = encode(features, images, workers, phase)
    np.testing.assert_array_equal(rows, features.transform(images))
    assert seen == [(min(done, m), m) for done in range(16, m + 16, 16)]


def test_an_unfinished_encoding_ends_with_its_reader() -> None:
    blocks = encoded(learn("hog", images_of(1)), images_of(200), 2)
    assert len(next(blocks)) == 16
    blocks.close()  # type: ignore[attr-defined]


def test_standardized_rows_have_mean_zero_and_length_one(tmp_path: Path) -> None:
    """With damping, numbers that vary little keep less weight."""
    rows = rows_of(700, 40)
    rows[:, 7] = 5.0  # never varies
    before = rows.copy()
    standard = Standardizer.of(rows)
    deviation = before.astype(np.float64).std(axis=0) + 0.01
    expected = (before - before.mean(axis=0, dtype=np.float64)) / deviation / np.sqrt(40)
    lazily = cached(tmp_path / "rows", "k", rows.shape, [rows])
    lazily.standard = standard
    standard.apply(rows)
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(lazily[3:9], rows[3:9])
    assert (len(lazily), lazily.shape) == (700, (700, 40))
    assert np.square(rows).sum(axis=1).mean() == pytest.approx(39 / 40, rel=0.02)
    deviation -= 0.01
    expected = 3 / (deviation + 2 * deviation.mean() + 0.01) / np.sqrt(40)
    np.testing.assert_allclose(Standardizer.of(before, 2.0).factor, expected, rtol=1e-4)


def test_folded_weights_score_the_rows_as_they_were() -> None:
    rows = rows_of(50, 12)
    standard = Standardizer.of(rows)
    w, b = np.random.default_rng(2).normal(size=(12, 1)), 0.7
    folded, bias = standard.fold(w, b)
    np.testing.assert_allclose(
        rows @ folded + bias, standard.apply(rows.copy()) @ w + b, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_rows_that_are_not_numbers_are_refused(wrong: float) -> None:
    rows = rows_of(300, 4)
    rows[299, 2] = wrong
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(DataError, match="not finite"),
    ):
        Standardizer.of(rows)


def never() -> Iterator[Rows]:
    """Blocks that are not asked for, since the file has them."""
    yield from [pytest.fail("rows were made again")]


def test_a_cache_gives_back_its_rows(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.bin", rows_of(10, 7)
    for blocks in (iter([rows[:4], rows[4:]]), never()):
        found = cached(path, "k", (10, 7), blocks)
        assert (len(found), found.shape) == (10, (10, 7))
        np.testing.assert_array_equal(found[:], rows)
        np.testing.assert_array_equal(found[3:5], rows[3:5])
        np.testing.assert_array_equal(found[np.array([9, 0, 3])], rows[[9, 0, 3]])
        assert found[5:5].shape == (0, 7)
    head, body = path.read_bytes()[:HEAD], path.read_bytes()[HEAD:]
    assert json.loads(head)["format"] == "catclf-features"
    assert body == rows.tobytes()


@pytest.mark.parametrize("other", [("l", (10, 7)), ("k", (9, 7)), ("k", (7, 10))])
def test_a_cache_of_other_rows_is_made_anew(
    tmp_path: Path, other: tuple[str, tuple[int, int]]
) -> None:
    path, rows = tmp_path / "rows.bin", rows_of(*other[1]) + 1
    cached(path, "k", (10, 7), [rows_of(10, 7)])
    np.testing.assert_array_equal(cached(path, *other, [rows])[:], rows)


def test_a_cache_that_was_cut_is_made_anew(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.bin", rows_of(10, 7)
    opened = cached(path, "k", (10, 7), [rows])
    os.truncate(path, HEAD + 279)
    with pytest.raises(DataError, match="cut short"):
        opened[0:10]
    np.testing.assert_array_equal(cached(path, "k", (10, 7), [rows + 1])[:], rows + 1)


@pytest.mark.parametrize("content", [b"", b"photograph", b"[" * 5000, b'{"format": "x"}', b"7"])
def test_another_file_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "precious"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="not a file of features"):
        cached(path, "k", (10, 7), never())
    assert path.read_bytes() == content
    with pytest.raises(OutputError, match="is a folder"):
        cached(tmp_path, "k", (10, 7), never())


def test_a_cache_that_fails_halfway_leaves_the_old_one(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.bin", rows_of(10, 7)
    cached(path, "k", (10, 7), [rows])
    with pytest.raises(ZeroDivisionError):
        cached(path, "l", (10, 7), (rows[: 1 // count] for count in (1, 0)))
    np.testing.assert_array_equal(cached(path, "k", (10, 7), never())[:], rows)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.bin"]


def test_the_key_names_data_settings_and_what_was_learned() -> None:
    images = images_of(2)
    hog, one_sided = learn("hog", images), learn("hog", images, flip=False)
    keys = {key_of(hog, "a"), key_of(hog, "b"), key_of(one_sided, "a"), key_of(hog, "a")}
    assert len(keys) == 3


def test_pixels_are_divided_by_255() -> None:
    images = images_of(3)
    features = learn("pixels", images, flip=False)
    assert (features.n, features.settings) == (768, {"kind": "pixels", "flip": False})
    expected = images.reshape(3, -1) / 255
    np.testing.assert_allclose(features.transform(images), expected, rtol=1e-7)
    mirrored = images[:, :, ::-1].reshape(3, -1) / 255
    flipped = learn("pixels", images).transform(images)
    np.testing.assert_allclose(flipped, (expected + mirrored) / 2, rtol=1e-6)
    assert features.name_of(49) == "green(1,0)"
