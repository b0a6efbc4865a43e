"""A model against a labelled data set: one object that prints as text and JSON and fills a page."""

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
from catclf.metrics.counts import (
    Counts,
    fractions_differ,
    wilson,
)
from catclf.model import Model
from catclf.text import printable


@dataclass(frozen=True)
class Answer:
    """One image's answer: its row, its name where it has one, its class and what was said."""

    index: int
    name: str | None
    label: str
    answer: str
    probability: float  # of the positive class

    @property
    def shown(self) -> str:
        """The name, or the row number, on one line."""
        return printable(self.name) if self.name is not None else f"image {self.index}"


@dataclass(frozen=True)
class Evaluation:
    """Scores Z (1, m) of labelled images Y (1, m), and everything derived from them.

    ``trained`` holds the numbers of positive and of all images that the model was trained on;
    ``seen`` tells that it was trained on just these.
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
    def said(self) -> NDArray[np.bool_]:
        """Whether the answer is positive, (1, m)."""
        if self.boundary is not None:
            return np.greater(self.Z, self.boundary)
        return np.greater(self.A, self.threshold)

    @cached_property
    def counts(self) -> Counts:
        """The confusion matrix at the threshold."""
        return Counts.of(self.said, self.Y > 0.5)

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
        """95 % intervals by key: Wilson's of the shares, DeLong's of the area under the ROC."""
        counts = self.counts
        return {
            "accuracy": wilson(counts.correct, counts.total),
            "precision": wilson(counts.tp, counts.tp + counts.fp),
            "recall": wilson(counts.tp, counts.positives),
            "roc_auc": curves.auc_interval(self.Z, self.Y),
        }

    @property
    def share(self) -> float:
        """The share of positive images."""
        return self.counts.positives / self.counts.total

    @property
    def majority(self) -> str:
        """The name of the more frequent class."""
        return self.classes[int(self.counts.positives > self.counts.negatives)]

    def answers(self, right: bool, count: int) -> list[Answer]:
        """The ``count`` most confident right or wrong answers, the most confident first.

        Confidence is the distance of z from the boundary; equal ones keep their order.
        """
        said, truth = self.said[0], self.Y[0] > 0.5
        rows = np.flatnonzero((said == truth) == right)
        boundary = logit(self.threshold) if self.boundary is None else self.boundary
        boundary = min(max(boundary, -1000.0), 1000.0)  # those of 0 and 1 are infinite
        order = np.argsort(-np.abs(self.Z[0, rows] - boundary), kind="stable")
        return [
            Answer(
                index=row,
                name=self.names[row] if self.names else None,
                label=self.classes[int(truth[row])],
                answer=self.classes[int(said[row])],
                probability=float(self.A[0, row]),
            )
            for row in rows[order[:count]].tolist()
        ]

    def warnings(self) -> list[str]:
        """What makes the numbers less than they seem."""
        found = []
        if self.seen:
            found.append(
                f"{printable(self.source)}: the model was trained on these very images: "
                "the numbers say nothing about others"
            )
        if self.counts.positives == 0 or self.counts.negatives == 0:
            only = printable(self.majority)
            found.append(
                f"{printable(self.source)}: every image is {only}: most numbers need both classes"
            )
        positives, images = self.trained
        if images and fractions_differ(positives, images, self.counts):
            name = printable(self.classes[1])
            found.append(
                f"class shares differ: {name} was {100 * positives / images:.1f} % in training "
                f"and is {100 * self.share:.1f} % here: prefer balanced accuracy and ROC AUC"
            )
        return found


def evaluate(model: Model, data: Dataset, threshold: float | None = None) -> Evaluation:
    """Score all images of a data set, in blocks, and compare with its labels.

    ``threshold`` is the probability above which the answer is positive (default: the model's).
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
    """One number: its key in JSON, its name for people, and what answering blindly would give."""

    key: str
    name: str
    value: float
    blind: float | None = None
    percent: bool = True
    note: str = ""

    def show(self, value: float | None) -> str:
        """As text; a dash for what is not defined."""
        if value is None or math.isnan(value):
            return "–"
        return f"{100 * value:.2f} %" if self.percent else f"{value:.4f}"


def measures(found: Evaluation) -> list[Measure]:
    """All measures in the order in which they are shown.

    ``blind`` is the best that an answer which ignores the image could get: always the more
    frequent class, or for probabilities always the class share of these very images.
    """
    counts, p = found.counts, found.share
    entropy = sum(-q * math.log(q) for q in (p, 1 - p) if 0 < q < 1)
    correct = _of(counts.correct, counts.total, found.intervals["accuracy"])
    of_positive = _of(counts.tp, counts.positives, found.intervals["recall"])
    of_answers = _of(counts.tp, counts.tp + counts.fp, found.intervals["precision"])
    low, high = found.intervals["roc_auc"]
    area = "" if math.isnan(low) else f"95 % interval {low:.4f} to {high:.4f}"
    return [
        Measure("accuracy", "accuracy", counts.accuracy, counts.majority, note=correct),
        Measure("balanced_accuracy", "balanced accuracy", counts.balanced_accuracy, 0.5),
        Measure("precision", "precision", counts.precision, p, note=of_answers),
        Measure("recall", "recall", counts.recall, note=of_positive),
        Measure("f1", "F1", counts.f1),
        Measure("roc_auc", "ROC AUC", found.roc.auc, 0.5, percent=False, note=area),
        Measure(
            "average_precision", "average precision", found.roc.average_precision, p, percent=False
        ),
        Measure("log_loss", "log loss", found.log_loss, entropy, percent=False),
        Measure("brier", "Brier score", found.brier, p * (1 - p), percent=False),
    ]


def _of(count: int, total: int, interval: tuple[float, float]) -> str:
    """A share's numbers and its interval."""
    if not total:
        return "0 of 0"
    low, high = interval
    return f"{count} of {total}, 95 % interval {100 * low:.1f} to {100 * high:.1f} %"


def facts(found: Evaluation, mistakes: int = 0) -> dict[str, Any]:
    """Everything as plain values for JSON; None for what is not defined."""
    counts = found.counts
    positives, images = found.trained
    return {
        "source": found.source,
        "classes": list(found.classes),
        "threshold": found.threshold,
        "pictures": counts.total,
        "positives": counts.positives,
        "share": found.share,
        "trained_on_these": found.seen,
        "training_share": positives / images if images else None,
        "confusion": {"tp": counts.tp, "fp": counts.fp, "tn": counts.tn, "fn": counts.fn},
        "intervals": {
            key: [None if math.isnan(end) else end for end in interval]
            for key, interval in found.intervals.items()
        },
        "majority": counts.majority,
        **{m.key: None if math.isnan(m.value) else m.value for m in measures(found)},
        "mistakes": [
            {
                "index": answer.index,
                "name": answer.name,
                "label": answer.label,
                "answer": answer.answer,
                "probability": answer.probability,
            }
            for answer in found.answers(False, mistakes)
        ],
        "warnings": found.warnings(),
    }
