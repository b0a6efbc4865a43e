"""One model on labelled images: scores, and every measure derived from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset
from catclf.datasets.digests import count_kept, group_weights
from catclf.errors import DataError
from catclf.maths import Floats, logit, metrics, sigmoid
from catclf.maths.metrics import NONE, Counts, Weighted, fractions_differ
from catclf.model import Model
from catclf.text import counted, printable

SWAPPED = 0.01  # chance of so small a ROC AUC below which labels are probably swapped
SWAPPED_LEAST = 5  # images of each class
IDEAL = "0 where probabilities are right", "1; less where z is too sure"


@dataclass(frozen=True)
class Prediction:
    """One image with its label and the predicted class.

    ``index`` is its row, ``name`` its file name, or None where images have none; ``probability``
    is that of the positive class.
    """

    index: int
    name: str | None
    label: str
    predicted: str
    probability: float

    @property
    def shown(self) -> str:
        """The name, or the row number, on one line."""
        return printable(self.name) if self.name is not None else f"image {self.index}"


@dataclass(frozen=True)
class Evaluation:
    """Scores Z (1, m) of images with labels Y (1, m), both float64, and all that follows from them.

    ``trained`` holds the numbers of positive and of all images that the model was trained on;
    ``seen`` is how many of these images those were, as far as the model knows. ``groups`` int64
    (m,) are equal for images that are copies of each other; intervals count groups.
    """

    source: str
    classes: tuple[str, str]
    threshold: float
    Z: Floats
    Y: Floats
    names: tuple[str, ...] | None = None
    trained: tuple[int, int] = (0, 0)
    seen: int = 0
    boundary: float | None = None  # the score above which an image is positive, if not by threshold
    groups: NDArray[np.int64] | None = None

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
    def log_loss(self) -> float:
        return metrics.log_loss(self.Z, self.Y)

    @cached_property
    def brier(self) -> float:
        return metrics.brier(self.A, self.Y)

    @cached_property
    def calibration(self) -> tuple[float, float]:
        """Intercept and slope of the log odds on z."""
        return metrics.calibration_line(self.Z, self.Y)

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
        found = Weighted.of(self.predicted[0], actual, v).intervals()
        found["roc_auc"] = metrics.auc_interval(self.Z, self.Y, v)
        enough = min(v[actual].sum(), v[~actual].sum()) >= metrics.BOOTSTRAP_LEAST
        losses, squares = metrics.image_losses(self.Z, self.Y), np.square(self.A - self.Y)[0]
        return found | {
            "average_precision": metrics.precision_interval(self.Z, self.Y, groups)
            if enough
            else NONE,
            "log_loss": metrics.mean_interval(losses, groups) if enough else NONE,
            "brier": metrics.mean_interval(squares, groups, largest=1.0) if enough else NONE,
        }

    @property
    def positive_fraction(self) -> float:
        """The fraction of images whose label is the positive class."""
        return self.counts.positives / self.counts.total

    @property
    def majority(self) -> str:
        """The name of the more frequent class."""
        return self.classes[int(self.counts.positives > self.counts.negatives)]

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
                index=row,
                name=self.names[row] if self.names else None,
                label=self.classes[int(actual[row])],
                predicted=self.classes[int(predicted[row])],
                probability=float(self.A[0, row]),
            )
            for row in rows[order[:count]].tolist()
        ]

    def warnings(self) -> list[str]:
        """Reasons to trust the numbers less, each as one line."""
        lines = []
        if self.seen:
            verb = "is" if self.seen == 1 else "are"
            lines.append(
                f"{printable(self.source)}: {self.seen} of its "
                f"{counted(self.counts.total, 'image')} {verb} among those that the model was "
                "trained on: right predictions there prove nothing"
            )
        if self.counts.positives == 0 or self.counts.negatives == 0:
            only = printable(self.majority)
            lines.append(
                f"{printable(self.source)}: every image is {only}: most numbers need both classes"
            )
        if self._looks_swapped():
            lines.append(
                f"{printable(self.source)}: ROC AUC {self.roc.auc:.3f} is far below chance: are "
                f"its labels swapped? {printable(self.classes[1])} is label 1 here "
                "(`classes` and `positive` name them)"
            )
        positives, images = self.trained
        if images and fractions_differ(positives, images, self.counts):
            name = printable(self.classes[1])
            before, now = 100 * positives / images, 100 * self.positive_fraction
            lines.append(
                f"class balance differs: {name} was {before:.1f} % in training and is {now:.1f} % "
                "here: prefer balanced accuracy and ROC AUC"
            )
        return lines

    def _looks_swapped(self) -> bool:
        """Whether luck alone hardly gives so small a ROC AUC; one image of each group counts."""
        first = np.unique(self.independent, return_index=True)[1]
        Z, Y = self.Z[:, first], self.Y[:, first]
        if min(Y.sum(), len(first) - Y.sum()) < SWAPPED_LEAST or not self.roc.auc < 0.5:
            return False
        return metrics.rank_test(Z, Y) < SWAPPED


def evaluate(model: Model, data: Dataset, threshold: float | None = None) -> Evaluation:
    """Score all images of a data set, in blocks, and compare the predictions with its labels.

    ``threshold`` is the probability above which the positive class is predicted (default: the
    model's).
    Raises ShapeError when the images do not have the model's size, and ModelError when scores
    are not finite.
    """
    training = model.training
    return Evaluation(
        source=data.source,
        classes=model.classes,
        threshold=model.threshold if threshold is None else threshold,
        Z=model.scores(data.images),
        Y=data.Y,
        names=data.names,
        trained=(training.positives, training.images),
        seen=_seen(model, data),
        boundary=model.boundary if threshold is None else None,
        groups=data.grouping().groups,
    )


def _seen(model: Model, data: Dataset) -> int:
    """How many images the model was trained on, by the digests that it keeps."""
    same = data.m == model.training.images and data.fingerprint == model.training.fingerprint
    return data.m if same else count_kept(data.digests().exact, model.digests)


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

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """The images that count."""
        return np.unique(self.first.independent, return_index=True)[1]

    @cached_property
    def right(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where each model's prediction is right, (k,)."""
        both = (self.first, self.second)
        one, other = ((each.predicted == (each.Y > 0.5))[0, self.rows] for each in both)
        return one, other

    def to_dict(self) -> dict[str, Any]:
        """The differences, second less first; None where they cannot be told."""
        first, second = self.right
        Z, others, Y = (E[:, self.rows] for E in (self.second.Z, self.first.Z, self.first.Y))
        area, error = metrics.auc_difference(Z, others, Y)
        told = error > 0
        half = metrics.NORMAL_975 * error
        return {
            "images": len(first),
            "accuracy": float(second.mean() - first.mean()),
            "only_first_right": int((first & ~second).sum()),
            "only_second_right": int((second & ~first).sum()),
            "accuracy_p": metrics.mcnemar(first, second),
            "roc_auc": None if math.isnan(area) else area,
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
    percent: bool = True
    note: str = ""

    def show(self, value: float | None) -> str:
        """The value as text; a dash for one that is not defined."""
        if value is None or math.isnan(value):
            return "–"
        return f"{100 * value:z.2f} %" if self.percent else f"{value:z.4f}"

    def noted(self, of: str | None, interval: tuple[float, float]) -> str:
        """A fraction's counts and the interval, where there are any."""
        low, high = interval
        shown = (
            f"{100 * low:.1f} to {100 * high:.1f} %" if self.percent else f"{low:.4f} to {high:.4f}"
        )
        between = "" if math.isnan(low) else f"95 % interval {shown}"
        return ", ".join(filter(None, (of, between)))


def measures(result: Evaluation) -> list[Measure]:
    """All measures in the order in which they are shown.

    The majority baseline is the best that a prediction which ignores the image can get: always the
    more frequent class, or as a probability always the fraction of positives in these very images.
    """
    counts, p = result.counts, result.positive_fraction
    entropy = sum(q * math.log(1 / q) for q in (p, 1 - p) if q > 0)
    intercept, slope = result.calibration
    error = metrics.calibration_error(result.A, result.Y)
    found = [
        Measure("accuracy", "accuracy", counts.accuracy, counts.majority),
        Measure("balanced_accuracy", "balanced accuracy", counts.balanced_accuracy, 0.5),
        Measure("precision", "precision", counts.precision, p),
        Measure("recall", "recall", counts.recall),
        Measure("f1", "F1", counts.f1),
        Measure("roc_auc", "ROC AUC", result.roc.auc, 0.5, percent=False),
        Measure(
            "average_precision", "average precision", result.roc.average_precision, p, percent=False
        ),
        Measure("log_loss", "log loss", result.log_loss, entropy, percent=False),
        Measure("brier", "Brier score", result.brier, p * (1 - p), percent=False),
    ]
    of = {
        "accuracy": f"{counts.correct} of {counts.total}",
        "precision": f"{counts.tp} of {counts.tp + counts.fp}",
        "recall": f"{counts.tp} of {counts.positives}",
    }
    noted = [replace(m, note=m.noted(of.get(m.key), result.intervals[m.key])) for m in found]
    bins = "mean |predicted - observed|, ten bins"
    return [
        *noted,
        Measure("calibration_error", "calibration error", error, percent=False, note=bins),
        Measure(
            "calibration_intercept", "  intercept of z", intercept, percent=False, note=IDEAL[0]
        ),
        Measure("calibration_slope", "  slope of z", slope, percent=False, note=IDEAL[1]),
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
        "confusion": {"tp": counts.tp, "fp": counts.fp, "tn": counts.tn, "fn": counts.fn},
        "intervals": {
            key: [None if math.isnan(end) else end for end in interval]
            for key, interval in result.intervals.items()
        },
        "majority": counts.majority,
        **{m.key: None if math.isnan(m.value) else m.value for m in measures(result)},
        "mistakes": [
            {
                "index": wrong.index,
                "name": wrong.name,
                "label": wrong.label,
                "predicted": wrong.predicted,
                "probability": wrong.probability,
            }
            for wrong in result.predictions(False, mistakes)
        ],
        "warnings": result.warnings(),
    }
