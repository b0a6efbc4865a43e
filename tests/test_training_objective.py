"""The objective in two forms: both are the formula of maths, step by step the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import make_images
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catclf import machine
from catclf.datasets import Dataset
from catclf.errors import DataError
from catclf.maths import Pixels, cost_and_gradient
from catclf.settings import METHODS, Settings
from catclf.training import objective
from catclf.training.objective import (
    GramObjective,
    Objective,
    Point,
    StreamObjective,
    build,
    integer_gram,
)

wild = settings(deadline=None, derandomize=True)
CLOSE = {StreamObjective: 2e-6, GramObjective: 1e-12}  # the stream multiplies in float32
both_forms = pytest.mark.parametrize("form", [StreamObjective, GramObjective])


def dataset(m: int, size: int = 8) -> Dataset:
    images, labels = make_images(m, size)
    return Dataset(images, labels.reshape(1, m).astype(np.float64), ("non-cat", "cat"), "made")


def built(data: Dataset, **given: Any) -> Objective:
    return build(data, Settings(**given).started())


def pixels(m: int, n: int, seed: int, values: list[int]) -> Pixels:
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), (m, n))


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
    rows = pixels(m, n, seed, values)
    K = integer_gram(rows)
    assert K.dtype == np.float64
    assert np.array_equal(K, rows.astype(np.int64) @ rows.astype(np.int64).T)


@both_forms
@pytest.mark.parametrize(("m", "size"), [(1, 8), (127, 8), (129, 13), (300, 16)])
@pytest.mark.parametrize("l2", [0.0, 3.0])
def test_a_problem_is_the_formula_of_maths(
    form: type[StreamObjective | GramObjective], m: int, size: int, l2: float
) -> None:
    data, n = dataset(m, size), 3 * size * size  # below, off and above sums of 512 products
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
    data = dataset(10)
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


# (0.014 n + 0.25 T) m < 0.2 n T with m = 100, n = 192: 269 + 25 T < 38.4 T, so Gram from T = 21 on
@pytest.mark.parametrize(
    ("iterations", "form"), [(0, StreamObjective), (20, StreamObjective), (21, GramObjective)]
)
def test_auto_takes_the_form_that_should_be_faster(iterations: int, form: type) -> None:
    assert type(built(dataset(100), iterations=iterations)) is form


def test_auto_streams_when_the_gram_matrix_would_be_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objective, "GRAM_LIMIT", 19)
    assert type(built(dataset(19), iterations=1000)) is GramObjective
    assert type(built(dataset(20), iterations=1000)) is StreamObjective


def test_auto_streams_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 10_000)
    assert type(built(dataset(20), iterations=1000)) is StreamObjective


@pytest.mark.parametrize(("method", "form"), [("stream", StreamObjective), ("gram", GramObjective)])
def test_a_named_method_is_obeyed(method: str, form: type) -> None:
    for iterations in (1, 1000):
        problem = built(dataset(20), l2=4.0, iterations=iterations, method=method)
        assert type(problem) is form
        w = Point(problem.start().coordinates + 1.0, 0.0)
        penalty = (
            problem.evaluate(w)[0] - built(dataset(20), iterations=1, method=method).evaluate(w)[0]
        )
        assert penalty == pytest.approx(4 / 40 * np.square(problem.weights(w)).sum(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_no_images_are_refused(method: str) -> None:
    empty = Dataset(np.zeros((0, 8, 8, 3), np.uint8), np.zeros((1, 0)), ("non-cat", "cat"), "none")
    with pytest.raises(DataError, match="no images"):
        built(empty, method=method)


@both_forms
@pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 3)])
def test_labels_of_another_shape_are_refused(
    form: type[StreamObjective | GramObjective], shape: tuple[int, ...]
) -> None:
    data = Dataset(dataset(4).images, np.zeros(shape), ("non-cat", "cat"), "odd")
    with pytest.raises(DataError, match=r"\(1, 4\)"):
        form(data)


@both_forms
def test_pixels_that_are_not_bytes_are_refused(form: type[StreamObjective | GramObjective]) -> None:
    data = dataset(4)
    floats = Dataset(data.images / 255.0, data.Y, data.classes, "floats")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="float64"):
        form(floats)
