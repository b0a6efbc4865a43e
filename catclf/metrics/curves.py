"""How good the scores are, whatever the threshold: ROC, precision-recall, log loss, calibration.

Scores and labels have shape (1, m), labels are 0.0 or 1.0. Only the order of the scores counts for
ROC and average precision, so z serves as well as σ(z), and better: it does not saturate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ShapeError
from catclf.maths import Floats, logistic
from catclf.metrics.counts import NORMAL_975, wilson


@dataclass(frozen=True)
class Roc:
    """The counts at each threshold, from the highest, where nothing is positive, to the lowest.

    ``false``, ``true`` int64 (k,): negatives and positives at or above the threshold, from 0 to all
    of them; one entry for each distinct score and one before, so that ties are decided together.
    """

    false: NDArray[np.int64]
    true: NDArray[np.int64]

    @property
    def negatives(self) -> int:
        return int(self.false[-1])

    @property
    def positives(self) -> int:
        return int(self.true[-1])

    @property
    def auc(self) -> float:
        """The area under the ROC curve; NaN unless both classes are there.

        The chance that a positive image scores above a negative one, a tie counting half (Hanley
        and McNeil, Radiology 143, 1982). A sum of whole numbers, divided once.
        """
        pairs = self.positives * self.negatives
        widths, heights = np.diff(self.false), self.true[1:] + self.true[:-1]
        return int(np.dot(widths, heights)) / (2 * pairs) if pairs else float("nan")

    @property
    def average_precision(self) -> float:
        """Σ (R_k - R_(k-1)) P_k over the thresholds, with recall R and precision P.

        NaN without positives. No interpolation, which would be too kind (Davis and Goadrich, ICML
        2006).
        """
        if not self.positives:
            return float("nan")
        precision = self.true[1:] / (self.true[1:] + self.false[1:])
        return float(np.dot(np.diff(self.true), precision) / self.positives)


def roc(Z: Floats, Y: Floats) -> Roc:
    """The ROC curve of scores Z (1, m) and labels Y (1, m). Raises ShapeError."""
    _require_rows(Z, Y)
    order = np.argsort(-Z[0], kind="stable")
    scores, truth = Z[0, order], Y[0, order] > 0.5
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each run of ties
    true = np.cumsum(truth, dtype=np.int64)[last]
    seen = last + 1
    return Roc(np.append(0, seen - true), np.append(0, true))


def auc_interval(Z: Floats, Y: Floats) -> tuple[float, float]:
    """A 95 % interval of the area under the ROC curve, within 0 … 1.

    The area is the mean over positives of the fraction of negatives that score below, a tie
    counting half, and likewise over negatives; their variances add up (DeLong, DeLong
    and Clarke-Pearson, Biometrics 44, 1988, equation 5). NaN with fewer than two images of a class.
    """
    _require_rows(Z, Y)
    positive, negative = (np.sort(Z[Y > 0.5]), np.sort(Z[Y <= 0.5]))
    if min(len(positive), len(negative)) < 2:
        return float("nan"), float("nan")
    over = _fraction_below(positive, negative)
    under = _fraction_below(negative, positive)
    variance = over.var(ddof=1) / len(over) + under.var(ddof=1) / len(under)
    area, half_width = float(over.mean()), NORMAL_975 * float(np.sqrt(variance))
    return max(0.0, area - half_width), min(1.0, area + half_width)


def log_loss(Z: Floats, Y: Floats) -> float:
    """-mean(y log a + (1-y) log(1-a)) of a = σ(z), from z: finite for every z."""
    return logistic.cost(Z, Y)


def brier(A: Floats, Y: Floats) -> float:
    """mean((a - y)²) of probabilities A (1, m) (Brier, Monthly Weather Review 78, 1950)."""
    _require_rows(A, Y)
    return float(np.square(A - Y).mean())


@dataclass(frozen=True)
class Bin:
    """The images of similar probability: their number, mean probability and positives."""

    low: float
    high: float
    total: int
    positives: int
    mean: float

    @property
    def observed(self) -> float:
        """The fraction that is positive; a calibrated model's equals ``mean``."""
        return self.positives / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of ``observed``."""
        return wilson(self.positives, self.total)


def calibration(A: Floats, Y: Floats, bins: int = 10) -> list[Bin]:
    """Equal parts of 0 … 1 that hold images, each (low, high], the first with 0.

    Probabilities A and labels Y have shape (1, m). Raises ShapeError.
    """
    _require_rows(A, Y)
    edges = np.arange(bins + 1) / bins
    place = np.clip(np.searchsorted(edges, A[0], side="left") - 1, 0, bins - 1)
    result = []
    for i in range(bins):
        inside = place == i
        total = int(inside.sum())
        if total:
            positives = int(Y[0, inside].sum())
            mean = float(A[0, inside].mean())
            result.append(Bin(float(edges[i]), float(edges[i + 1]), total, positives, mean))
    return result


def _fraction_below(scores: Floats, others: Floats) -> Floats:
    """For each score the fraction of the sorted ``others`` below it; ties count half."""
    below = np.searchsorted(others, scores, side="left")
    not_above = np.searchsorted(others, scores, side="right")
    return np.asarray((below + not_above) / (2 * len(others)))


def _require_rows(first: Floats, second: Floats) -> None:
    logistic.require_2d(first=first, second=second)
    if first.shape != second.shape or first.shape[0] != 1 or first.shape[1] == 0:
        raise ShapeError(f"shapes {first.shape} and {second.shape}: both must be (1, m), m > 0")
