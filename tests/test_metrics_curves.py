"""Curves, areas, losses and intervals against scikit-learn's and against values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn import metrics as sklearn_metrics

from catclf.errors import ShapeError
from catclf.maths import sigmoid
from catclf.metrics import Counts, curves, wilson

wild = settings(deadline=None, derandomize=True, max_examples=60)


@st.composite
def scored(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores with many ties, and labels of which both are present."""
    pairs = draw(st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=0, max_size=40))
    pairs += [(draw(st.integers(-6, 6)), True), (draw(st.integers(-6, 6)), False)]
    Z = np.array([[z / 2 for z, _ in pairs]])
    return Z, np.array([[float(y) for _, y in pairs]])


@wild
@given(scored())
def test_areas_and_losses_are_scikit_learns_with_ties(
    case: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    Z, Y = case
    A = sigmoid(Z)
    found = curves.roc(Z, Y)
    truth, scores, chances = Y[0], Z[0], A[0]
    assert found.auc == pytest.approx(sklearn_metrics.roc_auc_score(truth, scores), rel=1e-12)
    assert found.average_precision == pytest.approx(
        sklearn_metrics.average_precision_score(truth, scores), rel=1e-12
    )
    expected_loss = sklearn_metrics.log_loss(truth, chances, labels=[0, 1])
    assert curves.log_loss(Z, Y) == pytest.approx(expected_loss, rel=1e-12)
    expected_brier = sklearn_metrics.brier_score_loss(truth, chances)
    assert curves.brier(A, Y) == pytest.approx(expected_brier, rel=1e-12)


@wild
@given(scored())
def test_the_roc_curve_is_scikit_learns(
    case: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    Z, Y = case
    found = curves.roc(Z, Y)
    false, true, _ = sklearn_metrics.roc_curve(Y[0], Z[0], drop_intermediate=False)
    np.testing.assert_allclose(found.false / found.negatives, false, rtol=1e-12)
    np.testing.assert_allclose(found.true / found.positives, true, rtol=1e-12)


def test_the_area_by_hand() -> None:
    Z, Y = np.array([[3.0, 1.0, 1.0, 0.0]]), np.array([[1.0, 1.0, 0.0, 0.0]])
    assert curves.roc(Z, Y).auc == 3.5 / 4  # one tie of four pairs counts half
    assert curves.roc(-Z, Y).auc == 0.5 / 4


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_has_no_area(label: float) -> None:
    found = curves.roc(np.array([[1.0, 2.0]]), np.full((1, 2), label))
    assert math.isnan(found.auc)
    assert math.isnan(found.average_precision) == (label == 0.0)


def test_large_scores_keep_loss_and_order_finite() -> None:
    Z, Y = np.array([[800.0, 900.0, -800.0]]), np.array([[0.0, 1.0, 1.0]])
    assert curves.log_loss(Z, Y) == pytest.approx(1600 / 3, rel=1e-12)
    assert curves.roc(Z, Y).auc == 0.5  # σ would make the first two a tie


@pytest.mark.parametrize(
    ("successes", "total"),
    [(35, 50), (1, 10), (0, 10), (10, 10), (1, 1), (137, 209), (40000, 60001)],
)
def test_the_wilson_interval_is_scipys(successes: int, total: int) -> None:
    expected = binomtest(successes, total).proportion_ci(0.95, method="wilson")
    found = wilson(successes, total)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


def test_the_wilson_interval_inverts_the_score_test() -> None:
    for successes in range(31):
        for p in wilson(successes, 30):
            z = abs(successes / 30 - p) / math.sqrt(p * (1 - p) / 30) if 0 < p < 1 else 1.96
            assert z == pytest.approx(1.96, abs=1e-4)
    assert all(map(math.isnan, wilson(0, 0)))


@wild
@given(scored())
def test_the_interval_of_the_area_is_delongs_by_all_pairs(
    case: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    Z, Y = case
    positive, negative = Z[Y == 1], Z[Y == 0]
    wins = np.sign(positive[:, None] - negative[None]) / 2 + 0.5  # ψ of the paper
    if min(wins.shape) < 2:
        assert all(map(math.isnan, curves.auc_interval(Z, Y)))
        return
    area = wins.mean()
    s10 = ((wins.mean(axis=1) - area) ** 2).sum() / (len(positive) - 1)
    s01 = ((wins.mean(axis=0) - area) ** 2).sum() / (len(negative) - 1)
    spread = norm.ppf(0.975) * math.sqrt(s10 / len(positive) + s01 / len(negative))
    expected = max(0, area - spread), min(1, area + spread)
    assert curves.auc_interval(Z, Y) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_the_interval_of_the_area_holds_the_true_area_19_times_of_20() -> None:
    rng = np.random.default_rng(0)
    Y = (np.arange(80) % 2).astype(float).reshape(1, -1)
    true = norm.cdf(1 / math.sqrt(2))  # of scores N(0, 1) and N(1, 1)
    held = 0
    for _ in range(1000):
        low, high = curves.auc_interval(rng.standard_normal((1, 80)) + Y, Y)
        held += low <= true <= high
    assert 0.92 <= held / 1000 <= 0.97


@wild
@given(scored())
def test_balanced_accuracy_is_scikit_learns(
    case: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    said, truth = case[0] > 0, case[1] > 0.5
    expected = sklearn_metrics.balanced_accuracy_score(truth[0], said[0])
    assert Counts.of(said, truth).balanced_accuracy == pytest.approx(expected, rel=1e-12)


def test_calibration_bins_hold_every_image_once() -> None:
    A = np.array([[0.0, 0.1, 0.1000001, 0.55, 1.0, 0.95]])
    Y = np.array([[0.0, 1.0, 0.0, 1.0, 1.0, 0.0]])
    found = curves.calibration(A, Y)
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
        curves.roc(np.zeros(shape), np.zeros((1, 3)))
    with pytest.raises(ShapeError):
        curves.calibration(np.zeros(shape), np.zeros((1, 3)))
