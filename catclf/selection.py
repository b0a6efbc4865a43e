"""Choosing the penalty and the threshold by cross-validation, on the sample Gram matrix.

Logistic regression needs of its pictures only K = XᵀX (m, m): w = Xa, Z = aᵀK + b. One K serves
every fold (a part of it) and every penalty, and Newton's method started from the penalty before
needs two or three steps. (Representer theorem: Schölkopf, Herbrich and Smola, COLT 2001; Newton in
these coordinates: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, 3.4.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.maths import Floats, losses_and_errors, sigmoid
from catclf.threads import blas_threads, cores

FOLDS = 5
STRENGTHS = tuple(float(s) for s in np.geomspace(10.0, 1e-3, 9))  # strongest first
PICTURES = 1500  # at most, that the choice is made with
STEPS = 25  # of Newton's method, at most
EXACT = 1e-6  # where Newton's method stops: the largest change of a score


@dataclass(frozen=True)
class Choice:
    """What cross-validation found.

    ``l2`` is the penalty λ; ``Z`` (1, m) the scores of the pictures by models that were trained
    without them; ``losses`` the mean loss with each of the penalties ``tried``.
    """

    l2: float
    Z: Floats
    tried: tuple[float, ...]
    losses: tuple[float, ...]


def choose(
    K: Floats,
    Y: Floats,
    weights: Floats,
    seed: int = 0,
    *,
    l2: float | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """The penalty with the smallest out-of-fold loss, for K (m, m), Y and weights (1, m).

    The penalties tried are multiples of the pictures' mean squared distance from their mean, which
    makes them fit features of any scale; or only ``l2``, to have its out-of-fold scores. Raises
    SettingsError when there are too few pictures of a class.
    """
    m = Y.shape[1]
    scale = float(np.trace(K) / m - K.mean())
    strengths = (l2,) if l2 is not None else tuple(scale * s for s in STRENGTHS)
    folds = stratified_folds(Y, FOLDS, seed)
    Z = np.zeros((len(strengths), m))
    done = 0
    with blas_threads(1), ThreadPoolExecutor(min(workers or cores(), FOLDS)) as pool:
        jobs = [
            pool.submit(_scores_of_fold, K, Y, weights, folds == fold, strengths)
            for fold in range(FOLDS)
        ]
        for fold, job in enumerate(jobs):
            Z[:, folds == fold] = job.result()
            done += 1
            if on_progress:
                on_progress(done, FOLDS)
    losses = [float((weights * losses_and_errors(z[None], Y)[0]).mean()) for z in Z]
    best = int(np.argmin(losses))
    return Choice(strengths[best], Z[best : best + 1], strengths, tuple(losses))


def sample(Y: Floats, seed: int, most: int = PICTURES) -> NDArray[np.int64]:
    """Sorted numbers of at most ``most`` pictures, classes in the proportion of Y (1, m)."""
    m = Y.shape[1]
    if m <= most:
        return np.arange(m)
    parts = stratified_folds(Y, -(-m // most), seed)
    return np.flatnonzero(parts == 0)


def stratified_folds(Y: Floats, count: int, seed: int) -> NDArray[np.int64]:
    """The fold (m,) of each picture: each class is dealt out evenly, at random.

    Raises SettingsError when a class has fewer pictures than there are folds.
    """
    rng = np.random.default_rng(seed)
    labels = Y[0] > 0.5
    folds = np.empty(len(labels), dtype=np.int64)
    for label in (False, True):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < count:
            raise SettingsError(
                f"cross-validation needs {count} pictures of each class, one has {len(members)}: "
                "give --l2 and --threshold as numbers"
            )
        folds[members] = np.arange(len(members)) % count
    return folds


def class_weights(Y: Floats, *, balanced: bool) -> Floats:
    """Weights (1, m) with mean 1; balanced ones give both classes the same sum, m/2."""
    m, positives = Y.shape[1], float(Y.sum())
    if not balanced:
        return np.ones((1, m))
    return np.asarray(np.where(Y > 0.5, m / (2.0 * positives), m / (2.0 * (m - positives))))


def newton(
    K: Floats,
    Y: Floats,
    weights: Floats,
    l2: float,
    start: tuple[Floats, float] | None = None,
    tolerance: float = EXACT,
) -> tuple[Floats, float]:
    """The a (m, 1) and b that minimise (1/m) Σ v [log(1 + e^z) - y z] + (λ/2m) aᵀKa.

    z = Ka + b, v the weights (1, m), λ = ``l2`` > 0. With the diagonal D = v σ(z) (1 - σ(z)) a
    step solves (K + λ/D) a + b = z + v (y - σ(z)) / D, Σ a = 0, through the symmetric matrix
    I + S K S, S = √(D/λ), whose eigenvalues are all at least 1. Steps are halved until the
    objective falls. It begins at ``start``, or at zero where that is better.
    """
    y, v = Y.T, weights.T  # (m, 1)
    a, b = np.zeros_like(y), 0.0
    z, J = np.zeros_like(y), float(v.sum()) * math.log(2.0)
    if start:
        z_start = K @ start[0] + start[1]
        J_start = _objective(z_start, start[1], start[0], y, v, l2)
        if J_start < J:
            (a, b), z, J = start, z_start, J_start
    for _ in range(STEPS):
        a_full, b_full = _newton_step(K, z, y, v, l2)
        z_full = K @ a_full + b_full
        share, J_before, z_before = 1.0, J, z
        while True:
            a_next, b_next = a + share * (a_full - a), b + share * (b_full - b)
            z = z_before + share * (z_full - z_before)
            J = _objective(z, b_next, a_next, y, v, l2)
            if J_before + 1e-12 * abs(J_before) >= J or share < 1e-6:
                break
            share /= 2.0
        a, b = a_next, b_next
        if float(np.abs(z - z_before).max()) < tolerance:
            break
    return a, b


def _newton_step(K: Floats, z: Floats, y: Floats, v: Floats, l2: float) -> tuple[Floats, float]:
    """Where Newton's method goes from scores z (m, 1): a (m, 1) and b."""
    p = sigmoid(z)
    d = np.maximum(v * p * (1.0 - p), 1e-12)
    s = np.sqrt(d / l2)
    A = s * K * s.T
    A.flat[:: len(y) + 1] += 1.0
    right = np.hstack([z + v * (y - p) / d, np.ones_like(y)])
    solved = s * np.linalg.solve(A, s * right)  # (m, 2)
    b = float(solved[:, 0].sum() / solved[:, 1].sum())
    return solved[:, :1] - b * solved[:, 1:], b


def best_threshold(Z: Floats, Y: Floats) -> float:
    """The probability above which answering "positive" gives the best balanced accuracy.

    The mean of the share of positives above it and of negatives not above it, on scores Z (1, m)
    of models that did not see the pictures; in the middle between the two scores that it divides,
    and nearest to 0.5 among equals.
    """
    order = np.argsort(Z[0], kind="stable")
    z, positive = Z[0][order], Y[0][order] > 0.5
    found = np.concatenate([[1.0], 1.0 - np.cumsum(positive) / positive.sum()])
    rejected = np.concatenate([[0.0], np.cumsum(~positive) / (~positive).sum()])
    balanced = (found + rejected) / 2.0  # when the first k scores are answered "negative"
    cuts = np.concatenate([[z[0] - 1.0], (z[:-1] + z[1:]) / 2.0, [z[-1] + 1.0]])
    possible = np.concatenate([[True], z[:-1] < z[1:], [True]])  # no cut between equal scores
    best = np.flatnonzero(possible & (balanced >= balanced[possible].max() - 1e-12))
    return float(sigmoid(cuts[best[np.abs(cuts[best]).argmin()]][None])[0])


def _scores_of_fold(
    K: Floats, Y: Floats, weights: Floats, held: NDArray[np.bool_], strengths: tuple[float, ...]
) -> Floats:
    """Scores (strengths, held) of the pictures of a fold by models of the others."""
    kept = ~held
    K_kept, K_held = K[np.ix_(kept, kept)], K[np.ix_(held, kept)]
    Z = np.empty((len(strengths), int(held.sum())))
    found: tuple[Floats, float] | None = None
    for row, l2 in enumerate(strengths):
        a, b = found = newton(K_kept, Y[:, kept], weights[:, kept], l2, found, tolerance=1e-3)
        Z[row] = (K_held @ a)[:, 0] + b
    return Z


def _objective(z: Floats, b: float, a: Floats, y: Floats, v: Floats, l2: float) -> float:
    """m J at a point, with aᵀKa from z - b = Ka."""
    losses, _ = losses_and_errors(z, y)
    return float((v * losses).sum()) + l2 / 2.0 * float(np.vdot(a, z - b))
