"""The streamed form: the same bits for any workers, in memory or on disk, whole or in part."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import FUSED
from lazily import Labels, OnDisk, labelled, on_disk
from threadpoolctl import threadpool_limits

from catclf.errors import DataError
from catclf.maths import cost
from catclf.samples import IndexedImages, take
from catclf.training import Settings, solve
from catclf.training.kernels import BLOCK
from catclf.training.objective import GramObjective, Point, StreamObjective, choose


def a_point(n: int = 192) -> Point:
    return Point(np.random.default_rng(3).standard_normal((n, 1)) / 50, -0.2)


def bits(found: tuple[float, Point]) -> tuple[float, float, bytes]:
    return found[0], found[1].b, found[1].coordinates.tobytes()


@pytest.mark.parametrize("m", [1, BLOCK + 1, 16 * BLOCK - 1, 33 * BLOCK + 5, 70 * BLOCK])
@pytest.mark.parametrize("method", ["stream", FUSED])
def test_workers_and_place_change_no_bit(m: int, method: str) -> None:
    data, fused = labelled(m, size=2), method == "fused"
    found = {
        bits(StreamObjective(source, 2.0, workers, fused=fused).evaluate(a_point(12)))
        for source in (data, on_disk(data))
        for workers in (1, 2, 3)
    }
    assert len(found) == 1


def test_the_centre_is_the_mean_image_and_the_loss_has_no_penalty() -> None:
    data = labelled(190)
    problem, X = StreamObjective(data, 9.0), data.images.reshape(190, -1).T / 255
    np.testing.assert_allclose(problem.mean(), X.mean(axis=1, keepdims=True), rtol=1e-6)
    point = a_point()
    loss = cost(point.coordinates.T @ X + point.b, data.Y)
    assert problem.loss(point) == pytest.approx(loss, rel=1e-6)  # the cost without its penalty


def test_the_gram_form_reads_images_on_disk_once_for_its_matrix() -> None:
    data = labelled(1100, size=2)
    lazy = on_disk(data)
    problem = GramObjective(lazy)
    assert lazy.images.slices == [(0, 512), (512, 1024), (1024, 1100)]
    point = Point(np.random.default_rng(0).standard_normal((1100, 1)), 0.1)
    here = GramObjective(data, team=3)
    assert bits(problem.evaluate(point)) == bits(here.evaluate(point))
    assert problem.weights(point).tobytes() == here.weights(point).tobytes()


def test_no_form_depends_on_the_threads_of_blas() -> None:
    data, found = labelled(1100), set()
    for threads, workers in ((1, 1), (2, 1), (2, 3)):
        with threadpool_limits(limits=threads, user_api="blas"):
            fits = [
                solve(
                    data,
                    Settings(solver=solver, l2=1.0, iterations=5, method=method),
                    workers=workers,
                )
                for solver in ("gd", "lbfgs")
                for method in ("gram", "stream")
            ]
        found.add(tuple(fit.w.tobytes() for fit in fits))
    assert len(found) == 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("after", [0, 5])
def test_a_file_that_vanishes_is_one_line(workers: int, after: int) -> None:
    lazy = on_disk(labelled(2000, size=2))
    lazy.images.fails_after = after
    with pytest.raises(DataError, match=r"^the images can no longer be read \(the file has gone\)"):
        StreamObjective(lazy, team=workers).evaluate(a_point(12))


def test_images_that_become_fewer_are_noticed() -> None:
    data = labelled(200, size=2)
    lazy = on_disk(data)
    problem = StreamObjective(lazy)
    lazy.images._array = data.images[:150]
    with pytest.raises(DataError, match="22 of 72 came at 128"):
        problem.evaluate(a_point(12))


@pytest.mark.parametrize(
    "rows", [[0, 1, 2], [0, 299], [5, 20, 21, 22, 290], list(range(0, 300, 3)), []]
)
def test_a_subset_reads_its_rows_and_few_others(rows: list[int]) -> None:
    data = labelled(300)
    lazy, numbers = OnDisk(data.images), np.array(rows, np.intp)
    assert np.array_equal(take(lazy, numbers), data.images[numbers])
    assert np.array_equal(take(data.images, numbers), data.images[numbers])
    assert sum(stop - start for start, stop in lazy.slices) <= 16 * len(rows)
    subset = IndexedImages(lazy, numbers)
    assert (len(subset), subset.shape) == (len(rows), (len(rows), 8, 8, 3))
    assert subset.dtype == np.uint8
    assert np.array_equal(subset[1:3], data.images[numbers[1:3]])


def test_a_subset_is_streamed_as_a_copy_of_it_would_be() -> None:
    data = labelled(900, size=4)
    rows = np.flatnonzero(np.random.default_rng(0).random(900) < 0.7)
    copy = Labels(data.images[rows], data.Y[:, rows])
    found = {
        bits(StreamObjective(Labels(images, copy.Y), 1.0, workers).evaluate(a_point(48)))
        for images in (
            copy.images,
            IndexedImages(data.images, rows),
            IndexedImages(OnDisk(data.images), rows),
        )
        for workers in (1, 2)
    }
    assert len(found) == 1


def test_the_choice_is_what_its_docstring_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(209, 12288, 2000) == "gram"
    monkeypatch.setitem(sys.modules, "catclf.training.numba_kernels", None)
    assert [choose(m, 12288, 2000) for m in (7000, 7500)] == ["gram", "stream"]
    assert [choose(m, 12288, 100) for m in (1200, 1350)] == ["gram", "stream"]
    assert [choose(m, 12288, 5) for m in (60, 80)] == ["gram", "stream"]
    assert choose(8193, 10**6, 10**6) == "stream"
    assert choose(1501, 100, 10**6, rows=True) == "stream"
