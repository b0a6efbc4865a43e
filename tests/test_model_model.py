"""Scoring against a plain matrix product, thresholds, counts, and a model's origin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclf import __version__
from catclf.datasets import Dataset
from catclf.errors import CatclfError, ShapeError
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels
from catclf.maths.metrics import Counts
from catclf.maths.threads import blas_threads
from catclf.model import Model, Training
from catclf.model.model import LEAST, Rows, Similarity
from catclf.training import Fit, Settings, build_model
from catclf.training.solvers import StopReason


def make_model(size: int = 8, seed: int = 0, threshold: float = 0.5) -> Model:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(size * size * 3, 1))
    return Model(w, float(rng.normal()), Preprocess(size), threshold=threshold)


def brightness_model(w: float = 1.0, b: float = -1.5, threshold: float = 0.5) -> Model:
    """z = 3 (mean of the three pixels / 255) - 1.5 for 1x1 images: 0 for mid grey."""
    return Model(np.full((3, 1), w), b, Preprocess(1), threshold=threshold)


def greys(*values: int) -> Pixels:
    """1x1 images."""
    return np.array(values, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3)


@pytest.mark.parametrize("m", [0, 1, 63, 64, 65, 200])
def test_scores_equal_a_plain_matrix_product(m: int) -> None:
    model = make_model()
    images = np.random.default_rng(m).integers(0, 256, (m, 8, 8, 3), dtype=np.uint8)
    X = images.reshape(m, 192).T.astype(np.float64) / 255
    expected = model.w.T @ X + model.b
    assert model.scores(images).shape == (1, m)
    np.testing.assert_allclose(model.scores(images), expected, rtol=0, atol=1e-12)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    size=st.sampled_from([1, 2, 7, 16, 64]),
    m=st.integers(1, 150),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_a_score_does_not_depend_on_batch_order_or_memory_layout(
    size: int, m: int, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    model = make_model(size, seed)
    images = rng.integers(0, 256, (m, size, size, 3), dtype=np.uint8)
    scores = model.scores(images)
    order = rng.permutation(m)
    cut = data.draw(st.integers(0, m))
    j = data.draw(st.integers(0, m - 1))
    in_two = np.hstack([model.scores(images[:cut]), model.scores(images[cut:])])
    np.testing.assert_array_equal(in_two, scores, strict=True)
    np.testing.assert_array_equal(model.scores(images[order]), scores[:, order], strict=True)
    np.testing.assert_array_equal(model.scores(np.asfortranarray(images)), scores, strict=True)
    assert model.scores(images[j : j + 1])[0, 0] == scores[0, j]


@pytest.mark.parametrize(
    "shape", [(2, 4, 4, 3), (2, 8, 8), (2, 8, 8, 4), (8, 8, 3), (2, 16, 4, 3), (2, 192), (192, 2)]
)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"do not fit \(m, 8, 8, 3\)") as caught:
        make_model().scores(np.zeros(shape, dtype=np.uint8))
    assert isinstance(caught.value, CatclfError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("shape", [(192,), (1, 192), (193, 1), (192, 2), (64, 1), ()])
def test_weights_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"not \(192, 1\)"):
        Model(np.zeros(shape), 0.0, Preprocess(8))


def test_probabilities_are_the_logistic_function_of_the_scores() -> None:
    A = brightness_model().probabilities(greys(0, 51, 255))
    expected = [1 / (1 + math.exp(1.5)), 1 / (1 + math.exp(0.9)), 1 / (1 + math.exp(-1.5))]
    np.testing.assert_allclose(A, [expected], rtol=1e-14)
    extreme = brightness_model(1e6, -1.5e6).probabilities(greys(0, 255))  # without a warning
    np.testing.assert_array_equal(extreme, [[0.0, 1.0]])


def test_counts_by_hand() -> None:
    images = greys(0, 10, 200, 255, 250)  # answers: no no yes yes yes
    Y = np.array([[0.0, 1.0, 0.0, 1.0, 1.0]])
    assert brightness_model().counts(images, Y) == Counts(tp=2, fp=1, tn=1, fn=1)


@pytest.mark.parametrize(("threshold", "positives"), [(0.0, 4), (0.2, 3), (0.5, 2), (0.8, 1)])
def test_the_threshold_decides_what_counts_as_positive(threshold: float, positives: int) -> None:
    # σ = 0.182, 0.289, 0.711, 0.818 for these greys
    model = brightness_model(threshold=threshold)
    counts = model.counts(greys(0, 51, 204, 255), np.ones((1, 4)))
    assert counts == Counts(tp=positives, fn=4 - positives)


def test_a_probability_equal_to_the_threshold_is_negative() -> None:
    model = brightness_model(0.0, 0.0)
    assert model.probabilities(greys(7))[0, 0] == 0.5
    assert model.counts(greys(7), np.zeros((1, 1))) == Counts(tn=1)


SET: Any = {"learning_rate": 0.25, "iterations": 40, "l2": 2.0, "print_every": 30, "seed": 9}
USUAL = {"method": "auto", "solver": "gd", "batch_size": 0, "validation": 0.0, "patience": 10}


def make_fit(reason: StopReason = StopReason.STEPS) -> Fit:
    settings = Settings(**SET)
    w, costs, steps = np.ones((3, 1)), (0.7, 0.6), (0, 30)
    return Fit(w, -1.5, costs, steps, 30, settings=settings.started(), reason=reason)


def make_data(preprocess: Preprocess) -> Dataset:
    Y = np.array([[0.0, 1.0, 0.0, 1.0]])
    return Dataset(greys(0, 10, 200, 255), Y, ("dog", "cat"), "a.h5", preprocess)


@pytest.mark.parametrize("reason", [StopReason.STEPS, StopReason.INTERRUPTED])
def test_a_model_made_from_a_fit_remembers_where_it_came_from(reason: StopReason) -> None:
    preprocess = Preprocess(1, "crop", "box", (1, 2, 3))
    fit, data = make_fit(reason), make_data(preprocess)
    test = Dataset(greys(255, 0, 0), np.array([[1.0, 0.0, 0.0]]), ("dog", "cat"), "b.h5")
    model = build_model(fit, data, test)
    assert (model.w is fit.w, model.b, model.threshold) == (True, -1.5, 0.5)
    assert (model.costs, model.cost_steps) == ((0.7, 0.6), (0, 30))
    assert model.classes == ("dog", "cat")
    assert model.preprocess == preprocess
    assert build_model(fit, data).training.test is None
    assert model.training == Training(
        source="a.h5",
        fingerprint=data.fingerprint,
        images=4,
        positives=2,
        steps=30,
        interrupted=reason is StopReason.INTERRUPTED,
        ended={"reason": "interrupted" if reason is StopReason.INTERRUPTED else "steps"},
        settings=SET | USUAL,
        train=Counts(tp=1, fp=1, tn=1, fn=1),
        test=Counts(tp=1, tn=2),
        catclf=__version__,
    )


def test_a_fit_that_is_not_of_the_data_s_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"not \(12, 1\)"):
        build_model(make_fit(), make_data(Preprocess(2)))


# How like images are to those of training


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
