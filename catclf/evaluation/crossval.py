"""Cross-validation of many settings at once: all of them, on the same folds, in one descent.

On the Gram matrix K = XᵀX descent moves a column a of coordinates, w = Xa (see ``objective``). Each
pair of a fold and a candidate is such a column, all side by side in A (m, c), so one product K A is
a step of every run, K is made once, and it gives the scores of the held-out images as well:

    Z = K A + b,   dA = M (σ(Z) - Y) / m_train + (λ/m_train) A,   A := A - α dA

M is 1 for the images of a column's training folds and 0 for those held out, whose coordinates so
stay 0: what a run learns does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset
from catclf.datasets.digests import digests_of
from catclf.errors import DataError
from catclf.evaluation.compare import MEASURES, Candidate, Comparison, Plan, Result
from catclf.machine import cores, require_memory
from catclf.maths import Floats, losses_and_errors
from catclf.maths import metrics as curves
from catclf.maths.metrics import Counts
from catclf.maths.threads import Team, blas_threads
from catclf.samples import Indices, Labelled
from catclf.splits import stratified_folds
from catclf.text import printable
from catclf.training.objective import GRAM_LIMIT, gram
from catclf.training.solvers import DIVERGED_COST

POINTS = 50  # of the curves

OnProgress = Callable[["Progress"], None]
Prepare = Callable[[NDArray[np.bool_]], Iterable[Labelled]]


@dataclass(frozen=True)
class Progress:
    """The progress of the descent: after ``step`` of ``total``, means over folds."""

    step: int
    total: int
    trained: Floats  # (candidates,) cost on the training folds
    held_out: Floats  # (candidates,) log loss on the held-out folds


def distinct(data: Labelled) -> Indices:
    """The rows whose images do not repeat an earlier row, pixel by pixel, (k,) int64."""
    return np.sort(np.unique(digests_of(data.images).exact, return_index=True)[1])


def pool(parts: Sequence[Dataset]) -> Dataset:
    """Several data sets as one.


    Cross-validation holds all pixels in memory, so the number of images is checked first.
    Raises DataError if classes or sizes differ, or for too many images.
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
    )


def rows_of(data: Dataset, rows: Indices) -> Dataset:
    """Only these rows of a data set in memory."""
    if len(rows) == data.m:
        return data
    return replace(data, images=data.images[rows], Y=data.Y[:, rows], names=None)


def compare(
    data: Labelled,
    plan: Plan,
    source: str = "",
    classes: tuple[str, str] = ("non-cat", "cat"),
    dropped: int = 0,
    on_progress: OnProgress | None = None,
    prepare: Prepare | None = None,
) -> Comparison:
    """Cross-validate all candidates of a plan.

    ``prepare`` makes the rows of features for each division from those that it holds out (k, m), so
    that no feature is learned from an image that it is evaluated on; without it the images
    themselves are the rows of all.

    ``on_progress`` is called with the curves' next point, POINTS times or so. ``source``,
    ``classes`` and ``dropped`` are only passed on. Raises DataError if a class has too few images.
    """
    m = len(data.images)
    fold_of = stratified_folds(data.Y, plan.folds, plan.seed, plan.repeats, level=True)
    held = np.concatenate([fold == np.arange(plan.folds)[:, None] for fold in fold_of])  # (k, m)
    with blas_threads(1):
        sources = [data] if prepare is None else prepare(held)
        K = _grams(sources, m if prepare is None else m * len(held))
        descent = _Descent(K, data.Y, held, plan)
        results = descent.run(on_progress)
    return Comparison(
        plan, source, classes, m, int(data.Y.sum()), dropped, tuple(descent.steps), results
    )


def _grams(sources: Iterable[Labelled], rows: int) -> list[Floats]:
    """K (m, m) of each source, whose images are ``rows`` together."""
    team, matrices = Team(cores()), list[Floats]()
    for data in sources:
        m = len(data.images)
        if not matrices:
            require_memory(8 * m * rows, "the Gram matrices of all folds")
        matrices.append(gram(np.asarray(data.images[:]).reshape(m, -1), team))
    return matrices


class _Descent:
    """All runs side by side: column f * candidates + c is candidate c without fold f.

    There is one K for all columns, or one for those of each fold.
    """

    def __init__(self, K: list[Floats], Y: Floats, held: NDArray[np.bool_], plan: Plan) -> None:
        self.K, self.Y, self.held, self.plan = K, Y, held, plan
        count = len(plan.candidates)
        self.mask = np.repeat(~held, count, axis=0).T.astype(np.float64)  # (m, c)
        self.trained = self.mask.sum(axis=0, keepdims=True)  # (1, c) images
        self.out = Y.shape[1] - self.trained
        k = len(held)
        self.rates = np.tile([c.learning_rate for c in plan.candidates], k).reshape(1, -1)
        self.l2 = np.tile([c.l2 for c in plan.candidates], k).reshape(1, -1)
        self.A = np.zeros(self.mask.shape)
        self.b = np.zeros((1, self.mask.shape[1]))
        self.diverged = np.full(self.mask.shape[1], -1)
        self.steps: list[int] = []
        self.curves: list[tuple[Floats, Floats]] = []

    def run(self, on_progress: OnProgress | None) -> tuple[Result, ...]:
        total = self.plan.iterations
        every = max(1, total // POINTS)
        y = self.Y.T  # (m, 1)
        with np.errstate(over="ignore", invalid="ignore"):  # divergence shows in the cost
            for step in range(total + 1):
                Z, KA = self._scores()
                losses, dZ = losses_and_errors(Z, y)
                costs = self._costs(losses, KA)
                self._stop_diverged(costs, step)
                if step % every == 0 or step == total:
                    self._note(step, costs, losses, on_progress)
                if step < total:
                    self._move(dZ)
        return tuple(
            self._result(c, candidate, Z[:, c :: len(self.plan.candidates)])
            for c, candidate in enumerate(self.plan.candidates)
        )

    def _scores(self) -> tuple[Floats, Floats]:
        columns = np.split(self.A, len(self.K), axis=1)
        KA = np.hstack([K @ A for K, A in zip(self.K, columns, strict=True)])  # (m, c)
        return np.asarray(KA + self.b), KA

    def _costs(self, losses: Floats, KA: Floats) -> Floats:
        """J of each column on its training images, (1, c); ‖w‖² = aᵀK a."""
        costs: Floats = np.einsum("ij,ij->j", losses, self.mask)[None] / self.trained
        if self.l2.any():
            costs += self.l2 / (2 * self.trained) * np.einsum("ij,ij->j", self.A, KA)[None]
        return costs

    def _stop_diverged(self, costs: Floats, step: int) -> None:
        """Set columns whose cost has left the finite to zero, for good."""
        lost = ~(costs[0] <= DIVERGED_COST)
        if lost.any():
            self.diverged[lost & (self.diverged < 0)] = step
            self.rates[:, lost] = 0.0
            self.A[:, lost] = self.b[:, lost] = 0.0

    def _move(self, dZ: Floats) -> None:
        dZ *= self.mask
        dZ *= np.where(self.diverged < 0, self.rates / self.trained, 0.0)
        dZ[:, self.diverged >= 0] = 0.0
        self.A *= 1.0 - self.rates * self.l2 / self.trained
        self.A -= dZ
        self.b -= dZ.sum(axis=0, keepdims=True)

    def _note(
        self, step: int, costs: Floats, losses: Floats, on_progress: OnProgress | None
    ) -> None:
        held_out = np.einsum("ij,ij->j", losses, 1.0 - self.mask)[None] / self.out
        means = tuple(self._over_folds(values) for values in (costs, held_out))
        self.steps.append(step)
        self.curves.append((means[0], means[1]))
        if on_progress:
            on_progress(Progress(step, self.plan.iterations, *means))

    def _over_folds(self, values: Floats) -> Floats:
        """Means over folds for each candidate; NaN for those that have diverged."""
        count = len(self.plan.candidates)
        values = np.where(self.diverged >= 0, np.nan, values[0])
        return np.asarray(values.reshape(-1, count).mean(axis=0))

    def _result(self, c: int, candidate: Candidate, Z: Floats) -> Result:
        """``Z`` (m, k): the candidate's scores of all images in each of its runs."""
        scores: dict[str, list[float]] = {name: [] for name in MEASURES}
        for fold, held in enumerate(self.held):
            for name, value in _measured(Z[held, fold][None], self.Y[:, held]).items():
                scores[name].append(value)
        lost = self.diverged[c :: len(self.plan.candidates)]
        return Result(
            candidate,
            {name: np.array(values) for name, values in scores.items()},
            trained=tuple(float(trained[c]) for trained, _ in self.curves),
            held_out=tuple(float(held_out[c]) for _, held_out in self.curves),
            diverged=int(lost[lost >= 0].min()) if (lost >= 0).any() else None,
        )


def _measured(Z: Floats, Y: Floats) -> dict[str, float]:
    """MEASURES of scores Z (1, k) of the held-out images with labels Y (1, k)."""
    counts = Counts.of(Z > 0, Y > 0.5)
    return {
        "accuracy": counts.accuracy,
        "balanced_accuracy": counts.balanced_accuracy,
        "roc_auc": curves.roc(Z, Y).auc,
        "log_loss": curves.log_loss(Z, Y),
    }


def _kind(data: Dataset) -> str:
    names = " and ".join(printable(name) for name in data.classes)
    return f"{names} of {data.size}x{data.size}"
