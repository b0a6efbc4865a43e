"""``catclf.evaluate`` and ``catclf.compare``: what the commands print as JSON, as dictionaries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catclf.datasets import Dataset, ReadOptions, open_dataset, open_for, open_source
from catclf.evaluation import crossval
from catclf.evaluation.compare import Candidate, Plan, to_dict
from catclf.evaluation.evaluate import evaluate as evaluated
from catclf.evaluation.evaluate import to_dict as evaluation_to_dict
from catclf.features import class_of
from catclf.model import Model
from catclf.settings import Settings

if TYPE_CHECKING:
    from catclf.evaluation.crossval import Prepare
    from catclf.features.base import Phase

# Learning rates and penalties that are compared where none are given.
PIXEL_DEFAULTS = (0.01, 0.005, 0.001), (0.0,)
FEATURE_DEFAULTS = (1.9,), (0.01, 0.03, 0.1, 0.3)


def evaluate(
    model: Model | str | os.PathLike[str],
    data: Any,
    threshold: float | None = None,
    *,
    options: ReadOptions | None = None,
    mistakes: int = 5,
) -> dict[str, Any]:
    """How good a model is on labelled images: what ``catclf evaluate`` prints as JSON.

    ``model`` is a model or its file, ``data`` a data set or the path of one, of which the test
    split is taken where it has several. Raises ModelError, DataError and ShapeError.
    """
    if not isinstance(model, Model):
        from catclf.model.file import load

        model = load(Path(model))
    if isinstance(data, str | os.PathLike):
        source = open_source(data, options)
        data = open_for(model.classes, model.preprocess, source, "test")
    elif not isinstance(data, Dataset):
        data = open_dataset(data, options=options)
    return evaluation_to_dict(evaluated(model, data, threshold), mistakes)


def compare(
    data: Any,
    *,
    features: str = "pixels",
    learning_rate: Sequence[float] = (),
    l2: Sequence[float] = (),
    iterations: int = Settings.iterations,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    by: str = "balanced_accuracy",
    distinct: bool = True,
) -> dict[str, Any]:
    """Learning rates and penalties on the same folds: what ``catclf compare`` prints as JSON.

    ``data`` is a data set or what ``open_dataset`` opens; ``by`` is the measure that decides:
    balanced_accuracy, accuracy, roc_auc or log_loss. Raises DataError and SettingsError.
    """
    plan = plan_of(learning_rate, l2, iterations, folds, repeats, seed, features)
    if not isinstance(data, Dataset):
        size = class_of(features).default_size
        data = open_dataset(data, options=ReadOptions(default_size=size))
    kept = crossval.rows_of(data, crossval.distinct(data)) if distinct else data
    comparison = crossval.compare(
        kept,
        plan,
        kept.source,
        kept.classes,
        data.m - kept.m,
        lambda progress: None,
        prepare_of(kept, plan),
    )
    comparison.require_sound()
    return to_dict(comparison, by)


def plan_of(
    rates: Sequence[float],
    l2: Sequence[float],
    iterations: int,
    folds: int,
    repeats: int,
    seed: int,
    features: str,
) -> Plan:
    """Each penalty with each rate; without them the defaults that suit the features."""
    defaults = PIXEL_DEFAULTS if features == "pixels" else FEATURE_DEFAULTS
    candidates = tuple(
        Candidate(rate, penalty) for penalty in l2 or defaults[1] for rate in rates or defaults[0]
    )
    return Plan(candidates, iterations, folds, repeats, seed, features)


def prepare_of(data: Dataset, plan: Plan, phase: Phase | None = None) -> Prepare | None:
    """The rows of features for each fold; None for pixels, which are their own."""
    if plan.features == "pixels":
        return None
    from catclf.features.base import silent
    from catclf.features.prepare import prepare_folds

    flip = Settings(features=plan.features).mirrors
    return partial(
        prepare_folds, data, plan.features, flip=flip, seed=plan.seed, phase=phase or silent
    )
