"""Cross-validation of settings: candidates on the same folds, and learning curves.

Each candidate is trained on the same divisions of the images, and measured on those held out.
Candidates with a learning rate descend on the Gram matrix K = XᵀX, a column for each division (see
``catclf.training.crossval.Descents``); the others are taken to the optimum, as L-BFGS takes what
``train`` trains, with a penalty that is given or selected on the training images of each division.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset
from catclf.datasets.digests import digests_of
from catclf.errors import DataError, DivergedError, SettingsError
from catclf.machine import cores, require_memory
from catclf.maths import Floats, metrics
from catclf.maths.metrics import Counts, student_quantile
from catclf.maths.threads import Team, blas_threads
from catclf.samples import Indices, Labelled, Subset
from catclf.settings import AUTO, Settings, require_sound
from catclf.splits import possible_folds, stratified_folds
from catclf.text import printable
from catclf.training.automatic import score_shift
from catclf.training.crossval import Descents, FoldGram, Path, select
from catclf.training.kernels import Weights
from catclf.training.objective import GRAM_LIMIT, all_rows, class_weights, gram

if TYPE_CHECKING:
    from catclf.features.base import Phase

POINTS = 50  # of the curves
CONFIDENCE = 0.95
_LARGEST = 10**9  # the largest number that a file may hold
FORMAT = "catclf-comparison"
MEASURES = ("accuracy", "balanced_accuracy", "roc_auc", "log_loss")
NAMES = {  # as shown
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
}

Masks = NDArray[np.bool_]  # (divisions, m)
Penalty = float | str  # λ, or AUTO
OnProgress = Callable[["Progress"], None]


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
        found: dict[str, str | float] = {}
        if self.features != "pixels":
            found["features"] = self.features
        if self.class_weight != "none":
            found["class_weight"] = self.class_weight
        if self.learning_rate is not None:
            if self.features != "pixels":  # where L-BFGS trains unless told otherwise
                found["solver"] = "gd"
            found["learning_rate"] = self.learning_rate
        elif self.features == "pixels" and self.l2 != AUTO:
            found["solver"] = "lbfgs"
        if self.l2 if self.features == "pixels" else self.l2 != AUTO:
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
        for name, value, minimum in (
            ("iterations", self.iterations, 1),
            ("folds", self.folds, 2),
            ("repeats", self.repeats, 1),
            ("seed", self.seed, 0),
        ):
            if value < minimum:
                raise SettingsError(f"{name} {value} is too small: {minimum} or more is needed")

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the curves."""
        every = max(1, self.iterations // POINTS)
        return (*range(0, self.iterations, every), self.iterations)

    @property
    def descends(self) -> bool:
        """Whether any candidate has curves."""
        return any(candidate.learning_rate is not None for candidate in self.candidates)


class Progress(NamedTuple):
    """The progress of a descent: after ``step`` of ``total``, means over folds, by candidate."""

    candidates: Sequence[Candidate]
    step: int
    total: int
    trained: Floats  # (candidates,) cost on the training folds
    held_out: Floats  # (candidates,) log loss on the held-out folds


@dataclass(frozen=True)
class Result:
    """One candidate: its measures on each held-out fold, and its curves.

    ``scores`` maps each of MEASURES to (folds * repeats,) values; ``trained`` and ``held_out`` are
    the cost on training folds and the log loss on held-out folds at the comparison's ``steps``, in
    nats per image, empty for a candidate that does not descend; ``diverged`` is the step at which
    the cost of a run left the finite, or None. ``penalties`` are those that were selected.
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


@dataclass(frozen=True)
class Comparison:
    """All candidates on the same folds; ``steps`` are those of the curves."""

    plan: Plan
    source: str
    classes: tuple[str, str]
    images: int
    positives: int
    dropped: int  # images left out because they repeat others
    steps: tuple[int, ...]
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

        By Student's t of the differences on the same folds, at 5 % divided by the number of all
        pairs (Bonferroni), for which one is the best is only known afterwards; see ``interval_of``.
        """
        best = self.best(measure)
        others = [r for r in self.results if r is not best and r.diverged is None]
        if best is None:
            return []
        chance = 1 - (1 - CONFIDENCE) / math.comb(len(others) + 1, 2) if others else CONFIDENCE

        def alike(result: Result) -> bool:
            differences = result.scores[measure] - best.scores[measure]
            finest = finest_of(measure, self.images, self.positives, self.plan.folds)
            low, high = interval_of(differences, self.plan.folds, finest, chance)
            return low <= 0 <= high

        return [result for result in others if alike(result)]


def finest_of(measure: str, images: int, positives: int, folds: int) -> float:
    """By how much one image of a fold can change a measure there."""
    balanced = measure in ("balanced_accuracy", "roc_auc")
    return folds / (2 * min(positives, images - positives) if balanced else images)


def interval_of(
    values: Floats, folds: int, finest: float, chance: float = CONFIDENCE
) -> tuple[float, float]:
    """An interval of the mean of values (k,), one for each held-out fold.

    With Student's t and the variance corrected for training sets that overlap:
    (1/k + held out / trained) s² (Nadeau and Bengio, Machine Learning 52, 2003). The degrees are
    those of one division, for repeats share the images. s² is never below the variance of rounding
    to ``finest``: else two folds that differ by the same count of images are sure of it.
    Equal candidates are told apart in at most 6 % of comparisons (simulated in its tests).
    """
    k, mean = len(values), float(values.mean())
    variance = max(float(values.var(ddof=1)), finest**2 / 12)
    error = math.sqrt((1 / k + 1 / (folds - 1)) * variance)
    half = student_quantile(chance, folds - 1) * error
    return mean - half, mean + half


@dataclass(frozen=True)
class LearningCurve:
    """One candidate on nested subsets of the training images of each fold.

    ``scores`` maps each of MEASURES to (sizes, folds * repeats) values, on the same held-out images
    for every size, which are ``images`` in all.
    """

    plan: Plan
    source: str
    images: int
    positives: int
    sizes: tuple[int, ...]
    scores: dict[str, Floats]

    def interval(self, measure: str, values: Floats) -> tuple[float, float]:
        """A 95 % interval of the mean of values (folds * repeats,) of a measure."""
        finest = finest_of(measure, self.images, self.positives, self.plan.folds)
        return interval_of(values, self.plan.folds, finest)

    def gain(self, measure: str) -> tuple[float, tuple[float, float]]:
        """What the largest size is better than the one before it, with a 95 % interval."""
        differences = self.scores[measure][-1] - self.scores[measure][-2]
        return float(differences.mean()), self.interval(measure, differences)

    def to_dict(self, measure: str) -> dict[str, Any]:
        """Plain values for JSON, None where undefined."""
        gain, interval = self.gain(measure)
        return {
            "format": "catclf-learning-curve",
            "source": self.source,
            "by": measure,
            "settings": self.plan.candidates[0].settings(),
            "folds": self.plan.folds,
            "repeats": self.plan.repeats,
            "seed": self.plan.seed,
            "sizes": [
                {"images": size}
                | {name: _measured_to_dict(self.scores[name][i]) for name in MEASURES}
                for i, size in enumerate(self.sizes)
            ],
            "gain": _number(gain),
            "gain_interval": [_number(end) for end in interval],
        }


# The divisions


def pool(parts: Sequence[Dataset]) -> Dataset:
    """Several data sets as one.

    Cross-validation holds all pixels in memory, so the number of images is checked first. Raises
    DataError if classes or sizes differ, or for too many images.
    """

    def kind(data: Dataset) -> str:
        names = " and ".join(printable(name) for name in data.classes)
        return f"{names} of {data.size}x{data.size}"

    first, m = parts[0], sum(part.m for part in parts)
    if m > GRAM_LIMIT:
        raise DataError(
            f"{m} images are too many to compare on: up to {GRAM_LIMIT} fit: take a part, as "
            "catclf data split makes"
        )
    for part in parts[1:]:
        if part.classes != first.classes or part.size != first.size:
            raise DataError(
                f"{printable(part.source)}: its images are not like those of "
                f"{printable(first.source)}: {kind(part)}, not {kind(first)}"
            )
    groups, before = [], 0
    for part in parts:  # those of two parts are never the same
        own = np.full(part.m, -1) if part.groups is None else part.groups
        groups.append(np.where(own < 0, -1, own + before))
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
    if len(rows) == data.m:
        return data
    groups = None if data.groups is None else data.groups[rows]
    return replace(data, images=data.images[rows], Y=data.Y[:, rows], names=None, groups=groups)


def distinct(data: Dataset) -> Dataset:
    """The images that do not repeat an earlier one, pixel by pixel."""
    first = np.unique(digests_of(data.images).exact, return_index=True)[1]
    return rows_of(data, np.sort(first))


def _held_out(data: Dataset, plan: Plan) -> tuple[Plan, Masks, Indices]:
    """The plan with the folds there are, what each division holds out, and what stays together.

    Those held out are (folds * repeats, m), groups (m,).
    """
    groups = data.grouping(plan.folds).groups
    folds = possible_folds(data.Y, plan.folds, groups)
    fewest = int(min(data.Y.sum(), (1 - data.Y).sum()))
    if fewest < plan.folds:
        raise DataError(
            f"cross-validation needs {plan.folds} images of each class, one has {fewest}: "
            "try `folds=2` or more images"
        )
    if folds < 2:
        raise DataError("comparing needs two groups of images of each class: use more images")
    fold_of = stratified_folds(data.Y, folds, plan.seed, plan.repeats, groups=groups, level=True)
    held = np.concatenate([fold == np.arange(folds)[:, None] for fold in fold_of])
    return replace(plan, folds=folds), held, groups


def compare(
    data: Dataset,
    plan: Plan,
    dropped: int = 0,
    on_progress: OnProgress | None = None,
    phase: Phase | None = None,
) -> Comparison:
    """Cross-validate all candidates of a plan; images that are equal or similar stay together.

    The features of a division are learned without the images that it holds out. ``on_progress`` is
    called with the curves' next point, POINTS times or so; ``dropped`` is only passed on. Raises
    DataError if a class has too few images.
    """
    plan, held, groups = _held_out(data, plan)
    results = _Runs(data, plan, groups, ~held, held, on_progress, phase).results()
    steps = plan.steps if plan.descends else ()
    known = data.source, data.classes, data.m, int(data.Y.sum()), dropped
    return Comparison(plan, *known, steps, tuple(results))


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
    runs = _Runs(data, plan, groups, train.reshape(tested.shape), tested, None, phase)
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
    on_progress: OnProgress | None
    phase: Phase | None

    def results(self) -> list[Result]:
        """Those of the candidates, in their order."""
        results: dict[Candidate, Result] = {}
        candidates = self.plan.candidates
        with blas_threads(1):
            for kind in dict.fromkeys(c.features for c in candidates):
                K = self._grams(kind)
                here = [c for c in candidates if c.features == kind]
                for weight in dict.fromkeys(c.class_weight for c in here):
                    v = class_weights(self.data.Y, weight)
                    some = [c for c in here if c.class_weight == weight]
                    if rates := [c for c in some if c.learning_rate is not None]:
                        results |= zip(rates, self._descended(K, v, rates), strict=True)
                    for c in some:
                        if c.learning_rate is None:
                            results[c] = self._optimal(K, v, c)
        return [results[candidate] for candidate in candidates]

    def _grams(self, kind: str) -> list[Floats]:
        """K (m, m) of the pixels, or of each division's rows of features."""
        from catclf.features.rows import prepare_folds

        data, flip = self.data, Settings(features=kind).mirrors
        sources: Iterable[Labelled] = [data]
        if kind != "pixels":
            sources = prepare_folds(
                data, kind, ~self.train, flip=flip, seed=self.plan.seed, phase=self.phase
            )
        count = 1 if kind == "pixels" else len(self.train)
        require_memory(8 * data.m**2 * count, "the Gram matrices of all folds")
        return [gram(all_rows(each.images), Team(cores())) for each in sources]

    def _descended(
        self, K: list[Floats], v: Weights, candidates: Sequence[Candidate]
    ) -> list[Result]:
        """By descent, all side by side: column d * candidates + c is candidate c in division d."""
        count, steps, d = len(candidates), set(self.plan.steps), len(self.train)
        mask, out = (
            np.repeat(masks, count, axis=0).T.astype(np.float64)  # (m, columns)
            for masks in (self.train, self.tested)
        )
        rates = np.tile([c.learning_rate for c in candidates], d).reshape(1, -1)
        l2 = np.tile([float(c.l2) for c in candidates], d).reshape(1, -1)
        descents = Descents(K, self.data.Y, mask, l2, v)
        curves: list[tuple[Floats, Floats]] = []

        def over_folds(values: Floats) -> Floats:
            values = np.where(descents.diverged >= 0, np.nan, values)
            return np.asarray(values.reshape(-1, count).mean(axis=0))

        Z = np.zeros(mask.shape)
        for step, found in enumerate(descents.run(lambda _: rates, self.plan.iterations)):
            Z = found.Z
            if step in steps:
                held_out = np.einsum("ij,ij->j", found.losses, out) / out.sum(axis=0)
                curves.append((over_folds(found.costs[0]), over_folds(held_out)))
                if self.on_progress:
                    total = self.plan.iterations
                    self.on_progress(Progress(candidates, step, total, *curves[-1]))
        trained, held = (np.array(each).T.tolist() for each in zip(*curves, strict=True))
        results = []
        for c, candidate in enumerate(candidates):
            lost = descents.diverged[c::count]
            diverged = int(lost[lost >= 0].min()) if (lost >= 0).any() else None
            scores = self._measured(Z[:, c::count].T, v)
            if diverged is not None:
                scores = {name: np.full_like(values, np.nan) for name, values in scores.items()}
            results.append(Result(candidate, scores, tuple(trained[c]), tuple(held[c]), diverged))
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
            fold_of = np.where(kept[used], 0, 1)  # the model of fold 1 is trained on fold 0
            objective = FoldGram(k[np.ix_(used, used)], Y[:, used], fold_of, v[:, used])
            Z[d, used] = Path(objective, fold_of).scores(l2)[0]
        return Result(candidate, self._measured(Z, v), penalties=tuple(penalties))

    def _measured(self, Z: Floats, v: Weights) -> dict[str, Floats]:
        """MEASURES of scores Z (d, m) on the images that each division tests.

        Probabilities are those of the data: what weights of classes add to scores is taken off.
        """
        Y, found = self.data.Y, []
        for z, out in zip(Z, self.tested, strict=True):
            scores, labels = z[None, out], Y[:, out]
            counts = Counts.of(scores > 0, labels > 0.5)
            loss = metrics.log_loss(scores - score_shift(Y, v), labels)
            area = metrics.roc(scores, labels).auc
            found.append((counts.accuracy, counts.balanced_accuracy, area, loss))
        return dict(zip(MEASURES, np.array(found).T, strict=True))


# JSON


def to_dict(comparison: Comparison, measure: str) -> dict[str, Any]:
    """A comparison as plain values for JSON, None where undefined; ``measure`` decides."""
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
        "by": measure,
        "take": comparison.results.index(best) if best else None,
        "as_good": [comparison.results.index(result) for result in comparison.as_good(measure)],
        "steps": list(comparison.steps),
        "candidates": [_result_to_dict(result) for result in comparison.results],
    }


def _result_to_dict(result: Result) -> dict[str, Any]:
    candidate = result.candidate
    return {
        "features": candidate.features,
        "learning_rate": candidate.learning_rate,
        "l2": candidate.l2,
        "class_weight": candidate.class_weight,
        "selected_l2": list(result.penalties),
        "diverged": result.diverged,
        **{name: _measured_to_dict(values) for name, values in result.scores.items()},
        "training_cost": [_number(value) for value in result.trained],
        "held_out_log_loss": [_number(value) for value in result.held_out],
    }


def _measured_to_dict(values: Floats) -> dict[str, Any]:
    return {
        "mean": _number(float(values.mean())),
        "std": _number(float(values.std(ddof=1))),
        "folds": [_number(value) for value in values.tolist()],
    }


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
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
        SettingsError,
    ) as error:
        raise DataError("is not the JSON that catclf compare prints") from error


def _comparison(values: dict[str, Any]) -> Comparison:
    """Raises ValueError, TypeError, KeyError, OverflowError or SettingsError for odd values."""
    results = tuple(_result(entry) for entry in values["candidates"])
    plan = Plan(
        tuple(result.candidate for result in results),
        **{name: int(values[name]) for name in ("iterations", "folds", "repeats", "seed")},
    )
    negative, positive = map(str, values["classes"])
    m, positives, dropped = (int(values[name]) for name in ("images", "positives", "dropped"))
    steps = tuple(map(int, values["steps"]))
    for result in results:
        lengths = {len(scores) for scores in result.scores.values()}
        curves = {len(result.trained), len(result.held_out)}
        points = 0 if result.candidate.learning_rate is None else len(steps)
        if lengths != {plan.folds * plan.repeats} or curves != {points}:
            raise ValueError
    sound = 0 <= positives <= m and 0 < m <= _LARGEST and plan.iterations <= _LARGEST
    if not sound or bool(steps) != plan.descends:
        raise ValueError
    if steps and (min(steps) < 0 or max(steps) > plan.iterations):
        raise ValueError
    source = str(values["source"])
    return Comparison(plan, source, (negative, positive), m, positives, dropped, steps, results)


def _result(entry: dict[str, Any]) -> Result:
    rate, l2 = entry["learning_rate"], entry["l2"]
    candidate = Candidate(
        None if rate is None else float(rate),
        AUTO if l2 == AUTO else float(l2),
        str(entry["features"]),
        str(entry["class_weight"]),
    )
    return Result(
        candidate,
        {name: _floats(entry[name]["folds"]) for name in MEASURES},
        trained=tuple(_floats(entry["training_cost"]).tolist()),
        held_out=tuple(_floats(entry["held_out_log_loss"]).tolist()),
        diverged=None if entry["diverged"] is None else int(entry["diverged"]),
        penalties=tuple(_floats(entry["selected_l2"]).tolist()),
    )


def _floats(values: list[float | None]) -> Floats:
    array = np.array([math.nan if value is None else float(value) for value in values])
    if (np.abs(array) > _LARGEST).any():
        raise ValueError
    return array
