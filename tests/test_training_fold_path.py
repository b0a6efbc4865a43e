"""Penalties cross-validated on rows, beside the plain formulas and the exact choice on K."""

from __future__ import annotations

import numpy as np
import pytest
from lazily import Labels, on_disk
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from catclf.errors import DataError
from catclf.maths import Floats, cost_and_gradient
from catclf.objective import class_weights, sample_weights
from catclf.splits import stratified_folds
from catclf.training import fold_path, penalty
from catclf.training.fold_path import FoldProblem, out_of_fold, with_more
from catclf.training.quasi_newton import Iterate, Memory


def rows_of(m: int = 700, n: int = 40) -> Labels:
    """Rows float32 (m, n) of length about 1 with labels that depend on some of their numbers."""
    rng = np.random.default_rng(m)
    rows = (rng.normal(size=(m, n)) / np.sqrt(n)).astype(np.float32)
    z = 6.0 * rows[:, :8].sum(axis=1) + rng.normal(size=m) - 0.5
    return Labels(rows, (z > 0).astype(np.float64)[None])


def problem_of(data: Labels, *, balanced: bool = False, workers: int = 1) -> FoldProblem:
    v = sample_weights(class_weights(data.Y, "balanced" if balanced else "none"), data.Y)
    return FoldProblem(data, stratified_folds(data.Y, 5, 3)[0], v, workers)


def test_costs_and_gradients_are_those_of_each_fold_alone() -> None:
    data = rows_of()
    problem = problem_of(data)
    vectors = np.random.default_rng(1).normal(size=(41, 3))
    columns = np.array([0, 2, 4])
    found = problem.evaluate(columns, vectors)
    X = data.images.T.astype(np.float64)
    np.testing.assert_allclose(found.Z, vectors[:-1].T @ X + vectors[-1:].T, atol=1e-5)
    for place, fold in enumerate(columns.tolist()):
        kept = problem.fold_of != fold
        w, b = vectors[:-1, place, None], float(vectors[-1, place])
        cost, dw, db = cost_and_gradient(X[:, kept], data.Y[:, kept], w, b, 0.0)
        assert found.losses[place] == pytest.approx(cost, rel=1e-6)
        np.testing.assert_allclose(found.gradients[:-1, place, None], dw, atol=1e-6)
        assert found.gradients[-1, place] == pytest.approx(db, abs=1e-6)


def test_bytes_count_as_pixels() -> None:
    rng = np.random.default_rng(2)
    pixels = Labels(rng.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8), np.ones((1, 30)))
    pixels.Y[0, ::2] = 0.0
    rows = Labels((pixels.images.reshape(30, -1) / np.float32(255.0)), pixels.Y)
    vectors = rng.normal(size=(49, 1))
    first, second = (problem_of(data).evaluate(np.array([1]), vectors) for data in (pixels, rows))
    np.testing.assert_allclose(first.gradients, second.gradients, rtol=1e-4, atol=1e-6)
    assert problem_of(pixels).variance() == pytest.approx(problem_of(rows).variance(), rel=1e-4)


def test_the_spread_is_the_scale_that_the_choice_on_k_uses() -> None:
    data = rows_of(90)
    K = data.images.astype(np.float64) @ data.images.T.astype(np.float64)
    expected = float(np.trace(K) / 90 - K.mean())
    assert problem_of(data).variance() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("balanced", [False, True])
def test_out_of_fold_scores_are_those_of_scikit_learn(
    balanced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_path, "TOLERANCE", 1e-7)
    data, penalties = rows_of(), (3.0, 0.3, 0.03)
    problem = problem_of(data, balanced=balanced)
    v = sample_weights(class_weights(data.Y, "balanced" if balanced else "none"), data.Y)
    found = list(out_of_fold(problem, penalties))
    assert tuple(scored.l2 for scored in found) == penalties
    for scored in found:
        expected: Floats = np.empty_like(data.Y)
        for fold in range(5):
            held = problem.fold_of == fold
            other = LogisticRegression(C=1 / scored.l2, solver="newton-cholesky", tol=1e-8)
            other.fit(
                data.images[~held].astype(np.float64), data.Y[0, ~held], sample_weight=v[0, ~held]
            )
            expected[0, held] = other.decision_function(data.images[held])
        spread_of_scores = float(np.abs(expected).max())
        np.testing.assert_allclose(scored.Z, expected, atol=0.02 * spread_of_scores)


def test_the_losses_are_those_of_the_choice_on_k() -> None:
    data = rows_of(400)
    K = data.images.astype(np.float64) @ data.images.T.astype(np.float64)
    exact = penalty.select(K, data.Y, seed=3, workers=1)
    found = out_of_fold(problem_of(data), exact.tried)
    losses = [float(np.logaddexp(0.0, -s.Z * (2.0 * data.Y - 1.0)).mean()) for s in found]
    best = int(np.argmin(exact.losses))
    np.testing.assert_allclose(losses[: best + 1], exact.losses[: best + 1], rtol=2e-2)
    assert int(np.argmin(losses)) == best


def test_any_number_of_workers_and_rows_on_disk_give_the_same_bits() -> None:
    data = rows_of(1500, 20)
    here, many, there = (
        list(out_of_fold(problem, (1.0, 0.1)))
        for problem in (
            problem_of(data),
            problem_of(data, workers=3),
            problem_of(on_disk(data), workers=2),
        )
    )
    for scored, other, third in zip(here, many, there, strict=True):
        assert scored.Z.tobytes() == other.Z.tobytes() == third.Z.tobytes()


def test_a_changed_penalty_changes_place_and_pairs_as_the_function_does() -> None:
    rng = np.random.default_rng(6)
    A = rng.normal(size=(6, 6))
    A = A @ A.T + np.eye(6)
    penalty: NDArray[np.float64] = np.diag([2.5] * 5 + [0.0])
    x, steps = rng.normal(size=6), rng.normal(size=(3, 6))
    here, memory = Iterate(x, 0.5 * float(x @ A @ x), A @ x), Memory()
    for step in steps:
        memory.add(step, A @ step)
    moved, pairs = with_more(here, memory, 2.5)
    B = A + penalty
    assert moved.cost == pytest.approx(0.5 * float(x @ B @ x))
    np.testing.assert_allclose(moved.gradient, B @ x)
    np.testing.assert_allclose(pairs.changes, steps @ B)
    back, less = with_more(moved, pairs, -2.5)
    np.testing.assert_allclose(back.gradient, here.gradient)
    np.testing.assert_allclose(less.changes, memory.changes)


@pytest.mark.parametrize("balanced", [False, True])
def test_the_selection_is_that_on_k(balanced: bool) -> None:
    data = rows_of(900)
    K = data.images.astype(np.float64) @ data.images.T.astype(np.float64)
    weights = class_weights(data.Y, "balanced" if balanced else "none")
    exact = penalty.select(K, data.Y, weights, 3, workers=1)
    seen: list[tuple[int, int]] = []
    found = fold_path.select(data, weights, 3, workers=2, on_progress=lambda *at: seen.append(at))
    assert found.l2 == pytest.approx(exact.l2, rel=1e-6)
    assert found.Z.shape == data.Y.shape
    best = int(np.argmin(exact.losses))
    assert len(found.tried) == best + 2  # one more, to see the loss rise
    np.testing.assert_allclose(found.tried, exact.tried[: best + 2], rtol=1e-6)
    assert seen[0] == (1, 9)
    assert seen[-1] == (9, 9)
    assert found.Z.tobytes() == fold_path.select(data, weights, 3, workers=1).Z.tobytes()


def test_a_penalty_that_is_given_is_only_scored() -> None:
    found = fold_path.select(rows_of(), seed=3, l2=0.7, workers=1)
    assert (found.l2, found.tried) == (0.7, (0.7,))


def test_too_few_of_a_class_are_refused() -> None:
    data = rows_of(40)
    data.Y[:] = 0.0
    data.Y[0, :3] = 1.0
    with pytest.raises(DataError, match="needs 5 images of each class, one has 3"):
        fold_path.select(data)
