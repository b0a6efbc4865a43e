"""Cross-validation of settings: candidates on the same folds, and learning curves.

Each candidate is trained on the same divisions of the images, and measured on those held out.
Candidates with a learning rate descend on the Gram matrix K = XᵀX, a column for each division (see
``catclf.training.crossval.descents``); the others are taken to the optimum, as L-BFGS takes what
``train`` trains, with a penalty that is given or selected on the training images of each division.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset, ReadOptions, open_dataset
from catclf.datasets.digests import digests_of
from catclf.errors import DataError, DivergedError, SettingsError
from catclf.features import class_of
from catclf.features.base import Phase, silent
from catclf.features.rows import prepare_folds
from catclf.machine import cores, require_memory
from catclf.maths import Floats, losses_and_errors, metrics
from catclf.maths.metrics import Counts, student_quantile
from catclf.maths.threads import Team, blas_threads
from catclf.samples import Indices, Labelled, Subset, possible_folds, stratified_folds
from catclf.settings import AUTO, Settings, require_sound
from catclf.text import printable
from catclf.training.crossval import Path, descents, objective_of, select
from catclf.training.objective import Weights, all_rows, class_weights, gram
from catclf.training.pipeline import score_shift

POINTS = 50  # of the curves
CONFIDENCE = 0.95
PIXEL_RATES = 0.01, 0.005, 0.001  # that are compared where none are given
FORMAT = "catclf-comparison"
PERCENT = ("accuracy", "balanced_accuracy")  # measures that are shown so
NAMES = {  # of measures, as shown
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
}
BALANCED = ("balanced_accuracy", "roc_auc")  # measures in which both classes weigh the same
_LEAST = {"iterations": 1, "folds": 2, "repeats": 1, "seed": 0}  # of a plan's numbers
_LARGEST = 10**9  # the largest number that a file may hold

Masks = NDArray[np.bool_]  # (divisions, m)
Penalty = float | str  # λ, or AUTO


@dataclass(frozen=True)
class Candidate:
    """One combination of settings.

    ``learning_rate`` None takes it to the optimum; ``l2`` may be AUTO then.
    """

    learning_rate: float | None = None
    l2: Penalty = 0.0
    features: str = "pixels"
    class_weight: str = "none"

    def __str__(self) -> str:
        parts = [] if self.features == "pixels" else [self.features]
        parts += [] if self.learning_rate is None else [f"α {self.learning_rate:g}"]
        parts += [f"λ {self.penalty}"] if self.l2 else []
        return ", ".join([*parts, *(["balanced"] if self.class_weight == "balanced" else [])])

    @property
    def penalty(self) -> str:
        """λ as text."""
        return self.l2 if isinstance(self.l2, str) else f"{self.l2:g}"

    def require_sound(self) -> None:
        """Raise SettingsError for what cannot be trained."""
        for name, value in vars(self).items():
            require_sound(name, value, Settings.__dataclass_fields__[name].metadata)
        optimal = self.l2 == AUTO or (self.learning_rate is None and float(self.l2) > 0)
        if self.features == AUTO or optimal != (self.learning_rate is None):
            raise SettingsError(
                f"`l2={self.penalty}` and `features={self.features}`: kinds of features are named; "
                "with a rate λ is a number, and without one above 0 or auto"
            )

    def settings(self) -> dict[str, str | float]:
        """The settings of ``catclf.train`` that train as this candidate did, without defaults."""
        plain, rate, found = self.features == "pixels", self.learning_rate, dict[str, str | float]()
        if not plain:
            found["features"] = self.features
        if self.class_weight != "none":
            found["class_weight"] = self.class_weight
        if rate is not None:
            # Features but pixels are trained by L-BFGS unless told otherwise.
            found |= {"learning_rate": rate} if plain else {"solver": "gd", "learning_rate": rate}
        elif plain and self.l2 != AUTO:
            found["solver"] = "lbfgs"
        if self.l2 != (0.0 if plain else AUTO):
            found["l2"] = self.l2
        return found


@dataclass(frozen=True)
class Plan:
    """The candidates, the folds, and the steps of each descent. Raises SettingsError."""

    candidates: tuple[Candidate, ...]
    iterations: int = 2000
    folds: int = 5
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.candidates or len(set(self.candidates)) < len(self.candidates):
            raise SettingsError("the settings to compare must be given, and differ")
        for candidate in self.candidates:
            candidate.require_sound()
        for name, low in _LEAST.items():
            require_sound(name, getattr(self, name), {"low": low})

    @property
    def descends(self) -> bool:
        """Whether any candidate has curves."""
        return any(candidate.learning_rate is not None for candidate in self.candidates)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the curves; none where no candidate descends."""
        every = max(1, self.iterations // POINTS)
        return (*range(0, self.iterations, every), self.iterations) if self.descends else ()


@dataclass(frozen=True)
class Result:
    """One candidate: its measures on each held-out fold, and its curves.

    ``scores`` maps each measure to (folds * repeats,) values; ``trained`` and ``held_out`` are the
    cost on training folds and the log loss on held-out folds at the plan's ``steps``, in nats per
    image, empty for a candidate that does not descend; ``diverged`` is the step at which the cost
    of a run left the finite, or None. ``penalties`` are those that were selected.
    """

    candidate: Candidate
    scores: dict[str, Floats]
    trained: tuple[float, ...] = ()
    held_out: tuple[float, ...] = ()
    diverged: int | None = None
    penalties: tuple[float, ...] = ()

    def mean(self, measure: str) -> float:
        """The mean over folds; NaN for a diverged candidate."""
        return float(self.scores[measure].mean())

    def std(self, measure: str) -> float:
        """The standard deviation between folds; NaN for a diverged candidate."""
        return float(self.scores[measure].std(ddof=1))

    def shown(self, measure: str) -> str:
        """The mean and the standard deviation between folds for people."""
        scale, digits, unit = (100, 1, " %") if measure in PERCENT else (1, 3, "")
        mean, std = scale * self.mean(measure), scale * self.std(measure)
        return f"{mean:z.{digits}f} ± {std:.{digits}f}{unit}"


@dataclass(frozen=True)
class Study:
    """What a plan was done on: images of a source, ``positives`` of them of class 1."""

    plan: Plan
    source: str
    images: int
    positives: int

    def interval(
        self, measure: str, values: Floats, chance: float = CONFIDENCE
    ) -> tuple[float, float]:
        """An interval of the mean of a measure's values (k,), one for each held-out fold.

        With Student's t and the variance corrected for training sets that overlap:
        (1/k + held out / trained) s² (Nadeau and Bengio, Machine Learning 52, 2003). The degrees
        are those of one division, for repeats share the images. s² is never below the variance of
        rounding to what one image of a fold changes: else two folds that differ by the same count
        of images are sure of it. Equal candidates are told apart in at most 6 % of comparisons
        (simulated in its tests).
        """
        k, folds, mean = len(values), self.plan.folds, float(values.mean())
        fewer = min(self.positives, self.images - self.positives)
        finest = folds / (2 * fewer if measure in BALANCED else self.images)
        variance = max(float(values.var(ddof=1)), finest**2 / 12)
        error = math.sqrt((1 / k + 1 / (folds - 1)) * variance)
        half = student_quantile(chance, folds - 1) * error
        return mean - half, mean + half


@dataclass(frozen=True)
class Comparison(Study):
    """All candidates on the same folds; ``dropped`` images were left out: they repeat others."""

    classes: tuple[str, str]
    dropped: int
    results: tuple[Result, ...]

    def best(self, measure: str) -> Result | None:
        """The candidate with the best mean, the first among equals; None if all diverged."""
        sound = [result for result in self.results if result.diverged is None]
        sign = 1.0 if measure == "log_loss" else -1.0
        return min(sound, key=lambda result: sign * result.mean(measure), default=None)

    def require_sound(self) -> None:
        """Raise DivergedError if every candidate diverged."""
        rates = [r.candidate.learning_rate for r in self.results if r.diverged is not None]
        if len(rates) == len(self.results):
            smallest = min(rate for rate in rates if rate is not None)
            raise DivergedError(
                f"{printable(self.source)}: every candidate diverged: try smaller learning rates, "
                f"as `learning_rate={smallest / 10:g}`"
            )

    def as_good(self, measure: str) -> list[Result]:
        """The candidates that these folds cannot tell from the best.

        By the interval of the differences on the same folds, at 5 % divided by the number of all
        pairs (Bonferroni), for which one is the best is only known afterwards.
        """
        best, found = self.best(measure), []
        others = [r for r in self.results if r is not best and r.diverged is None]
        for result in others:
            assert best is not None
            chance = 1 - (1 - CONFIDENCE) / math.comb(len(others) + 1, 2)
            differences = result.scores[measure] - best.scores[measure]
            low, high = self.interval(measure, differences, chance)
            if low <= 0 <= high:
                found.append(result)
        return found


@dataclass(frozen=True)
class LearningCurve(Study):
    """One candidate on nested subsets of the training images of each fold.

    ``scores`` maps each measure to (sizes, folds * repeats) values, on the same held-out images for
    every size.
    """

    sizes: tuple[int, ...]
    scores: dict[str, Floats]

    def gain(self, measure: str) -> tuple[float, tuple[float, float]]:
        """What the largest size is better than the one before it, with a 95 % interval."""
        differences = self.scores[measure][-1] - self.scores[measure][-2]
        return float(differences.mean()), self.interval(measure, differences)

    def to_dict(self, measure: str) -> dict[str, Any]:
        """Plain values for JSON, None where undefined."""
        gain, interval = self.gain(measure)
        sizes = []
        for i, size in enumerate(self.sizes):
            scores = {name: values[i] for name, values in self.scores.items()}
            sizes.append({"images": size} | _measured_to_dict(scores))
        return {
            "format": "catclf-learning-curve",
            "source": self.source,
            "by": measure,
            "settings": self.plan.candidates[0].settings(),
            **{name: getattr(self.plan, name) for name in ("folds", "repeats", "seed")},
            "sizes": sizes,
            "gain": _number(gain),
            "gain_interval": list(map(_number, interval)),
        }


# The divisions


def pool(parts: Sequence[Dataset]) -> Dataset:
    """Several data sets as one.

    Raises DataError if classes or sizes differ, or if all pixels and their Gram matrix do not fit
    into memory.
    """
    first, m = parts[0], sum(part.m for part in parts)
    require_memory(m * (8 * m + math.prod(first.images.shape[1:])), f"comparing on {m} images")
    groups, before = [], 0
    for part in parts:
        if (part.classes, part.size) != (first.classes, first.size):
            raise DataError(
                f"{printable(part.source)}: its images are {printable(' and '.join(part.classes))} "
                f"of {part.size} pixels a side, not like those of {printable(first.source)}"
            )
        own = np.full(part.m, -1) if part.groups is None else part.groups
        groups.append(np.where(own < 0, -1, own + before))  # those of two parts are never the same
        before += int(own.max(initial=-1)) + 1
    return replace(
        first,
        images=np.concatenate([part.images[:] for part in parts]),
        Y=np.concatenate([part.Y for part in parts], axis=1),
        source=" + ".join(part.source for part in parts),
        names=None,
        groups=np.concatenate(groups) if before else None,
    )


def rows_of(data: Dataset, rows: Indices) -> Dataset:
    """Only these rows of a data set in memory."""
    groups = None if data.groups is None else data.groups[rows]
    return replace(data, images=data.images[rows], Y=data.Y[:, rows], names=None, groups=groups)


def without_repeats(data: Dataset) -> Dataset:
    """The images that do not repeat an earlier one, pixel by pixel."""
    first = np.unique(digests_of(data.images).exact, return_index=True)[1]
    return data if len(first) == data.m else rows_of(data, np.sort(first))


def _held_out(data: Dataset, plan: Plan) -> tuple[Plan, Masks, Indices]:
    """The plan with the folds there are, what each division holds out, and what stays together.

    Those held out are (folds * repeats, m), groups (m,). Raises DataError for fewer images of a
    class than folds; there are fewer folds where there are fewer groups.
    """
    groups, advice = data.grouping(plan.folds).groups, "try `folds=2` or more images"
    few = possible_folds(data.Y, plan.folds) < plan.folds
    folds = plan.folds if few else max(possible_folds(data.Y, plan.folds, groups), 2)
    alike, seed, repeats = None if few else groups, plan.seed, plan.repeats
    fold_of = stratified_folds(
        data.Y, folds, seed, repeats, groups=alike, level=True, advice=advice
    )
    held = np.concatenate([fold == np.arange(folds)[:, None] for fold in fold_of])
    return replace(plan, folds=folds), held, groups


def cross_validate(
    data: Dataset, plan: Plan, dropped: int = 0, phase: Phase | None = None
) -> Comparison:
    """Cross-validate all candidates of a plan; images that are equal or similar stay together.

    The features of a division are learned without the images that it holds out. ``dropped`` is only
    passed on. Raises DataError if a class has too few images.
    """
    plan, held, groups = _held_out(data, plan)
    results = tuple(_Runs(data, plan, groups, ~held, held, phase).results())
    study = plan, data.source, data.m, int(data.Y.sum())
    return Comparison(*study, data.classes, dropped, results)


def learning_curve(
    data: Dataset, plan: Plan, sizes: Sequence[int], phase: Phase | None = None
) -> LearningCurve:
    """Train the one candidate of a plan on ever more images of each division's training part.

    Raises SettingsError for other sizes than growing ones, for more than one candidate, and
    DataError where there are fewer training images than the largest size.
    """
    if len(plan.candidates) != 1 or len(sizes) < 2 or list(sizes) != sorted(set(sizes)):
        raise SettingsError("`sizes` are two or more growing numbers, for one candidate alone")
    plan, held, groups = _held_out(data, plan)
    most = int((~held).sum(axis=1).min())
    if not 2 <= sizes[0] <= sizes[-1] <= most:
        raise DataError(
            f"sizes {sizes[0]} to {sizes[-1]}: each fold has 2 to {most} images to train on"
        )
    train = np.zeros((len(sizes), *held.shape), dtype=bool)
    for j, out in enumerate(held):
        order = _nested(data.Y, ~out, plan.seed + j)
        for i, size in enumerate(sizes):
            train[i, j, order[:size]] = True
    tested = np.tile(held, (len(sizes), 1))
    runs = _Runs(data, plan, groups, train.reshape(tested.shape), tested, phase)
    (result,) = runs.results()
    if result.diverged is not None:
        raise DivergedError(
            f"{printable(data.source)}: the run diverged: try a smaller learning rate"
        )
    scores = {name: values.reshape(len(sizes), -1) for name, values in result.scores.items()}
    return LearningCurve(plan, data.source, data.m, int(data.Y.sum()), tuple(sizes), scores)


def _nested(Y: Floats, kept: NDArray[np.bool_], seed: int) -> Indices:
    """An order of the kept images in which each beginning has the classes in proportion."""
    rng, places = np.random.default_rng(seed), np.full(Y.shape[1], np.inf)
    for label in (0.0, 1.0):
        rows = rng.permutation(np.flatnonzero(kept & (Y[0] == label)))
        places[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    return np.argsort(places, kind="stable")[: int(kept.sum())]


# Training


@dataclass(frozen=True)
class _Runs:
    """Each candidate on each division: trained on ``train`` (d, m), measured on ``tested``."""

    data: Dataset
    plan: Plan
    groups: Indices
    train: Masks
    tested: Masks
    phase: Phase | None

    def results(self) -> list[Result]:
        """Those of the candidates, in their order."""
        results: dict[Candidate, Result] = {}
        candidates = self.plan.candidates
        with blas_threads(1):
            for kind in dict.fromkeys(c.features for c in candidates):
                K = self._grams(kind)
                for weight in dict.fromkeys(c.class_weight for c in candidates):
                    v = class_weights(self.data.Y, weight)
                    some = [c for c in candidates if (c.features, c.class_weight) == (kind, weight)]
                    if rates := [c for c in some if c.learning_rate is not None]:
                        results |= zip(rates, self._descended(K, v, rates), strict=True)
                    optimal = [c for c in some if c.learning_rate is None]
                    results |= {c: self._optimal(K, v, c) for c in optimal}
        return [results[candidate] for candidate in candidates]

    def _grams(self, kind: str) -> list[Floats]:
        """K (m, m) of the pixels, or of each division's rows of features."""
        data, count = self.data, 1
        folds: Iterable[Labelled] = [data]
        if kind != "pixels":
            flip, seed, count = Settings(features=kind).mirrors, self.plan.seed, len(self.train)
            folds = prepare_folds(data, kind, ~self.train, flip=flip, seed=seed, phase=self.phase)
        require_memory(8 * data.m**2 * count, "the Gram matrices of all folds")
        return [gram(all_rows(each.images), Team(cores())) for each in folds]

    def _descended(
        self, K: list[Floats], v: Weights, candidates: Sequence[Candidate]
    ) -> list[Result]:
        """By descent, all side by side: column d * candidates + c is candidate c in division d."""
        count, total, d = len(candidates), self.plan.iterations, len(self.train)
        mask, out = (
            np.repeat(masks, count, axis=0).T.astype(np.float64)  # (m, columns)
            for masks in (self.train, self.tested)
        )
        rates = np.tile([c.learning_rate for c in candidates], d)
        l2 = np.tile([float(c.l2) for c in candidates], d)
        curves: list[tuple[Floats, Floats]] = []

        def over_folds(values: Floats, diverged: Indices) -> Floats:
            values = np.where(diverged >= 0, np.nan, values)
            return np.asarray(values.reshape(-1, count).mean(axis=0))

        steps = set(self.plan.steps)
        moving = descents(K, self.data.Y, mask, l2, v, lambda _: rates, total)
        with (self.phase or silent)("comparing") as show:
            for step, (Z, losses, costs, diverged) in enumerate(moving):  # noqa: B007
                if step in steps:
                    held_out = np.einsum("ij,ij->j", losses, out) / out.sum(axis=0)
                    curves.append((over_folds(costs, diverged), over_folds(held_out, diverged)))
                    show(step, total)
        trained, held = (np.array(each).T.tolist() for each in zip(*curves, strict=True))
        results = []
        for c, candidate in enumerate(candidates):
            lost = [step for step in diverged[c::count].tolist() if step >= 0]
            scores = self._measured(Z[:, c::count].T, v)
            if lost:
                scores = {name: np.full_like(values, np.nan) for name, values in scores.items()}
            first = min(lost, default=None)
            results.append(Result(candidate, scores, tuple(trained[c]), tuple(held[c]), first))
        return results

    def _optimal(self, K: list[Floats], v: Weights, candidate: Candidate) -> Result:
        """At the optimum, with a penalty that is given or selected on each training part alone."""
        Z, penalties, Y = np.zeros(self.train.shape), [], self.data.Y
        v = np.ones_like(Y) if v is None else v
        for d, kept in enumerate(self.train):
            used, k = np.flatnonzero(kept | self.tested[d]), K[d if len(K) > 1 else 0]
            l2 = candidate.l2
            if isinstance(l2, str):
                rows = np.flatnonzero(kept)
                data, inner = Subset(self.data, rows), k[np.ix_(rows, rows)]
                l2 = select(data, v[:, rows], self.plan.seed, K=inner, groups=self.groups[rows]).l2
                penalties.append(l2)
            inner, both = k[np.ix_(used, used)], Subset(self.data, used)
            objective = objective_of(both, v[:, used], inner, None)
            # There is one fold, and one model: of the images that are not tested.
            Z[d, used] = Path(objective, np.where(kept[used], -1, 0)).scores(l2)[0]
        return Result(candidate, self._measured(Z, v), penalties=tuple(penalties))

    def _measured(self, Z: Floats, v: Weights) -> dict[str, Floats]:
        """The measures of scores Z (d, m) on the images that each division tests.

        Probabilities are those of the data: what weights of classes add to scores is taken off.
        """
        Y, found = self.data.Y, []
        for z, out in zip(Z, self.tested, strict=True):
            scores, labels = z[None, out], Y[:, out]
            counts = Counts.of(scores > 0, labels > 0.5)
            loss = losses_and_errors(scores - score_shift(Y, v), labels)[0].mean()
            area = metrics.roc(scores, labels).auc
            found.append((counts.balanced_accuracy, counts.accuracy, area, loss))
        return dict(zip(NAMES, np.array(found).T, strict=True))


# JSON


def to_dict(comparison: Comparison, measure: str) -> dict[str, Any]:
    """A comparison as plain values for JSON, None where undefined; ``measure`` decides."""
    best, plan, results = comparison.best(measure), comparison.plan, comparison.results
    return {
        "format": FORMAT,
        "source": comparison.source,
        "classes": list(comparison.classes),
        "images": comparison.images,
        "positives": comparison.positives,
        "dropped": comparison.dropped,
        **{name: getattr(plan, name) for name in _LEAST},
        "by": measure,
        "take": results.index(best) if best else None,
        "as_good": [results.index(result) for result in comparison.as_good(measure)],
        "steps": list(plan.steps),
        "candidates": [
            {
                **asdict(result.candidate),
                "selected_l2": list(result.penalties),
                "diverged": result.diverged,
                **_measured_to_dict(result.scores),
                "training_cost": list(map(_number, result.trained)),
                "held_out_log_loss": list(map(_number, result.held_out)),
            }
            for result in results
        ],
    }


def _measured_to_dict(scores: dict[str, Floats]) -> dict[str, Any]:
    return {
        name: {
            "mean": _number(float(values.mean())),
            "std": _number(float(values.std(ddof=1))),
            "folds": list(map(_number, values.tolist())),
        }
        for name, values in scores.items()
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def from_json(content: bytes) -> tuple[Comparison, str]:
    """A comparison and the measure that decides, from the JSON of ``to_dict``.

    Raises DataError for any other content.
    """
    try:
        values = json.loads(content)
        if values["format"] != FORMAT or values["by"] not in NAMES:
            raise ValueError
        return _comparison(values), str(values["by"])
    except Exception as error:  # values of any type may be anywhere
        raise DataError("is not the JSON that catclf compare prints") from error


def _comparison(values: dict[str, Any]) -> Comparison:
    results = tuple(_result(entry) for entry in values["candidates"])
    candidates = tuple(result.candidate for result in results)
    plan = Plan(candidates, **{name: values[name] for name in _LEAST})
    for result in results:
        points = 0 if result.candidate.learning_rate is None else len(plan.steps)
        lengths = {len(scores) for scores in result.scores.values()}
        if lengths != {plan.folds * plan.repeats}:
            raise ValueError
        if not len(result.trained) == len(result.held_out) == points:
            raise ValueError
    negative, positive = map(str, values["classes"])
    m, positives, dropped = (int(values[name]) for name in ("images", "positives", "dropped"))
    sound = 0 < positives < m <= _LARGEST and plan.iterations <= _LARGEST
    if not sound or values["steps"] != list(plan.steps):
        raise ValueError
    study = plan, str(values["source"]), m, positives
    return Comparison(*study, (negative, positive), dropped, results)


def _result(entry: dict[str, Any]) -> Result:
    lists = (entry[key] for key in ("training_cost", "held_out_log_loss", "selected_l2"))
    trained, held_out, penalties = (tuple(_floats(values).tolist()) for values in lists)
    return Result(
        Candidate(**{name: entry[name] for name in Candidate.__dataclass_fields__}),
        {name: _floats(entry[name]["folds"]) for name in NAMES},
        trained,
        held_out,
        None if entry["diverged"] is None else int(entry["diverged"]),
        penalties,
    )


def _floats(values: list[float | None]) -> Floats:
    array = np.array([math.nan if value is None else float(value) for value in values])
    if (np.abs(array) > _LARGEST).any():
        raise ValueError
    return array


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
    return Plan(tuple(candidates), *numbers)


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
    kept = without_repeats(data) if distinct else data
    comparison = cross_validate(kept, plan, data.m - kept.m)
    comparison.require_sound()
    return to_dict(comparison, by)
