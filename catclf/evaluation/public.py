"""``catclf.evaluate`` and ``catclf.compare``: what the commands print as JSON, as dictionaries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catclf.datasets import Dataset, ReadOptions, open_dataset, open_for, open_source
from catclf.evaluation.compare import Candidate, Penalty, Plan, to_dict
from catclf.evaluation.compare import compare as compared
from catclf.evaluation.compare import distinct as distinct_of
from catclf.evaluation.evaluate import evaluate as evaluated
from catclf.evaluation.evaluate import to_dict as evaluation_to_dict
from catclf.features import class_of
from catclf.model import Model
from catclf.settings import AUTO, Settings

PIXEL_RATES = 0.01, 0.005, 0.001  # that are compared where none are given


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
    features: str | Sequence[str] = "pixels",
    learning_rate: Sequence[float] = (),
    l2: Sequence[Penalty] = (),
    class_weight: str | Sequence[str] = "none",
    iterations: int = Settings.iterations,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    by: str = "balanced_accuracy",
    distinct: bool = True,
) -> dict[str, Any]:
    """Settings on the same folds: what ``catclf compare`` prints as JSON.

    ``data`` is a data set or what ``open_dataset`` opens; ``features`` and ``class_weight`` are one
    or several; ``l2`` may hold "auto"; ``by`` is the measure that decides: balanced_accuracy,
    accuracy, roc_auc or log_loss. Raises DataError and SettingsError.
    """
    kinds = [features] if isinstance(features, str) else features
    weights = [class_weight] if isinstance(class_weight, str) else class_weight
    plan = plan_of(kinds, learning_rate, l2, weights, (iterations, folds, repeats, seed))
    if not isinstance(data, Dataset):
        size = max(class_of(kind).default_size for kind in kinds)
        data = open_dataset(data, options=ReadOptions(default_size=size))
    kept = distinct_of(data) if distinct else data
    comparison = compared(kept, plan, data.m - kept.m)
    comparison.require_sound()
    return to_dict(comparison, by)


def plan_of(
    kinds: Sequence[str],
    rates: Sequence[float],
    l2: Sequence[Penalty],
    weights: Sequence[str],
    numbers: tuple[int, int, int, int],
) -> Plan:
    """Each combination, and iterations, folds, repeats and seed.

    Without rates pixels descend at PIXEL_RATES, unless the penalty is "auto", and other features
    are taken to the optimum, with the penalty "auto" where none is given.
    """
    candidates: list[Candidate] = []
    for kind in kinds:
        plain = kind == "pixels"
        for weight in weights:
            for penalty in l2 or ([0.0] if plain else [AUTO]):
                alphas: Sequence[float | None] = rates or (PIXEL_RATES if plain else [None])
                for rate in [None] if penalty == AUTO else alphas:
                    candidates.append(Candidate(rate, penalty, kind, weight))
    iterations, folds, repeats, seed = numbers
    return Plan(tuple(candidates), iterations, folds, repeats, seed)
