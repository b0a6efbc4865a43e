"""How good the answers are: counts that add up, and ratios derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ShapeError

SHARE_DIFFERENCE = 0.05  # of a class, between parts, and …
SHARE_DEVIATIONS = 3.0  # … this many standard errors


NORMAL_975 = 1.959963984540054  # the normal distribution's 97.5 % quantile


@dataclass(frozen=True)
class Counts:
    """The confusion matrix of a two-class classifier. Counts of parts add with ``+``.

    tp, fp, tn, fn: true and false positives and negatives, in images.
    """

    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0

    @classmethod
    def of(cls, predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Counts:
        """Count two boolean arrays of one shape; True is the positive class."""
        if predicted.shape != truth.shape:
            raise ShapeError(f"shapes {predicted.shape} and {truth.shape} differ")
        return cls(
            tp=int(np.sum(predicted & truth)),
            fp=int(np.sum(predicted & ~truth)),
            tn=int(np.sum(~predicted & ~truth)),
            fn=int(np.sum(~predicted & truth)),
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.tp + other.tp, self.fp + other.fp, self.tn + other.tn, self.fn + other.fn
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
        """Correct answers over all; NaN when there are none, as with every ratio here."""
        return _ratio(self.correct, self.total)

    @property
    def precision(self) -> float:
        """Of the images answered positive, the share that is."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Of the positive images, the share that was found."""
        return _ratio(self.tp, self.positives)

    @property
    def specificity(self) -> float:
        """Of the negative images, the share that was answered negative."""
        return _ratio(self.tn, self.negatives)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of recall and specificity: 1/2 for any answer that ignores the image."""
        return (self.recall + self.specificity) / 2

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 2tp / (2tp + fp + fn)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def majority(self) -> float:
        """The accuracy of always giving the more frequent class's name: the baseline to beat."""
        return _ratio(max(self.positives, self.negatives), self.total)


def wilson(successes: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share, within 0 … 1; (NaN, NaN) of nothing.

    The shares p that differ from the observed one by at most 1.96 standard errors of p itself
    (Wilson, J. Amer. Statist. Assoc. 22, 1927); it holds for few images and for shares near 0
    and 1, where p ± 1.96 s does not. Images are taken to be independent draws.
    """
    if not total:
        return float("nan"), float("nan")
    z2 = NORMAL_975**2
    centre = (successes + z2 / 2) / (total + z2)
    spread = sqrt(successes * (total - successes) / total + z2 / 4) * NORMAL_975 / (total + z2)
    low = 0.0 if successes == 0 else centre - spread
    high = 1.0 if successes == total else centre + spread
    return low, high


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def fractions_differ(positives: int, images: int, counts: Counts) -> bool:
    """Whether two shares differ by more than chance makes likely (test of two proportions)."""
    difference = abs(positives / images - counts.positives / counts.total)
    pooled = (positives + counts.positives) / (images + counts.total)
    error = sqrt(pooled * (1 - pooled) * (1 / images + 1 / counts.total))
    return difference > SHARE_DIFFERENCE and difference > SHARE_DEVIATIONS * error
