"""Selection of the penalty and the threshold by cross-validation, on the sample Gram matrix.

Logistic regression needs of its images only K = XᵀX (m, m): w = Xa, Z = aᵀK + b. One K serves
every fold (a part of it) and every penalty, and Newton's method started from the penalty before
needs two or three steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catclf.machine import cores
from catclf.maths import Floats, losses_and_errors
from catclf.objective import EQUAL, ClassWeights, sample_weights
from catclf.parallel import Team, blas_threads
from catclf.splits import stratified_folds
from catclf.training.newton import optimum

FOLDS = 5
STRENGTHS = tuple(float(s) for s in np.geomspace(10.0, 1e-3, 9))  # strongest first
IMAGES_LIMIT = 1500  # images that the penalty and the threshold are selected with
SMALLEST = 1e-9  # scale of features: equal images have none, and still need a penalty
CLOSE = 1e-3  # where Newton's method stops here: the largest change of a score


@dataclass(frozen=True)
class Selection:
    """The result of cross-validation.

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
    DataError when there are too few images of a class.
    """
    m = Y.shape[1]
    scale = max(float(np.trace(K) / m - K.mean()), SMALLEST)
    strengths = (l2,) if l2 is not None else tuple(scale * s for s in STRENGTHS)
    folds = stratified_folds(
        Y, FOLDS, seed, advice="give `l2` and `threshold` as numbers, or use more images"
    )[0]
    v = sample_weights(weights, Y)
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


def best_threshold(Z: Floats, Y: Floats) -> float:
    """The score z above which predicting "positive" gives the best balanced accuracy.

    That is the mean of the fraction of positives above it and that of negatives not above it, on
    scores Z (1, m) of models that did not see the images. The threshold lies in the middle between
    the two scores that it divides, and nearest to 0, which is probability 0.5, among equals.
    """
    order = np.argsort(Z[0], kind="stable")
    z, positive = Z[0][order], Y[0][order] > 0.5
    recall = np.concatenate([[1.0], 1.0 - np.cumsum(positive) / positive.sum()])
    specificity = np.concatenate([[0.0], np.cumsum(~positive) / (~positive).sum()])
    balanced = (recall + specificity) / 2.0  # when the first k scores are predicted negative
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
    start: tuple[Floats, float] | None = None
    for row, l2 in enumerate(strengths):
        a, b = start = optimum(K_kept, Y[:, kept], v[:, kept], l2, start, CLOSE)
        Z[row] = (K_held @ a)[:, 0] + b
    return Z
