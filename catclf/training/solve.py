"""Training: settings, solvers, stop rules. Solvers never see an image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from catclf.errors import SettingsError
from catclf.machine import cores
from catclf.maths import Floats
from catclf.maths.metrics import Counts
from catclf.objective import (
    FactorProblem,
    GramProblem,
    Problem,
    StreamProblem,
    build,
    build_euclidean,
    class_weights,
)
from catclf.objective.minibatches import Batches, BatchProblem
from catclf.parallel import blas_threads
from catclf.samples import Labelled
from catclf.splits import split
from catclf.training.descent import Descent, OnStep, ShouldStop
from catclf.training.settings import Fit as Fit
from catclf.training.settings import Settings as Settings
from catclf.training.settings import Validation as Validation
from catclf.training.state import Ending, HeldOut, State

if TYPE_CHECKING:
    from catclf.features.base import Phase
    from catclf.features.prepare import Encoded, Encoder, Sourced
    from catclf.training.checkpoint import Checkpoints


class Cluster(Protocol):
    """Machines that hold the images between them, as ``catclf.cluster`` makes them."""

    def prepare(
        self,
        data: Sourced,
        kind: str,
        *,
        flip: bool,
        seed: int,
        workers: int | None,
        phase: Phase | None,
    ) -> tuple[Encoder, Encoded]:
        """As ``features.prepare.prepare``, with the rows kept there."""

    def distributed(self, problem: StreamProblem, data: Labelled) -> StreamProblem:
        """The same problem over all images of ``data``, with its sums made there."""

    def counts(self, data: Labelled, w: Floats, b: float, boundary: float) -> Counts:
        """The confusion counts of weights w (n, 1) of features on the images of ``data``."""


Solver = Callable[[State, OnStep | None, ShouldStop | None], Ending]

LBFGS_EVALUATIONS = 100  # expected; the cost model needs a guess


def solve(
    data: Labelled,
    settings: Settings | None = None,
    on_step: OnStep | None = None,
    should_stop: ShouldStop | None = None,
    *,
    validation: Labelled | None = None,
    workers: int | None = None,
    checkpoints: Checkpoints | None = None,
    cluster: Cluster | None = None,
) -> Fit:
    """Train logistic regression on a data set, from zero.

    ``on_step(k, cost)`` is called with the cost after k updates, for k = 0 … iterations.
    ``should_stop()`` is called before each update; True ends training with the weights of then.
    ``validation`` are images to select the step by, in the place of a part of ``data``.
    ``workers`` threads compute (default: one for each core); the result does not depend on them.
    ``checkpoints`` keeps the state of the run in a file, and can begin from it. ``cluster`` makes
    the sums over the images, to the same bits. Raises DivergedError, DataError, SettingsError, and
    what ``checkpoints`` and ``cluster`` raise.
    """
    settings, workers = (settings or Settings()).started(), workers or cores()
    trained, held_out = data, validation
    if held_out is None and settings.validation:
        trained, held_out = split(data, settings.validation, settings.seed)
    if checkpoints is not None:
        settings.require_resumable()
        settings = _as_before(settings, checkpoints)
    problem = _problem(trained, settings, workers)
    if cluster is not None:
        if not (isinstance(problem, StreamProblem) and trained is data) or settings.batch_size:
            raise SettingsError(
                "`cluster` is for full passes over all images: use `solver=gd` or lbfgs (a step of "
                "Newton's method would take a pass for every four features), and neither "
                "`method=gram`, `batch_size` nor a fraction as `validation`"
            )
        problem = cluster.distributed(problem, trained)
    settings = replace(settings, method=_method(problem))  # "auto" may depend on free memory
    with blas_threads(1):
        state, watch = State(problem.start()), None
        if held_out is not None:
            fused = isinstance(problem, StreamProblem) and problem.fused
            others = StreamProblem(
                held_out, 0.0, workers, weights=problem.class_weights, fused=fused
            )
            watch = HeldOut(others, problem, settings.patience)
        if checkpoints is not None:
            state = checkpoints.begin(_identity(data, validation, settings), state)
        run = _solver(problem, settings, trained, watch, checkpoints)
        ending = run(state, on_step, should_stop)
        if watch is not None:
            watch.last_look(state)
        return _fit(problem, settings, state, trained, held_out, ending)


def _problem(data: Labelled, settings: Settings, workers: int) -> StreamProblem | GramProblem:
    weights = class_weights(data.Y, settings.class_weight)
    if settings.solver == "lbfgs":
        passes = min(LBFGS_EVALUATIONS, settings.iterations)
        return build_euclidean(data, settings.l2, passes, settings.method, workers, weights)
    method = "gram" if settings.solver == "newton" else settings.method
    return build(
        data,
        settings.l2,
        settings.iterations,
        method,
        workers,
        weights,
        batch=settings.batch_size,
    )


def _solver(
    problem: StreamProblem | GramProblem,
    settings: Settings,
    data: Labelled,
    watch: HeldOut | None,
    checkpoints: Checkpoints | None,
) -> Solver:
    """The function that takes a state to the end, in place."""
    save, every = (checkpoints.save, checkpoints.every) if checkpoints else (None, 0)
    if settings.solver == "lbfgs" and isinstance(problem, StreamProblem | FactorProblem):
        from catclf.training.lbfgs import LBFGS

        return LBFGS(problem, settings, watch, save, every).run
    if settings.solver == "newton" and isinstance(problem, GramProblem):
        from catclf.training.newton import Newton

        return Newton(problem, settings, watch).run
    batches = None
    if settings.batch_size and isinstance(problem, StreamProblem):
        batches = BatchProblem(problem, Batches(data, settings.batch_size, settings.seed))
    return Descent(problem, settings, batches, watch, save, every).run


def _as_before(settings: Settings, checkpoints: Checkpoints) -> Settings:
    """Settings with the method of the earlier run: "auto" might select another one today."""
    if settings.method == "auto" and (method := checkpoints.method()):
        with suppress(SettingsError):  # the checkpoint of another run, which ``begin`` refuses
            return replace(settings, method=method)
    return settings


def _method(problem: Problem) -> str:
    if not isinstance(problem, StreamProblem):
        return "gram"
    return "fused" if problem.fused else "stream"


def _identity(data: Labelled, validation: Labelled | None, settings: Settings) -> dict[str, Any]:
    """The settings and images that are the same in a run and the one that it goes on from.

    The number of updates may differ, unless the learning rates follow from it.
    """
    identity: dict[str, Any] = {"schedule": settings.schedule}  # the first to be compared
    identity |= {name.replace("_", "-"): value for name, value in settings.to_dict().items()}
    if settings.schedule == "constant":
        del identity["iterations"]
    identity["images"] = getattr(data, "fingerprint", "")
    identity["validation images"] = getattr(validation, "fingerprint", "")
    return identity


def _fit(
    problem: Problem,
    settings: Settings,
    state: State,
    trained: Labelled | None,
    held_out: Labelled | None,
    ending: Ending,
) -> Fit:
    point, watch, validation = state.point, state.watch, None
    if trained is not None and held_out is not None and watch.best is not None:
        point = watch.best
        validation = Validation(
            trained,
            held_out,
            tuple(watch.costs),
            tuple(watch.cost_steps),
            watch.best_step,
            watch.best_cost,
        )
    return Fit(
        problem.weights(point),
        point.b,
        tuple(state.costs),
        tuple(state.cost_steps),
        state.step,
        settings,
        ending.interrupted,
        ending.reason,
        validation,
    )
