"""The objective in every form, of pixels and of rows: the formula of maths, to the same bits."""

from __future__ import annotations

import math
import os
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FUSED, Run, dataset, make_images
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lazily import Labels, OnDisk, labelled, on_disk
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from catclf import machine
from catclf.datasets import Dataset
from catclf.errors import DataError
from catclf.features.rows import Standardizer, cached
from catclf.maths import losses_and_errors
from catclf.maths.logistic import cost, cost_and_gradient
from catclf.maths.threads import Team
from catclf.samples import IndexedImages, take
from catclf.settings import METHODS, Settings
from catclf.training import objective, solve
from catclf.training.objective import (
    BLOCK,
    GramObjective,
    Objective,
    Point,
    StreamObjective,
    build,
    choose,
    class_weights,
    gram,
    integer_gram,
)

wild = settings(deadline=None, derandomize=True)
CLOSE = {StreamObjective: 2e-6, GramObjective: 1e-12}  # the stream multiplies in float32
with_numba = pytest.mark.skipif(find_spec("numba") is None, reason="no Numba")
both_forms = pytest.mark.parametrize("form", [StreamObjective, GramObjective])


def made(m: int, size: int = 8) -> Dataset:
    return dataset(*make_images(m, size))


def built(data: Dataset, **given: Any) -> Objective:
    return build(data, Settings(**given).started())


@wild
@given(
    m=st.integers(1, 9),
    n=st.integers(1, 40) | st.sampled_from([1023, 1024, 1025, 3000, 12288]),
    seed=st.integers(0, 2**32 - 1),
    values=st.sampled_from([[0], [255], [0, 255], [127, 128, 129], list(range(256))]),
)
@example(m=1, n=1, seed=0, values=[255])
@example(m=5, n=12288, seed=0, values=[0])
@example(m=5, n=12288, seed=0, values=[255])
@example(m=5, n=12289, seed=0, values=[0, 255])
def test_integer_gram_is_the_integer_product(m: int, n: int, seed: int, values: list[int]) -> None:
    rows = np.random.default_rng(seed).choice(np.array(values, np.uint8), (m, n))
    K = integer_gram(rows)
    assert K.dtype == np.float64
    assert np.array_equal(K, rows.astype(np.int64) @ rows.astype(np.int64).T)


@both_forms
@pytest.mark.parametrize(("m", "size"), [(1, 8), (127, 8), (129, 13), (300, 16)])
@pytest.mark.parametrize("l2", [0.0, 3.0])
def test_a_problem_is_the_formula_of_maths(
    form: type[StreamObjective | GramObjective], m: int, size: int, l2: float
) -> None:
    data, n = made(m, size), 3 * size * size  # below, off and above sums of 512 products
    problem = form(data, l2)
    start = problem.start()
    random = np.random.default_rng(1).standard_normal(start.coordinates.shape) / m
    point = start.moved(Point(random, 2.0), by=-0.5)
    cost, gradient = problem.evaluate(point)
    w = problem.weights(point)
    J, dw, db = cost_and_gradient(data.X / 255.0, data.Y, w, point.b, l2)
    assert (problem.m, problem.n, w.shape) == (m, n, (n, 1))
    assert point.b == -1.0
    close = CLOSE[form]
    assert pytest.approx(J, rel=close) == cost
    assert gradient.b == pytest.approx(db, rel=close, abs=close)
    # The gradient's coordinates stand for dw: for Gram, X @ da.
    found = problem.weights(gradient)
    np.testing.assert_allclose(found, dw, rtol=0, atol=close * np.abs(dw).max())


@both_forms
def test_neither_the_data_nor_the_point_is_changed(
    form: type[StreamObjective | GramObjective],
) -> None:
    data = made(10)
    data.images.flags.writeable = data.Y.flags.writeable = False  # writing would raise
    problem = form(data, 1.0)
    point = problem.start()
    point.coordinates.flags.writeable = False
    first = problem.evaluate(point)
    second = problem.evaluate(point)
    assert first[0] == second[0]
    assert np.array_equal(first[1].coordinates, second[1].coordinates)
    assert not problem.weights(point).any()
    assert first[0] == pytest.approx(math.log(2), rel=1e-15)


def test_auto_streams_when_the_gram_matrix_would_be_too_large_or_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objective, "GRAM_LIMIT", 19)
    assert type(built(made(19), iterations=1000)) is GramObjective
    assert type(built(made(20), iterations=1000)) is StreamObjective
    monkeypatch.setattr(machine, "available_memory", lambda: 10_000)
    assert type(built(made(19), iterations=1000)) is StreamObjective


@pytest.mark.parametrize(("method", "form"), [("stream", StreamObjective), ("gram", GramObjective)])
def test_a_named_method_is_obeyed(method: str, form: type) -> None:
    for iterations in (1, 1000):
        assert type(built(made(20), iterations=iterations, method=method)) is form


@pytest.mark.parametrize("method", METHODS)
def test_no_images_are_refused(method: str) -> None:
    empty = dataset(np.zeros((0, 8, 8, 3), np.uint8), [])
    with pytest.raises(DataError, match="no images"):
        built(empty, method=method)


PIXELS = made(4).images


@both_forms
@pytest.mark.parametrize(
    ("images", "shape", "why"),
    [
        *((PIXELS, shape, r"\(1, 4\)") for shape in ((4,), (4, 1), (1, 3))),
        (PIXELS / 255.0, (1, 4), "float64"),
    ],
)
def test_other_labels_and_pixels_that_are_not_bytes_are_refused(
    form: type[StreamObjective | GramObjective], images: Any, shape: tuple[int, ...], why: str
) -> None:
    with pytest.raises(DataError, match=why):
        form(Dataset(images, np.zeros(shape), ("non-cat", "cat"), "odd"))


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
            ways = product(("gd", "lbfgs"), ("gram", "stream"))
            each = [
                Settings(solver=solver, l2=1.0, iterations=5, method=method)
                for solver, method in ways
            ]
            fits = [solve(data, settings, workers=workers) for settings in each]
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
    # (0.014 n + 0.25 T) m < 0.2 n T with these: 269 + 25 T < 38.4 T, so Gram from T = 21 on
    assert [choose(100, 192, T) for T in (0, 20, 21)] == ["stream", "stream", "gram"]
    assert choose(8193, 10**6, 10**6) == "stream"
    assert choose(1501, 100, 10**6, rows=True) == "stream"


BALANCED = (0.75, 1.5)  # for a third of positives


def rows_of(m: int = 300, n: int = 40, seed: int = 0) -> Labels:
    """Rows float32 (m, n) of length about 1, of which a third are positive."""
    rng = np.random.default_rng(seed)
    Y = (np.arange(m) % 3 == 0).astype(float)[None]
    rows = rng.normal(size=(m, n)) / np.sqrt(n) + 0.2 * Y.T
    return Labels(rows.astype(np.float32), Y)


def weighted(
    X: NDArray[np.float64], Y: NDArray[np.float64], w: NDArray[np.float64], b: float, l2: float
) -> tuple[float, NDArray[np.float64], float]:
    """J, dw and db with weights, by the definition."""
    m = Y.shape[1]
    losses, dZ = losses_and_errors(w.T @ X + b, Y)
    v = np.array([BALANCED[int(y)] for y in Y[0]])[None]
    J = float((v * losses).mean()) + l2 / (2 * m) * float((w**2).sum())
    return J, X @ (v * dZ).T / m + l2 / m * w, float((v * dZ).mean())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pass_over_rows_is_the_formula(workers: int) -> None:
    data = rows_of()
    point = Point(np.random.default_rng(1).normal(size=(40, 1)), 0.3)
    X = data.images.T.astype(np.float64)
    balanced = class_weights(data.Y, "balanced")
    for formula, v in ((cost_and_gradient, None), (weighted, balanced)):
        expected = formula(X, data.Y, point.coordinates, 0.3, 2.0)
        J, found = StreamObjective(data, 2.0, workers, v).evaluate(point)
        assert pytest.approx(expected[0], rel=1e-6) == J
        np.testing.assert_allclose(found.coordinates, expected[1], atol=1e-6)
        assert found.b == pytest.approx(expected[2], abs=1e-6)


@pytest.mark.parametrize("m", [3, 511, 1030])
def test_inner_products_are_the_same_for_any_number_of_workers(m: int) -> None:
    rows = rows_of(m, 700).images
    K = gram(rows, Team(1))
    np.testing.assert_array_equal(K, gram(rows, Team(3)))
    exact = rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.testing.assert_allclose(K, exact, rtol=1e-12, atol=1e-12)


def test_batches_of_rows_in_a_file_train_as_those_in_memory(tmp_path: Path) -> None:
    """Nearly: their order is another one."""
    data = rows_of(400, 30)
    kept = cached(tmp_path / "rows", "k", (400, 30), [data.images])
    standard = Standardizer.of(kept)
    kept.standard = standard
    in_file = Labels(kept, data.Y)
    in_memory = Labels(standard.apply(data.images.copy()), data.Y)
    settings = Settings(learning_rate=1.0, iterations=20, batch_size=64)
    first, second = solve(in_file, settings), solve(in_memory, settings)
    assert first.costs[-1] == pytest.approx(second.costs[-1], abs=0.02)
    again = solve(in_file, settings, workers=2)
    np.testing.assert_array_equal(first.w, again.w)


# Compiled products


def block(k: int, n: int, dtype: type[Any]) -> NDArray[Any]:
    rng = np.random.default_rng([k, n])
    if dtype is np.uint8:
        return rng.integers(0, 256, (k, n), dtype=np.uint8)
    return rng.standard_normal((k, n), dtype=np.float32)


# Rows in eights with several rests, columns below, at and above a run.
SHAPES = [(1, 3), (3, 12), (4, 2047), (7, 2048), (8, 2049), (13, 5000), (256, 12288)]


@with_numba
@pytest.mark.parametrize(("k", "n"), SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 3.0)])
def test_the_sums_are_those_of_float64(
    k: int, n: int, dtype: type[Any], weights: tuple[float, float]
) -> None:
    P, rng = block(k, n, dtype), np.random.default_rng(1)
    w = (rng.standard_normal((n, 1)) / (100 * n**0.5)).astype(np.float32)
    Y = (rng.random((1, k)) > 0.5).astype(np.float64)
    products = objective.Fused(n)
    v = np.where(Y.T > 0.5, weights[1], weights[0])
    given = None if weights == (1.0, 1.0) else v.T
    sums = products.sums(P, w, 0.3, Y, given)
    exact = P.astype(np.float64)
    Z = exact @ w + 0.3
    dZ = v * (1 / (1 + np.exp(-Z)) - Y.T)
    assert sums.loss == pytest.approx(float((v * (np.logaddexp(0, Z) - Y.T * Z)).sum()), rel=1e-5)
    assert products.sums(P, w, 0.3, Y, given, gradient=False).loss == pytest.approx(
        sums.loss, rel=1e-6
    )
    assert sums.db == pytest.approx(float(dZ.sum()), rel=1e-5, abs=1e-5)
    # Each sum is off by no more than some roundings of the sum of its terms' sizes.
    close = 1e-5 * (np.abs(exact.T) @ np.abs(dZ))
    assert (np.abs(sums.dw - exact.T @ dZ) <= close).all()


@with_numba
def test_the_layout_of_rows_changes_no_bit() -> None:
    values = np.random.default_rng(0).standard_normal((300, 500), dtype=np.float32)
    Y = (np.random.default_rng(1).random((1, 300)) > 0.5).astype(np.float64)
    point = Point(np.ones((500, 1)) / 100, 0.1)
    frozen = values.copy()
    frozen.flags.writeable = False
    others = frozen, np.asfortranarray(values), np.repeat(values, 2, axis=1)[:, ::2]
    found = {
        StreamObjective(Labels(rows, Y), fused=True).evaluate(point)[1].coordinates.tobytes()
        for rows in (values, *others)
    }
    assert len(found) == 1


def test_a_broken_numba_is_as_none(tmp_path: Path, small_hdf5: Path, run: Run) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "numba.py").write_text("raise OSError('no libllvm')\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "stub")}
    args = ("train", "--data", small_hdf5, "--method")
    run(*args, "fused", env=env).refused("needs Numba (no libllvm): ", "--method stream")


@with_numba
def test_compiled_code_is_chosen_where_it_saves_more_than_compiling_takes() -> None:
    assert [choose(20_000, 12288, steps) for steps in (30, 50)] == ["stream", "fused"]
    assert choose(100_000, 12288, 100, batch=64) == "stream"
    assert choose(100_000, 12288, 100_000, batch=64) == "fused"
