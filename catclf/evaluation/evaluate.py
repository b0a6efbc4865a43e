"""How good a model is on labelled images: scores, all measures of them, and suspect labels."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset, ReadOptions, open_dataset, open_for, open_source
from catclf.datasets.digests import count_kept, group_weights
from catclf.errors import DataError
from catclf.maths import Floats, logit, losses_and_errors, metrics, sigmoid
from catclf.maths.metrics import NONE, Counts
from catclf.model import Model
from catclf.samples import Indices
from catclf.text import counted, printable

SWAPPED_LEAST = 5  # images of each class, from which on labels may be said to be swapped
IDEAL = "0 where probabilities are right", "1; less where z is too sure"


@dataclass(frozen=True)
class Judged:
    """An image of a data set with its label: its row, and its file name or None."""

    index: int
    name: str | None
    label: str

    @property
    def display_name(self) -> str:
        """The name, or the row number, on one line."""
        return printable(self.name) if self.name is not None else f"image {self.index}"


@dataclass(frozen=True)
class Prediction(Judged):
    """An image with the class that is predicted, and the probability of the positive class."""

    predicted: str
    probability: float


@dataclass(frozen=True)
class Suspect(Judged):
    """An image whose label is doubted, with the probability of the ``other`` class.

    ``sure`` is False for images that the models have wrong, but not confidently so.
    """

    other: str
    probability: float
    sure: bool = True


def suspects(
    Z: Floats,
    Y: Floats,
    classes: tuple[str, str],
    names: Sequence[str] | None = None,
    rows: Indices | None = None,
) -> list[Suspect]:
    """The doubted labels of images with scores out of fold Z (1, k), the most doubted first.

    Y (1, k) are their labels, ``rows`` (k,) their places in the data set, whose images have
    ``names`` (m,). The rule is that of ``metrics.doubted``: of 2000 photographs of cats and dogs
    with 40 labels turned it finds four of five of these, and one of eighty labels that it names is
    right.
    """
    found = []
    for i, probability, sure in zip(
        *(each.tolist() for each in metrics.doubted(Z, Y)), strict=True
    ):
        row, label = i if rows is None else int(rows[i]), int(Y[0, i] > 0.5)
        name = names[row] if names is not None else None
        found.append(Suspect(row, name, classes[label], classes[1 - label], probability, sure))
    return found


def remembered(facts: dict[str, Any]) -> list[Suspect]:
    """The suspects that a model file names, as far as they are sound."""
    found, listed = [], facts.get("first")
    for each in listed if isinstance(listed, list) else []:
        match each:
            case [int(index), None | str() as name, str(label), str(other), float(probability)]:
                found.append(Suspect(index, name, label, other, probability))
    return found


@dataclass(frozen=True)
class Evaluation:
    """Scores Z (1, m) of images with labels Y (1, m), both float64, and all that follows from them.

    ``trained`` holds the numbers of positive and of all images that the model was trained on;
    ``seen`` is how many of these images those were, as far as the model knows. ``groups`` int64
    (m,) are equal for images that are copies of each other; intervals count groups. ``boundary`` is
    the score above which an image is positive, where ``threshold`` does not say it.
    """

    source: str
    classes: tuple[str, str]
    threshold: float
    Z: Floats
    Y: Floats
    names: tuple[str, ...] | None = None
    trained: tuple[int, int] = (0, 0)
    seen: int = 0
    boundary: float | None = None
    groups: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, model: Model, data: Dataset, threshold: float | None = None) -> Evaluation:
        """Score all images of a data set, in blocks, with its labels beside them.

        ``threshold`` is the probability above which the positive class is predicted (default: the
        model's). Raises ShapeError when the images do not have the model's size, and ModelError
        when scores are not finite.
        """
        training = model.training
        same = data.m == training.images and data.fingerprint == training.fingerprint
        return cls(
            source=data.source,
            classes=model.classes,
            threshold=model.threshold if threshold is None else threshold,
            Z=model.scores(data.images),
            Y=data.Y,
            names=data.names,
            trained=(training.positives, training.images),
            seen=data.m if same else count_kept(data.digests().exact, model.digests),
            boundary=model.boundary if threshold is None else None,
            groups=data.grouping().groups,
        )

    @cached_property
    def A(self) -> Floats:
        """Probabilities of the positive class, (1, m)."""
        return sigmoid(self.Z)

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """True where the predicted class is the positive one, (1, m)."""
        if self.boundary is not None:
            return np.greater(self.Z, self.boundary)
        return np.greater(self.A, self.threshold)

    @cached_property
    def counts(self) -> Counts:
        """The confusion matrix at the threshold."""
        return Counts.of(self.predicted, self.Y > 0.5)

    @cached_property
    def roc(self) -> metrics.Roc:
        return metrics.roc(self.Z, self.Y)

    @cached_property
    def losses(self) -> dict[str, Floats]:
        """The log loss and the squared error of the probability of each image, (m,), by key."""
        log_loss, _ = losses_and_errors(self.Z, self.Y)
        return {"log_loss": log_loss[0], "brier": np.square(self.A - self.Y)[0]}

    @cached_property
    def independent(self) -> NDArray[np.int64]:
        """The group of each image, numbered from 0, (m,)."""
        groups = np.arange(self.Z.shape[1]) if self.groups is None else self.groups
        return np.unique(groups, return_inverse=True)[1]

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals by key; see ``catclf.maths.metrics``. NaN where there is none."""
        groups, actual = self.independent, self.Y[0] > 0.5
        v = group_weights(groups)
        found = metrics.ratio_intervals(self.predicted[0], actual, v)
        found["roc_auc"] = metrics.auc_interval(self.Z, self.Y, v)
        found |= dict.fromkeys(["average_precision", *self.losses], NONE)
        if min(v[actual].sum(), v[~actual].sum()) >= metrics.BOOTSTRAP_LEAST:
            found["average_precision"] = metrics.precision_interval(self.Z, self.Y, groups)
            for (key, values), most in zip(self.losses.items(), (math.inf, 1.0), strict=True):
                found[key] = metrics.mean_interval(values, groups, largest=most)
        return found

    @property
    def positive_fraction(self) -> float:
        """The fraction of images whose label is the positive class."""
        return self.counts.positives / self.counts.total

    def predictions(self, correct: bool, count: int) -> list[Prediction]:
        """The ``count`` most confident correct or wrong predictions, the most confident first.

        Confidence is the distance of z from the boundary; equal ones keep their order.
        """
        predicted, actual = self.predicted[0], self.Y[0] > 0.5
        rows = np.flatnonzero((predicted == actual) == correct)
        boundary = logit(self.threshold) if self.boundary is None else self.boundary
        boundary = min(max(boundary, -1000.0), 1000.0)  # those of 0 and 1 are infinite
        order = np.argsort(-np.abs(self.Z[0, rows] - boundary), kind="stable")
        return [
            Prediction(
                row,
                self.names[row] if self.names else None,
                self.classes[int(actual[row])],
                self.classes[int(predicted[row])],
                float(self.A[0, row]),
            )
            for row in rows[order[:count]].tolist()
        ]

    def warnings(self) -> list[str]:
        """Reasons to trust the numbers less, each as one line."""
        lines, counts, name = [], self.counts, printable(self.source)
        positive = printable(self.classes[1])
        if self.seen:
            verb = "is" if self.seen == 1 else "are"
            lines.append(
                f"{name}: {self.seen} of its {counted(counts.total, 'image')} {verb} among those "
                "that the model was trained on: right predictions there prove nothing"
            )
        if not (counts.positives and counts.negatives):
            only = printable(self.classes[counts.positives > 0])
            lines.append(f"{name}: every image is {only}: most numbers need both classes")
        if self._looks_swapped():
            lines.append(
                f"{name}: ROC AUC {self.roc.auc:.3f} is far below chance: are its labels swapped? "
                f"{positive} is label 1 here (`classes` and `positive` name them)"
            )
        positives, images = self.trained
        before, now = positives / max(images, 1), self.positive_fraction
        if images and metrics.fractions_differ(before, images, now, counts.total):
            lines.append(
                f"class balance differs: {positive} was {100 * before:.1f} % in training and is "
                f"{100 * now:.1f} % here: prefer balanced accuracy and ROC AUC"
            )
        return lines

    def _looks_swapped(self) -> bool:
        """Whether luck alone gives so small a ROC AUC in less than 1 % of cases.

        One image of each group counts.
        """
        first = np.unique(self.independent, return_index=True)[1]
        Z, Y = self.Z[:, first], self.Y[:, first]
        enough = min(Y.sum(), len(first) - Y.sum()) >= SWAPPED_LEAST
        return bool(enough and metrics.auc_interval(Z, Y, deviations=metrics.NORMAL_99)[1] < 0.5)


@dataclass(frozen=True)
class Pair:
    """The difference of two models on the same images, which each both have scored.

    Of each group of copies the first image counts.
    """

    first: Evaluation
    second: Evaluation

    def __post_init__(self) -> None:
        if not np.array_equal(self.first.Y, self.second.Y):
            raise DataError(
                f"{printable(self.second.source)}: the models do not see the same images with the "
                "same labels, so they cannot be compared there"
            )

    def to_dict(self) -> dict[str, Any]:
        """The differences, second less first; None where they cannot be told."""
        both = self.first, self.second
        rows = np.unique(self.first.independent, return_index=True)[1]
        first, second = ((each.predicted == (each.Y > 0.5))[0, rows] for each in both)
        others, Z = (each.Z[:, rows] for each in both)
        area, error = metrics.auc_difference(Z, others, self.first.Y[:, rows])
        told = error > 0
        half = metrics.NORMAL_975 * error
        return {
            "images": len(rows),
            "accuracy": float(second.mean() - first.mean()),
            "only_first_right": int((first & ~second).sum()),
            "only_second_right": int((second & ~first).sum()),
            "accuracy_p": metrics.mcnemar(first, second),
            "roc_auc": _number(area),
            "roc_auc_interval": [area - half, area + half] if told else None,
            "roc_auc_p": math.erfc(abs(area) / error / math.sqrt(2)) if told else None,
        }


@dataclass(frozen=True)
class Measure:
    """One number: its key in JSON, its name for people, its value, and the majority baseline's.

    ``percent`` numbers are shown as such; ``note`` holds counts and the interval.
    """

    key: str
    name: str
    value: float
    baseline: float | None = None
    percent: bool = False
    note: str = ""

    def show(self, value: float | None) -> str:
        """The value as text; a dash for one that is not defined."""
        if value is None or math.isnan(value):
            return "–"
        return f"{100 * value:z.2f} %" if self.percent else f"{value:z.4f}"

    def noted(self, of: str | None, interval: tuple[float, float]) -> Measure:
        """This measure with a fraction's counts and the interval in its note, if there are any."""
        low, high = interval
        shown = f"{low:.4f} to {high:.4f}"
        if self.percent:
            shown = f"{100 * low:.1f} to {100 * high:.1f} %"
        between = "" if math.isnan(low) else f"95 % interval {shown}"
        return replace(self, note=", ".join(filter(None, (of, between))))


def measures(result: Evaluation) -> list[Measure]:
    """All measures in the order in which they are shown.

    The majority baseline is the best that a prediction which ignores the image can get: always the
    more frequent class, or as a probability always the fraction of positives in these very images.
    """
    counts, p, roc = result.counts, result.positive_fraction, result.roc
    entropy = sum(q * math.log(1 / q) for q in (p, 1 - p) if q > 0)
    log_loss, brier = (float(each.mean()) for each in result.losses.values())
    found = [
        Measure("accuracy", "accuracy", counts.accuracy, counts.majority, True),
        Measure("balanced_accuracy", "balanced accuracy", counts.balanced_accuracy, 0.5, True),
        Measure("precision", "precision", counts.precision, p, True),
        Measure("recall", "recall", counts.recall, None, True),
        Measure("f1", "F1", counts.f1, None, True),
        Measure("roc_auc", "ROC AUC", roc.auc, 0.5),
        Measure("average_precision", "average precision", roc.average_precision, p),
        Measure("log_loss", "log loss", log_loss, entropy),
        Measure("brier", "Brier score", brier, p * (1 - p)),
    ]
    of = {
        "accuracy": f"{counts.correct} of {counts.total}",
        "precision": f"{counts.tp} of {counts.tp + counts.fp}",
        "recall": f"{counts.tp} of {counts.positives}",
    }
    error = metrics.calibration_error(result.A, result.Y)
    intercept, slope = metrics.calibration_line(result.Z, result.Y)
    bins = "mean |predicted - observed|, ten bins"
    return [
        *(each.noted(of.get(each.key), result.intervals[each.key]) for each in found),
        Measure("calibration_error", "calibration error", error, note=bins),
        Measure("calibration_intercept", "  intercept of z", intercept, note=IDEAL[0]),
        Measure("calibration_slope", "  slope of z", slope, note=IDEAL[1]),
    ]


def to_dict(result: Evaluation, mistakes: int = 0) -> dict[str, Any]:
    """All results as plain values for JSON, None where undefined, and so many mistakes."""
    counts = result.counts
    positives, images = result.trained
    return {
        "source": result.source,
        "classes": list(result.classes),
        "threshold": result.threshold,
        "images": counts.total,
        "positives": counts.positives,
        "fraction": result.positive_fraction,
        "trained_on": result.seen,
        "training_fraction": positives / images if images else None,
        "groups": int(result.independent.max()) + 1,
        "confusion": asdict(counts),
        "intervals": {key: list(map(_number, ends)) for key, ends in result.intervals.items()},
        "majority": counts.majority,
        **{m.key: _number(m.value) for m in measures(result)},
        "mistakes": [asdict(wrong) for wrong in result.predictions(False, mistakes)],
        "warnings": result.warnings(),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


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
    return to_dict(Evaluation.of(model, data, threshold), mistakes)
