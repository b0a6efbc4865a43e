"""A trained model: weights, what they mean, and scoring."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from catclf.errors import ShapeError
from catclf.images.preprocess import Preprocess
from catclf.maths import PIXEL_MAX, Floats, sigmoid
from catclf.metrics import Counts
from catclf.version import __version__

if TYPE_CHECKING:
    from catclf.datasets import Dataset
    from catclf.features.base import Features
    from catclf.features.prepare import Encoded, Encoder
    from catclf.samples import Labelled, Pictures
    from catclf.training import Fit, Validation

_SCORED_AT_ONCE = (
    16  # pictures: 1.5 MB of float64, which the next ones find again; 6 MB would be new
)


@dataclass(frozen=True)
class Training:
    """Where a model came from; kept for people, not used in scoring."""

    source: str = ""
    fingerprint: str = ""
    pictures: int = 0
    positives: int = 0
    steps: int = 0
    interrupted: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    train: Counts = field(default_factory=Counts)
    test: Counts | None = None
    validation: dict[str, Any] = field(default_factory=dict)
    catclf: str = __version__


@dataclass(frozen=True)
class Model:
    """A linear two-class model of pictures: z = wᵀx + b, with x its ``features``, or pixels / 255.

    w float64 (n, 1); ``classes`` are the names of labels 0 and 1; a picture is of class 1 when
    σ(z) > ``threshold``; ``costs`` were seen at ``cost_steps`` in training.
    """

    w: Floats
    b: float
    preprocess: Preprocess = field(default_factory=Preprocess)
    classes: tuple[str, str] = ("non-cat", "cat")
    threshold: float = 0.5
    costs: tuple[float, ...] = ()
    cost_steps: tuple[int, ...] = ()
    training: Training = field(default_factory=Training)
    features: Features | None = None

    def __post_init__(self) -> None:
        if self.w.shape != (self.n, 1):
            raise ShapeError(f"w has shape {self.w.shape}, not ({self.n}, 1)")

    @property
    def n(self) -> int:
        """How many numbers of a picture are weighed."""
        return self.features.n if self.features else self.preprocess.n

    @property
    def fingerprint(self) -> str:
        """Twelve digits that differ where scores may differ: of weights and preprocessing."""
        from hashlib import sha256

        digest = sha256(repr(self.preprocess).encode())
        digest.update(self.w.astype("<f8").tobytes() + np.float64(self.b).tobytes())
        if self.features:
            digest.update(repr(sorted(self.features.settings.items())).encode())
            for _, array in sorted(self.features.arrays().items()):
                digest.update(array.tobytes())
        return digest.hexdigest()[:12]

    def scores(self, pictures: Pictures) -> Floats:
        """Z (1, m) of pictures uint8 (m, size, size, 3).

        Each picture is summed by itself in a fixed order, without BLAS, so that its score does not
        depend on its neighbours, on the batch or on the number of threads. Raises ShapeError.
        """
        size = self.preprocess.size
        if pictures.shape[1:] != (size, size, 3):
            raise ShapeError(f"pictures {pictures.shape} do not fit (m, {size}, {size}, 3)")
        if self.features is None:
            return _scores(pictures, self.w / PIXEL_MAX, self.b)
        from catclf.features.encoding import encoded

        found = [np.empty((1, 0))]
        found += [_scores(rows, self.w, self.b) for rows in encoded(self.features, pictures)]
        return np.concatenate(found, axis=1)

    def probabilities(self, pictures: Pictures) -> Floats:
        """A = σ(Z), shape (1, m): the probability of class 1."""
        return sigmoid(self.scores(pictures))

    def counts(self, pictures: Pictures, Y: Floats) -> Counts:
        """The confusion counts against labels Y (1, m)."""
        return Counts.of(self.probabilities(pictures) > self.threshold, Y > 0.5)

    @classmethod
    def from_fit(
        cls,
        fit: Fit,
        data: Dataset,
        test: Dataset | None = None,
        *,
        encoder: Encoder | None = None,
        rows: Encoded | None = None,
        threshold: float = 0.5,
        chosen: dict[str, Any] | None = None,
    ) -> Model:
        """The model of a fit, with its accuracy on the training data and on ``test``.

        ``encoder`` and ``rows`` are what the pictures became where the fit is not one of plain
        pixels; ``chosen`` is remembered with the settings.
        """
        w, b = encoder.fold(fit.w, fit.b) if encoder else (fit.w, fit.b)
        model = cls(
            w=w,
            b=b,
            preprocess=data.preprocess,
            classes=data.classes,
            threshold=threshold,
            costs=fit.costs,
            cost_steps=fit.cost_steps,
            features=encoder.of_model if encoder else None,
        )
        held = fit.validation
        trained: Labelled = held.trained if held else rows or data
        training = Training(
            source=data.source,
            fingerprint=data.fingerprint,
            pictures=len(trained.pictures),
            positives=int(trained.Y.sum()),
            steps=fit.steps,
            interrupted=fit.interrupted,
            settings=fit.settings.facts() | (chosen or {}),
            train=_counts(fit, trained, threshold),
            test=model.counts(test.pictures, test.Y) if test else None,
            validation=_validated(fit, held, threshold) if held else {},
        )
        return replace(model, training=training)


def _scores(pictures: Pictures, w: Floats, b: float) -> Floats:
    """Z (1, m) of pictures or rows (m, …), each summed by itself, for w (n, 1)."""
    m = len(pictures)
    Z = np.empty((1, m))
    across = np.ascontiguousarray(w.T)
    for start in range(0, m, _SCORED_AT_ONCE):
        rows = pictures[start : start + _SCORED_AT_ONCE].reshape(-1, len(w))
        Z[0, start : start + len(rows)] = (rows * across).sum(axis=1)
    Z += b
    return Z


def _counts(fit: Fit, data: Labelled, threshold: float) -> Counts:
    """The confusion counts on pictures, or rows, like those that were trained on."""
    from catclf.samples import scale_of

    Z = _scores(data.pictures, fit.w / scale_of(data.pictures), fit.b)
    return Counts.of(sigmoid(Z) > threshold, data.Y > 0.5)


def _validated(fit: Fit, held: Validation, threshold: float) -> dict[str, Any]:
    """What a model remembers of the pictures that its step was chosen by."""
    counts = _counts(fit, held.held_out, threshold)
    return {
        "source": getattr(held.held_out, "source", ""),
        "best_step": held.best_step,
        "best_cost": held.best_cost,
        "costs": list(held.costs),
        "cost_steps": list(held.cost_steps),
        "counts": asdict(counts),
    }
