"""A trained model: weights, what they mean, scoring, and how like an image is to the known ones."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError, ShapeError
from catclf.images.preprocess import Preprocess
from catclf.maths import PIXEL_MAX, Floats, logit, sigmoid
from catclf.maths.metrics import Counts
from catclf.text import counted, printable, setting_rows
from catclf.version import __version__

if TYPE_CHECKING:
    from catclf.features.base import Features
    from catclf.samples import Images

Rows = NDArray[np.float32]
SCORED_AT_ONCE = 16  # images: 1.5 MB of float64, memory that the next ones use again
CENTERS = 100
FOLDS, ROUNDS = 5, 15
SAMPLE = 3000  # rows at most that centres are made from
LEAST = 10  # rows: fewer say nothing
POINT = 0.01  # of training images are called unlike
SHORTEST = np.float32(1e-6)


@dataclass(frozen=True)
class Training:
    """The provenance of a model; kept for people, not used in scoring.

    ``ended`` says why the solver ended (``reason``), ``within`` which part of the cost it was at
    most from the optimum, and how many steps ``raised`` the cost at which ``rate``. ``suspects``
    says how many labels of how many images (``looked_at``) are probably wrong, and ``first`` which.
    """

    source: str = ""
    fingerprint: str = ""
    images: int = 0
    positives: int = 0
    steps: int = 0
    interrupted: bool = False
    ended: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    train: Counts = field(default_factory=Counts)
    test: Counts | None = None
    validation: dict[str, Any] = field(default_factory=dict)
    suspects: dict[str, Any] = field(default_factory=dict)
    catclf: str = __version__

    @property
    def ending(self) -> str:
        """How training ended, in words; empty for descent without a penalty that only fell."""
        reason, within = self.ended.get("reason", ""), self.ended.get("within")
        near = "" if within is None else _nearness(within)
        words = {
            "optimum": near,
            "flat": "where the cost stands still: without a penalty there may be no optimum",
            "limit": f"at the limit of {self.steps} steps, short of the optimum"
            f"{', ' if near else ''}{near}: more iterations are needed",
            "rounding": f"where rounding hides whether another step lowers the cost, {near}",
            "patience": "early: the cost on validation images had not fallen for long enough",
            "steps": f"after all steps, {near}" if near else "",
            "separable": "without an optimum: these images are told apart wholly, and without a "
            "penalty the weights would grow without end: give a penalty",
        }.get(reason, "").removesuffix(", ")
        if raised := self.ended.get("raised"):
            safe = self.ended.get("safe_rate", 0.0)
            words += f"{'; ' if words else ''}{raised} of {self.steps} steps raised the cost"
            words += f": with a learning rate of {safe:.2g} none would" if safe else ""
        return words


def _indented(settings: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f"  {name}", value) for name, value in setting_rows(settings)]


def _nearness(within: float) -> str:
    if within <= 1e-6:
        return "within 1e-6 of the optimum"
    if within >= 1.0:
        return "how far from the optimum is unknown"
    return f"at most {100 * within:.2g} % above the optimum"


@dataclass(frozen=True, eq=False)
class Similarity:
    """Centres of training rows: ``centers`` int8 (k, n), of which the direction counts alone.

    A hundred centres, from k-means on directions, stand for all training rows. The similarity of an
    image is the greatest cosine of its row of features with a centre, the training mean taken from
    both. An image is unlike the training images where fewer than one in a hundred of those,
    compared with centres that they had no part in, is as far away: measured on the rows that the
    centres are made from, that point would be crossed by 4 to 5 % of images of the same kind.

    ``mean`` float32 (n,) is that of the training rows; an image whose similarity is below
    ``limit`` is unlike them. No image can be recognised from a centre, and none is named.
    """

    centers: NDArray[np.int8]
    mean: Rows
    limit: float

    @classmethod
    def learn(cls, sample: Rows, mean: Rows, seed: int) -> Self | None:
        """From rows (m, n) less their mean (n,); None where too few differ from it.

        To be called with one BLAS thread, for equal sums everywhere.
        """
        rows, rng = unit(sample[np.abs(sample).max(axis=1) > SHORTEST]), np.random.default_rng(seed)
        if len(rows) < LEAST:
            return None
        fold_of = rng.permutation(len(rows)) % FOLDS
        held = [
            _nearest(rows[fold_of == fold], _centers(rows[fold_of != fold], rng))[1]
            for fold in range(FOLDS)
        ]
        limit = float(np.quantile(np.concatenate(held), POINT, method="lower"))
        return cls(_centers(rows, rng), mean, limit)

    def of_rows(self, rows: Rows) -> Rows:
        """The similarities (m,) of rows (m, n), each by itself: the same in any batch."""
        directions, centers = unit(rows - self.mean), unit(self.centers.astype(np.float32))
        found = [np.einsum("kn,n->k", centers, row).max() for row in directions]
        return np.array(found, np.float32)


def unit(rows: Rows) -> Rows:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return np.asarray(rows / np.maximum(lengths, np.float32(1e-12)))


def _nearest(rows: Rows, centers: NDArray[Any]) -> tuple[NDArray[np.intp], Rows]:
    """For each row (n,) of length 1 the centre with the greatest cosine, and the cosine."""
    cosines = rows @ unit(centers.astype(np.float32)).T
    return cosines.argmax(axis=1), cosines.max(axis=1)


def _centers(rows: Rows, rng: np.random.Generator) -> NDArray[np.int8]:
    """Directions (k, n) from k-means on rows of length 1, each scaled to whole numbers to 127."""
    centers = rows[np.sort(rng.choice(len(rows), min(CENTERS, len(rows)), replace=False))]
    for _ in range(ROUNDS):
        members = _nearest(rows, centers)[0] == np.arange(len(centers))[:, None]
        # A centre that no row belongs to stays.
        sums = unit(members.astype(np.float32) @ rows)
        centers = np.where(members.any(axis=1, keepdims=True), sums, centers)
    largest = np.maximum(np.abs(centers).max(axis=1, keepdims=True), np.float32(1e-12))
    return np.asarray(np.rint(centers * (np.float32(127) / largest)), np.int8)


@dataclass(frozen=True)
class Model:
    """A linear two-class model of images: z = wᵀx + b, with x its ``features``, or pixels / 255.

    w float64 (n, 1); ``classes`` are the names of labels 0 and 1; an image is of class 1 when
    z > ``boundary``, the score of the probability ``threshold``. ``z_threshold`` is that score
    itself where cross-validation selected it: σ(z) of a score beyond 37 is 1.0, and no probability
    lies above it. ``costs`` were seen at ``cost_steps`` in training. ``digests`` (k,), ascending,
    are of images that it was trained on (see ``catclf.datasets.digests``). ``similarity`` tells how
    like an image is to those, where the features know.
    """

    w: Floats
    b: float
    preprocess: Preprocess = field(default_factory=Preprocess)
    classes: tuple[str, str] = ("non-cat", "cat")
    threshold: float = 0.5
    z_threshold: float | None = None
    costs: tuple[float, ...] = ()
    cost_steps: tuple[int, ...] = ()
    training: Training = field(default_factory=Training)
    features: Features | None = None
    digests: NDArray[np.uint64] = field(
        default_factory=lambda: np.zeros(0, np.uint64), compare=False
    )
    similarity: Similarity | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        kind = self.features.kind if self.features else "pixels"
        trained = f", trained on {self.training.source}" if self.training.source else ""
        return f"Model({self.classes[1]} or {self.classes[0]}: {self.n} weights of {kind}{trained})"

    def __post_init__(self) -> None:
        if self.w.shape != (self.n, 1):
            raise ShapeError(f"w has shape {self.w.shape}, not ({self.n}, 1)")

    @property
    def n(self) -> int:
        """The number of features of an image."""
        return self.features.n if self.features else self.preprocess.n

    @property
    def boundary(self) -> float:
        """The score z above which an image is positive."""
        return logit(self.threshold) if self.z_threshold is None else self.z_threshold

    @property
    def fingerprint(self) -> str:
        """Twelve digits that differ where scores or a ``z_threshold`` differ.

        They are of the weights, the preprocessing and the features.
        """
        marked = [] if self.z_threshold is None else [self.z_threshold]
        numbers = (np.array(each, "<f8") for each in (self.w, self.b, *marked))
        return self._digest(*(each.tobytes() for each in numbers))[:12]

    @cached_property
    def features_digest(self) -> str:
        """A text that is equal for models whose images become the same rows."""
        return self._digest()

    def _digest(self, *more: bytes) -> str:
        from hashlib import sha256

        digest = sha256(repr(self.preprocess).encode() + b"".join(more))
        if self.features:
            digest.update(repr(sorted(self.features.settings.items())).encode())
            for _, array in sorted(self.features.arrays().items()):
                digest.update(array.tobytes())
        return digest.hexdigest()

    @property
    def weight_range(self) -> dict[str, float]:
        """The norm, the least and the greatest of the weights."""
        norm = math.hypot(*self.w.ravel().tolist())  # finite as long as the norm is
        return {
            "norm": min(norm, sys.float_info.max),
            "least": float(self.w.min()),
            "greatest": float(self.w.max()),
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """All that people may want to know of it, and of how it was trained: names and values."""
        image, weights, training = self.preprocess, self.weight_range, self.training
        negative, positive = map(printable, self.classes)
        yield "fingerprint", self.fingerprint
        yield "classes", f"{negative}, {positive} (positive)"
        yield "threshold", f"{self.threshold!r}"
        background = " ".join(map(str, image.background))
        side = f"{image.size}x{image.size} RGB / 255"
        yield "image", f"{side}, {image.fit}, {image.resampling}, background {background}"
        span = f"from {weights['least']:z.4g} to {weights['greatest']:z.4g}"
        yield "weights", f"{self.n:,} {span}, norm {weights['norm']:.4g}"
        if self.features:
            settings = dict(self.features.settings)
            yield "features", settings.pop("kind")
            yield from _indented(settings)
        yield "bias", f"{self.b!r}"
        images = counted(training.images, "image", ",")
        source = printable(training.source) or "unknown"
        yield "trained on", f"{source}: {images}, {training.positives:,} of them {positive}"
        yield "data", f"SHA-256 {printable(training.fingerprint) or 'unknown'}"
        yield "steps", f"{training.steps:,}{', interrupted' if training.interrupted else ''}"
        if training.ending:
            yield "ended", training.ending
        yield from _indented(training.settings)
        for name, counts in (("train", training.train), ("test", training.test)):
            right = "unknown"
            if counts is not None and counts.total:
                right = f"{100 * counts.accuracy:.2f} %  {counts.correct} of {counts.total}"
            yield f"{name} accuracy", right
        yield "made by", f"catclf {printable(training.catclf)}"
        if self.costs:
            ends = (f"{self.costs[i]:z.6f} at step {self.cost_steps[i]}" for i in (0, -1))
            yield "cost", ", ".join(ends)

    def scores(self, images: Images) -> Floats:
        """Z (1, m) of images uint8 (m, size, size, 3).

        Each image is summed by itself in a fixed order, without BLAS, so that its score does not
        depend on its neighbours, on the batch or on the number of threads. Raises ShapeError, and
        ModelError for weights so large that a score is not finite.
        """
        return self.judged(images)[0]

    def judged(
        self, images: Images, made: Iterable[Any] | None = None
    ) -> tuple[Floats, Rows | None]:
        """Z (1, m), and how like each image is to those of training (m,), or None: see ``scores``.

        An image is unlike those where it is below ``similarity.limit``. ``made`` are blocks of the
        images' rows, where they have been made.
        """
        size = self.preprocess.size
        if images.shape[1:] != (size, size, 3):
            raise ShapeError(f"images {images.shape} do not fit (m, {size}, {size}, 3)")
        w = self.w if self.features else self.w / PIXEL_MAX
        scored, similar = [np.empty((1, 0))], [np.empty(0, np.float32)]
        with np.errstate(over="ignore", invalid="ignore"):
            for rows in self.rows_of(images) if made is None else made:
                scored.append(score_rows(rows, w, self.b))
                if self.similarity:
                    similar.append(self.similarity.of_rows(rows))
        Z = np.concatenate(scored, axis=1)
        if not np.isfinite(Z).all():
            raise ModelError("the model's weights are so large that its scores are not finite")
        return Z, np.concatenate(similar) if self.similarity else None

    def rows_of(self, images: Images) -> Iterable[Any]:
        """The rows of images in blocks; of pixels the images themselves."""
        if self.features is None:
            return [images]
        from catclf.features.rows import encoded

        return encoded(self.features, images)

    def probabilities(self, images: Images) -> Floats:
        """A = σ(Z), shape (1, m): the probability of class 1."""
        return sigmoid(self.scores(images))

    def counts(self, images: Images, Y: Floats) -> Counts:
        """The confusion counts against labels Y (1, m)."""
        return Counts.of(self.scores(images) > self.boundary, Y > 0.5)


def judged_by(models: Sequence[Model], images: Images) -> list[tuple[Floats, Rows | None]]:
    """What each model says of images uint8 (m, size, size, 3): see ``Model.judged``.

    Models whose features are equal share their rows, which are made once.
    """
    if len(models) == 1:
        return [models[0].judged(images)]
    made: dict[str, list[Any]] = {}
    for model in models:
        if model.features_digest not in made:
            made[model.features_digest] = list(model.rows_of(images))
    return [model.judged(images, made[model.features_digest]) for model in models]


def score_rows(images: Images, w: Floats, b: float) -> Floats:
    """Z (1, m) of images or rows (m, …), each summed by itself, for w (n, 1)."""
    m = len(images)
    Z = np.empty((1, m))
    across = np.ascontiguousarray(w.T)
    for start in range(0, m, SCORED_AT_ONCE):
        rows = images[start : start + SCORED_AT_ONCE].reshape(-1, len(w))
        Z[0, start : start + len(rows)] = (rows * across).sum(axis=1)
    Z += b
    return Z
