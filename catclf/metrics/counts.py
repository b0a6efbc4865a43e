"""How good predictions are: confusion counts, and ratios derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ShapeError

SHARE_DIFFERENCE = 0.05  # of a class, between two splits, and …
SHARE_DEVIATIONS = 3.0  # … this many standard errors
NORMAL_975 = 1.959963984540054  # the normal distribution's 97.5 % quantile


@dataclass(frozen=True)
class Counts:
    """The confusion matrix of a two-class classifier.

    tp, fp, tn, fn: true and false positives and negatives, in images.
    """

    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0

    @classmethod
    def of(cls, predicted: NDArray[np.bool_], actual: NDArray[np.bool_]) -> Counts:
        """Count two boolean arrays of one shape; True is the positive class."""
        if predicted.shape != actual.shape:
            raise ShapeError(f"shapes {predicted.shape} and {actual.shape} differ")
        return cls(
            tp=int(np.sum(predicted & actual)),
            fp=int(np.sum(predicted & ~actual)),
            tn=int(np.sum(~predicted & ~actual)),
            fn=int(np.sum(~predicted & actual)),
        )

    @property
    def positives(self) -> int:
        """Images whose label is the positive class."""
        return self.tp + self.fn

    @property
    def negatives(self) -> int:
        """Images whose label is the negative class."""
        return self.tn + self.fp

    @property
    def total(self) -> int:
        return self.positives + self.negatives

    @property
    def correct(self) -> int:
        return self.tp + self.tn

    @property
    def accuracy(self) -> float:
        """Correct predictions over all; NaN when there are none, as with every ratio here."""
        return _ratio(self.correct, self.total)

    @property
    def precision(self) -> float:
        """The fraction of the images predicted positive that are."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """The fraction of the positive images that are predicted positive."""
        return _ratio(self.tp, self.positives)

    @property
    def specificity(self) -> float:
        """The fraction of the negative images that are predicted negative."""
        return _ratio(self.tn, self.negatives)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of recall and specificity: 1/2 for any prediction that ignores the image."""
        return (self.recall + self.specificity) / 2

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 2tp / (2tp + fp + fn)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def majority(self) -> float:
        """The majority baseline: the accuracy of always predicting the more frequent class."""
        return _ratio(max(self.positives, self.negatives), self.total)


def wilson(successes: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a fraction, within 0 … 1; (NaN, NaN) of nothing.

    The fractions p that differ from the observed one by at most 1.96 standard errors of p itself
    (Wilson, J. Amer. Statist. Assoc. 22, 1927); it holds for few images and for fractions near 0
    and 1, where p ± 1.96 s does not. Images are taken to be independent draws.
    """
    if not total:
        return float("nan"), float("nan")
    z2 = NORMAL_975**2
    centre = (successes + z2 / 2) / (total + z2)
    half_width = sqrt(successes * (total - successes) / total + z2 / 4) * NORMAL_975 / (total + z2)
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == total else centre + half_width
    return low, high


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def fractions_differ(positives: int, images: int, counts: Counts) -> bool:
    """Whether two fractions differ by more than chance makes likely (test of two proportions)."""
    difference = abs(positives / images - counts.positives / counts.total)
    pooled = (positives + counts.positives) / (images + counts.total)
    error = sqrt(pooled * (1 - pooled) * (1 / images + 1 / counts.total))
    return difference > SHARE_DIFFERENCE and difference > SHARE_DEVIATIONS * error
