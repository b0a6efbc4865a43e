"""Choosing the penalty and the threshold by cross-validation, on the sample Gram matrix.

Logistic regression needs of its images only K = XᵀX (m, m): w = Xa, Z = aᵀK + b. One K serves
every fold (a part of it) and every penalty, and Newton's method started from the penalty before
needs two or three steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.machine import cores
from catclf.maths import Floats, losses_and_errors
from catclf.objective import EQUAL, ClassWeights, spread
from catclf.parallel import Team, blas_threads
from catclf.training.newton import optimum

FOLDS = 5
STRENGTHS = tuple(float(s) for s in np.geomspace(10.0, 1e-3, 9))  # strongest first
IMAGES = 1500  # at most, that the choice is made with
SMALLEST = 1e-9  # scale of features: equal images have none, and still need a penalty
CLOSE = 1e-3  # where Newton's method stops here: the largest change of a score


@dataclass(frozen=True)
class Selection:
    """What cross-validation found.

    ``l2`` is the penalty λ; ``Z`` (1, m) the scores of the images by models that were trained
    without them; ``losses`` the mean loss with each of the penalties ``tried``.
    """

    l2: float
    Z: Floats
    tried: tuple[float, ...]
    losses: tuple[float, ...]


def select(
    K: Floats,
    Y: Floats,
    weights: ClassWeights = EQUAL,
    seed: int = 0,
    *,
    l2: float | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """The penalty with the smallest out-of-fold loss, for K (m, m) and Y (1, m).

    The penalties tried are multiples of the images' mean squared distance from their mean, which
    makes them fit features of any scale; or only ``l2``, to have its out-of-fold scores. Raises
    SettingsError when there are too few images of a class.
    """
    m = Y.shape[1]
    scale = max(float(np.trace(K) / m - K.mean()), SMALLEST)
    strengths = (l2,) if l2 is not None else tuple(scale * s for s in STRENGTHS)
    folds, v = stratified_folds(Y, FOLDS, seed), spread(weights, Y)
    Z = np.zeros((len(strengths), m))
    team = Team(min(workers or cores(), FOLDS))

    def fold_scores(fold: int) -> Floats:
        return _scores_of_fold(K, Y, v, folds == fold, strengths)

    with blas_threads(1):
        for fold, scores in enumerate(team.in_order(fold_scores, range(FOLDS), ahead=0)):
            Z[:, folds == fold] = scores
            if on_progress:
                on_progress(fold + 1, FOLDS)
    losses = [float((v * losses_and_errors(z[None], Y)[0]).mean()) for z in Z]
    best = int(np.argmin(losses))
    return Selection(strengths[best], Z[best : best + 1], strengths, tuple(losses))


def sample(Y: Floats, seed: int, most: int = IMAGES) -> NDArray[np.int64]:
    """Sorted numbers of at most ``most`` images, classes in the proportion of Y (1, m)."""
    m = Y.shape[1]
    if m <= most:
        return np.arange(m)
    parts = stratified_folds(Y, -(-m // most), seed)
    return np.flatnonzero(parts == 0)


def stratified_folds(Y: Floats, count: int, seed: int) -> NDArray[np.int64]:
    """The fold (m,) of each image: each class is dealt out evenly, at random.

    Raises SettingsError when a class has fewer images than there are folds.
    """
    rng = np.random.default_rng(seed)
    labels = Y[0] > 0.5
    folds = np.empty(len(labels), dtype=np.int64)
    for label in (False, True):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < count:
            raise SettingsError(
                f"cross-validation needs {count} images of each class, one has {len(members)}: "
                "give `l2` and `threshold` as numbers"
            )
        folds[members] = np.arange(len(members)) % count
    return folds


def best_threshold(Z: Floats, Y: Floats) -> float:
    """The score z above which predicting "positive" gives the best balanced accuracy.

    The mean of the share of positives above it and of negatives not above it, on scores Z (1, m)
    of models that did not see the images; in the middle between the two scores that it divides,
    and nearest to 0, which is probability 0.5, among equals.
    """
    order = np.argsort(Z[0], kind="stable")
    z, positive = Z[0][order], Y[0][order] > 0.5
    found = np.concatenate([[1.0], 1.0 - np.cumsum(positive) / positive.sum()])
    rejected = np.concatenate([[0.0], np.cumsum(~positive) / (~positive).sum()])
    balanced = (found + rejected) / 2.0  # when the first k scores are answered "negative"
    cuts = np.concatenate([[z[0] - 1.0], (z[:-1] + z[1:]) / 2.0, [z[-1] + 1.0]])
    possible = np.concatenate([[True], z[:-1] < z[1:], [True]])  # no cut between equal scores
    best = np.flatnonzero(possible & (balanced >= balanced[possible].max() - 1e-12))
    return float(cuts[best[np.abs(cuts[best]).argmin()]])


def _scores_of_fold(
    K: Floats, Y: Floats, v: Floats, held: NDArray[np.bool_], strengths: tuple[float, ...]
) -> Floats:
    """Scores (strengths, held) of the images of a fold by models of the others."""
    kept = ~held
    K_kept, K_held = K[np.ix_(kept, kept)], K[np.ix_(held, kept)]
    Z = np.empty((len(strengths), int(held.sum())))
    found: tuple[Floats, float] | None = None
    for row, l2 in enumerate(strengths):
        a, b = found = optimum(K_kept, Y[:, kept], v[:, kept], l2, found, CLOSE)
        Z[row] = (K_held @ a)[:, 0] + b
    return Z
