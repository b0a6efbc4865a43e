"""One model on labelled images: scores, and every measure derived from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset
from catclf.maths import Floats, logit, sigmoid
from catclf.metrics import curves
from catclf.metrics.counts import Counts, fractions_differ, wilson
from catclf.model import Model
from catclf.text import printable

SWAPPED = 0.3  # ROC AUC below which labels are probably swapped


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
    ``seen`` is True if those were exactly these images.
    """

    source: str
    classes: tuple[str, str]
    threshold: float
    Z: Floats
    Y: Floats
    names: tuple[str, ...] | None = None
    trained: tuple[int, int] = (0, 0)
    seen: bool = False
    boundary: float | None = None  # the score above which an image is positive, if not by threshold

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
    def roc(self) -> curves.Roc:
        return curves.roc(self.Z, self.Y)

    @cached_property
    def log_loss(self) -> float:
        return curves.log_loss(self.Z, self.Y)

    @cached_property
    def brier(self) -> float:
        return curves.brier(self.A, self.Y)

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals by key: Wilson's of fractions, DeLong's of the area under the ROC."""
        counts = self.counts
        return {
            "accuracy": wilson(counts.correct, counts.total),
            "precision": wilson(counts.tp, counts.tp + counts.fp),
            "recall": wilson(counts.tp, counts.positives),
            "roc_auc": curves.auc_interval(self.Z, self.Y),
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
            lines.append(
                f"{printable(self.source)}: the model was trained on these very images: "
                "the numbers say nothing about others"
            )
        if self.counts.positives == 0 or self.counts.negatives == 0:
            only = printable(self.majority)
            lines.append(
                f"{printable(self.source)}: every image is {only}: most numbers need both classes"
            )
        high = self.intervals["roc_auc"][1]
        if self.roc.auc < SWAPPED and high < 0.5:
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
        seen=data.m == training.images and data.fingerprint == training.fingerprint,
        boundary=model.boundary if threshold is None else None,
    )


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


def measures(result: Evaluation) -> list[Measure]:
    """All measures in the order in which they are shown.

    The majority baseline is the best that a prediction which ignores the image can get: always the
    more frequent class, or as a probability always the fraction of positives in these very images.
    """
    counts, p = result.counts, result.positive_fraction
    entropy = sum(q * math.log(1 / q) for q in (p, 1 - p) if q > 0)
    correct = _of(counts.correct, counts.total, result.intervals["accuracy"])
    of_positive = _of(counts.tp, counts.positives, result.intervals["recall"])
    of_predicted = _of(counts.tp, counts.tp + counts.fp, result.intervals["precision"])
    low, high = result.intervals["roc_auc"]
    area = "" if math.isnan(low) else f"95 % interval {low:.4f} to {high:.4f}"
    return [
        Measure("accuracy", "accuracy", counts.accuracy, counts.majority, note=correct),
        Measure("balanced_accuracy", "balanced accuracy", counts.balanced_accuracy, 0.5),
        Measure("precision", "precision", counts.precision, p, note=of_predicted),
        Measure("recall", "recall", counts.recall, note=of_positive),
        Measure("f1", "F1", counts.f1),
        Measure("roc_auc", "ROC AUC", result.roc.auc, 0.5, percent=False, note=area),
        Measure(
            "average_precision", "average precision", result.roc.average_precision, p, percent=False
        ),
        Measure("log_loss", "log loss", result.log_loss, entropy, percent=False),
        Measure("brier", "Brier score", result.brier, p * (1 - p), percent=False),
    ]


def _of(count: int, total: int, interval: tuple[float, float]) -> str:
    """A fraction's counts and its interval."""
    if not total:
        return "0 of 0"
    low, high = interval
    return f"{count} of {total}, 95 % interval {100 * low:.1f} to {100 * high:.1f} %"


def to_dict(result: Evaluation, mistakes: int = 0) -> dict[str, Any]:
    """All results as plain values for JSON, None where undefined, and so many mistakes.

    The keys are those of the first version, on which scripts rely.
    """
    counts = result.counts
    positives, images = result.trained
    return {
        "source": result.source,
        "classes": list(result.classes),
        "threshold": result.threshold,
        "pictures": counts.total,
        "positives": counts.positives,
        "share": result.positive_fraction,
        "trained_on_these": result.seen,
        "training_share": positives / images if images else None,
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
                "answer": wrong.predicted,
                "probability": wrong.probability,
            }
            for wrong in result.predictions(False, mistakes)
        ],
        "warnings": result.warnings(),
    }
