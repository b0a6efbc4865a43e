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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset
from catclf.datasets.digests import digests_of
from catclf.errors import DataError, DivergedError, SettingsError
from catclf.machine import cores, require_memory
from catclf.maths import Floats, metrics
from catclf.maths.metrics import Counts, student_quantile
from catclf.maths.threads import Team, blas_threads
from catclf.samples import Indices, Labelled
from catclf.settings import AUTO, CLASS_WEIGHTS, FEATURES
from catclf.splits import possible_folds, stratified_folds
from catclf.text import printable
from catclf.training.automatic import score_shift
from catclf.training.crossval import Descents, FoldGram, Path, select
from catclf.training.objective import GRAM_LIMIT, all_rows, class_weights, gram

POINTS = 50  # of the curves
CONFIDENCE = 0.95
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

Masks = NDArray[np.bool_]  # (divisions, m)
Penalty = float | str  # λ, or AUTO
# Rows of features of all images for each division, from what it holds out; None: the images.
Prepare = Callable[[str, Masks], Iterable[Labelled]]
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
        rate, l2 = self.learning_rate, self.l2
        for name, value, known in (
            ("features", self.features, FEATURES),
            ("class-weight", self.class_weight, CLASS_WEIGHTS),
        ):
            if value not in known:
                raise SettingsError(f"{name} {value!r}: use one of {', '.join(known)}")
        if isinstance(l2, str):
            sound = l2 == AUTO and rate is None
        else:
            sound = math.isfinite(l2) and l2 >= 0 and (rate is not None or l2 > 0)
        if not sound or not (rate is None or (math.isfinite(rate) and rate > 0)):
            shown = "no rate" if rate is None else f"rate {rate:g}"
            raise SettingsError(
                f"{shown} with l2 {self.penalty}: rates are > 0, penalties are >= 0, and without a "
                "rate they are > 0 or auto"
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
        return math.nan if self.diverged is not None else float(self.scores[measure].mean())

    def std(self, measure: str) -> float:
        """The standard deviation between folds; NaN for a diverged candidate."""
        return math.nan if self.diverged is not None else float(self.scores[measure].std(ddof=1))


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

        By Student's t of the differences on the same folds, at 5 % divided by the number of the
        others (Bonferroni); see ``interval_of_differences``.
        """
        best = self.best(measure)
        others = [r for r in self.results if r is not best and r.diverged is None]
        if best is None or not others:
            return []
        chance = 1 - (1 - CONFIDENCE) / len(others)

        def alike(result: Result) -> bool:
            differences = result.scores[measure] - best.scores[measure]
            low, high = interval_of_differences(differences, self.plan.folds, chance)
            return low <= 0 <= high

        return [result for result in others if alike(result)]


def interval_of_differences(
    values: Floats, folds: int, chance: float = CONFIDENCE
) -> tuple[float, float]:
    """An interval of the mean of values (k,), one for each held-out fold.

    With Student's t of k - 1 degrees and the variance corrected for training sets that overlap:
    (1/k + held out / trained) s² (Nadeau and Bengio, Machine Learning 52, 2003).
    """
    k, mean = len(values), float(values.mean())
    error = math.sqrt((1 / k + 1 / (folds - 1)) * float(values.var(ddof=1)))
    half = student_quantile(chance, k - 1) * error
    return mean - half, mean + half


@dataclass(frozen=True)
class LearningCurve:
    """One candidate on nested subsets of the training images of each fold.

    ``scores`` maps each of MEASURES to (sizes, folds * repeats) values, on the same held-out images
    for every size.
    """

    plan: Plan
    source: str
    sizes: tuple[int, ...]
    scores: dict[str, Floats]

    def gain(self, measure: str) -> tuple[float, tuple[float, float]]:
        """What the largest size is better than the one before it, with a 95 % interval."""
        differences = self.scores[measure][-1] - self.scores[measure][-2]
        return float(differences.mean()), interval_of_differences(differences, self.plan.folds)

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
                f"{printable(first.source)}: {_kind(part)}, not {_kind(first)}"
            )
    return replace(
        first,
        images=np.concatenate([part.images[:] for part in parts]),
        Y=np.concatenate([part.Y for part in parts], axis=1),
        source=" + ".join(part.source for part in parts),
        names=None,
        groups=_pooled_groups(parts),
    )


def _pooled_groups(parts: Sequence[Dataset]) -> Indices | None:
    """The groups of all parts, numbered anew: those of two parts are never the same."""
    if all(part.groups is None for part in parts):
        return None
    found, before = [], 0
    for part in parts:
        groups = np.full(part.m, -1) if part.groups is None else part.groups
        found.append(np.where(groups < 0, -1, groups + before))
        before += int(groups.max(initial=-1)) + 1
    return np.concatenate(found)


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


def _held_out(data: Labelled, plan: Plan, groups: Indices | None) -> tuple[Plan, Masks]:
    """What each division holds out (folds * repeats, m), and the plan with the folds there are."""
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
    return replace(plan, folds=folds), held


def compare(
    data: Labelled,
    plan: Plan,
    source: str = "",
    classes: tuple[str, str] = ("non-cat", "cat"),
    dropped: int = 0,
    on_progress: OnProgress | None = None,
    prepare: Prepare | None = None,
    groups: Indices | None = None,
) -> Comparison:
    """Cross-validate all candidates of a plan; images of one of ``groups`` (m,) stay together.

    ``prepare`` makes the rows of features for each division without the images that it holds out,
    so that no feature is learned from an image that it is evaluated on. ``on_progress`` is called
    with the curves' next point, POINTS times or so. ``source``, ``classes`` and ``dropped`` are
    only passed on. Raises DataError if a class has too few images.
    """
    plan, held = _held_out(data, plan, groups)
    runs = _run(data, plan, ~held, held, groups, prepare, on_progress)
    steps = _steps(plan) if plan.descends else ()
    positives = int(data.Y.sum())
    m = data.Y.shape[1]
    return Comparison(plan, source, classes, m, positives, dropped, tuple(steps), tuple(runs))


def learning_curve(
    data: Labelled,
    plan: Plan,
    sizes: Sequence[int],
    source: str = "",
    prepare: Prepare | None = None,
    groups: Indices | None = None,
) -> LearningCurve:
    """Train the one candidate of a plan on ever more images of each division's training part.

    Raises SettingsError for other sizes than growing ones, for more than one candidate, and
    DataError where there are fewer training images than the largest size.
    """
    if len(plan.candidates) != 1 or len(sizes) < 2 or list(sizes) != sorted(set(sizes)):
        raise SettingsError("`sizes` are two or more growing numbers, for one candidate alone")
    plan, held = _held_out(data, plan, groups)
    most = int((~held).sum(axis=1).min())
    if not 2 <= sizes[0] <= sizes[-1] <= most:
        raise DataError(
            f"sizes {sizes[0]} to {sizes[-1]}: each fold has 2 to {most} images to train on"
        )
    orders = [_nested(data.Y, ~out, plan.seed + number) for number, out in enumerate(held)]
    train = np.zeros((len(sizes), *held.shape), dtype=bool)
    for i, size in enumerate(sizes):
        for j, order in enumerate(orders):
            train[i, j, order[:size]] = True
    tested = np.tile(held, (len(sizes), 1))
    (result,) = _run(data, plan, train.reshape(tested.shape), tested, groups, prepare, None)
    if result.diverged is not None:
        raise DivergedError(f"{printable(source)}: the run diverged: try a smaller learning rate")
    scores = {name: values.reshape(len(sizes), -1) for name, values in result.scores.items()}
    return LearningCurve(plan, source, tuple(sizes), scores)


def _nested(Y: Floats, kept: NDArray[np.bool_], seed: int) -> Indices:
    """An order of the kept images in which each beginning has the classes in proportion."""
    rng, places = np.random.default_rng(seed), np.full(Y.shape[1], np.inf)
    for label in (0.0, 1.0):
        rows = rng.permutation(np.flatnonzero(kept & (Y[0] == label)))
        places[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    return np.argsort(places, kind="stable")[: int(kept.sum())]


# Training


def _run(
    data: Labelled,
    plan: Plan,
    train: Masks,
    tested: Masks,
    groups: Indices | None,
    prepare: Prepare | None,
    on_progress: OnProgress | None,
) -> list[Result]:
    """Each candidate on each division: trained on ``train`` (d, m), measured on ``tested``."""
    results: dict[Candidate, Result] = {}
    with blas_threads(1):
        for kind in dict.fromkeys(candidate.features for candidate in plan.candidates):
            rows = [data] if kind == "pixels" or prepare is None else prepare(kind, ~train)
            K = _grams(rows, len(train))
            here = [c for c in plan.candidates if c.features == kind]
            for weight in dict.fromkeys(c.class_weight for c in here):
                some = [c for c in here if c.class_weight == weight]
                rates = [c for c in some if c.learning_rate is not None]
                if rates:
                    found = _descended(K, data.Y, plan, rates, train, tested, on_progress)
                    results |= zip(rates, found, strict=True)
                for c in some:
                    if c.learning_rate is None:
                        results[c] = _optimal(K, data.Y, c, plan, train, tested, groups)
    return [results[candidate] for candidate in plan.candidates]


def _grams(sources: Iterable[Labelled], divisions: int) -> list[Floats]:
    """K (m, m) of each source."""
    team, matrices = Team(cores()), list[Floats]()
    for data in sources:
        if not matrices:
            m = len(data.images)
            count = 1 if isinstance(sources, list) else divisions
            require_memory(8 * m * m * count, "the Gram matrices of all folds")
        matrices.append(gram(all_rows(data.images), team))
    return matrices


def _steps(plan: Plan) -> list[int]:
    every = max(1, plan.iterations // POINTS)
    return [k for k in range(plan.iterations + 1) if k % every == 0 or k == plan.iterations]


def _descended(
    K: list[Floats],
    Y: Floats,
    plan: Plan,
    candidates: Sequence[Candidate],
    train: Masks,
    tested: Masks,
    on_progress: OnProgress | None,
) -> list[Result]:
    """By descent, all side by side: column d * candidates + c is candidate c in division d."""
    count, steps = len(candidates), set(_steps(plan))
    mask = np.repeat(train, count, axis=0).T.astype(np.float64)  # (m, columns)
    out = np.repeat(tested, count, axis=0).T.astype(np.float64)
    rates = np.tile([c.learning_rate for c in candidates], len(train)).reshape(1, -1)
    l2 = np.tile([float(c.l2) for c in candidates], len(train)).reshape(1, -1)
    v = class_weights(Y, candidates[0].class_weight)
    descents = Descents(K, Y, mask, l2, v)
    curves: list[tuple[Floats, Floats]] = []

    def over_folds(values: Floats) -> Floats:
        values = np.where(descents.diverged >= 0, np.nan, values)
        return np.asarray(values.reshape(-1, count).mean(axis=0))

    Z = np.zeros(mask.shape)
    for step, found in enumerate(descents.run(lambda _: rates, plan.iterations)):
        Z, losses, costs = found.Z, found.losses, found.costs
        if step in steps:
            held_out = np.einsum("ij,ij->j", losses, out) / out.sum(axis=0)
            curves.append((over_folds(costs[0]), over_folds(held_out)))
            if on_progress:
                on_progress(Progress(candidates, step, plan.iterations, *curves[-1]))
    results = []
    for c, candidate in enumerate(candidates):
        lost = descents.diverged[c::count]
        results.append(
            Result(
                candidate,
                _measured(Z[:, c::count].T, Y, tested, candidate.class_weight),
                trained=tuple(float(trained[c]) for trained, _ in curves),
                held_out=tuple(float(held_out[c]) for _, held_out in curves),
                diverged=int(lost[lost >= 0].min()) if (lost >= 0).any() else None,
            )
        )
    return results


class _Labels(NamedTuple):
    """What ``select`` needs beside K."""

    images: Any
    Y: Floats


def _optimal(
    K: list[Floats],
    Y: Floats,
    candidate: Candidate,
    plan: Plan,
    train: Masks,
    tested: Masks,
    groups: Indices | None,
) -> Result:
    """At the optimum, with a penalty that is given or selected on each training part alone."""
    Z, penalties = np.zeros(train.shape), []
    for d, kept in enumerate(train):
        used = np.flatnonzero(kept | tested[d])
        k = K[d if len(K) > 1 else 0]
        v = class_weights(Y, candidate.class_weight)
        v = np.ones_like(Y) if v is None else v
        l2 = candidate.l2
        if isinstance(l2, str):
            rows = np.flatnonzero(kept)
            some = None if groups is None else groups[rows]
            labels = _Labels(None, Y[:, rows])
            inner = k[np.ix_(rows, rows)]
            l2 = select(labels, v[:, rows], plan.seed, K=inner, groups=some).l2
            penalties.append(l2)
        fold_of = np.where(kept[used], 0, 1)  # the model of fold 1 is trained on fold 0
        objective = FoldGram(k[np.ix_(used, used)], Y[:, used], fold_of, v[:, used])
        Z[d, used] = Path(objective, fold_of).scores(float(l2))[0]
    scores = _measured(Z, Y, tested, candidate.class_weight)
    return Result(candidate, scores, penalties=tuple(penalties))


def _measured(Z: Floats, Y: Floats, tested: Masks, class_weight: str) -> dict[str, Floats]:
    """MEASURES of scores Z (d, m) on the images that each division tests.

    Probabilities are those of the data: what weights of classes add to each score is taken off.
    """
    shift = score_shift(Y, class_weight)
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for z, out in zip(Z, tested, strict=True):
        scores, labels = z[None, out], Y[:, out]
        counts = Counts.of(scores > 0, labels > 0.5)
        found["accuracy"].append(counts.accuracy)
        found["balanced_accuracy"].append(counts.balanced_accuracy)
        found["roc_auc"].append(metrics.roc(scores, labels).auc)
        found["log_loss"].append(metrics.log_loss(scores - shift, labels))
    return {name: np.array(values) for name, values in found.items()}


def _kind(data: Dataset) -> str:
    names = " and ".join(printable(name) for name in data.classes)
    return f"{names} of {data.size}x{data.size}"


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
    lost = result.diverged is not None
    measured = {
        name: _measured_to_dict(np.full_like(values, np.nan) if lost else values)
        | {"folds": [_number(value) for value in values.tolist()]}
        for name, values in result.scores.items()
    }
    candidate = result.candidate
    return {
        "features": candidate.features,
        "learning_rate": candidate.learning_rate,
        "l2": candidate.l2,
        "class_weight": candidate.class_weight,
        "selected_l2": list(result.penalties),
        "diverged": result.diverged,
        **measured,
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
