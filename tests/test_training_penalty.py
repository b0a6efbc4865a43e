"""Newton beside scikit-learn, choices beside loops over all there is to select from."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from catclf.errors import DataError
from catclf.objective import class_weights, sample_weights
from catclf.splits import stratified_folds, stratified_sample
from catclf.training.newton import optimum as newton
from catclf.training.penalty import FOLDS, best_threshold, select

Array = NDArray[np.float64]


def problem(m: int = 60, n: int = 90, seed: int = 0) -> tuple[Array, Array, Array]:
    """X (n, m), Y (1, m) with a third of positives, and K = XᵀX."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, m)) / np.sqrt(n)
    Y = (np.arange(m) % 3 == 0).astype(float)[None]
    X += 0.8 * Y * rng.normal(size=(n, 1)) / np.sqrt(n)
    return X, Y, X.T @ X


def reference(X: Array, Y: Array, l2: float, weights: Array) -> tuple[Array, float]:
    model = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000)
    model.fit(X.T, Y[0].astype(int), sample_weight=weights[0])
    return model.coef_.T, float(model.intercept_[0])


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("l2", [0.003, 0.1, 10.0])
def test_newton_finds_the_weights_of_scikit_learn(l2: float, balanced: bool) -> None:
    X, Y, K = problem()
    v = sample_weights(class_weights(Y, "balanced" if balanced else "none"), Y)
    a, b = newton(K, Y, v, l2)
    w, bias = reference(X, Y, l2, v)
    np.testing.assert_allclose(X @ a, w, rtol=1e-4, atol=1e-5)
    assert b == pytest.approx(bias, abs=1e-4)
    again, b_again = newton(K, Y, v, l2, start=(a, b))
    np.testing.assert_allclose(again, a, atol=1e-8)
    assert b_again == pytest.approx(b, abs=1e-8)


def test_newton_is_not_thrown_off_by_a_bad_start_or_by_twins() -> None:
    X, Y, _ = problem()
    X = np.hstack([X, X])  # every image twice: K is singular
    Y = np.hstack([Y, Y])
    K, v = X.T @ X, np.ones(Y.shape)
    far = (np.full((120, 1), 40.0), -30.0)
    first, second = newton(K, Y, v, 0.5), newton(K, Y, v, 0.5, start=far)
    np.testing.assert_allclose(X @ first[0], X @ second[0], atol=1e-5)
    w, _ = reference(X, Y, 0.5, v)
    np.testing.assert_allclose(X @ first[0], w, atol=1e-4)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_choice_is_that_of_a_loop_over_folds_and_penalties(workers: int) -> None:
    X, Y, K = problem()
    weights = class_weights(Y, "balanced")
    v = sample_weights(weights, Y)
    choice = select(K, Y, weights, 3, workers=workers)
    folds = stratified_folds(Y, FOLDS, 3)[0]
    losses = []
    for l2 in choice.tried:
        Z = np.zeros(Y.shape)
        for fold in range(FOLDS):
            kept, held = folds != fold, folds == fold
            w, b = reference(X[:, kept], Y[:, kept], l2, v[:, kept])
            Z[:, held] = w.T @ X[:, held] + b
        losses.append(float((v * (np.logaddexp(0, Z) - Y * Z)).sum() / v.sum()))
    np.testing.assert_allclose(choice.losses, losses, rtol=1e-2)
    assert choice.l2 == choice.tried[int(np.argmin(losses))]


def test_one_penalty_gives_its_scores() -> None:
    _, Y, K = problem()
    every = select(K, Y)
    one = select(K, Y, l2=every.l2)
    assert one.tried == (every.l2,)
    np.testing.assert_allclose(one.Z, every.Z, atol=0.02)


def test_choices_follow_the_scale_of_the_features() -> None:
    _, Y, K = problem()
    one, other = select(K, Y), select(K * 1e6 + 1e3, Y)
    assert other.l2 == pytest.approx(one.l2 * 1e6, rel=1e-6)


def test_folds_hold_each_class_evenly_and_at_random() -> None:
    Y = (np.arange(103) < 37).astype(float)[None]
    folds = stratified_folds(Y, 5, 0)[0]
    for fold in range(5):
        assert int(Y[0, folds == fold].sum()) in (7, 8)
        assert int((1 - Y[0, folds == fold]).sum()) in (13, 14)
    np.testing.assert_array_equal(folds, stratified_folds(Y, 5, 0)[0])
    assert (folds != stratified_folds(Y, 5, 1)[0]).any()


def test_too_few_images_of_a_class_are_refused() -> None:
    Y = (np.arange(30) < 4).astype(float)[None]
    with pytest.raises(DataError, match="5 images of each class, one has 4"):
        select(np.eye(30), Y)


def test_a_sample_keeps_the_proportion_of_classes() -> None:
    Y = (np.arange(1000) < 250).astype(float)[None]
    rows = stratified_sample(Y, 100, 0)
    assert len(rows) == 100
    assert int(Y[0, rows].sum()) == 25
    np.testing.assert_array_equal(rows, np.sort(rows))
    np.testing.assert_array_equal(stratified_sample(Y, 1000, 0), np.arange(1000))


def test_balanced_weights_give_classes_equal_sums() -> None:
    Y = np.array([[1.0, 0.0, 0.0, 0.0]])
    assert class_weights(Y, "balanced") == (2 / 3, 2.0)
    assert class_weights(Y, "none") == class_weights(np.zeros((1, 3)), "balanced") == (1.0, 1.0)
    np.testing.assert_array_equal(sample_weights((2 / 3, 2.0), Y), [[2.0, 2 / 3, 2 / 3, 2 / 3]])


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    Y = (rng.random((1, 40)) < 0.3).astype(float)
    Y[0, :2] = [0, 1]
    Z = np.round(rng.normal(size=(1, 40)) + Y - 0.5, 1)  # with ties

    def balanced(t: float) -> float:
        above = t < Z
        return float((above[Y > 0.5].mean() + (~above)[Y < 0.5].mean()) / 2)

    found = best_threshold(Z, Y)
    grid = np.linspace(Z.min() - 1, Z.max() + 1, 2001)
    assert balanced(found) == pytest.approx(max(map(balanced, grid)))


def test_among_equal_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    Z, Y = np.array([[-3.0, -1.0, 2.0, 4.0]]), np.array([[0.0, 0.0, 1.0, 1.0]])
    assert best_threshold(Z, Y) == pytest.approx(0.5)
    assert np.isfinite(best_threshold(-Z, Y))


def test_equal_images_get_a_penalty_all_the_same() -> None:
    Y = (np.arange(20) % 2).astype(float)[None]
    choice = select(np.full((20, 20), 3.0), Y)
    assert choice.l2 > 0
    np.testing.assert_allclose(choice.Z, 0.0, atol=1e-6)
