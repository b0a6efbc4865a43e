"""Going on from a checkpoint: the same bits as never stopping, or a refusal that says why."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import dataset, make_images
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lazily import Labels, labelled, on_disk
from model_files import members as members_of
from model_files import npy, zipped

from catclf.datasets import Dataset
from catclf.errors import CheckpointError
from catclf.training import Fit, Settings, checkpoint, solve
from catclf.training.checkpoint import Checkpoints
from catclf.training.objective import Point
from catclf.training.solvers import Curve, State, Watch

CASES = {
    "gram": (Settings(method="gram", iterations=40, print_every=7, l2=1.0), False),
    "stream": (Settings(method="stream", iterations=40, print_every=7, l2=1.0), False),
    "stream on disk": (Settings(method="stream", iterations=40, print_every=7), True),
    "fused": (Settings(method="fused", iterations=40, print_every=7, l2=1.0), True),
    "batches": (Settings(batch_size=32, iterations=40, print_every=7), False),
    "batches on disk": (Settings(batch_size=32, iterations=40, print_every=7), True),
    "validation": (Settings(validation=0.25, iterations=40, print_every=3, patience=30), False),
    "schedule": (Settings(schedule="cosine", method="gram", iterations=40, print_every=7), False),
    "lbfgs gram": (Settings(solver="lbfgs", iterations=40, method="gram", l2=1e-9), False),
    "lbfgs stream": (Settings(solver="lbfgs", iterations=40, method="stream", l2=1e-9), True),
    "all": (Settings(validation=0.25, batch_size=32, iterations=40, print_every=3), True),
}


def result(fit: Fit) -> tuple[object, ...]:
    seen = fit.validation
    looks = seen and (seen.costs, seen.cost_steps, seen.best_step, seen.best_cost)
    return fit.w.tobytes(), fit.b, fit.costs, fit.cost_steps, fit.steps, fit.reason, looks


def sources(lazily: bool) -> Labels:
    data = labelled(150, size=4)
    return on_disk(data) if lazily else data


def stopped(at: int, data: Labels, settings: Settings, checkpoints: Checkpoints) -> Fit:
    """A run that is interrupted when it asks for the ``at``-th time, from 0 on."""
    asked = count()
    return solve(data, settings, should_stop=lambda: next(asked) == at, checkpoints=checkpoints)


def resumed(
    path: Path, settings: Settings, lazily: bool = False, **how: Any
) -> tuple[tuple[object, ...], list[int]]:
    """The result of a run that goes on from a checkpoint, and its steps."""
    found, steps = Checkpoints(path, resume=True), list[int]()
    fit = solve(
        sources(lazily), settings, lambda step, _: steps.append(step), checkpoints=found, **how
    )
    return result(fit), steps


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop", [1, 7, 39])
def test_going_on_is_as_if_never_stopped(case: str, stop: int, tmp_path: Path) -> None:
    settings, lazily = CASES[case]
    whole = solve(sources(lazily), settings)
    path = tmp_path / "c"
    first = stopped(stop, sources(lazily), settings, Checkpoints(path))
    assert (first.interrupted, first.steps) == (True, stop)
    second, steps = resumed(path, settings, lazily, workers=3)
    assert steps[0] == stop
    assert second == result(whole)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", [10, 30])
def test_a_crash_loses_the_steps_since_the_last_checkpoint(
    case: str, step: int, tmp_path: Path
) -> None:
    settings, lazily = CASES[case]
    path = tmp_path / "c"

    def crash(at: int, cost: float) -> None:
        if at == step:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        solve(sources(lazily), settings, crash, checkpoints=Checkpoints(path, every=9))
    found, steps = resumed(path, settings, lazily)
    assert steps[0] == step // 9 * 9
    assert found == result(solve(sources(lazily), settings))


@pytest.mark.parametrize("method", ["gram", "stream"])
def test_a_longer_run_keeps_what_auto_chose(method: str, tmp_path: Path) -> None:
    settings, path = Settings(method=method, iterations=40, print_every=7), tmp_path / "c"
    solve(sources(False), replace(settings, iterations=20), checkpoints=Checkpoints(path, every=20))
    longer, steps = resumed(path, replace(settings, method="auto"))
    assert steps[0] == 20
    assert longer == result(solve(sources(False), settings))


def made(seed: int = 0) -> Dataset:
    return dataset(*make_images(40, 4, seed))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"learning_rate": 0.1}, "learning-rate 0.005, not 0.1"),
        ({"l2": 2.0}, "l2 0.0, not 2.0"),
        ({"seed": 5}, "seed 0, not 5"),
        ({"method": "stream"}, "method gram, not stream"),
        ({"batch_size": 8}, "method gram, not stream"),
        ({"print_every": 3}, "print-every 100, not 3"),
        ({"validation": 0.3}, "validation 0.0, not 0.3"),
        ({"schedule": "linear"}, "schedule constant, not linear"),
        ({"schedule": "cosine", "iterations": 50}, "schedule constant, not cosine"),
    ],
)
def test_another_run_is_refused_by_its_difference(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path, settings = tmp_path / "c", Settings(iterations=10, method="gram")
    solve(made(), settings, checkpoints=Checkpoints(path, every=5))
    if "batch_size" in change:
        settings = replace(settings, method="auto")
    with pytest.raises(CheckpointError, match=f"c: is of a run with {says}: leave out `resume`"):
        solve(made(), replace(settings, **change), checkpoints=Checkpoints(path, resume=True))


def test_other_images_are_refused(tmp_path: Path) -> None:
    path, settings = tmp_path / "c", Settings(iterations=10, method="gram")
    solve(made(), settings, checkpoints=Checkpoints(path, every=5))
    with pytest.raises(CheckpointError, match="is of a run with other images"):
        solve(made(1), settings, checkpoints=Checkpoints(path, resume=True))
    with pytest.raises(CheckpointError, match="is of a run with other validation images"):
        solve(made(), settings, validation=made(1), checkpoints=Checkpoints(path, resume=True))


def a_checkpoint(path: Path) -> Checkpoints:
    path.unlink(missing_ok=True)
    found = Checkpoints(path, resume=True)
    found.begin({"seed": 0}, fresh())
    watch = Watch([1, 2], [0.6, 0.5], Point(np.full((3, 1), 0.1), 0.2), 2, 0.5, 0)
    found.save(
        State(Point(np.array([[1.0], [2.0], [3.0]]), 0.5), 2, Curve([0], [0.7]), 1.5, 2, watch)
    )
    return found


def fresh() -> State:
    return State(Point(np.zeros((3, 1)), 0.0))


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    state = a_checkpoint(tmp_path / "c").begin({"seed": 0}, fresh())
    assert state.point.coordinates.tolist() == [[1.0], [2.0], [3.0]]
    assert (state.point.b, state.step, state.curve) == (0.5, 2, Curve([0], [0.7]))
    assert (state.batch_costs, state.batches) == (1.5, 2)
    watch = state.watch
    assert (watch.costs, watch.steps) == ([0.6, 0.5], [1, 2])
    assert (watch.best_step, watch.best_cost, watch.waited) == (2, 0.5, 0)
    assert watch.best is not None
    assert (watch.best.coordinates.tolist(), watch.best.b) == ([[0.1]] * 3, 0.2)


def edited(path: Path, **members: Any) -> None:
    """Write the checkpoint at ``path`` again with some members changed or left out."""
    changed = {f"{name}.npy": value for name, value in members.items()}
    sound = {name: each for name, each in members_of(path).items() if name not in changed}
    kept = {name: npy(value) for name, value in changed.items() if value is not None}
    path.write_bytes(zipped(sound | kept))


def meta(**changes: Any) -> str:
    good = {"format": "catclf-checkpoint", "version": 3, "identity": {"seed": 0}}
    numbers: dict[str, Any] = dict.fromkeys(
        ("step", "batches", "best_step", "waited", "raised", "phase"), 1
    )
    numbers |= dict.fromkeys(("batch_costs", "last_cost", "rate", "best_cost"), 0.5)
    own = {name: value for name, value in changes.items() if name in numbers}
    others = {name: value for name, value in changes.items() if name not in numbers}
    return json.dumps(good | {"numbers": numbers | own} | others)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"meta": meta(version=1)}, "another version"),
        ({"meta": meta(format="other")}, "not a checkpoint"),
        ({"meta": meta(step=-1)}, "no step"),
        ({"meta": meta(step=True)}, "no step"),
        ({"meta": meta(identity=[])}, "no settings"),
        ({"meta": "{"}, "damaged"),
        ({"meta": None}, "must hold exactly"),
        ({"extra": 1}, "must hold exactly"),
        ({"coordinates": np.full((3, 1), np.nan)}, "not finite"),
        ({"biases": np.array([0.0, np.inf])}, "not finite"),
        ({"meta": meta(best_cost=math.nan)}, "no best_cost"),
        ({"meta": meta(rate=1)}, "no rate"),
        ({"meta": meta(numbers=[])}, "no settings"),
        ({"coordinates": np.zeros((4, 1))}, "do not belong together"),
        ({"coordinates": np.zeros(3)}, r"coordinates of <f8 \(3,\)"),
        ({"coordinates": np.zeros((3, 1), np.float32)}, "coordinates of <f4"),
        ({"coordinates": np.array([[{}]] * 3, dtype=object)}, "pickled objects in coordinates"),
        ({"biases": np.zeros(3)}, "biases"),
        ({"cost_steps": np.zeros(4, np.int64)}, r"cost_steps of <i8 \(4,\), not"),
        ({"vectors": np.zeros((2, 4))}, "do not belong together"),
        ({"vectors": np.zeros((0, 4))}, "do not belong together"),
        ({"vectors": np.zeros((3, 3))}, "do not belong together"),
        ({"vectors": np.zeros((99, 4))}, r"vectors of <f8 \(99, 4\)"),
        ({"meta": meta(raised=-1)}, "no raised"),
        ({"meta": meta(phase="x")}, "no phase"),
        ({"vectors": np.full((3, 4), np.inf)}, "not finite"),
    ],
)
def test_an_unsound_checkpoint_is_refused(
    members: dict[str, Any], says: str, tmp_path: Path
) -> None:
    found = a_checkpoint(tmp_path / "c")
    edited(tmp_path / "c", **members)
    with pytest.raises(CheckpointError, match=f"c: .*{says}.*leave out `resume`"):
        found.begin({"seed": 0}, fresh())


@hypothesis_settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "c"
    found = a_checkpoint(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        state = found.begin({"seed": 0}, fresh())
    except CheckpointError:
        return
    assert state.point.coordinates.tolist() == [[1.0], [2.0], [3.0]]
    assert (state.point.b, state.step) == (0.5, 2)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, a_checkpoint])
def test_what_is_no_checkpoint_file_is_refused(
    make: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, a pipe that nobody waits for, and a file that is too large."""
    path = tmp_path / "c"
    make(path)
    monkeypatch.setattr(checkpoint, "FILE_LIMIT", 100)
    with pytest.raises(CheckpointError, match="c: "):
        Checkpoints(path, resume=True).begin({"seed": 0}, fresh())


@pytest.mark.parametrize("limit", [8, 9])
@pytest.mark.parametrize("iterations", [60, 61, 64])
def test_a_long_curve_is_thinned_alike_with_and_without_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, iterations: int
) -> None:
    for module in ("solvers", "checkpoint"):  # saving keeps to the limit of loading
        monkeypatch.setattr(f"catclf.training.{module}.KEPT_LIMIT", limit)
    path = tmp_path / "c"
    settings = Settings(
        method="gram", iterations=iterations, print_every=2, validation=0.2, patience=10**6
    )
    whole = solve(sources(False), settings)
    for step in (17, 41):
        stopped(step, sources(False), settings, Checkpoints(path, resume=True))
    resumed = solve(sources(False), settings, checkpoints=Checkpoints(path, resume=True))
    assert result(resumed) == result(whole)
    assert whole.validation is not None
    for steps in (whole.cost_steps, whole.validation.cost_steps):
        assert limit // 2 <= len(steps) <= limit
    *even, last = whole.cost_steps
    assert (even[0], last) == (0, iterations)
    assert len({b - a for a, b in pairwise(even)}) == 1
