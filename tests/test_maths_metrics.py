"""Counts, curves, losses and tests against scikit-learn and SciPy; intervals by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from scipy.stats import t as students_t
from sklearn import metrics as sklearn_metrics
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from catclf.errors import ShapeError
from catclf.maths import losses_and_errors, metrics, sigmoid
from catclf.maths.logistic import cost
from catclf.maths.metrics import Counts, ratio_intervals, wilson

wild = settings(deadline=None, derandomize=True, max_examples=50)
answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)
Array = NDArray[np.float64]


@wild
@given(answers)
def test_ratios_are_scikit_learns(pairs: list[tuple[bool, bool]]) -> None:
    predicted, truth = np.array(pairs, dtype=np.bool_).T
    counts = Counts.of(predicted, truth)
    nan = {"zero_division": np.nan}

    def recall(truth: Any, predicted: Any) -> float:
        return float(sklearn_metrics.recall_score(truth, predicted, **nan))

    expected = {
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "precision": sklearn_metrics.precision_score(truth, predicted, **nan),
        "recall": recall(truth, predicted),
        "f1": sklearn_metrics.f1_score(truth, predicted, **nan),
        "balanced_accuracy": (recall(truth, predicted) + recall(~truth, ~predicted)) / 2,
        "majority": DummyClassifier().fit(truth, truth).score(truth, truth),
    }
    found = {name: getattr(counts, name) for name in expected}
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("counts", "ratios"),
    [
        (Counts(), ["accuracy", "precision", "recall", "f1", "majority"]),
        (Counts(tn=3), ["precision", "recall", "f1"]),
        (Counts(fn=2), ["precision"]),
        (Counts(fp=2), ["recall"]),
    ],
)
def test_nothing_over_nothing_is_nan(counts: Counts, ratios: list[str]) -> None:
    assert [name for name in ratios if not math.isnan(getattr(counts, name))] == []


@st.composite
def scored(draw: st.DrawFn) -> tuple[Array, Array]:
    """Scores with many ties, and labels of which both are present."""
    pairs = draw(st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=0, max_size=40))
    pairs += [(draw(st.integers(-6, 6)), True), (draw(st.integers(-6, 6)), False)]
    Z = np.array([[z / 2 for z, _ in pairs]])
    return Z, np.array([[float(y) for _, y in pairs]])


@wild
@given(scored())
def test_curve_and_areas_are_scikit_learns_with_ties(case: tuple[Array, Array]) -> None:
    Z, Y = case
    found = metrics.roc(Z, Y)
    assert found.auc == pytest.approx(sklearn_metrics.roc_auc_score(Y[0], Z[0]), rel=1e-12)
    expected = sklearn_metrics.average_precision_score(Y[0], Z[0])
    assert found.average_precision == pytest.approx(expected, rel=1e-12)
    false, true, _ = sklearn_metrics.roc_curve(Y[0], Z[0], drop_intermediate=False)
    np.testing.assert_allclose(found.false / found.false[-1], false, rtol=1e-12)
    np.testing.assert_allclose(found.true / found.true[-1], true, rtol=1e-12)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_has_no_area(label: float) -> None:
    found = metrics.roc(np.array([[1.0, 2.0]]), np.full((1, 2), label))
    assert math.isnan(found.auc)
    assert math.isnan(found.average_precision) == (label == 0.0)


def test_large_scores_keep_their_order() -> None:
    Z, Y = np.array([[800.0, 900.0, -800.0]]), np.array([[0.0, 1.0, 1.0]])
    assert metrics.roc(Z, Y).auc == 0.5  # σ would make the first two a tie


@pytest.mark.parametrize(
    ("successes", "total"),
    [(35, 50), (1, 10), (0, 10), (10, 10), (1, 1), (137, 209), (40000, 60001)],
)
def test_the_wilson_interval_is_scipys(successes: int, total: int) -> None:
    expected = binomtest(successes, total).proportion_ci(0.95, method="wilson")
    found = wilson(successes, total)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


@wild
@given(scored())
def test_the_interval_of_the_area_inverts_newcombes_test(case: tuple[Array, Array]) -> None:
    Z, Y = case
    positive, negative = Z[Y == 1], Z[Y == 0]
    area = (np.sign(positive[:, None] - negative[None]) / 2 + 0.5).mean()
    m, n = len(positive), len(negative)
    s = max((m + n) / 2 - 1, 0)

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + s * (1 - t) / (2 - t) + s * t / (1 + t)) / (m * n)
        return float((t - area) ** 2 - norm.ppf(0.975) ** 2 * variance)

    low, high = metrics.auc_interval(Z, Y)
    assert 0 <= low <= area <= high <= 1
    assert low < high
    for end in (low, high):
        assert end in (0, 1) or excess(end) == pytest.approx(0, abs=1e-9)
        assert excess((end + area) / 2) <= 0


def intervals_of(*cells: int) -> dict[str, tuple[float, float]]:
    """Those of so many true and false positives, true and false negatives."""
    predicted, actual = (np.repeat(each, cells) > 0 for each in ([1, 1, 0, 0], [1, 0, 0, 1]))
    return ratio_intervals(predicted, actual, np.ones(sum(cells)))


def test_intervals_of_fractions_follow_from_wilsons() -> None:
    found = intervals_of(8, 3, 7, 2)
    (a, b), (c, d) = wilson(8, 10), wilson(7, 10)
    assert found["recall"] == (a, b)
    assert found["accuracy"] == wilson(15, 20)
    low, high = found["balanced_accuracy"]
    assert 0.75 - low == pytest.approx(math.hypot(0.8 - a, 0.7 - c) / 2)
    assert high - 0.75 == pytest.approx(math.hypot(b - 0.8, d - 0.7) / 2)
    q = wilson(8, 13)
    assert found["f1"] == pytest.approx((2 * q[0] / (1 + q[0]), 2 * q[1] / (1 + q[1])))
    assert all(map(math.isnan, wilson(0, 0)))
    nothing = intervals_of(0, 0, 3, 0)
    assert all(map(math.isnan, (*nothing["balanced_accuracy"], *nothing["f1"])))


# Coverage: intervals hold the true value as often as they say


def scores_of(rng: np.random.Generator, m: int, n: int, area: float) -> tuple[Array, Array]:
    """Binormal scores of m positives and n negatives, log odds of the classes."""
    Y = (np.arange(m + n) < m).astype(float)[None]
    shift = math.sqrt(2) * norm.ppf(area)
    x = rng.standard_normal((1, m + n)) + shift * Y
    return shift * x - shift**2 / 2 + math.log(m / n), Y


@pytest.mark.parametrize(("m", "n"), [(10, 10), (5, 50), (33, 17)])
@pytest.mark.parametrize("area", [0.6, 0.97])
def test_the_interval_of_the_area_covers(m: int, n: int, area: float) -> None:
    rng = np.random.default_rng([m, n])
    held = [
        low <= area <= high
        for low, high in (metrics.auc_interval(*scores_of(rng, m, n, area)) for _ in range(600))
    ]
    assert 0.925 <= np.mean(held) <= 0.995


@pytest.mark.parametrize("size", [10, 40])
@pytest.mark.parametrize("chance", [0.7, 0.95])
def test_the_interval_of_balanced_accuracy_covers(size: int, chance: float) -> None:
    rng = np.random.default_rng(size)
    held = []
    for _ in range(1000):
        tp, tn = rng.binomial(size, [chance, chance - 0.1]).tolist()
        low, high = intervals_of(tp, size - tn, tn, size - tp)["balanced_accuracy"]
        held.append(low <= chance - 0.05 <= high)
    assert 0.92 <= np.mean(held) <= 0.99


def precision(Z: Array, Y: Array) -> float:
    return metrics.roc(Z, Y).average_precision


def interval_of_losses(Z: Array, Y: Array, groups: NDArray[np.int64]) -> tuple[float, float]:
    return metrics.mean_interval(losses_and_errors(Z, Y)[0][0], groups)


@pytest.mark.parametrize(
    ("value", "interval"), [(precision, metrics.precision_interval), (cost, interval_of_losses)]
)
def test_intervals_by_resampling_cover(
    value: Callable[..., float],
    interval: Callable[..., tuple[float, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "REDRAWN", 200)
    truth = value(*scores_of(np.random.default_rng(0), 200_000, 200_000, 0.9))
    rng, held = np.random.default_rng(1), []
    for _ in range(200):
        m = int(rng.binomial(60, 0.5))
        Z, Y = scores_of(rng, m, 60 - m, 0.9)
        low, high = interval(Z - math.log(m / (60 - m)), Y, np.arange(60))
        held.append(low <= truth <= high)
    assert 0.90 <= np.mean(held) <= 1.0


# Tests


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (3, 0), (2, 9), (40, 60)])
def test_mcnemars_test_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    a = np.repeat([True, False, True], [only_a, only_b, 7])
    b = np.repeat([False, True, True], [only_a, only_b, 7])
    n = only_a + only_b
    expected = binomtest(only_a, n).pvalue if n else 1.0
    assert metrics.mcnemar(a, b) == pytest.approx(expected, rel=1e-12)


def test_the_difference_of_areas_is_delongs_by_all_pairs() -> None:
    rng = np.random.default_rng(0)
    Y = (np.arange(40) % 3 == 0).astype(float)[None]
    Z, others = rng.integers(0, 9, (1, 40)) + Y, rng.integers(0, 9, (1, 40)) + 2.0 * Y
    psi = [
        np.sign(S[Y == 1][:, None] - S[Y == 0][None]) / 2 + 0.5 for S in (Z, others)
    ]  # ψ of the paper
    s10 = np.cov([p.mean(axis=1) for p in psi])
    s01 = np.cov([p.mean(axis=0) for p in psi])
    S = s10 / psi[0].shape[0] + s01 / psi[0].shape[1]
    difference, error = metrics.auc_difference(Z, others, Y)
    assert difference == pytest.approx(psi[0].mean() - psi[1].mean(), rel=1e-12)
    assert error == pytest.approx(math.sqrt(S[0, 0] + S[1, 1] - 2 * S[0, 1]), rel=1e-12)
    assert metrics.auc_difference(Z, 2 * Z + 1, Y) == (0.0, 0.0)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 14, 29, 100])
def test_students_t_is_scipys(degrees: int) -> None:
    for t in (0.0, 0.3, 1.0, 2.5, 12.0, 70.0):
        inside = students_t.cdf(t, degrees) - students_t.cdf(-t, degrees)
        assert metrics.student(t, degrees) == pytest.approx(inside, rel=1e-9, abs=1e-12)
    for chance in (0.5, 0.95, 0.99, 0.9983):
        expected = students_t.ppf((1 + chance) / 2, degrees)
        assert metrics.student_quantile(chance, degrees) == pytest.approx(expected, rel=1e-6)


# Calibration


@pytest.mark.parametrize("slope", [0.3, 1.0, 3.0])
def test_the_calibration_line_is_that_of_scikit_learns_regression(slope: float) -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(1, 3, (1, 300))
    Y = (rng.random((1, 300)) < sigmoid(0.5 + slope * Z)).astype(float)
    judge = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(Z.T, Y[0])
    expected = judge.intercept_[0], judge.coef_[0, 0]
    assert metrics.calibration_line(Z, Y) == pytest.approx(expected, rel=1e-5)
    scaled = metrics.calibration_line(1e6 * Z, Y)
    assert scaled[1] * 1e6 == pytest.approx(expected[1], rel=1e-5)


@pytest.mark.parametrize(
    ("Z", "Y"), [([1, 2, 3], [0, 0, 1]), ([1, 2, 2], [0, 0, 1]), ([3, 1], [0, 1]), ([1, 2], [1, 1])]
)
def test_no_line_where_the_classes_do_not_mix(Z: list[float], Y: list[float]) -> None:
    assert all(map(math.isnan, metrics.calibration_line(np.array([Z]), np.array([Y]))))


def test_the_calibration_error_is_the_mean_over_bins() -> None:
    A = np.array([[0.05, 0.05, 0.05, 0.95]])
    Y = np.array([[0.0, 0.0, 1.0, 1.0]])
    expected = 3 / 4 * (1 / 3 - 0.05) + 1 / 4 * 0.05
    assert metrics.calibration_error(A, Y) == pytest.approx(expected, rel=1e-12)


def test_calibration_bins_hold_every_image_once() -> None:
    A = np.array([[0.0, 0.1, 0.1000001, 0.55, 1.0, 0.95]])
    Y = np.array([[0.0, 1.0, 0.0, 1.0, 1.0, 0.0]])
    found = metrics.calibration(A, Y)
    assert [(b.low, b.high, b.total, b.positives) for b in found] == [
        (0.0, 0.1, 2, 1),
        (0.1, 0.2, 1, 0),
        (0.5, 0.6, 1, 1),
        (0.9, 1.0, 2, 1),
    ]
    assert found[0].mean == pytest.approx(0.05)
    assert found[3].observed == 0.5
    assert found[3].interval == wilson(1, 2)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 2), (1, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        metrics.roc(np.zeros(shape), np.zeros((1, 3)))
    with pytest.raises(ShapeError):
        metrics.calibration(np.zeros(shape), np.zeros((1, 3)))
