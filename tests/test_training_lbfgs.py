"""L-BFGS against scikit-learn's optimum, in both forms, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lazily import Labels, labelled
from sklearn.linear_model import LogisticRegression

from catclf.errors import SettingsError
from catclf.maths import Floats, cost_and_gradient
from catclf.training import Fit, Settings, solve
from catclf.training.checkpoint import Checkpoints
from catclf.training.solvers import State

both_methods = pytest.mark.parametrize("method", ["stream", "gram"])


def optimum(data: Labels, l2: float) -> tuple[Floats, float]:
    """scikit-learn's: C Σ loss + ½‖w‖² is our objective times m/λ when C = 1/λ."""
    other = LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    other.fit(columns(data).T, data.Y[0])
    return np.asarray(other.coef_.T), float(other.intercept_[0])


def columns(data: Labels) -> Floats:
    return np.asarray(data.images.reshape(len(data.images), -1).T / 255.0)


@both_methods
@pytest.mark.parametrize("l2", [0.3, 30.0])
@pytest.mark.parametrize("m", [60, 400])  # fewer images than features, and more
def test_it_meets_scikit_learns_optimum(method: str, l2: float, m: int) -> None:
    data = labelled(m)
    fit = solve(data, Settings(solver="lbfgs", l2=l2, method=method))
    w, b = optimum(data, l2)
    least = cost_and_gradient(columns(data), data.Y, w, b, l2)[0]
    found = cost_and_gradient(columns(data), data.Y, fit.w, fit.b, l2)[0]
    assert found == pytest.approx(least, rel=1e-6)
    np.testing.assert_allclose(fit.w, w, atol=2e-3 * np.abs(w).max())
    assert fit.b == pytest.approx(b, rel=2e-3, abs=2e-3)
    assert fit.reason == "optimum"
    assert 2 < fit.steps < 200
    assert fit.cost_steps[-1] == fit.steps
    assert fit.costs[-1] == pytest.approx(found, rel=1e-5)


def test_a_long_descent_and_it_meet() -> None:
    data = labelled(40, size=4)
    slow = solve(data, Settings(learning_rate=0.3, iterations=20_000, l2=2.0))
    fast = solve(data, Settings(solver="lbfgs", l2=2.0))
    np.testing.assert_allclose(fast.w, slow.w, atol=1e-3 * np.abs(slow.w).max())
    assert fast.costs[-1] == pytest.approx(slow.costs[-1], rel=1e-7)


@both_methods
def test_equal_images_do_no_harm(method: str) -> None:
    data = labelled(60)
    data.images[:20] = data.images[20:40]
    data.Y[:, :20] = data.Y[:, 20:40]
    fit = solve(data, Settings(solver="lbfgs", l2=1.0, method=method))
    w, b = optimum(data, 1.0)
    least = cost_and_gradient(columns(data), data.Y, w, b, 1.0)[0]
    found = cost_and_gradient(columns(data), data.Y, fit.w, fit.b, 1.0)[0]
    assert found == pytest.approx(least, rel=1e-6)


@both_methods
def test_each_iteration_is_reported_and_kept_and_the_limit_is_named(method: str) -> None:
    seen: list[tuple[int, float]] = []
    settings = Settings(solver="lbfgs", l2=1.0, iterations=7, print_every=3, method=method)
    fit = solve(labelled(60), settings, on_step=lambda *step: seen.append(step))
    assert [step for step, _ in seen] == list(range(8))
    assert fit.costs == tuple(cost for _, cost in seen)
    assert (fit.steps, fit.cost_steps, fit.reason) == (7, tuple(range(8)), "limit")


@both_methods
def test_an_optimum_at_the_last_iteration_that_is_allowed_is_an_optimum(method: str) -> None:
    data, settings = labelled(60), Settings(solver="lbfgs", l2=1.0, method=method)
    whole = solve(data, settings)
    assert whole.reason == "optimum"
    assert same(solve(data, replace(settings, iterations=whole.steps)), whole)
    assert solve(data, replace(settings, iterations=whole.steps // 2)).reason == "limit"


def test_it_stops_when_asked() -> None:
    steps: list[int] = []
    fit = solve(
        labelled(60),
        Settings(solver="lbfgs", l2=1.0),
        on_step=lambda step, _: steps.append(step),
        should_stop=lambda: steps[-1] == 4,
    )
    assert (fit.steps, fit.interrupted, fit.reason) == (4, True, "interrupted")
    assert fit.cost_steps == (0, 1, 2, 3, 4)


def test_no_iterations_leave_everything_at_zero() -> None:
    fit = solve(labelled(10), Settings(solver="lbfgs", iterations=0))
    assert not fit.w.any()
    assert fit.costs == pytest.approx([np.log(2)])


def test_an_unknown_solver_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="`solver=sgd` is unknown: use gd or lbfgs"):
        Settings(solver="sgd")


def settings_of(method: str) -> Settings:
    """Thirteen iterations that do not reach the optimum."""
    return Settings(solver="lbfgs", iterations=13, print_every=3, method=method)


def same(first: Fit, second: Fit) -> bool:
    looks = [
        fit.validation and (fit.validation.costs, fit.validation.best_step)
        for fit in (first, second)
    ]
    return (
        first.w.tobytes() == second.w.tobytes()
        and (first.b, first.costs, first.cost_steps, first.steps, first.reason)
        == (second.b, second.costs, second.cost_steps, second.steps, second.reason)
        and looks[0] == looks[1]
    )


@both_methods
@pytest.mark.parametrize("validation", [0.0, 0.25])
@pytest.mark.parametrize("stop", [0, 1, 6, 12])
def test_going_on_is_as_if_never_stopped(
    method: str, validation: float, stop: int, tmp_path: Path
) -> None:
    data, path = labelled(200), tmp_path / "c"
    settings = replace(settings_of(method), validation=validation, patience=60)
    whole, asked = solve(data, settings), iter(range(100))
    assert whole.steps == 13
    first = solve(
        data,
        settings,
        should_stop=lambda: next(asked) == stop,
        checkpoints=Checkpoints(path),
    )
    assert (first.interrupted, first.steps) == (True, stop)
    steps: list[int] = []
    going_on = Checkpoints(path, resume=True)
    second = solve(
        data,
        settings,
        on_step=lambda step, _: steps.append(step),
        workers=3,
        checkpoints=going_on,
    )
    assert steps[0] == stop
    assert same(second, whole)


@both_methods
def test_each_checkpoint_leads_to_the_same_end(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, path, kept = labelled(200), tmp_path / "c", list[bytes]()
    save = Checkpoints.save

    def spy(self: Checkpoints, state: State) -> None:
        save(self, state)
        kept.append(path.read_bytes())

    monkeypatch.setattr(Checkpoints, "save", spy)
    whole = solve(data, settings_of(method), checkpoints=Checkpoints(path, every=4))
    assert len(kept) == 3
    for content in kept[:]:
        path.write_bytes(content)
        fit = solve(data, settings_of(method), checkpoints=Checkpoints(path, resume=True))
        assert same(fit, whole)


def test_pairs_without_curvature_are_left_out(tmp_path: Path) -> None:
    data, path, asked = labelled(200), tmp_path / "c", iter(range(100))
    settings = replace(settings_of("stream"), iterations=100, l2=1.0)
    solve(data, settings, should_stop=lambda: next(asked) == 5, checkpoints=Checkpoints(path))
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["vectors"][1:] = 0.0
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
    fit = solve(data, settings, checkpoints=Checkpoints(path, resume=True))
    assert fit.reason == "optimum"
    assert fit.costs[-1] == pytest.approx(solve(data, settings).costs[-1], rel=1e-6)
