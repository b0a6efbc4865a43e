"""Cross-validation of penalties on rows too many for their Gram matrix.

Each fold has a model of its own, a column of W (n, folds). One pass over the rows gives costs and
gradients of all columns, so that rows in a file are read once and not once for each fold; L-BFGS
moves every column by itself. Penalties go from strong to weak, each begun where the one before
ended, with its pairs of steps and gradient changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.machine import cores
from catclf.maths import Floats, losses_and_errors
from catclf.maths.reduction import PART, TreeSum
from catclf.objective import EQUAL, ClassWeights, sample_weights
from catclf.parallel import Team, blas_threads
from catclf.samples import Labelled, cut, measured, read_rows, scale_of
from catclf.splits import stratified_folds
from catclf.training.penalty import FOLDS, SMALLEST, STRENGTHS, Selection
from catclf.training.quasi_newton import Iterate, Memory, Run, Vector, minimize

BLOCK = 128  # rows multiplied at a time
ITERATIONS = 100  # for a penalty, at most
# Of the cost: a smaller decrease ends a penalty. On 2000 images of two layers of patches the same
# penalty is selected with 1e-5, at four times the passes; its loss differs by 0.002 of itself.
TOLERANCE = 1e-3
PAIRS_BYTES = 192 * 1024 * 1024  # of all columns


class Pass(NamedTuple):
    """Of k columns: mean losses (k,), their gradients (n + 1, k), and scores Z (k, m)."""

    losses: Floats
    gradients: Floats
    Z: Floats


class Sums(NamedTuple):
    """The sums over a part of the rows, before means are taken."""

    rows: slice
    losses: Floats
    dW: Floats  # noqa: N815
    db: Floats
    Z: Floats

    def plus(self, others: Sums) -> Sums:
        """With the sums of the next rows added in place; the scores stay these rows' own."""
        for mine, other in zip(self[1:4], others[1:4], strict=True):
            np.add(mine, other, out=mine)
        return self


class FoldProblem:
    """The loss of one model for each fold, on the rows of all other folds.

    ``fold_of`` (m,) holds the fold of each row, ``v`` (1, m) the weight of its loss. Products are
    made in float32, and added over blocks in float64, in the canonical tree of parts.
    """

    def __init__(
        self, data: Labelled, fold_of: NDArray[np.int64], v: Floats, workers: int = 1
    ) -> None:
        self.m, self.n = measured(data)
        self.fold_of, self._rows, self._Y, self._v = fold_of, data.images, data.Y, v
        self._scale, self._team = scale_of(data.images), Team(workers)
        self.folds = int(fold_of.max()) + 1
        self.trained = np.array([float((fold_of != fold).sum()) for fold in range(self.folds)])

    def variance(self) -> float:
        """The mean squared distance of the rows from their mean."""
        total, squares = np.zeros(self.n), 0.0
        for rows in cut(slice(self.m), PART):
            block = read_rows(self._rows, rows).astype(np.float32, copy=False)
            total += block.sum(axis=0, dtype=np.float64)
            squares += float(np.einsum("ij,ij->i", block, block).sum(dtype=np.float64))
        return float(squares / self.m - np.square(total / self.m).sum()) / self._scale**2

    def evaluate(self, columns: NDArray[np.int64], vectors: Floats) -> Pass:
        """For the models of some folds, ``vectors`` (n + 1, k) with the bias last."""
        scaled = (vectors[:-1] / self._scale).astype(np.float32)
        tree: TreeSum[Sums] = TreeSum(Sums.plus)
        Z = np.empty((len(columns), self.m))

        def take(sums: Sums) -> None:
            Z[:, sums.rows] = sums.Z
            tree.take(sums)

        self._team.fold(
            lambda rows: self._part(rows, columns, scaled, vectors[-1]),
            list(cut(slice(self.m), PART)),
            take,
        )
        sums, trained = tree.total(), self.trained[columns]
        gradients = np.concatenate([sums.dW / self._scale, sums.db[None]])
        return Pass(sums.losses / trained, gradients / trained, Z)

    def _part(
        self, rows: slice, columns: NDArray[np.int64], scaled: NDArray[np.float32], b: Floats
    ) -> Sums:
        k = len(columns)
        losses, db, dW = np.zeros(k), np.zeros(k), np.zeros((self.n, k))
        Z = np.empty((k, rows.stop - rows.start))
        for block in cut(rows, BLOCK):
            P = read_rows(self._rows, block).astype(np.float32, copy=False)
            z = (P @ scaled).T + b[:, None]  # (k, block)
            Z[:, block.start - rows.start : block.stop - rows.start] = z
            counted = self._v[:, block] * (self.fold_of[block] != columns[:, None])
            each, dZ = losses_and_errors(z, self._Y[:, block])
            losses += (counted * each).sum(axis=1)
            dZ *= counted
            db += dZ.sum(axis=1)
            dW += P.T @ dZ.T.astype(np.float32)
        return Sums(rows, losses, dW, db, Z)


class Scored(NamedTuple):
    """A penalty with the score of each row by the model of the other folds, Z (1, m)."""

    l2: float
    Z: Floats


def out_of_fold(problem: FoldProblem, penalties: tuple[float, ...]) -> Iterator[Scored]:
    """Each of the penalties, which must fall, with out-of-fold scores of all rows."""
    everyone = np.arange(problem.folds)
    at_zero = problem.evaluate(everyone, np.zeros((problem.n + 1, problem.folds)))
    here = [
        Iterate(
            np.zeros(problem.n + 1), float(at_zero.losses[fold]), at_zero.gradients[:, fold].copy()
        )
        for fold in everyone
    ]
    memories = [Memory(bytes=PAIRS_BYTES // problem.folds) for _ in everyone]
    Z, before = np.zeros((1, problem.m)), 0.0
    for l2 in penalties:
        for fold in everyone:
            more = (l2 - before) / problem.trained[fold]
            here[fold], memories[fold] = with_more(here[fold], memories[fold], more)
        here = _all_minimized(problem, here, memories, l2, Z)
        before = l2
        yield Scored(l2, Z.copy())


def _all_minimized(
    problem: FoldProblem, here: list[Iterate], memories: list[Memory], l2: float, Z: Floats
) -> list[Iterate]:
    """The optimum of each fold; Z (1, m) receives the scores of the rows that it leaves out."""
    results = list(here)
    runs: dict[int, Run[Iterate]] = {}
    asked: dict[int, Vector] = {}

    def go_on(fold: int, step: Callable[[], Vector]) -> None:
        try:
            asked[fold] = step()
        except StopIteration as end:
            results[fold] = end.value
            asked.pop(fold, None)

    for fold, (at, memory) in enumerate(zip(here, memories, strict=True)):
        run = runs[fold] = minimize(at, memory, TOLERANCE, ITERATIONS)
        go_on(fold, lambda run=run: next(run))  # type: ignore[misc]
    while asked:
        columns = np.array(sorted(asked))
        vectors = np.stack([asked[fold] for fold in columns.tolist()], axis=1)
        evaluated = problem.evaluate(columns, vectors)
        for place, fold in enumerate(columns.tolist()):
            x, run = asked[fold], runs[fold]
            held = problem.fold_of == fold
            Z[0, held] = evaluated.Z[place, held]
            answer = penalized(
                float(evaluated.losses[place]),
                evaluated.gradients[:, place],
                x,
                l2 / problem.trained[fold],
            )
            go_on(fold, lambda run=run, answer=answer: run.send(answer))  # type: ignore[misc]
    return results


def penalized(cost: float, gradient: Vector, x: Vector, strength: float) -> tuple[float, Vector]:
    """With (strength / 2) ‖w‖² added to the cost, w being all of x but its last number."""
    w = x[:-1]
    gradient = gradient.copy()
    gradient[:-1] += strength * w
    return cost + strength / 2.0 * float(w @ w), gradient


def with_more(here: Iterate, memory: Memory, more: float) -> tuple[Iterate, Memory]:
    """The same place and pairs when (more / 2) ‖w‖² is added to the function."""
    moved = Memory(bytes=memory.bytes)
    for step, change in zip(memory.steps, memory.changes, strict=True):
        change = change.copy()
        change[:-1] += more * step[:-1]
        moved.add(step, change)
    return Iterate(here.x, *penalized(here.cost, here.gradient, here.x, more)), moved


def select(
    data: Labelled,
    weights: ClassWeights = EQUAL,
    seed: int = 0,
    *,
    l2: float | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """As ``penalty.select``, on all rows of ``data`` in the place of K.

    Penalties after the first with a larger loss than the one before are not tried. The result does
    not depend on ``workers``. Raises SettingsError when there are too few rows of a class.
    """
    fold_of, v = stratified_folds(data.Y, FOLDS, seed)[0], sample_weights(weights, data.Y)
    tried: list[float] = []
    losses: list[float] = []
    with blas_threads(1):
        problem = FoldProblem(data, fold_of, v, workers or cores())
        scale = max(problem.variance(), SMALLEST) if l2 is None else 1.0
        penalties = tuple(scale * s for s in STRENGTHS) if l2 is None else (l2,)
        best = Scored(penalties[0], np.zeros(data.Y.shape))
        for scored in out_of_fold(problem, penalties):
            tried.append(scored.l2)
            losses.append(float((v * losses_and_errors(scored.Z, data.Y)[0]).mean()))
            if on_progress:
                on_progress(len(tried), len(penalties))
            if losses[-1] > min(losses):
                break
            best = scored
    if on_progress:
        on_progress(len(penalties), len(penalties))
    return Selection(best.l2, best.Z, tuple(tried), tuple(losses))
