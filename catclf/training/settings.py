"""The settings of training, and its result."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from catclf.errors import SettingsError
from catclf.maths import Floats
from catclf.objective import METHODS
from catclf.samples import Labelled

SOLVERS = ("gd", "lbfgs", "newton")
NEWTON_STEPS = 50  # at most; about ten are needed
CLASS_WEIGHTS = ("none", "balanced")
SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class Settings:
    """How to train. The defaults are the course's; a model file remembers all of them.

    ``iterations`` are updates of w: steps of descent, of which each uses ``batch_size`` images
    (0: all of them), or iterations of L-BFGS or of Newton's method, which end earlier where the
    gradient vanishes. Costs are kept every ``print_every`` steps, with L-BFGS and Newton at each
    iteration. ``validation`` is the fraction of the images that is held out (0: none), drawn by
    ``seed`` from each class; its cost is computed at the same steps; the weights with the lowest
    are kept, and training ends after ``patience`` of them without a lower one. With
    ``class_weight`` "balanced" the errors of a class count m / (2 m_class) times. ``schedule``
    says how descent's learning rate falls from ``learning_rate`` to 0 over ``iterations``.
    """

    learning_rate: float = 0.005
    iterations: int = 2000
    l2: float = 0.0
    print_every: int = 100  # steps of descent between the costs that are kept
    seed: int = 0  # for random choices; full-batch descent from zero makes none
    method: str = "auto"
    solver: str = "gd"
    batch_size: int = 0
    validation: float = 0.0
    patience: int = 10
    class_weight: str = "none"
    schedule: str = "constant"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise SettingsError(
                f"learning rate {self.learning_rate:g} is not a positive number: try 0.005"
            )
        if not (math.isfinite(self.l2) and self.l2 >= 0):
            raise SettingsError(f"l2 {self.l2:g} is not a number >= 0: try 0 or 1")
        if not 0 <= self.validation < 1:
            raise SettingsError(
                f"validation {self.validation:g} is not a fraction of the images: try 0.2"
            )
        for name, value, low in (
            ("iterations", self.iterations, 0),
            ("print-every", self.print_every, 1),
            ("seed", self.seed, 0),
            ("batch-size", self.batch_size, 0),
            ("patience", self.patience, 1),
        ):
            if value < low:
                raise SettingsError(f"{name} {value} is too small: {low} or more is needed")
        self._require_known("method", self.method, METHODS)
        self._require_known("solver", self.solver, SOLVERS)
        self._require_known("class-weight", self.class_weight, CLASS_WEIGHTS)
        self._require_known("schedule", self.schedule, SCHEDULES)
        self._require_newton_possible()
        if self.schedule != "constant" and self.solver != "gd":
            raise SettingsError(
                f"`schedule` is for `solver=gd`: {self.solver} finds its steps itself"
            )
        if self.batch_size and self.solver != "gd":
            raise SettingsError(
                f"`batch_size` is for `solver=gd`: {self.solver} needs full batches"
            )
        if self.batch_size and self.method == "gram":
            raise SettingsError("`batch_size` works on the pixels: use `method=stream` or auto")

    def _require_newton_possible(self) -> None:
        if self.solver == "newton" and self.method in ("stream", "fused"):
            raise SettingsError(
                "`solver=newton` works on the Gram matrix: use `method=gram` or auto"
            )
        if self.solver == "newton" and not self.l2:
            raise SettingsError("`solver=newton` needs a penalty: give `l2=1`, or `l2=auto`")

    @property
    def expected_steps(self) -> tuple[int, int]:
        """The number of updates there may be, and of those between two costs that are kept."""
        if self.solver == "newton":
            return min(self.iterations, NEWTON_STEPS), 1
        return self.iterations, 1 if self.solver == "lbfgs" else self.print_every

    def to_dict(self) -> dict[str, Any]:
        """The settings as a model file remembers them.

        Those of later versions are left out where they are the default, so that files stay equal.
        """
        values = asdict(self)
        if self.class_weight == "none":
            del values["class_weight"]
        if self.schedule == "constant":
            del values["schedule"]
        return values

    def rate(self, step: int) -> float:
        """The learning rate α of the update that follows ``step`` updates.

        linear: α (1 - t/T), cosine: α (1 + cos(π t/T)) / 2 with T the iterations (Loshchilov and
        Hutter, "SGDR", ICLR 2017, with one period).
        """
        if self.schedule == "constant":
            return self.learning_rate
        done = step / self.iterations
        left = 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * left

    def require_resumable(self) -> None:
        """Raise SettingsError for a run whose state cannot be kept in a checkpoint."""
        if self.solver == "newton":
            raise SettingsError("checkpoints are not for `solver=newton`: it is done in ten steps")

    @staticmethod
    def _require_known(name: str, value: str, known: tuple[str, ...]) -> None:
        if value not in known:
            raise SettingsError(f"{name} {value!r} is unknown: use one of {', '.join(known)}")


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
    done with ``settings``; ``interrupted`` when it was stopped before all iterations. ``reason``
    is why it ended by itself (see ``catclf.training.state``), empty when descent did all steps.
    With ``validation`` w and b are those of its best step.
    """

    w: Floats
    b: float
    costs: tuple[float, ...]
    cost_steps: tuple[int, ...]
    steps: int
    settings: Settings
    interrupted: bool = False
    reason: str = ""
    validation: Validation | None = None
