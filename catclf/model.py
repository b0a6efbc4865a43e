"""A trained model: weights, what they mean, and scoring."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from catclf import __version__
from catclf.errors import ShapeError
from catclf.images import Preprocess
from catclf.maths import PIXEL_MAX, Floats, sigmoid
from catclf.metrics import Counts

if TYPE_CHECKING:
    from catclf.datasets import Dataset
    from catclf.problems import Labelled, Pictures
    from catclf.solvers import Fit, Validation

_SCORED_AT_ONCE = 64  # pictures; bounds the float64 buffer


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
    """A linear two-class model of pictures: z = wᵀx + b, with x = pixels / 255.

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

    def __post_init__(self) -> None:
        if self.w.shape != (self.preprocess.n, 1):
            raise ShapeError(f"w has shape {self.w.shape}, not ({self.preprocess.n}, 1)")

    @property
    def fingerprint(self) -> str:
        """Twelve digits that differ where scores may differ: of weights and preprocessing."""
        from hashlib import sha256

        digest = sha256(repr(self.preprocess).encode())
        digest.update(self.w.astype("<f8").tobytes() + np.float64(self.b).tobytes())
        return digest.hexdigest()[:12]

    def scores(self, pictures: Pictures) -> Floats:
        """Z (1, m) of pictures uint8 (m, size, size, 3).

        Each picture is summed by itself in a fixed order, without BLAS, so that its score does not
        depend on its neighbours, on the batch or on the number of threads. Raises ShapeError.
        """
        size = self.preprocess.size
        if pictures.shape[1:] != (size, size, 3):
            raise ShapeError(f"pictures {pictures.shape} do not fit (m, {size}, {size}, 3)")
        m = len(pictures)
        Z = np.empty((1, m))
        scaled = self.w.T / PIXEL_MAX
        for start in range(0, m, _SCORED_AT_ONCE):
            rows = pictures[start : start + _SCORED_AT_ONCE].reshape(-1, self.preprocess.n)
            Z[0, start : start + len(rows)] = (rows * scaled).sum(axis=1)
        Z += self.b
        return Z

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
    ) -> Model:
        """The model of a fit, with its accuracy on the training data and on ``test``."""
        model = cls(
            w=fit.w,
            b=fit.b,
            preprocess=data.preprocess,
            classes=data.classes,
            costs=fit.costs,
            cost_steps=fit.cost_steps,
        )
        held = fit.validation
        trained: Labelled = held.trained if held else data
        training = Training(
            source=data.source,
            fingerprint=data.fingerprint,
            pictures=len(trained.pictures),
            positives=int(trained.Y.sum()),
            steps=fit.steps,
            interrupted=fit.interrupted,
            settings=asdict(fit.settings),
            train=model.counts(trained.pictures, trained.Y),
            test=model.counts(test.pictures, test.Y) if test else None,
            validation=_validated(model, held) if held else {},
        )
        return replace(model, training=training)


def _validated(model: Model, held: Validation) -> dict[str, Any]:
    """What a model remembers of the pictures that its step was chosen by."""
    counts = model.counts(held.held_out.pictures, held.held_out.Y)
    return {
        "source": getattr(held.held_out, "source", ""),
        "best_step": held.best_step,
        "best_cost": held.best_cost,
        "costs": list(held.costs),
        "cost_steps": list(held.cost_steps),
        "counts": asdict(counts),
    }
