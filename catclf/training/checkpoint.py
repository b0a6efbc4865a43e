"""The state of an unfinished training run in a file, from which it goes on as if never stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import CheckpointError, SettingsError
from catclf.maths import Floats
from catclf.storage import npz
from catclf.storage.location import locate
from catclf.storage.npz import ArrayFile, UnsoundError
from catclf.text import printable, reason
from catclf.training.objective import Point
from catclf.training.quasi_newton import PAIRS
from catclf.training.solvers import KEPT_LIMIT, State, Watch

FORMAT = "catclf-checkpoint"
VERSION = 2
FILE_LIMIT = 256 * 1024 * 1024  # bytes; the two points of 1024x1024 images have 50 MB
COORDINATES_LIMIT = FILE_LIMIT // 8
VECTORS_LIMIT = 1 + 2 * PAIRS
META_LIMIT = 1024 * 1024  # characters


def beside(output: Path) -> Path:
    """The path of a model file's checkpoint."""
    return output.with_name(output.name + ".checkpoint")


@dataclass
class Checkpoints:
    """The file in which a run keeps its state every so many steps (0: only when it is stopped).

    With ``resume`` a run begins from the state in the file, if there is one. A checkpoint is
    replaced wholly or not at all, so that a kill at any moment leaves the last one. It may lie in a
    store, to which it is sent each time.
    """

    path: Path
    every: int = 0
    resume: bool = False
    _identity: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.every < 0:
            raise SettingsError(f"checkpoint-every {self.every} is too small: give 1 or more")

    def exists(self) -> bool:
        """Whether there is a file. Raises CheckpointError where that cannot be known."""
        try:
            return locate(self.path).exists()
        except OSError as error:
            raise CheckpointError(f"{printable(self.path)}: {reason(error)}") from error

    def method(self) -> str | None:
        """The ``method`` of the run in the file, if there is one. Raises CheckpointError."""
        if not (self.resume and self.exists()):
            return None
        try:
            file = ArrayFile(self.path, FILE_LIMIT)
            identity = _meta(file.text("meta", META_LIMIT)).get("identity")
        except (UnsoundError, OSError):
            return None  # ``begin`` says what is wrong
        method = identity.get("method") if isinstance(identity, dict) else None
        return method if isinstance(method, str) else None

    def begin(self, identity: dict[str, Any], fresh: State) -> State:
        """The state to begin with: ``fresh``, or the one in the file.

        ``identity`` is what a run and that of the file have in common. Raises CheckpointError.
        """
        self._identity = identity
        if not (self.resume and self.exists()):
            return fresh
        try:
            state = _state(self.path, identity, len(fresh.point.coordinates))
        except UnsoundError as error:
            raise CheckpointError(
                f"{printable(self.path)}: {error}: leave out `resume` to start anew"
            ) from error
        except OSError as error:
            raise CheckpointError(f"{printable(self.path)}: {reason(error)}") from error
        return state

    def save(self, state: State) -> None:
        """Replace the file by one of this state. Raises OutputError; then the old one stays."""
        watch = state.watch
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "identity": self._identity,
            "step": state.step,
            "batches": state.batches,
            "best_step": watch.best_step,
            "waited": watch.waited,
            "raised": state.raised,
            "phase": state.phase,
        }
        best = np.zeros((0, 1)) if watch.best is None else watch.best.coordinates
        of_best = (0.0, 0.0) if watch.best is None else (watch.best.b, watch.best_cost)
        numbers = [state.point.b, state.batch_costs, *of_best, state.last_cost, state.rate]
        npz.write(
            self.path,
            {
                "coordinates": state.point.coordinates.astype("<f8"),
                "best": best.astype("<f8"),
                "numbers": np.array(numbers, "<f8"),
                "costs": np.array(state.costs, "<f8"),
                "cost_steps": np.array(state.cost_steps, "<i8"),
                "watch_costs": np.array(watch.costs, "<f8"),
                "watch_steps": np.array(watch.cost_steps, "<i8"),
                "meta": np.array(json.dumps(meta, sort_keys=True)),
                **({} if state.vectors is None else {"vectors": state.vectors.astype("<f8")}),
            },
        )

    def remove(self) -> None:
        """Forget the state: the run has ended well. Raises CheckpointError."""
        try:
            locate(self.path).remove()
        except OSError as error:
            raise CheckpointError(
                f"{printable(self.path)}: cannot be removed: {reason(error)}: the run it is of has "
                "ended well"
            ) from error


def _state(path: Path, identity: dict[str, Any], k: int) -> State:
    """The state in a file, for a problem of k coordinates. Raises UnsoundError and OSError."""
    file = ArrayFile(path, FILE_LIMIT)
    # Any number of coordinates is read, so that a run on other images is refused by that name.
    shapes = {
        "coordinates": (COORDINATES_LIMIT, 1),
        "best": (COORDINATES_LIMIT, 1),
        "costs": (KEPT_LIMIT,),
        "watch_costs": (KEPT_LIMIT,),
    }
    steps = {"cost_steps": "costs", "watch_steps": "watch_costs"}
    if "vectors" in file:  # of L-BFGS alone
        shapes["vectors"] = (VECTORS_LIMIT, 2 * COORDINATES_LIMIT)
    file.require([*shapes, *steps, "numbers", "meta"])
    meta = _meta(file.text("meta", META_LIMIT))
    _require_same(meta.get("identity"), identity)
    arrays = {name: file.array(name, "<f8", shape, at_most=True) for name, shape in shapes.items()}
    arrays |= {name: file.array(name, "<i8", arrays[other].shape) for name, other in steps.items()}
    arrays["numbers"] = file.array("numbers", "<f8", (6,))
    if len(arrays["coordinates"]) != k or len(arrays["best"]) not in (0, k):
        raise UnsoundError("is damaged: its arrays do not belong together")
    vectors = arrays.get("vectors", np.zeros((1, k + 1)))
    if vectors.shape[1] not in (k + 1, 2 * k + 1) or len(vectors) % 2 == 0:
        raise UnsoundError("is damaged: its arrays do not belong together")
    return _assembled(arrays, meta)


def _assembled(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> State:
    b, batch_costs, best_b, best_cost, last_cost, rate = arrays["numbers"].tolist()
    watch = Watch(arrays["watch_costs"].tolist(), arrays["watch_steps"].tolist())
    if len(arrays["best"]):
        watch.best = Point(_column(arrays["best"]), best_b)
        watch.best_step, watch.best_cost = _count(meta, "best_step"), best_cost
        watch.waited = _count(meta, "waited")
    return State(
        Point(_column(arrays["coordinates"]), b),
        _count(meta, "step"),
        arrays["costs"].tolist(),
        arrays["cost_steps"].tolist(),
        batch_costs,
        _count(meta, "batches"),
        watch,
        _count(meta, "raised"),
        last_cost,
        rate,
        np.asarray(arrays["vectors"], np.float64) if "vectors" in arrays else None,
        _count(meta, "phase"),
    )


def _column(array: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(array, dtype=np.float64)


def _meta(text: str) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnsoundError("is damaged and cannot be read") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise UnsoundError("is not a checkpoint of catclf")
    if meta.get("version") != VERSION:
        raise UnsoundError("was made by another version of catclf")
    return meta


def _count(meta: dict[str, Any], name: str) -> int:
    value = meta.get(name)
    if type(value) is not int or value < 0:
        raise UnsoundError(f"has no {name}")
    return value


def _require_same(stored: Any, required: dict[str, Any]) -> None:
    """Raise UnsoundError, naming the first difference between two runs."""
    if not isinstance(stored, dict):
        raise UnsoundError("has no settings")
    for name, value in required.items():
        other = stored.get(name)
        if other == value and type(other) is type(value):
            continue
        if "images" in name:
            raise UnsoundError(f"is of a run with other {name}")
        raise UnsoundError(f"is of a run with {name} {printable(str(other))}, not {value}")
