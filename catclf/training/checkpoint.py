"""The state of an unfinished training run in a file, from which it goes on as if never stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from catclf.errors import CheckpointError, SettingsError
from catclf.storage import npz
from catclf.storage.location import locate
from catclf.storage.npz import ArrayFile, UnsoundError
from catclf.text import printable, reason
from catclf.training.objective import Point
from catclf.training.solvers import KEPT_LIMIT, PAIRS, Curve, State, Watch

FORMAT, VERSION = "catclf-checkpoint", 3
FILE_LIMIT = 256 * 1024 * 1024  # bytes; the two points of 1024x1024 images have 50 MB
COORDINATES_LIMIT = FILE_LIMIT // 8
VECTORS_LIMIT = 1 + 2 * PAIRS
META_LIMIT = 1024 * 1024  # characters
# Numbers of a state and of what watches validation images, with their types; none is negative.
OF_STATE = {"step": int, "batch_costs": float, "batches": int, "raised": int, "last_cost": float}
OF_STATE |= {"rate": float, "phase": int}
OF_WATCH = {"best_step": int, "best_cost": float, "waited": int}


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
            method = _meta(ArrayFile(self.path, FILE_LIMIT))["identity"].get("method")
        except (UnsoundError, OSError):
            return None  # ``begin`` says what is wrong
        return method if isinstance(method, str) else None

    def begin(self, identity: dict[str, Any], fresh: State) -> State:
        """The state to begin with: ``fresh``, or the one in the file.

        ``identity`` is what a run and that of the file have in common. Raises CheckpointError.
        """
        self._identity = identity
        if not (self.resume and self.exists()):
            return fresh
        try:
            return _read(self.path, identity, len(fresh.point.coordinates))
        except UnsoundError as error:
            raise CheckpointError(
                f"{printable(self.path)}: {error}: leave out `resume` to start anew"
            ) from error
        except OSError as error:
            raise CheckpointError(f"{printable(self.path)}: {reason(error)}") from error

    def save(self, state: State) -> None:
        """Replace the file by one of this state. Raises OutputError; then the old one stays."""
        watch, curve = state.watch, state.curve
        best = watch.best or Point(np.zeros((0, 1)), 0.0)
        numbers = {name: getattr(state, name) for name in OF_STATE}
        numbers |= {name: getattr(watch, name) for name in OF_WATCH}
        meta = {"format": FORMAT, "version": VERSION, "identity": self._identity}
        text = json.dumps(meta | {"numbers": numbers}, sort_keys=True)
        arrays = {
            "coordinates": state.point.coordinates,
            "best": best.coordinates,
            "biases": np.array([state.point.b, best.b]),
            "costs": np.array(curve.costs, "<f8"),
            "watch_costs": np.array(watch.costs, "<f8"),
        } | ({} if state.vectors is None else {"vectors": state.vectors})
        steps = {"cost_steps": curve.steps, "watch_steps": watch.steps}
        npz.write(
            self.path,
            {name: array.astype("<f8") for name, array in arrays.items()}
            | {name: np.array(numbers, "<i8") for name, numbers in steps.items()}
            | {"meta": np.array(text)},
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


def _read(path: Path, identity: dict[str, Any], k: int) -> State:
    """The state in a file, for a problem of k coordinates. Raises UnsoundError and OSError."""
    file = ArrayFile(path, FILE_LIMIT)
    # Any number of coordinates is read, so that a run on other images is refused by that name.
    shapes = {
        "coordinates": (COORDINATES_LIMIT, 1),
        "best": (COORDINATES_LIMIT, 1),
        "costs": (KEPT_LIMIT,),
        "watch_costs": (KEPT_LIMIT,),
    } | ({"vectors": (VECTORS_LIMIT, 2 * COORDINATES_LIMIT)} if "vectors" in file else {})
    file.require([*shapes, "biases", "cost_steps", "watch_steps", "meta"])
    meta = _meta(file)
    _require_same(meta["identity"], identity)
    arrays = {
        name: np.asarray(file.array(name, "<f8", shape, at_most=True), np.float64)
        for name, shape in shapes.items()
    }
    curve, watched = (
        (file.array(steps, "<i8", arrays[costs].shape).tolist(), arrays[costs].tolist())
        for steps, costs in (("cost_steps", "costs"), ("watch_steps", "watch_costs"))
    )
    vectors = arrays.get("vectors")
    fits = vectors is None or (vectors.shape[1] in (k + 1, 2 * k + 1) and len(vectors) % 2)
    if not fits or len(arrays["coordinates"]) != k or len(arrays["best"]) not in (0, k):
        raise UnsoundError("is damaged: its arrays do not belong together")
    b, best_b = file.array("biases", "<f8", (2,)).tolist()
    watch = Watch(*watched, **_numbers(meta, OF_WATCH))
    watch.best = Point(arrays["best"], best_b) if len(arrays["best"]) else None
    return State(
        Point(arrays["coordinates"], b),
        curve=Curve(*curve),
        watch=watch,
        vectors=vectors,
        **_numbers(meta, OF_STATE),
    )


def _meta(file: ArrayFile) -> dict[str, Any]:
    """What a file says of its run. Raises UnsoundError."""
    try:
        meta = json.loads(file.text("meta", META_LIMIT))
    except (ValueError, RecursionError) as error:
        raise UnsoundError("is damaged and cannot be read") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise UnsoundError("is not a checkpoint of catclf")
    if meta.get("version") != VERSION:
        raise UnsoundError("was made by another version of catclf")
    if not (isinstance(meta.get("identity"), dict) and isinstance(meta.get("numbers"), dict)):
        raise UnsoundError("has no settings")
    return meta


def _numbers(meta: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    """Numbers of these types; a float may be infinite, but not NaN."""
    found = {name: meta["numbers"].get(name) for name in kinds}
    for name, value in found.items():
        if type(value) is not kinds[name] or not value >= 0:
            raise UnsoundError(f"has no {name}")
    return found


def _require_same(stored: dict[str, Any], required: dict[str, Any]) -> None:
    """Raise UnsoundError, naming the first difference between two runs."""
    for name, value in required.items():
        other = stored.get(name)
        if other == value and type(other) is type(value):
            continue
        if "images" in name:
            raise UnsoundError(f"is of a run with other {name}")
        raise UnsoundError(f"is of a run with {name} {printable(str(other))}, not {value}")
