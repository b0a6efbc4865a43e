"""How like images are to those of training: beside loops, by folds, and in records."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from catclf.maths.threads import blas_threads
from catclf.model.model import LEAST, Similarity

Rows = NDArray[np.float32]


def clusters(m: int, seed: int, n: int = 64, kinds: int = 8) -> Rows:
    """Rows around some directions, which are the same for every seed."""
    middles = np.random.default_rng(7).normal(size=(kinds, n))
    rng = np.random.default_rng(seed)
    return (middles[rng.integers(0, kinds, m)] + 0.5 * rng.normal(size=(m, n))).astype(np.float32)


def learned(rows: Rows, seed: int = 0) -> Similarity:
    mean = rows.mean(axis=0)
    with blas_threads(1):
        found = Similarity.learn(rows - mean, mean, seed)
    assert found is not None
    return found


def test_similarity_is_the_greatest_cosine_with_a_center() -> None:
    similarity, rows = learned(clusters(300, 0)), clusters(5, 1)
    for row, found in zip(rows, similarity.of_rows(rows), strict=True):
        x = (row - similarity.mean).astype(np.float64)
        cosines = [
            float(x @ center / np.linalg.norm(x) / np.linalg.norm(center))
            for center in similarity.centers.astype(np.float64)
        ]
        assert found == pytest.approx(max(cosines), abs=1e-5)


def test_one_in_a_hundred_of_the_same_kind_is_unlike_and_nearly_all_of_another() -> None:
    similarity = learned(clusters(2000, 0))
    same, other = clusters(2000, 1), np.random.default_rng(3).normal(size=(500, 64))
    assert 0.002 < (similarity.of_rows(same) < similarity.limit).mean() < 0.03
    assert (similarity.of_rows(other.astype(np.float32)) < similarity.limit).mean() > 0.95


def test_a_row_by_itself_has_the_bits_that_it_has_beside_others() -> None:
    similarity, rows = learned(clusters(300, 0)), clusters(40, 1)
    whole = similarity.of_rows(rows)
    for i in (0, 17, 39):
        assert similarity.of_rows(rows[i : i + 1])[0] == whole[i]


def test_equal_seeds_are_equal_bytes_and_few_rows_are_their_own_centers() -> None:
    rows = clusters(150, 0)
    first, again, other = learned(rows), learned(rows), learned(rows, 1)
    assert first.centers.tobytes() == again.centers.tobytes()
    assert (first.limit, first.centers.shape) == (again.limit, (100, 64))
    assert first.centers.tobytes() != other.centers.tobytes()
    assert first.centers.dtype == np.int8
    few = learned(clusters(20, 0))
    assert len(few.centers) == 20
    assert few.of_rows(clusters(20, 0)).min() > 0.99


def test_too_few_rows_say_nothing_and_neither_do_equal_ones() -> None:
    rows = clusters(LEAST - 1, 0)
    assert Similarity.learn(rows, np.zeros(64, np.float32), 0) is None
    equal = np.zeros((30, 64), np.float32)
    assert Similarity.learn(equal, np.zeros(64, np.float32), 0) is None
