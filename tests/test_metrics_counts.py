"""Counts that merge, and ratios against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics
from sklearn.dummy import DummyClassifier

from catclf.errors import ShapeError
from catclf.metrics import Counts

wild = settings(deadline=None, derandomize=True, max_examples=50)
answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)


def columns(pairs: list[tuple[bool, bool]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    both = np.array(pairs, dtype=np.bool_).reshape(-1, 2)
    return both[:, :1], both[:, 1:]


def test_counts_have_hand_values() -> None:
    predicted = np.array([[True, True, True, False, False, False]])
    truth = np.array([[True, True, False, False, False, True]])
    counts = Counts.of(predicted, truth)
    assert counts == Counts(tp=2, fp=1, tn=2, fn=1)
    assert (counts.positives, counts.negatives, counts.total, counts.correct) == (3, 3, 6, 4)


@wild
@given(answers)
def test_ratios_are_scikit_learns(pairs: list[tuple[bool, bool]]) -> None:
    predicted, truth = (column[:, 0] for column in columns(pairs))
    counts = Counts.of(predicted, truth)
    nan = {"zero_division": np.nan}
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "precision": sklearn_metrics.precision_score(truth, predicted, **nan),
        "recall": sklearn_metrics.recall_score(truth, predicted, **nan),
        "f1": sklearn_metrics.f1_score(truth, predicted, **nan),
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


def test_a_row_and_a_column_are_not_counted_as_a_square() -> None:
    row = np.array([[True, False, True]])
    with pytest.raises(ShapeError):
        Counts.of(row, row.T)
