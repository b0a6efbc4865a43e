"""The result of training."""

from __future__ import annotations

from dataclasses import dataclass

from catclf.maths import Floats
from catclf.samples import Labelled
from catclf.settings import Settings as Settings


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
