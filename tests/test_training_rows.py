"""Problems on rows of features, and with weighted classes, beside the formula and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lazily import Labels
from numpy.typing import NDArray

from catclf.features.rows import Standardizer, cached
from catclf.maths import cost_and_gradient, losses_and_errors
from catclf.maths.threads import Team
from catclf.training import Settings, solve
from catclf.training.objective import Point, StreamObjective, class_weights, gram

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
    for problem, expected in (
        (
            StreamObjective(data, 2.0, workers),
            cost_and_gradient(X, data.Y, point.coordinates, 0.3, 2),
        ),
        (
            StreamObjective(data, 2.0, workers, class_weights(data.Y, "balanced")),
            weighted(X, data.Y, point.coordinates, 0.3, 2.0),
        ),
    ):
        J, found = problem.evaluate(point)
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


@pytest.mark.parametrize("options", [{"batch_size": 64}, {"method": "stream"}])
def test_rows_in_a_file_train_as_those_in_memory(
    tmp_path: Path, options: dict[str, object]
) -> None:
    data = rows_of(400, 30)
    kept = cached(tmp_path / "rows", "k", (400, 30), [data.images])
    standard = Standardizer.of(kept)
    kept.standard = standard
    in_file = Labels(kept, data.Y)
    in_memory = Labels(standard.apply(data.images.copy()), data.Y)
    settings = Settings(learning_rate=1.0, iterations=20, **options)  # type: ignore[arg-type]
    first, second = solve(in_file, settings), solve(in_memory, settings)
    if "batch_size" in options:  # other orders of the same images
        assert first.costs[-1] == pytest.approx(second.costs[-1], abs=0.02)
    else:
        np.testing.assert_array_equal(first.w, second.w)
    again = solve(in_file, settings, workers=2)
    np.testing.assert_array_equal(first.w, again.w)
