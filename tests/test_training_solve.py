"""Descent against golden costs, a plain loop and scikit-learn's optimum; stops and refusals."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FUSED, dataset, make_images
from hypothesis import given, settings
from hypothesis import strategies as st

from catclf.datasets import Dataset, open_dataset
from catclf.errors import DivergedError, SettingsError
from catclf.maths import Floats
from catclf.training import Settings, solve

every_method = pytest.mark.parametrize("method", ["stream", "gram", FUSED])
with_and_without_l2 = pytest.mark.parametrize("l2", [0.0, 2.0])

# DESIGN.md: cost at step 0, 100, … 1900 and after 2000 updates
GOLDEN = (
    "0.693147 0.584508 0.466949 0.376007 0.331463 0.303273 0.279880 0.260042 0.242941 0.228004 "
    "0.214820 0.203078 0.192544 0.183033 0.174399 0.166521 0.159305 0.152667 0.146542 0.140872 "
    "0.135608"
)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(*make_images(40, size=4))


def test_the_courses_data_give_the_golden_costs_and_equal_weights(
    course: tuple[Path, Path],
) -> None:
    train_set = open_dataset(course[0])
    gram, stream = (solve(train_set, Settings(method=method)) for method in ("gram", "stream"))
    for fit in (gram, stream):
        assert " ".join(f"{cost:.6f}" for cost in fit.costs) == GOLDEN
        assert fit.cost_steps == tuple(range(0, 2001, 100))
    assert np.linalg.norm(gram.w - stream.w) <= 1e-5 * np.linalg.norm(gram.w)  # float32 products
    assert gram.settings == Settings(0.005, 2000, 0.0, method="gram", solver="gd")


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.08, 0.08, 0.08, 0.08]),
        ("linear", [0.08, 0.06, 0.04, 0.02]),
        ("cosine", [0.08, 0.04 + 0.04 * 2**-0.5, 0.04, 0.04 - 0.04 * 2**-0.5]),
    ],
)
@pytest.mark.parametrize("options", [{"method": "gram"}, {"batch_size": 40}])
def test_a_schedule_is_a_rate_for_each_step(
    data: Dataset, schedule: str, rates: list[float], options: dict[str, Any]
) -> None:
    fit = solve(data, Settings(0.08, 4, 1.5, schedule=schedule, **options))
    w, b, _ = plain_descent(data, fit.settings, rates)
    np.testing.assert_allclose(fit.w, w, rtol=1e-5, atol=1e-7)
    assert fit.b == pytest.approx(b, rel=1e-5)


def plain_descent(
    data: Dataset, settings: Settings, rates: list[float]
) -> tuple[Floats, float, list[float]]:
    """The course's notebook, with the penalty: the formulas as they are written down.

    w, b, and the costs at every ``print_every`` steps and at the last.
    """
    X, m, costs = data.X / 255, data.m, []
    w, b = np.zeros((len(X), 1)), 0.0
    for step in range(settings.iterations + 1):
        A = 1 / (1 + np.exp(-(w.T @ X + b)))
        if step % settings.print_every == 0 or step == settings.iterations:
            loss = -np.mean(data.Y * np.log(A) + (1 - data.Y) * np.log(1 - A))
            costs.append(float(loss + settings.l2 / (2 * m) * np.sum(w * w)))
        if step == settings.iterations:
            break
        dw = X @ (A - data.Y).T / m + settings.l2 / m * w
        db = float(np.mean(A - data.Y))
        w, b = w - rates[step] * dw, b - rates[step] * db
    return w, b, costs


@every_method
@with_and_without_l2
def test_descent_is_the_plain_loop(data: Dataset, method: str, l2: float) -> None:
    settings = Settings(learning_rate=0.1, iterations=200, l2=l2, method=method)
    fit = solve(data, settings)
    w, b, costs = plain_descent(data, settings, [0.1] * 200)
    close = 1e-10 if method == "gram" else 1e-5  # products in float32
    np.testing.assert_allclose(fit.w, w, rtol=close, atol=close * np.abs(w).max())
    assert fit.b == pytest.approx(b, rel=close)
    assert fit.costs == pytest.approx(costs, rel=close)
    assert (fit.steps, fit.settings, fit.interrupted) == (200, settings.started(), False)


@pytest.mark.parametrize(
    ("iterations", "print_every", "cost_steps"),
    [
        (10, 4, (0, 4, 8, 10)),
        (8, 4, (0, 4, 8)),
        (3, 1, (0, 1, 2, 3)),
        (5, 100, (0, 5)),
        (0, 100, (0,)),
    ],
)
@every_method
def test_each_step_is_reported_once_and_the_history_keeps_some(
    data: Dataset, method: str, iterations: int, print_every: int, cost_steps: tuple[int, ...]
) -> None:
    seen: list[tuple[int, float]] = []
    settings = Settings(iterations=iterations, print_every=print_every, method=method)
    fit = solve(data, settings, on_step=lambda step, cost: seen.append((step, cost)))
    assert [step for step, _ in seen] == list(range(iterations + 1))
    assert fit.cost_steps == cost_steps
    assert fit.costs == tuple(cost for step, cost in seen if step in cost_steps)
    assert fit.costs[0] == pytest.approx(math.log(2), rel=1e-15)
    assert fit.w.any() == (iterations > 0)


@every_method
@pytest.mark.parametrize("stop", [0, 1, 7])
def test_a_stopped_run_is_a_shorter_run(data: Dataset, method: str, stop: int) -> None:
    asked = count()
    fit = solve(data, Settings(method=method), should_stop=lambda: next(asked) >= stop)
    short = solve(data, Settings(iterations=stop, method=method))
    assert fit.interrupted
    assert not short.interrupted
    assert (fit.steps, fit.b, fit.costs) == (stop, short.b, short.costs)
    assert fit.cost_steps == short.cost_steps
    assert np.array_equal(fit.w, short.w)


def test_a_run_that_finished_was_not_interrupted(data: Dataset) -> None:
    steps: list[int] = []
    fit = solve(
        data,
        Settings(iterations=3),
        on_step=lambda step, _: steps.append(step),
        should_stop=lambda: len(steps) == 3,  # when the last update is done
    )
    assert fit.steps == 3
    assert not fit.interrupted


def test_an_error_in_the_callback_is_not_swallowed(data: Dataset) -> None:
    def fail(step: int, cost: float) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        solve(data, on_step=fail)


@every_method
@pytest.mark.parametrize(
    ("rate", "l2"),
    [(1e6, 0.0), (1e200, 0.0), (1e300, 0.0), (0.5, 1e6), (1e200, 1e200), (1.0, 1e308)],
)
def test_divergence_is_one_line_without_warnings(
    data: Dataset, method: str, rate: float, l2: float
) -> None:
    steps: list[int] = []
    with pytest.raises(DivergedError) as failure:
        solve(
            data,
            Settings(learning_rate=rate, l2=l2, method=method),
            on_step=lambda step, _: steps.append(step),
        )
    message = str(failure.value)
    cure = f"at step {len(steps)} with learning rate {rate:g}: try `learning_rate={rate / 10:g}`"
    assert cure in message
    assert "\n" not in message
    assert ("`l2`" in message) == (l2 > 0)
    assert steps == list(range(len(steps)))  # the step that diverged is not reported as progress


@settings(deadline=None, derandomize=True)
@given(
    rate=st.floats(1e-6, 1e308),
    l2=st.just(0.0) | st.floats(1e-6, 1e308),
    method=st.sampled_from(["stream", "gram"]),
)
def test_any_rate_ends_in_finite_weights_or_in_divergence(
    rate: float, l2: float, method: str
) -> None:
    data = dataset(*make_images(6, size=2))
    try:
        fit = solve(data, Settings(learning_rate=rate, l2=l2, iterations=20, method=method))
    except DivergedError:
        return
    assert np.isfinite(fit.w).all()
    assert math.isfinite(fit.b)
    assert np.isfinite(fit.costs).all()


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        *(("learning_rate", bad, "learning_rate") for bad in (0.0, -0.1, math.nan, math.inf)),
        *(("l2", bad, "l2") for bad in (-1.0, math.nan, math.inf)),
        ("iterations", -1, "iterations"),
        ("print_every", 0, "print_every"),
        ("seed", -1, "seed"),
        ("method", "newton", "method"),
        ("schedule", "newton", "schedule"),
    ],
)
def test_a_bad_setting_is_refused_by_name(
    data: Dataset, setting: str, value: Any, name: str
) -> None:
    with pytest.raises(SettingsError, match=f"^`{name}={value:g}`" if value != "newton" else name):
        solve(data, Settings(**{setting: value}))
