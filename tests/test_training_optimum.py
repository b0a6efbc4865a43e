"""Every solver and way of computing against scikit-learn at tight tolerance, and certificates."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from lazily import Labels, labelled
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from catclf.maths import Floats, losses_and_errors
from catclf.settings import METHODS
from catclf.training import Fit, Settings, solve
from catclf.training.objective import class_weights

Array = NDArray[np.float64]
both_methods = pytest.mark.parametrize("method", ["stream", "gram"])


def images(kind: str) -> Labels:
    """Pixels or rows of features of a kind that optimisers find hard."""
    rng = np.random.default_rng(7)
    m, n = 120, 48
    X = rng.normal(size=(m, n)) / np.sqrt(n)
    y = (X[:, 0] + 0.1 * rng.normal(size=m) > 0).astype(float)
    if kind == "separable":
        y = (X[:, 0] > 0).astype(float)
    if kind == "tall":
        X = np.tile(X[:, :12], (4, 1)) + 0.1 * rng.normal(size=(4 * m, 12))
        y = (rng.random(4 * m) < 1 / (1 + np.exp(-20 * X[:, 0]))).astype(float)
    if kind == "rank deficient":
        X = X[:, :3] @ rng.normal(size=(3, n))
    if kind == "constant columns":
        X[:, 5:40] = rng.normal(size=(1, 35))
    if kind == "copies with conflicting labels":
        X = np.repeat(X[:20], 6, axis=0)
        y = ((np.arange(m) // 6 % 2) ^ (rng.random(m) < 0.25)).astype(float)
    if kind == "1 to 1000":
        X, y = rng.normal(size=(1001, 12)), (np.arange(1001) == 0).astype(float)
    if kind == "two images":
        X, y = X[:2], np.array([0.0, 1.0])
    if kind == "ill-conditioned":
        X = rng.normal(size=(m, 20)) * np.logspace(0, -4, 20)
        y = (rng.random(m) < 0.5).astype(float)
    if kind == "pixels":
        pixels = rng.integers(0, 256, (m, 4, 4, 3)).astype(np.uint8)
        pixels[y > 0.5, :, :, 0] //= 2
        return Labels(pixels, y[None])
    return Labels(X.astype(np.float32), y[None])


KINDS = (
    *("separable", "tall", "rank deficient", "constant columns", "1 to 1000", "two images"),
    *("copies with conflicting labels", "ill-conditioned", "pixels"),
)


def rows(data: Labels) -> Array:
    scale = 255.0 if data.images.dtype == np.uint8 else 1.0
    return np.asarray(data.images.reshape(len(data.images), -1).astype(np.float64) / scale)


def cost(data: Labels, v: Floats, w: Array, b: float, l2: float) -> float:
    losses, _ = losses_and_errors(w.T @ rows(data).T + b, data.Y)
    m = data.Y.shape[1]
    return float((v * losses).mean() + l2 / (2 * m) * (w**2).sum())


def least(data: Labels, v: Floats, l2: float) -> float:
    """The cost where scikit-learn's Newton's method ends."""
    model = LogisticRegression(C=1 / l2, tol=1e-13, max_iter=1000, solver="newton-cholesky")
    model.fit(rows(data), data.Y[0], sample_weight=v[0])
    return cost(data, v, np.asarray(model.coef_.T), float(model.intercept_[0]), l2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_the_cost_is_that_of_scikit_learn_and_certificates_hold(kind: str) -> None:
    data = images(kind)
    for weight, l2 in product(("none", "balanced"), (1e-8, 1e-5, 1e-2, 1.0, 1e3, 1e6)):
        given = class_weights(data.Y, weight)
        v = np.ones_like(data.Y) if given is None else given
        best = least(data, v, l2)
        for method in METHODS[1:]:
            settings = Settings(solver="lbfgs", l2=l2, method=method, class_weight=weight)
            check(data, v, best, solve(data, settings))


def check(data: Labels, v: Floats, best: float, fit: Fit) -> None:
    l2 = fit.settings.l2
    found, where = cost(data, v, fit.w, fit.b, l2), (fit.settings, fit.reason, fit.within)
    assert fit.within is not None
    # The bound is above the distance from any point that someone found, but for K's rounding.
    assert found - best <= max(fit.within, 1e-7) * found + 1e-13, where
    assert found <= best * (1 + 1e-6) + 1e-13, where
    assert fit.costs[-1] == pytest.approx(found, rel=1e-5), where
    assert fit.cost_steps[-1] == fit.steps < 300
    if l2 >= 1e-5:
        assert fit.reason == "optimum", where


@both_methods
def test_a_converged_descent_has_its_certificate_and_a_short_one_says_how_far(method: str) -> None:
    data = images("tall")
    v = np.ones_like(data.Y)
    for iterations, converged in ((2000, True), (30, False)):
        settings = Settings(1.9, iterations, l2=10.0, method=method)
        fit = solve(data, settings)
        found, best = cost(data, v, fit.w, fit.b, 10.0), least(data, v, 10.0)
        assert fit.within is not None
        assert -1e-12 <= found - best <= fit.within * found + 1e-12
        assert (fit.within <= 1e-5) == converged
        assert fit.reason == "steps"
    assert solve(data, Settings(1.9, 30, method=method)).within is None


def test_without_a_penalty_separable_images_have_no_optimum() -> None:
    data = images("separable")
    fit = solve(data, Settings(solver="lbfgs"))
    assert (fit.reason, fit.within) == ("separable", None)
    assert solve(images("tall"), Settings(solver="lbfgs")).reason in ("flat", "rounding")


def test_a_large_problem_is_certified_without_newton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float64 products finish what float32 ones cannot."""
    monkeypatch.setattr("catclf.training.objective.SMALL", 10)
    fit = solve(labelled(400), Settings(solver="lbfgs", l2=1e-3, method="stream"))
    assert fit.reason == "optimum"


# How L-BFGS ends


@both_methods
def test_each_iteration_is_reported_and_kept_and_the_limit_is_named(method: str) -> None:
    seen: list[tuple[int, float]] = []
    settings = Settings(solver="lbfgs", l2=1.0, iterations=7, print_every=3, method=method)
    fit = solve(labelled(60), settings, on_step=lambda *step: seen.append(step))
    assert [step for step, _ in seen] == list(range(8))
    assert fit.costs == tuple(cost for _, cost in seen)
    assert (fit.steps, fit.cost_steps, fit.reason) == (7, tuple(range(8)), "limit")


@both_methods
def test_an_optimum_at_the_last_iteration_that_is_allowed_is_an_optimum(method: str) -> None:
    data, settings = labelled(60), Settings(solver="lbfgs", l2=1.0, method=method)
    whole = solve(data, settings)
    assert whole.reason == "optimum"
    again = solve(data, replace(settings, iterations=whole.steps))
    assert (again.w.tobytes(), again.costs, again.reason) == (
        whole.w.tobytes(), whole.costs, whole.reason
    )  # fmt: skip
    assert solve(data, replace(settings, iterations=whole.steps // 2)).reason == "limit"


# Descent that bounces


def test_steps_that_raise_the_cost_are_counted_and_the_safe_rate_has_none() -> None:
    data = labelled(60)
    for method in ("gram", "stream"):
        costs: dict[int, float] = {}
        fit = solve(data, Settings(0.5, 40, method=method), costs.__setitem__)
        raised = int((np.diff([*costs.values()]) > 0).sum())
        assert (fit.raised, fit.settings.learning_rate) == (raised, 0.5)
        assert raised > 10
        calm = solve(data, Settings(fit.safe_rate, 40, method=method))
        assert (calm.raised, calm.safe_rate) == (0, 0.0)
        assert calm.costs[-1] < calm.costs[0]


@both_methods
def test_a_rate_that_nobody_gave_is_replaced_where_it_does_not_descend(method: str) -> None:
    data, seen = labelled(400, size=2), list[int]()
    data.Y[:] = np.random.default_rng(0).random(data.Y.shape) < 0.5
    for rate in (20.0, 1e9):  # one that bounces, one that diverges
        seen.clear()
        settings = Settings(rate, 150, print_every=10, method=method)
        fit = solve(data, settings, lambda step, _: seen.append(step), adapts_rate=True)
        assert seen == [*range(len(seen) - 151), *range(151)]
        assert fit.raised == 0
        rate = fit.settings.learning_rate
        assert rate < 2.0
        plain = solve(data, Settings(rate, 150, print_every=10, method=method))
        assert plain.w.tobytes() == fit.w.tobytes()
    kept = solve(data, Settings(0.05, 150, method=method), adapts_rate=True)
    assert kept.settings.learning_rate == 0.05
