"""What is compared, on which folds, and what came out: the plan, the results, and which to take."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from catclf.errors import DataError, DivergedError, SettingsError
from catclf.maths import Floats
from catclf.text import printable

_LARGEST = 10**9  # believed of a number in a file
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
    """What is compared and how."""

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
        for name, value, least in (
            ("iterations", self.iterations, 1),
            ("folds", self.folds, 2),
            ("repeats", self.repeats, 1),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise SettingsError(f"{name} {value} is too small: {least} or more is needed")


@dataclass(frozen=True)
class Result:
    """One candidate: its measures on each held-out fold, and its curves.

    ``scores`` maps each of MEASURES to (folds * repeats,) values; ``diverged`` is the step at which
    a run of it left the finite, or None.
    """

    candidate: Candidate
    scores: dict[str, Floats]
    trained: tuple[float, ...]
    held_out: tuple[float, ...]
    diverged: int | None = None

    def mean(self, measure: str) -> float:
        """Over the folds; NaN for a diverged candidate."""
        return float("nan") if self.diverged is not None else float(self.scores[measure].mean())

    def spread(self, measure: str) -> float:
        """The standard deviation between folds."""
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
        """Raise DivergedError when there is nothing to take."""
        if all(result.diverged is not None for result in self.results):
            least = min(result.candidate.learning_rate for result in self.results)
            raise DivergedError(
                f"{printable(self.source)}: every candidate diverged: try smaller learning rates, "
                f"as `learning_rate={least / 10:g}`"
            )

    def as_good(self, measure: str) -> list[Result]:
        """Those that these folds cannot tell from the best.

        The differences on the same folds, with the variance corrected for training sets that
        overlap: (1/k + held out / trained) s² (Nadeau and Bengio, Machine Learning 52, 2003);
        within two standard errors.
        """
        best = self.best(measure)
        others = [r for r in self.results if r is not best and r.diverged is None]
        return [r for r in others if best and _alike(r.scores[measure], best.scores[measure], self)]


def facts(found: Comparison, measure: str) -> dict[str, Any]:
    """Everything as plain values for JSON; None for what is not defined."""
    best = found.best(measure)
    plan = found.plan
    return {
        "format": FORMAT,
        "source": found.source,
        "classes": list(found.classes),
        "pictures": found.images,
        "positives": found.positives,
        "dropped": found.dropped,
        "iterations": plan.iterations,
        "folds": plan.folds,
        "repeats": plan.repeats,
        "seed": plan.seed,
        "features": plan.features,
        "by": measure,
        "take": found.results.index(best) if best else None,
        "as_good": [found.results.index(result) for result in found.as_good(measure)],
        "steps": list(found.steps),
        "candidates": [_candidate_facts(result) for result in found.results],
    }


def _candidate_facts(result: Result) -> dict[str, Any]:
    measured = {
        name: {
            "mean": _number(result.mean(name)),
            "spread": _number(result.spread(name)),
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


def _alike(scores: Floats, best: Floats, found: Comparison) -> bool:
    differences = scores - best
    k = len(differences)
    held_to_trained = 1 / (found.plan.folds - 1)
    error = math.sqrt((1 / k + held_to_trained) * float(differences.var(ddof=1)))
    return abs(float(differences.mean())) <= 2 * error


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def from_json(content: bytes) -> tuple[Comparison, str]:
    """A comparison and what decides, as ``facts`` gave them. Raises DataError for anything else."""
    try:
        found = json.loads(content)
        if found["format"] != FORMAT or found["by"] not in MEASURES:
            raise ValueError
        results = tuple(_result(entry) for entry in found["candidates"])
        iterations, folds, repeats, seed = (
            int(found[name]) for name in ("iterations", "folds", "repeats", "seed")
        )
        plan = Plan(
            tuple(result.candidate for result in results),
            iterations,
            folds,
            repeats,
            seed,
            str(found.get("features", "pixels")),
        )
        negative, positive = map(str, found["classes"])
        m, positives, dropped = (int(found[name]) for name in ("pictures", "positives", "dropped"))
        steps = tuple(map(int, found["steps"]))
        for result in results:
            lengths = {len(scores) for scores in result.scores.values()}
            curves = {len(result.trained), len(result.held_out)}
            if lengths != {plan.folds * plan.repeats} or curves != {len(steps)} or not steps:
                raise ValueError
        sound = 0 <= positives <= m and 0 < m <= _LARGEST and plan.iterations <= _LARGEST
        if not sound or min(steps) < 0 or max(steps) > plan.iterations:
            raise ValueError
        source = str(found["source"])
        classes = (negative, positive)
        comparison = Comparison(plan, source, classes, m, positives, dropped, steps, results)
        return comparison, str(found["by"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, SettingsError) as error:
        raise DataError("is not what catclf compare --format json prints") from error


def _result(entry: dict[str, Any]) -> Result:
    return Result(
        Candidate(float(entry["learning_rate"]), float(entry["l2"])),
        {name: _floats(entry[name]["folds"]) for name in MEASURES},
        trained=tuple(_floats(entry["training_cost"]).tolist()),
        held_out=tuple(_floats(entry["held_out_log_loss"]).tolist()),
        diverged=None if entry["diverged"] is None else int(entry["diverged"]),
    )


def _floats(values: list[float | None]) -> Floats:
    found = np.array([math.nan if value is None else float(value) for value in values])
    if (np.abs(found) > _LARGEST).any():
        raise ValueError
    return found
