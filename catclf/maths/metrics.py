"""How good predictions are: counts, ratios, curves, calibration, and the intervals of all of them.

Scores and labels have shape (1, m), labels are 0.0 or 1.0. Only the order of the scores counts for
ROC and average precision, so z serves as well as σ(z), and better: it does not saturate. Weights
(m,) are 1 / the size of an image's group: copies of one image then count as one image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ShapeError
from catclf.maths import logistic
from catclf.maths.logistic import Floats

SHARE_DIFFERENCE = 0.05  # of a class, between two splits, and …
SHARE_DEVIATIONS = 3.0  # … this many standard errors
Masks = NDArray[np.bool_]

NORMAL_99 = 2.3263478740408408  # the normal distribution's 99 % quantile
NORMAL_975 = 1.959963984540054  # the normal distribution's 97.5 % quantile
NONE = (math.nan, math.nan)  # the interval of what has none
BOOTSTRAP_LEAST = 10  # images (groups) of each class, for intervals by resampling
REDRAWN = 1000  # samples of a bootstrap, of up to 10,000 images; of more 200
MARGIN = 0.15  # of the way to 1 by which a suspect's probability lies beyond the usual one


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
    def of(cls, predicted: Masks, actual: Masks) -> Counts:
        """Count two boolean arrays of one shape; True is the positive class."""
        return cls(*(int(cell.sum()) for cell in _cells(predicted, actual)))

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


def _cells(predicted: Masks, actual: Masks) -> tuple[Masks, Masks, Masks, Masks]:
    """Where predictions are true and false positives, true and false negatives."""
    if predicted.shape != actual.shape:
        raise ShapeError(f"shapes {predicted.shape} and {actual.shape} differ")
    return predicted & actual, predicted & ~actual, ~predicted & ~actual, ~predicted & actual


def wilson(successes: float, total: float) -> tuple[float, float]:
    """The 95 % Wilson score interval of a fraction, within 0 … 1; (NaN, NaN) of nothing.

    The fractions p that differ from the observed one by at most 1.96 standard errors of p itself
    (Wilson, J. Amer. Statist. Assoc. 22, 1927); it holds for few images and for fractions near 0
    and 1, where p ± 1.96 s does not. Images are taken to be independent draws.
    """
    if not total:
        return NONE
    z2 = NORMAL_975**2
    centre = (successes + z2 / 2) / (total + z2)
    variance = max(successes * (total - successes) / total, 0.0) + z2 / 4
    half_width = sqrt(variance) * NORMAL_975 / (total + z2)
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == total else centre + half_width
    return low, high


def ratio_intervals(predicted: Masks, actual: Masks, v: Floats) -> dict[str, tuple[float, float]]:
    """95 % intervals of accuracy, balanced accuracy, precision, recall and F1, by key.

    Of boolean arrays and weights (m,), so that groups are counted. Balanced accuracy combines two
    Wilson intervals by the method of variance estimates recovery (MOVER; Zou and Donner, Statistics
    in Medicine 27, 2008). F1 = 2q / (1 + q) with q = TP / (TP + FP + FN), a fraction.
    """
    tp, fp, tn, fn = (round(float(v[cell].sum()), 9) for cell in _cells(predicted, actual))
    low, high = wilson(tp, tp + fp + fn)
    return {
        "accuracy": wilson(tp + tn, tp + fp + tn + fn),
        "balanced_accuracy": _mean_of_two((tp, tp + fn), (tn, tn + fp)),
        "precision": wilson(tp, tp + fp),
        "recall": wilson(tp, tp + fn),
        "f1": (2 * low / (1 + low), 2 * high / (1 + high)),
    }


def _mean_of_two(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """A 95 % interval of the mean of two fractions, each given as a part and its whole."""
    if not (first[1] and second[1]):
        return NONE
    centre = (first[0] / first[1] + second[0] / second[1]) / 2
    (a, b), (c, d) = wilson(*first), wilson(*second)
    down = sqrt((first[0] / first[1] - a) ** 2 + (second[0] / second[1] - c) ** 2) / 2
    up = sqrt((b - first[0] / first[1]) ** 2 + (d - second[0] / second[1]) ** 2) / 2
    return max(0.0, centre - down), min(1.0, centre + up)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def fractions_differ(p: float, images: int, q: float, others: int) -> bool:
    """Whether fractions of images and of others differ by more than chance makes likely.

    By the test of two proportions.
    """
    pooled = (p * images + q * others) / (images + others)
    error = sqrt(pooled * (1 - pooled) * (1 / images + 1 / others))
    return abs(p - q) > max(SHARE_DIFFERENCE, SHARE_DEVIATIONS * error)


@dataclass(frozen=True)
class Roc:
    """The counts at each threshold, from the highest, where nothing is positive, to the lowest.

    ``false``, ``true`` int64 (k,): negatives and positives at or above the threshold, from 0 to all
    of them; one entry for each distinct score and one before, so that ties are decided together.
    """

    false: NDArray[np.int64]
    true: NDArray[np.int64]

    @property
    def auc(self) -> float:
        """The area under the ROC curve; NaN unless both classes are there.

        The chance that a positive image scores above a negative one, a tie counting half (Hanley
        and McNeil, Radiology 143, 1982). A sum of whole numbers, divided once.
        """
        pairs = int(self.true[-1]) * int(self.false[-1])
        widths, heights = np.diff(self.false), self.true[1:] + self.true[:-1]
        return int(np.dot(widths, heights)) / (2 * pairs) if pairs else math.nan

    @property
    def average_precision(self) -> float:
        """Σ (R_k - R_(k-1)) P_k over the thresholds, with recall R and precision P.

        NaN without positives. No interpolation, which would be too kind (Davis and Goadrich, ICML
        2006).
        """
        if not self.true[-1]:
            return math.nan
        precision = self.true[1:] / (self.true[1:] + self.false[1:])
        return float(np.dot(np.diff(self.true), precision) / self.true[-1])


def roc(Z: Floats, Y: Floats) -> Roc:
    """The ROC curve of scores Z (1, m) and labels Y (1, m). Raises ShapeError."""
    _require_rows(Z, Y)
    order = np.argsort(-Z[0], kind="stable")
    scores, truth = Z[0, order], Y[0, order] > 0.5
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each run of ties
    true = np.cumsum(truth, dtype=np.int64)[last]
    seen = last + 1
    return Roc(np.append(0, seen - true), np.append(0, true))


def auc_interval(
    Z: Floats, Y: Floats, v: Floats | None = None, deviations: float = NORMAL_975
) -> tuple[float, float]:
    """An interval of the area θ under the ROC curve, within 0 … 1; NaN unless both classes are.

    The areas that differ from the observed one by at most ``deviations`` (default: of 95 %)
    standard errors of their own, with m and n images (or groups) of the classes and
    s = (m + n) / 2 - 1, V(θ) = θ(1-θ) [1 + s(1-θ)/(2-θ) + sθ/(1+θ)] / (mn): Newcombe, Statistics in
    Medicine 25, 2006, method 5. It has a width for areas of 0 and 1, too, and V(1/2) is the
    variance of the rank test by Mann and Whitney. ``v`` (m,) are weights.
    """
    _require_rows(Z, Y)
    v = np.ones(Z.shape[1]) if v is None else v
    positive = Y[0] > 0.5
    m, n = float(v[positive].sum()), float(v[~positive].sum())
    if not (m and n):
        return NONE
    over = _fraction_below(Z[0, positive], Z[0, ~positive], v[~positive])
    area = float(np.clip(v[positive] @ over / m, 0.0, 1.0))
    s = max((m + n) / 2 - 1, 0.0)

    def far(t: float) -> bool:
        variance = t * (1 - t) * (1 + s * (1 - t) / (2 - t) + s * t / (1 + t)) / (m * n)
        return abs(t - area) > deviations * sqrt(variance)

    return _edge(far, area, 0.0), _edge(far, area, 1.0)


def _edge(far: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where ``far`` begins between two numbers, by halving; ``outside`` where it never does."""
    if inside == outside:
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if far(middle) else (middle, outside)
    return outside


def mean_interval(
    values: Floats, groups: NDArray[np.int64], seed: int = 0, *, largest: float = math.inf
) -> tuple[float, float]:
    """A 95 % interval of the mean of values (m,) in 0 … ``largest``, by a studentised bootstrap.

    Groups (m,) are drawn. Of each sample the difference from the observed mean is divided by the
    sample's own standard error, so that few large values widen the interval (Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993, section 12.5).
    """
    each = np.bincount(groups, values) / np.bincount(groups)
    mean, k = float(each.mean()), len(each)
    error = float(each.std()) / sqrt(k - 1)
    t = []
    for counts in _redrawn(k, seed):
        drawn = counts @ each / k
        variance = max(float(counts @ np.square(each - drawn)) / k, 1e-30)
        t.append((drawn - mean) / sqrt(variance / (k - 1)))
    low, high = np.quantile(t, [0.025, 0.975])
    return max(0.0, mean - float(high) * error), min(largest, mean - float(low) * error)


def precision_interval(
    Z: Floats, Y: Floats, groups: NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """A 95 % interval of the average precision, by a bootstrap of groups (m,), on the logit.

    Its variance is the mean of the bootstrap's, which is too small where hardly an image ranks
    wrong, and of 1 / (k θ(1-θ)) for k positives, which is too large there (Boyd, Eng and Page,
    ECML 2013). Simulated coverage is 93 to 99 % for 10 to 300 images of a class.
    """
    sizes = np.bincount(groups)
    order = np.argsort(-Z[0], kind="stable")
    last = np.append(np.diff(Z[0, order]) != 0, True)  # of each run of ties
    truth, row = Y[0, order] > 0.5, groups[order]
    edge = 1 / (2 * len(sizes))

    def logit_of(counts: Floats) -> float:
        v = (counts / sizes)[row]
        true, seen = np.cumsum(v * truth)[last], np.cumsum(v)[last]
        found = np.diff(true, prepend=0.0) @ (true / np.maximum(seen, 1e-300)) / true[-1]
        p = min(max(float(found), edge), 1 - edge)
        return math.log(p / (1 - p))

    centre = logit_of(np.ones(len(sizes)))
    there = np.bincount(groups, Y[0]) > 0
    drawn = [logit_of(c) for c in _redrawn(len(sizes), seed) if (c * there).any()]
    p = 1 / (1 + math.exp(-centre))
    k = float((Y[0] / sizes[groups]).sum())
    half = NORMAL_975 * sqrt((float(np.var(drawn)) + 1 / (k * p * (1 - p))) / 2)
    high = 1 / (1 + math.exp(-centre - half)) if p < 1 - edge else 1.0
    return 1 / (1 + math.exp(half - centre)), high


def _redrawn(k: int, seed: int) -> Iterator[Floats]:
    """How often each of k groups is drawn in each sample, (k,)."""
    rng = np.random.default_rng([seed, k])
    for _ in range(REDRAWN if k <= 10_000 else REDRAWN // 5):
        yield np.bincount(rng.integers(0, k, k), minlength=k).astype(np.float64)


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
    for i in np.unique(place).tolist():
        a, y = A[0, place == i], Y[0, place == i]
        ends = float(edges[i]), float(edges[i + 1])
        result.append(Bin(*ends, len(a), int(y.sum()), float(a.mean())))
    return result


def calibration_error(A: Floats, Y: Floats) -> float:
    """The expected calibration error: |mean probability - fraction of positives|, over ten bins.

    Bins are weighted by their images (Naeini, Cooper and Hauskrecht, AAAI 2015).
    """
    return sum(b.total * abs(b.mean - b.observed) for b in calibration(A, Y)) / int(A.shape[1])


def calibration_line(Z: Floats, Y: Floats) -> tuple[float, float]:
    """Intercept and slope of log odds on z: 0 and 1 where probabilities are right.

    A slope below 1 means that z is too sure of itself (Cox, Biometrika 45, 1958). The maximum of
    likelihood, by Newton's method; NaN where there is none, for one class or classes that no two
    scores mix.
    """
    _require_rows(Z, Y)
    z, y = Z[0], Y[0]
    positive, negative = z[y > 0.5], z[y <= 0.5]
    mixed = len(positive) and len(negative) and positive.min() < negative.max()
    if not (mixed and negative.min() < positive.max()):
        return NONE
    scale = float(np.abs(z).max())
    X, at = np.stack([np.ones_like(z), z / scale]), np.zeros(2)

    def loss(at: Floats) -> float:
        return float(np.logaddexp(0.0, at @ X).sum() - y @ (at @ X))

    for _ in range(100):
        a = logistic.sigmoid(at @ X)
        step = np.linalg.lstsq((X * (a * (1 - a))) @ X.T, X @ (y - a), rcond=None)[0]
        while np.abs(step).max() > 1e-12 and loss(at + step) > loss(at):
            step /= 2
        at = at + step
        if np.abs(step).max() <= 1e-10:
            break
    return float(at[0]), float(at[1] / scale)


def doubted(
    Z: Floats, Y: Floats, least: int = BOOTSTRAP_LEAST
) -> tuple[NDArray[np.intp], Floats, Masks]:
    """Images whose labels are doubted by scores Z (1, m) of models that were trained without them.

    Their numbers (k,), the most doubted first, the probability of the other class, and whether the
    label is suspect: that probability reaches the mean one of the images of that class, as in
    confident learning (Northcutt, Jiang and Chuang, J. Artif. Intell. Res. 70, 2021), by MARGIN,
    without which hard images of clean labels are suspect. Suspects come first, then those less
    sure. None with fewer than ``least`` images of a class.
    """
    _require_rows(Z, Y)
    positive = Y[0] > 0.5
    if min(positive.sum(), (~positive).sum()) < least:
        return np.zeros(0, np.intp), np.zeros(0), np.zeros(0, np.bool_)
    a = logistic.sigmoid(Z)[0]
    other = np.where(positive, 1.0 - a, a)
    reached = np.where(positive, (1.0 - a[~positive]).mean(), a[positive].mean())
    reached += MARGIN * (1.0 - reached)
    sure = (other >= reached) & (other > 0.5)
    rows = np.flatnonzero(other > 0.5)
    rows = rows[np.lexsort((rows, -other[rows], ~sure[rows]))]
    return rows, other[rows], sure[rows]


def mcnemar(first: Masks, second: Masks) -> float:
    """The exact p that two models are right (m,) equally often; 1 where they never differ.

    Of the images that one of them alone has right, half are expected for each (McNemar,
    Psychometrika 12, 1947).
    """
    only = int((first & ~second).sum()), int((second & ~first).sum())
    n = sum(only)
    tail = sum(math.comb(n, k) for k in range(min(only) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def auc_difference(Z: Floats, others: Floats, Y: Floats) -> tuple[float, float]:
    """The area of scores Z less that of ``others`` on the same images, and its standard error.

    Paired, so that what both find hard does not count (DeLong, DeLong and Clarke-Pearson,
    Biometrics 44, 1988). NaN with fewer than two images of a class.
    """
    _require_rows(Z, Y)
    _require_rows(others, Y)
    positive = Y[0] > 0.5
    if min(positive.sum(), (~positive).sum()) < 2:
        return NONE
    over, under = np.zeros(int(positive.sum())), np.zeros(int((~positive).sum()))
    for scores, sign in ((Z[0], 1.0), (others[0], -1.0)):
        p, n = scores[positive], scores[~positive]
        over += sign * _fraction_below(p, n, np.ones(len(n)))
        under += sign * _fraction_below(n, p, np.ones(len(p)))
    variance = over.var(ddof=1) / len(over) + under.var(ddof=1) / len(under)
    return float(over.mean()), sqrt(float(variance))


def student(t: float, degrees: int) -> float:
    """The chance that Student's t is within ± t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if degrees > 1 else 0.0))


def student_quantile(chance: float, degrees: int) -> float:
    """The t >= 0 within ± which Student's t lies with a chance."""
    high = 1.0
    while student(high, degrees) < chance and high < 1e12:
        high *= 2
    return _edge(lambda t: student(t, degrees) > chance, 0.0, high)


def _fraction_below(scores: Floats, others: Floats, v: Floats) -> Floats:
    """For each score the fraction of ``others``, of weights v, below it; ties count half."""
    order = np.argsort(others, kind="stable")
    ordered, sums = others[order], np.append(0.0, np.cumsum(v[order]))
    below = sums[np.searchsorted(ordered, scores, side="left")]
    not_above = sums[np.searchsorted(ordered, scores, side="right")]
    return np.asarray((below + not_above) / (2 * sums[-1]))


def _require_rows(first: Floats, second: Floats) -> None:
    logistic.require_2d(first=first, second=second)
    if first.shape != second.shape or first.shape[0] != 1 or first.shape[1] == 0:
        raise ShapeError(f"shapes {first.shape} and {second.shape}: both must be (1, m), m > 0")
