"""The proof itself: right forms agree, and each kind of wrong gradient is caught."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, make_images
from PIL import Image
from typer.testing import CliRunner

from catclf.cli.app import app
from catclf.errors import SettingsError, ShapeError
from catclf.maths import Floats, cost_and_gradient, graph
from catclf.training import check
from catclf.training.check import Gradient, Place, directional_error


@pytest.fixture
def at() -> Place:
    images, labels = make_images(6)
    return check.place(images, labels.astype(float).reshape(1, -1), 2.0, seed=3)


def test_all_forms_agree(at: Place) -> None:
    found = check.check_gradient(at)
    assert found.agrees
    assert list(found.seconds) == [*check.FORMS, "finite differences"]
    assert len(found.pairs) == 6 + 1
    assert max(pair.difference for pair in found.pairs[:-1]) < 1e-13
    assert 0 < found.pairs[-1].difference < 1e-8
    assert (found.images, found.features) == (6, 192)


def test_the_random_point_is_not_flat(at: Place) -> None:
    Z = at.w.T @ at.X
    assert np.abs(Z).max() == pytest.approx(1.0)
    np.testing.assert_allclose(at.w, at.images.reshape(6, -1).T / 255 @ at.a, rtol=1e-12)


def wrong_weight(at: Place) -> Gradient:
    J, dw, db = check.vectorized(at)
    dw = dw.copy()
    dw[np.argmax(np.abs(dw))] *= 1.001
    return J, dw, db


def wrong_bias(at: Place) -> Gradient:
    J, dw, db = check.vectorized(at)
    return J, dw, db * 1.001


def wrong_cost(at: Place) -> Gradient:
    J, dw, db = check.vectorized(at)
    return J * 1.001, dw, db


def penalised_bias(at: Place) -> Gradient:
    J, dw, db = check.vectorized(at)
    return J, dw, db + at.l2 / len(at.images) * at.b


def not_a_number(at: Place) -> Gradient:
    J, dw, db = check.vectorized(at)
    return J, dw * np.nan, db


@pytest.mark.parametrize(
    "wrong", [wrong_weight, wrong_bias, wrong_cost, penalised_bias, not_a_number]
)
def test_a_wrong_form_disagrees_with_every_other(at: Place, wrong: check.Form) -> None:
    found = check.check_gradient(at, forms=check.FORMS | {"loop": wrong})
    wrong_pairs = {(p.first, p.second) for p in found.pairs if not p.agrees}
    assert wrong_pairs == {("vectorized", "loop"), ("loop", "graph"), ("loop", "gram")}
    assert not found.agrees


@pytest.mark.parametrize("wrong", [wrong_weight, wrong_bias, penalised_bias, not_a_number])
def test_finite_differences_catch_a_wrong_gradient_alone(at: Place, wrong: check.Form) -> None:
    found = check.check_gradient(at, directions=3, forms={"vectorized": wrong})
    assert [pair.agrees for pair in found.pairs] == [False]


def test_differences_are_relative_to_the_largest_number_of_a_kind() -> None:
    zero = np.zeros((2, 1))
    one = (1.0, np.array([[100.0], [1.0]]), 2.0)
    other = (1.0, np.array([[100.0], [1.5]]), 2.0)
    assert check.difference(one, other) == 0.5 / 100
    assert check.difference((0.0, zero, 0.0), (0.0, zero, 0.0)) == 0.0
    assert math.isnan(check.difference(one, (1.0, np.zeros((1, 2)), 2.0)))


def test_the_course_graph_has_the_course_values() -> None:
    values = {n.name: (n.value, n.grad) for n in graph.topological(check.course_graph()) if n.name}
    assert values == {
        "a": (5, 3),
        "b": (3, 6),
        "c": (2, 9),
        "u": (6, 3),
        "v": (11, 3),
        "J": (33, 1),
    }


def test_examples_agree_and_can_disagree() -> None:
    worked = check.examples()
    assert len(worked) == 8
    assert all(example.agrees for example in worked)
    assert not check.Example("x", (1.0, 2.0), (1.0, 2.1)).agrees


def test_examples_are_spread_over_all_rows() -> None:
    assert check.evenly(100, 3).tolist() == [0, 50, 99]
    assert check.evenly(2, 5).tolist() == [0, 1]
    with pytest.raises(SettingsError, match="examples 0"):
        check.evenly(5, 0)


def objective_and_gradient(l2: float) -> tuple[Callable[[Floats], float], Floats, Floats]:
    """J as a function of (w, b) stacked in one column, a point, and the gradient there."""
    rng = np.random.default_rng(7)
    X, w, b = rng.random((12, 9)), rng.standard_normal((12, 1)), 0.25
    Y = np.arange(9.0).reshape(1, 9) % 2

    def J(point: Floats) -> float:
        return cost_and_gradient(X, Y, point[:-1], float(point[-1, 0]), l2)[0]

    _, dw, db = cost_and_gradient(X, Y, w, b, l2)
    return J, np.vstack([w, [[b]]]), np.vstack([dw, [[db]]])


@pytest.mark.parametrize("l2", [0.0, 2.5])
def test_the_gradient_is_the_slope_along_random_directions(l2: float) -> None:
    J, point, gradient = objective_and_gradient(l2)
    rng = np.random.default_rng(0)
    assert max(directional_error(J, point, gradient, rng) for _ in range(20)) <= 1e-9


@pytest.mark.parametrize("l2", [0.0, 2.5])
def test_a_gradient_wrong_by_a_thousandth_is_caught(l2: float) -> None:
    J, point, gradient = objective_and_gradient(l2)
    rng = np.random.default_rng(0)
    errors = [directional_error(J, point, 1.001 * gradient, rng) for _ in range(20)]
    np.testing.assert_allclose(errors, 1 - 1 / 1.001, rtol=1e-4)


def test_one_wrong_coordinate_is_caught_along_any_direction() -> None:
    J, point, gradient = objective_and_gradient(0.0)
    gradient[4] *= 1.001
    rng = np.random.default_rng(0)
    assert min(directional_error(J, point, gradient, rng) for _ in range(20)) > 1e-8


def test_the_check_refuses_a_gradient_of_another_shape_and_changes_nothing() -> None:
    J, point, gradient = objective_and_gradient(0.0)
    rng = np.random.default_rng(0)
    with pytest.raises(ShapeError, match="differ in shape"):
        directional_error(J, point, gradient.T, rng)
    before = point.copy(), gradient.copy()
    directional_error(J, point, gradient, rng)
    assert np.array_equal(point, before[0])
    assert np.array_equal(gradient, before[1])


def test_check_prints_both_passes_and_the_speedup_and_exits_0(run: Run, small_hdf5: Path) -> None:
    result = run("check", "--data", "small.h5", "--examples", "4")
    assert (result.code, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["J", "3", "*", "v", "33", "1"] in rows
    assert ["c", "input", "2", "9"] in rows
    last = result.stdout.splitlines()[-1]
    assert last.startswith("all agree; vectorized against the loop in this run, times as fast: ")
    assert int(last.rpartition(" ")[2]) > 1
    assert "NO" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_holds_differences_and_times(run: Run, small_hdf5: Path) -> None:
    args = ("check", "--data", "small.h5", "--examples", "4", "--l2", "0", "--format", "json")
    facts = json.loads(run(*args).stdout)
    assert facts["agrees"] is True
    assert facts["images"] == 4
    assert facts["speedup"] == pytest.approx(
        facts["seconds"]["loop"] / facts["seconds"]["vectorized"]
    )
    assert all(pair["difference"] <= pair["allowed"] for pair in facts["pairs"])


def test_a_disagreement_is_exit_1(small_hdf5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check.FORMS, "loop", wrong_weight)
    done = CliRunner().invoke(app, ["check", "--data", str(small_hdf5), "--examples", "4"])
    assert done.exit_code == 1
    shown = done.stdout
    assert "they do not agree" in shown
    assert "NO  vectorized = loop" in shown


def test_only_the_chosen_images_are_read(run: Run, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (8, 8), (20 * i, 9, 9)).save(tmp_path / f"photos/{name}/{i}.png")
    (tmp_path / "photos" / "cat" / "1.png").write_text("broken")
    args = ("check", "--data", "photos", "--size", "8", "--examples")
    assert run(*args, "2").code == 0  # the first cat and the last dog
    assert run(*args, "10").code == 2


def test_bad_options_are_usage_errors(run: Run) -> None:
    for args in (("--examples", "0"), ("--l2", "-1"), ("--data", "none.h5")):
        result = run("check", *args)
        assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
