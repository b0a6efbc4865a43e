"""Costs by step as arrays of the model file: of training, and of held-out images where many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError
from catclf.samples import Indices
from catclf.storage.npz import ArrayFile

Names = tuple[str, str]  # of the arrays of costs and of their steps

CURVE: Names = ("costs", "cost_steps")
VALIDATION: Names = ("validation_costs", "validation_steps")
COSTS_LIMIT = 1_000_000
SHORT_CURVE = 10_000  # validation costs that fit into meta, where versions 1 and 2 have them


def kept_points(count: int, limit: int) -> Indices:
    """The numbers of the points of a curve that are kept where it has more than ``limit``.

    They are every k-th from the first on, with the smallest k that leaves ``limit`` or fewer, and
    the last.
    """
    if count <= limit:
        return np.arange(count)
    stride = -(-(count - 1) // (limit - 1))
    return np.append(np.arange(0, count - 1, stride), count - 1)


def thinned(names: Names, costs: Sequence[float], steps: Sequence[int]) -> dict[str, NDArray[Any]]:
    """The arrays of a curve, of up to ``COSTS_LIMIT`` points."""
    kept = kept_points(len(costs), COSTS_LIMIT)
    curve = np.array(costs, dtype="<f8")[kept], np.array(steps, dtype="<i8")[kept]
    return dict(zip(names, curve, strict=True))


def taken_validation(training: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of the costs in ``training["validation"]`` where they are many; it loses them."""
    validation = training["validation"]
    costs, steps = (validation.get(name, ()) for name in CURVE)
    if len(costs) <= SHORT_CURVE:
        return {}
    training["validation"] = {k: v for k, v in validation.items() if k not in CURVE}
    return thinned(VALIDATION, costs, steps)


def read_curve(file: ArrayFile, names: Names) -> tuple[list[float], list[int]]:
    """Costs and the steps at which they were seen. Raises ModelError."""
    costs, steps = names
    values = file.array(costs, "<f8", (COSTS_LIMIT,), at_most=True)
    at = file.array(steps, "<i8", values.shape)
    if (at < 0).any() or (at[1:] <= at[:-1]).any():
        raise ModelError(f"has {steps} that do not go up")
    return values.tolist(), at.tolist()
