"""One run of training, from an objective to a fit."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from catclf.errors import SettingsError
from catclf.features.rows import Keeper
from catclf.machine import cores
from catclf.maths import Floats
from catclf.maths.metrics import Counts
from catclf.maths.threads import Team, blas_threads
from catclf.samples import Labelled, split
from catclf.settings import Settings
from catclf.training.batches import Batches
from catclf.training.objective import (
    GramObjective,
    Objective,
    StreamObjective,
    Weights,
    build,
    weights_like,
    weights_of,
)
from catclf.training.solvers import (
    LBFGS,
    Descent,
    EarlyStopping,
    OnStep,
    ShouldStop,
    State,
    StopReason,
    distance,
)

if TYPE_CHECKING:
    from catclf.training.checkpoint import Checkpoints


@dataclass(frozen=True)
class Validation:
    """The costs of the held-out images at ``cost_steps``, and the lowest of them.

    ``trained`` and ``held_out`` are the images that were trained on and those that were not.
    """

    trained: Labelled
    held_out: Labelled
    costs: tuple[float, ...]
    cost_steps: tuple[int, ...]
    best_step: int
    best_cost: float


@dataclass(frozen=True)
class Fit:
    """The result of training.

    w (n, 1) and b; ``costs`` at ``cost_steps`` updates, first and last included; ``steps`` updates
    done with ``settings``; ``reason`` is why it ended. With ``validation`` w and b are those of its
    best step. ``within`` bounds (J - J*) / J, J* the least cost, where there is a penalty.
    ``raised`` full-batch steps of descent raised the cost; at the learning rate ``safe_rate`` none
    would. ``K`` is the Gram matrix, where it was worked on.
    """

    w: Floats
    b: float
    costs: tuple[float, ...]
    cost_steps: tuple[int, ...]
    steps: int
    settings: Settings
    reason: StopReason
    validation: Validation | None = None
    within: float | None = None
    raised: int = 0
    safe_rate: float = 0.0
    K: Floats | None = None

    @property
    def ended(self) -> dict[str, Any]:
        """What a model remembers of the end: ``Training.ending`` puts it into words."""
        facts: dict[str, Any] = {"reason": str(self.reason)}
        if self.within is not None:
            facts["within"] = min(self.within, sys.float_info.max)
        if self.raised:
            rate = self.settings.learning_rate
            facts |= {"raised": self.raised, "rate": rate, "safe_rate": self.safe_rate}
        return facts

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before all iterations."""
        return self.reason is StopReason.INTERRUPTED


class Cluster(Keeper, Protocol):
    """Machines that hold the images between them, as ``catclf.cluster`` makes them."""

    def distributed(self, objective: StreamObjective, data: Labelled) -> StreamObjective:
        """The same objective over all images of ``data``, with its sums made there."""

    def counts(self, data: Labelled, w: Floats, b: float, boundary: float) -> Counts:
        """The confusion counts of weights w (n, 1) of features on the images of ``data``."""


def solve(
    data: Labelled,
    settings: Settings | None = None,
    on_step: OnStep | None = None,
    should_stop: ShouldStop | None = None,
    *,
    validation: Labelled | None = None,
    weights: Weights = None,
    K: Floats | None = None,
    adapts_rate: bool = False,
    workers: int | None = None,
    checkpoints: Checkpoints | None = None,
    cluster: Cluster | None = None,
) -> Fit:
    """Train logistic regression on a data set, from zero.

    ``on_step(k, cost)`` is called with the cost after k updates, for k = 0 … iterations.
    ``should_stop()`` is called before each update; True ends training with the weights of then.
    ``validation`` are images to select the step by, in the place of a part of ``data``.
    ``weights`` (1, m) multiply the losses of the images, beside the weights of their classes. ``K``
    (m, m) is the Gram matrix of ``data``, if it is there already. ``adapts_rate`` lets descent take
    a smaller rate than that of the settings where that does not descend (see ``Descent``).
    ``workers`` threads compute (default: one for each core); the result does not depend on them.
    ``checkpoints`` keeps the state of the run in a file, and can begin from it. ``cluster`` makes
    the sums over the images, to the same bits. Raises DivergedError, DataError, SettingsError, and
    what ``checkpoints`` and ``cluster`` raise.
    """
    settings, team = (settings or Settings()).started(), Team(workers or cores())
    trained, held_out = data, validation
    if held_out is None and settings.validation:
        trained, held_out = split(data, settings.validation, settings.seed)
    if checkpoints is not None:
        settings = _as_before(settings, checkpoints)
    v = weights_of(trained.Y, settings.class_weight, weights)
    objective = build(trained, settings, team, v, K)
    if cluster is not None:
        if not isinstance(objective, StreamObjective) or trained is not data or settings.batch_size:
            raise SettingsError(
                "`cluster` is for full passes over all images: use neither `method=gram`, "
                "`batch_size` nor a fraction as `validation`"
            )
        objective = cluster.distributed(objective, trained)
    settings = replace(settings, method=objective.method)  # "auto" may depend on free memory
    with blas_threads(1):
        state, stopping = State(objective.start()), None
        if held_out is not None:
            v = weights_like(trained.Y, objective.v, held_out.Y)
            fused = objective.method == "fused"
            others = StreamObjective(held_out, 0.0, team, v, fused=fused)
            stopping = EarlyStopping(others, objective, settings.patience)
        if checkpoints is not None:
            state = checkpoints.begin(_identity(data, validation, settings), state)
        save, every = (checkpoints.save, checkpoints.every) if checkpoints else (None, 0)
        shared = objective, settings, stopping, save, every
        if settings.solver == "lbfgs":
            reason = LBFGS(*shared).run(state, on_step, should_stop)
        else:
            batches, safe = None, objective.safe_rate if adapts_rate else None
            if settings.batch_size:
                batches, safe = Batches(trained, settings.batch_size, settings.seed), None
            reason = Descent(*shared, batches, safe).run(state, on_step, should_stop)
        if stopping is not None:
            stopping.last_look(state)
        return _fit(objective, settings, state, trained, held_out, reason)


def _as_before(settings: Settings, checkpoints: Checkpoints) -> Settings:
    """Settings with the method of the earlier run: "auto" might select another one today."""
    if settings.method == "auto" and (method := checkpoints.method()):
        with suppress(SettingsError):  # the checkpoint of another run, which ``begin`` refuses
            return replace(settings, method=method)
    return settings


def _identity(data: Labelled, validation: Labelled | None, settings: Settings) -> dict[str, Any]:
    """The settings and images that are the same in a run and the one that it goes on from.

    The number of updates may differ, unless the learning rates follow from it.
    """
    identity: dict[str, Any] = {"schedule": settings.schedule}  # the first to be compared
    identity |= {name.replace("_", "-"): value for name, value in asdict(settings).items()}
    if settings.schedule == "constant":
        del identity["iterations"]
    identity["images"] = getattr(data, "fingerprint", "")
    identity["validation images"] = getattr(validation, "fingerprint", "")
    return identity


def _fit(
    objective: Objective,
    settings: Settings,
    state: State,
    trained: Labelled,
    held_out: Labelled | None,
    reason: StopReason,
) -> Fit:
    point, watch, curve, validation = state.point, state.watch, state.curve, None
    if held_out is not None and watch.best is not None:
        looks, best = (tuple(watch.costs), tuple(watch.steps)), (watch.best_step, watch.best_cost)
        point, validation = watch.best, Validation(trained, held_out, *looks, *best)
    w = objective.weights(point)
    unbounded = settings.solver == "lbfgs" and not settings.l2 and objective.is_local
    if unbounded and reason is not StopReason.INTERRUPTED and objective.separates(w, point.b):
        reason = StopReason.SEPARABLE
    rate = state.rate or settings.learning_rate
    raised = state.raised if settings.solver == "gd" else 0
    return Fit(
        w,
        point.b,
        tuple(curve.costs),
        tuple(curve.steps),
        state.step,
        replace(settings, learning_rate=rate),
        reason,
        validation,
        within=distance(objective, point),
        raised=raised,
        safe_rate=objective.safe_rate() if raised else 0.0,
        K=objective.K if isinstance(objective, GramObjective) else None,
    )
