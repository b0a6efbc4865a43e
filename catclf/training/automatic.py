"""What training selects by itself: the penalty, the threshold and the solver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from catclf.machine import cores
from catclf.maths import Floats, logit, sigmoid
from catclf.maths.metrics import Counts
from catclf.objective import class_weights
from catclf.objective.gram import gram
from catclf.parallel import Team
from catclf.samples import Labelled, take
from catclf.splits import stratified_sample
from catclf.training.settings import Settings

if TYPE_CHECKING:  # loaded where something is selected: a plain run starts without them
    from catclf.training import penalty

NEWTON_LIMIT = 4000  # images: a step then takes 1 s, and all of them 400 MB
# Rows of features: for 2000 of 1280 numbers L-BFGS takes a tenth of the time and a third of the
# memory, penalty and all, to the same optimum.
ROWS_LIMIT = 1000

OnProgress = Callable[[int, int], None]
Phase = Callable[[str], AbstractContextManager[OnProgress]]  # progress of a named phase of work


class Resolved(NamedTuple):
    """What was selected: settings and threshold, and what the model remembers of it.

    ``z_threshold`` is the score above which an image is positive, where cross-validation selected
    it; ``out_of_fold`` are the counts of the models that did it.
    """

    settings: Settings
    threshold: float
    z_threshold: float | None
    recorded: dict[str, Any]
    out_of_fold: Counts | None = None


def resolve(
    settings: Settings,
    data: Labelled,
    *,
    workers: int | None = None,
    phase: Phase | None = None,
    keeps_state: bool = False,
    passes: bool = False,
) -> Resolved:
    """Select what ``settings`` leave open, by cross-validation on the training images alone.

    ``data`` are the images, or rows of features, that are trained on. ``keeps_state`` says that
    checkpoints are wanted, which Newton's method has not; ``passes`` that the data are only to be
    passed over, as by the workers of a cluster, which leaves L-BFGS in its place. Raises
    SettingsError and DataError.
    """
    l2, threshold = settings.fixed_l2, settings.fixed_threshold
    recorded: dict[str, Any] = {"flip": True} if settings.plain and settings.mirrors else {}
    z_threshold, counts = None, None
    if l2 is None or threshold is None:
        from catclf.training import penalty

        selection, Y = _cross_validate(settings, data, workers, phase)
        l2 = selection.l2
        if threshold is None:
            z_threshold = penalty.best_threshold(selection.Z, Y)
            threshold = float(sigmoid(np.array(z_threshold)))
        cut = logit(threshold) if z_threshold is None else z_threshold
        counts = Counts.of(cut < selection.Z, Y > 0.5)
        recorded["chosen"] = _recorded(settings, selection, counts)
    m = NEWTON_LIMIT + 1 if passes else len(data.images)
    solver = settings.solver or _solver(settings, l2, m, keeps_state)
    final = replace(settings.started(), l2=l2, solver=solver)
    return Resolved(final, threshold, z_threshold, recorded, counts)


def _cross_validate(
    settings: Settings,
    data: Labelled,
    workers: int | None,
    phase: Phase | None,
) -> tuple[penalty.Selection, Floats]:
    """The selection, and the labels (1, k) of the images that it was made with.

    All rows of features where they are too many for Newton's method, else a sample on K.
    """
    from catclf.training import penalty

    l2, seed, kind = settings.fixed_l2, settings.seed, settings.class_weight

    def on_all(on_progress: OnProgress | None) -> penalty.Selection:
        from catclf.training.fold_path import select

        weights = class_weights(data.Y, kind)
        return select(data, weights, seed, l2=l2, workers=workers, on_progress=on_progress)

    def on_sample(on_progress: OnProgress | None) -> penalty.Selection:
        K = gram(take(data.images, rows).reshape(len(rows), -1), Team(workers or cores()))
        weights = class_weights(Y, kind)
        return penalty.select(K, Y, weights, seed, l2=l2, workers=workers, on_progress=on_progress)

    select, Y = on_all, data.Y
    if settings.plain or len(data.images) <= ROWS_LIMIT:
        rows = stratified_sample(data.Y, penalty.IMAGES_LIMIT, seed)
        select, Y = on_sample, np.ascontiguousarray(data.Y[:, rows])
    if phase is None:
        return select(None), Y
    with phase("choosing the penalty") as on_progress:
        return select(on_progress), Y


def _solver(settings: Settings, l2: float, m: int, keeps_state: bool) -> str:
    """Newton's method or L-BFGS where penalties suit the optimum, else descent.

    Newton's where K is small; for more images descent, and for more rows of features L-BFGS.
    """
    suits = (settings.fixed_l2 is None or not settings.plain) and l2 > 0
    if not suits or settings.batch_size or settings.schedule != "constant":
        return "gd"
    on_k = settings.method not in ("stream", "fused") and not keeps_state
    if on_k and m <= (NEWTON_LIMIT if settings.plain else ROWS_LIMIT):
        return "newton"
    return "gd" if settings.plain else "lbfgs"


def _recorded(settings: Settings, selection: penalty.Selection, counts: Counts) -> dict[str, Any]:
    from catclf.training import penalty

    fixed = {"l2": settings.fixed_l2, "threshold": settings.fixed_threshold}
    return {
        "names": [name for name, value in fixed.items() if value is None],
        "folds": penalty.FOLDS,
        "pictures": counts.total,
        "log_loss": min(selection.losses),
        "counts": asdict(counts),
    }
