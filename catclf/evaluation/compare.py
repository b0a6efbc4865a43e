"""A comparison of settings: the plan, the results on each fold, and the best candidate."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from catclf.errors import DataError, DivergedError, SettingsError
from catclf.maths import Floats
from catclf.text import printable

_LARGEST = 10**9  # the largest number that a file may hold
FORMAT = "catclf-comparison"
MEASURES = ("accuracy", "balanced_accuracy", "roc_auc", "log_loss")
COLUMNS = ("balanced_accuracy", "accuracy", "roc_auc", "log_loss")  # as shown
NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
}


@dataclass(frozen=True)
class Candidate:
    """One combination of settings."""

    learning_rate: float
    l2: float = 0.0

    def __str__(self) -> str:
        penalty = f", λ {self.l2:g}" if self.l2 else ""
        return f"α {self.learning_rate:g}{penalty}"


@dataclass(frozen=True)
class Plan:
    """The candidates, the folds, and the steps of each run. Raises SettingsError."""

    candidates: tuple[Candidate, ...]
    iterations: int = 2000
    folds: int = 5
    repeats: int = 1
    seed: int = 0
    features: str = "pixels"

    def __post_init__(self) -> None:
        if not self.candidates or len(set(self.candidates)) < len(self.candidates):
            raise SettingsError("the settings to compare must be given, and differ")
        for candidate in self.candidates:
            rate, l2 = candidate.learning_rate, candidate.l2
            if not (math.isfinite(rate) and rate > 0 and math.isfinite(l2) and l2 >= 0):
                raise SettingsError(
                    f"rate {rate:g} with l2 {l2:g}: rates are > 0, penalties are >= 0"
                )
        for name, value, minimum in (
            ("iterations", self.iterations, 1),
            ("folds", self.folds, 2),
            ("repeats", self.repeats, 1),
            ("seed", self.seed, 0),
        ):
            if value < minimum:
                raise SettingsError(f"{name} {value} is too small: {minimum} or more is needed")


@dataclass(frozen=True)
class Result:
    """One candidate: its measures on each held-out fold, and its curves.

    ``scores`` maps each of MEASURES to (folds * repeats,) values; ``trained`` and ``held_out`` are
    the cost on training folds and the log loss on held-out folds at the comparison's ``steps``,
    in nats per image; ``diverged`` is the step at which the cost of a run left the finite, or None.
    """

    candidate: Candidate
    scores: dict[str, Floats]
    trained: tuple[float, ...]
    held_out: tuple[float, ...]
    diverged: int | None = None

    def mean(self, measure: str) -> float:
        """The mean over folds; NaN for a diverged candidate."""
        return float("nan") if self.diverged is not None else float(self.scores[measure].mean())

    def std(self, measure: str) -> float:
        """The standard deviation between folds; NaN for a diverged candidate."""
        return (
            float("nan") if self.diverged is not None else float(self.scores[measure].std(ddof=1))
        )


@dataclass(frozen=True)
class Comparison:
    """All candidates on the same folds."""

    plan: Plan
    source: str
    classes: tuple[str, str]
    images: int
    positives: int
    dropped: int  # images left out because they repeat others
    steps: tuple[int, ...]  # of the curves
    results: tuple[Result, ...]

    def best(self, measure: str) -> Result | None:
        """The candidate with the best mean, the first among equals; None if all diverged."""
        sound = [result for result in self.results if result.diverged is None]
        sign = 1.0 if measure == "log_loss" else -1.0
        return min(sound, key=lambda result: sign * result.mean(measure), default=None)

    def require_sound(self) -> None:
        """Raise DivergedError if every candidate diverged."""
        if all(result.diverged is not None for result in self.results):
            smallest = min(result.candidate.learning_rate for result in self.results)
            raise DivergedError(
                f"{printable(self.source)}: every candidate diverged: try smaller learning rates, "
                f"as `learning_rate={smallest / 10:g}`"
            )

    def as_good(self, measure: str) -> list[Result]:
        """The candidates that these folds cannot tell from the best.

        The differences on the same folds, with the variance corrected for training sets that
        overlap: (1/k + held out / trained) s² (Nadeau and Bengio, Machine Learning 52, 2003);
        within two standard errors.
        """
        best = self.best(measure)
        others = [r for r in self.results if r is not best and r.diverged is None]
        return [r for r in others if best and _alike(r.scores[measure], best.scores[measure], self)]

    def settings(self, candidate: Candidate) -> dict[str, str | float]:
        """The settings of ``catclf.train`` that train as this candidate did, without defaults."""
        settings: dict[str, str | float] = {"learning_rate": candidate.learning_rate}
        if self.plan.features != "pixels":  # where a penalty is selected unless one is given
            first = {"features": self.plan.features, "solver": "gd"}
            return {**first, **settings, "l2": candidate.l2}
        return {**settings, "l2": candidate.l2} if candidate.l2 else settings


def to_dict(comparison: Comparison, measure: str) -> dict[str, Any]:
    """A comparison as plain values for JSON, None where undefined; ``measure`` decides.

    The keys are those of the first version, on which scripts rely.
    """
    best = comparison.best(measure)
    plan = comparison.plan
    return {
        "format": FORMAT,
        "source": comparison.source,
        "classes": list(comparison.classes),
        "images": comparison.images,
        "positives": comparison.positives,
        "dropped": comparison.dropped,
        "iterations": plan.iterations,
        "folds": plan.folds,
        "repeats": plan.repeats,
        "seed": plan.seed,
        "features": plan.features,
        "by": measure,
        "take": comparison.results.index(best) if best else None,
        "as_good": [comparison.results.index(result) for result in comparison.as_good(measure)],
        "steps": list(comparison.steps),
        "candidates": [_result_to_dict(result) for result in comparison.results],
    }


def _result_to_dict(result: Result) -> dict[str, Any]:
    measured = {
        name: {
            "mean": _number(result.mean(name)),
            "spread": _number(result.std(name)),
            "folds": [_number(value) for value in result.scores[name].tolist()],
        }
        for name in MEASURES
    }
    return {
        "learning_rate": result.candidate.learning_rate,
        "l2": result.candidate.l2,
        "diverged": result.diverged,
        **measured,
        "training_cost": [_number(value) for value in result.trained],
        "held_out_log_loss": [_number(value) for value in result.held_out],
    }


def _alike(scores: Floats, best: Floats, comparison: Comparison) -> bool:
    differences = scores - best
    k = len(differences)
    held_to_trained = 1 / (comparison.plan.folds - 1)
    error = math.sqrt((1 / k + held_to_trained) * float(differences.var(ddof=1)))
    return abs(float(differences.mean())) <= 2 * error


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def from_json(content: bytes) -> tuple[Comparison, str]:
    """A comparison and the measure that decides, from the JSON of ``to_dict``.

    Raises DataError for any other content.
    """
    try:
        values = json.loads(content)
        if values["format"] != FORMAT or values["by"] not in MEASURES:
            raise ValueError
        return _comparison(values), str(values["by"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, SettingsError) as error:
        raise DataError("is not the JSON that catclf compare prints") from error


def _comparison(values: dict[str, Any]) -> Comparison:
    """Raises ValueError, TypeError, KeyError, OverflowError or SettingsError for odd values."""
    results = tuple(_result(entry) for entry in values["candidates"])
    plan = Plan(
        tuple(result.candidate for result in results),
        **{name: int(values[name]) for name in ("iterations", "folds", "repeats", "seed")},
        features=str(values.get("features", "pixels")),
    )
    negative, positive = map(str, values["classes"])
    m, positives, dropped = (int(values[name]) for name in ("images", "positives", "dropped"))
    steps = tuple(map(int, values["steps"]))
    for result in results:
        lengths = {len(scores) for scores in result.scores.values()}
        curves = {len(result.trained), len(result.held_out)}
        if lengths != {plan.folds * plan.repeats} or curves != {len(steps)} or not steps:
            raise ValueError
    sound = 0 <= positives <= m and 0 < m <= _LARGEST and plan.iterations <= _LARGEST
    if not sound or min(steps) < 0 or max(steps) > plan.iterations:
        raise ValueError
    source = str(values["source"])
    return Comparison(plan, source, (negative, positive), m, positives, dropped, steps, results)


def _result(entry: dict[str, Any]) -> Result:
    return Result(
        Candidate(float(entry["learning_rate"]), float(entry["l2"])),
        {name: _floats(entry[name]["folds"]) for name in MEASURES},
        trained=tuple(_floats(entry["training_cost"]).tolist()),
        held_out=tuple(_floats(entry["held_out_log_loss"]).tolist()),
        diverged=None if entry["diverged"] is None else int(entry["diverged"]),
    )


def _floats(values: list[float | None]) -> Floats:
    array = np.array([math.nan if value is None else float(value) for value in values])
    if (np.abs(array) > _LARGEST).any():
        raise ValueError
    return array
