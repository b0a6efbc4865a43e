"""How often 95 % intervals hold the true value, and how wide they are on average.

Scores are binormal: N(μ, 1) of positives, N(0, 1) of negatives, μ from the area under the ROC
curve, and then the log odds of the classes times 1.3, for a model that is too sure of itself.
The intervals of the area and of balanced accuracy are of classes of given sizes; those of average
precision, log loss and Brier score of classes that are drawn, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from catclf.maths import losses_and_errors, metrics, sigmoid
from catclf.maths.logistic import cost

SIZES = ((10, 10), (33, 17), (17, 33), (5, 50), (50, 5), (50, 50), (500, 500))
AREAS = (0.6, 0.9, 0.97)
LARGE = 1_000_000  # images by which the true values are known
Floats = NDArray[np.float64]
Interval = tuple[float, float]


def scores(rng: np.random.Generator, Y: Floats, area: float, fraction: float) -> Floats:
    """Log odds (1, m) of images with labels Y (1, m), too sure by 1.3."""
    shift = sqrt(2) * NormalDist().inv_cdf(area)
    x = rng.standard_normal(Y.shape) + shift * Y
    return 1.3 * (shift * x - shift**2 / 2 + log(fraction / (1 - fraction)))


def values(Z: Floats, Y: Floats) -> dict[str, float]:
    """The measures of many images, which are taken for true."""
    found = {
        "average precision": metrics.roc(Z, Y).average_precision,
        "log loss": cost(Z, Y),
        "Brier score": float(np.square(sigmoid(Z) - Y).mean()),
    }
    recall, specificity = (Z[Y == 1] > 0).mean(), (Z[Y == 0] <= 0).mean()
    return found | {"balanced accuracy": float(recall + specificity) / 2}


def intervals(Z: Floats, Y: Floats, drawn: bool) -> dict[str, Interval]:
    """The intervals of one sample: of classes of given sizes, or of ``drawn`` ones."""
    groups = np.arange(Z.shape[1])
    if not drawn:
        cells = metrics.ratio_intervals(Z[0] > 0, Y[0] > 0.5, np.ones(Z.shape[1]))
        return {
            "ROC AUC": metrics.auc_interval(Z, Y),
            "balanced accuracy": cells["balanced_accuracy"],
        }
    return {
        "average precision": metrics.precision_interval(Z, Y, groups),
        "log loss": metrics.mean_interval(losses_and_errors(Z, Y)[0][0], groups),
        "Brier score": metrics.mean_interval(np.square(sigmoid(Z) - Y)[0], groups, largest=1.0),
    }


def samples(m: int, n: int, drawn: bool, rng: np.random.Generator) -> Iterator[Floats]:
    """Labels (1, m + n), of m positives or as many as chance gives, 10 of a class at least."""
    while True:
        k = int(rng.binomial(m + n, m / (m + n))) if drawn else m
        if not drawn or min(k, m + n - k) >= metrics.BOOTSTRAP_LEAST:
            yield (np.arange(m + n) < k).astype(np.float64)[None]


def study(m: int, n: int, area: float, count: int, drawn: bool) -> None:
    """Print a line for each measure."""
    rng, fraction = np.random.default_rng([m, n, int(1000 * area)]), m / (m + n)
    Y = (rng.random((1, LARGE)) < fraction).astype(np.float64)
    true = values(scores(rng, Y, area, fraction), Y) | {"ROC AUC": area}
    held: dict[str, list[tuple[bool, float]]] = {}
    for Y, _ in zip(samples(m, n, drawn, rng), range(count), strict=False):
        for name, (low, high) in intervals(scores(rng, Y, area, fraction), Y, drawn).items():
            held.setdefault(name, []).append((low <= true[name] <= high, high - low))
    for name, each in held.items():
        covered, width = np.mean(each, axis=0)
        print(f"{name:18} {m:4} + {n:3}  {area:.2f}  {100 * covered:5.1f} %  {width:.3f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Coverage of 95 % intervals, by simulation.")
    parser.add_argument("--samples", type=int, default=2000, help="a tenth for resampling")
    count = parser.parse_args().samples
    print(f"{'measure':18} {'classes':>10}   area  coverage  width")
    for drawn in (False, True):
        for m, n in SIZES:
            if not drawn or min(m, n) >= metrics.BOOTSTRAP_LEAST:
                for area in AREAS:
                    study(m, n, area, max(1, count // 10) if drawn else count, drawn)


if __name__ == "__main__":
    main()
