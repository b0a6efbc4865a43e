"""What training selects by itself: the penalty, the threshold and the solver."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np

from catclf.errors import DataError
from catclf.machine import cores
from catclf.maths import Floats, logit, sigmoid
from catclf.maths.metrics import Counts
from catclf.maths.threads import Team
from catclf.samples import Indices, Labelled, Subset
from catclf.settings import Settings
from catclf.splits import possible_folds, stratified_sample
from catclf.training.crossval import (
    FOLDS,
    IMAGES_LIMIT,
    SMALLEST,
    FoldGram,
    FoldRows,
    OnProgress,
    Selection,
    best_threshold,
    select,
    thresholds_of_others,
)
from catclf.training.kernels import Weights
from catclf.training.objective import GRAM_ROWS_LIMIT, all_rows, class_weights, gram, weights_of

Phase = Callable[[str], AbstractContextManager[OnProgress]]  # progress of a named phase of work


class Resolved(NamedTuple):
    """What was selected: settings and threshold, and what the model remembers of it.

    ``z_threshold`` is the score above which an image is positive, where it is no probability that
    was given; ``out_of_fold`` are the counts of the models of cross-validation. ``shift`` is what
    weights of classes add to every score, the log of their ratio: taken from b, it leaves the
    probabilities of the data. ``K`` is the Gram matrix of the data, where it was made. ``notes``
    are lines to be shown. ``scored`` are the rows (k,) that were cross-validated and the scores out
    of fold (1, k) by which their labels are judged.
    """

    settings: Settings
    threshold: float
    z_threshold: float | None
    recorded: dict[str, Any]
    out_of_fold: Counts | None = None
    shift: float = 0.0
    K: Floats | None = None
    notes: tuple[str, ...] = ()
    scored: tuple[Indices, Floats] | None = None


class Sample(NamedTuple):
    """The images that are cross-validated, with their K (k, k), if it is not too large.

    ``v`` (1, k) are the weights of their losses.
    """

    data: Labelled
    rows: Indices
    K: Floats | None
    v: Weights


def resolve(
    settings: Settings,
    data: Labelled,
    *,
    groups: Indices | None = None,
    weights: Weights = None,
    workers: int | None = None,
    phase: Phase | None = None,
) -> Resolved:
    """Select what ``settings`` leave open, by cross-validation on the training images alone.

    ``data`` are the images, or rows of features, that are trained on; those of one of ``groups``
    (m,) stay in one fold, and ``weights`` (1, m) multiply their losses. Raises SettingsError and
    DataError.
    """
    l2, threshold = settings.fixed_l2, settings.fixed_threshold
    recorded: dict[str, Any] = {"flip": True} if settings.plain and settings.mirrors else {}
    shift = score_shift(data.Y, class_weights(data.Y, settings.class_weight))
    notes = tuple[str, ...]()
    z_threshold = -shift if settings.threshold is None and shift else None
    counts, K, scored = None, None, None
    if l2 is None or threshold is None:
        sample = _sample(settings, data, weights, workers)
        K = sample.K if len(sample.rows) == len(data.images) else None
        try:
            found = cross_validate(settings, sample, l2, groups, workers, phase)
        except DataError as error:
            if (
                possible_folds(sample.data.Y, 2, None if groups is None else groups[sample.rows])
                > 1
            ):
                raise
            l2 = _scale(sample, workers) if l2 is None else l2
            notes += (f"λ = {l2:.4g} and the threshold are not selected: {error}",)
        else:
            l2 = found.l2
            Y, Z = sample.data.Y, found.Z - shift
            scored = sample.rows, found.sharp - shift
            cuts: Floats | float = logit(threshold or 0.5) if z_threshold is None else z_threshold
            if threshold is None:
                z_threshold = best_threshold(Z, Y)
                cuts = thresholds_of_others(Z, Y, found.fold_of)
            counts = Counts.of(cuts < Z, Y > 0.5)
            recorded["chosen"] = _recorded(settings, found, counts)
            notes += found.notes
    if z_threshold is not None:
        threshold = float(sigmoid(np.array(z_threshold)))
    solver = settings.solver or _solver(settings, l2)
    final = replace(settings.started(), l2=l2, solver=solver)
    given = 0.5 if threshold is None else threshold
    return Resolved(final, given, z_threshold, recorded, counts, shift, K, notes, scored)


def score_shift(Y: Floats, v: Weights) -> float:
    """The log of the ratio of the weights of classes, for labels and weights (1, m)."""
    if v is None:
        return 0.0
    return math.log(float(v[Y > 0.5][0])) - math.log(float(v[Y < 0.5][0]))


def cross_validate(
    settings: Settings,
    sample: Sample,
    l2: float | None,
    groups: Indices | None,
    workers: int | None,
    phase: Phase | None,
) -> Selection:
    """The penalty that cross-validation selects, or ``l2``, with scores out of fold."""
    some = None if groups is None else groups[sample.rows]
    silent: Any = nullcontext(None)
    with phase("choosing the penalty") if phase else silent as on_progress:
        return select(
            sample.data,
            sample.v,
            settings.seed,
            l2=l2,
            K=sample.K,
            groups=some,
            workers=workers,
            on_progress=on_progress,
        )


def _sample(settings: Settings, data: Labelled, weights: Weights, workers: int | None) -> Sample:
    """All rows of features, or a sample of the pixels."""
    rows = np.arange(len(data.images))
    if settings.plain:
        rows = stratified_sample(data.Y, IMAGES_LIMIT, settings.seed)
        data = data if len(rows) == len(data.images) else Subset(data, rows)
    v = weights_of(data.Y, settings.class_weight, None if weights is None else weights[:, rows])
    large = not settings.plain and len(rows) > GRAM_ROWS_LIMIT
    K = None if large else gram(all_rows(data.images), Team(workers or cores()))
    return Sample(data, rows, K, v)


def _scale(sample: Sample, workers: int | None) -> float:
    """The mean squared distance of the rows from their mean: a penalty that fits their scale."""
    Y, alone = sample.data.Y, np.arange(len(sample.rows)) % FOLDS
    objective = (
        FoldRows(sample.data, alone, np.ones_like(Y), Team(workers or cores()))
        if sample.K is None
        else FoldGram(sample.K, Y, alone, np.ones_like(Y))
    )
    return max(objective.variance(), SMALLEST)


def _solver(settings: Settings, l2: float) -> str:
    """L-BFGS where penalty or threshold were selected for the optimum, else descent."""
    selected = settings.fixed_l2 is None or settings.fixed_threshold is None
    suits = (selected or not settings.plain) and l2 > 0
    return (
        "lbfgs" if suits and not settings.batch_size and settings.schedule == "constant" else "gd"
    )


def _recorded(settings: Settings, selection: Selection, counts: Counts) -> dict[str, Any]:
    fixed = {"l2": settings.fixed_l2, "threshold": settings.fixed_threshold}
    return {
        "names": [name for name, value in fixed.items() if value is None],
        "folds": int(selection.fold_of.max()) + 1,
        "images": counts.total,
        "log_loss": selection.losses[selection.tried.index(selection.l2)],
        "counts": asdict(counts),
    }
