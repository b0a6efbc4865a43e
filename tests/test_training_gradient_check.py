"""The proof itself: right forms agree, and each kind of wrong gradient is caught."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import typer
from conftest import Run, make_images
from PIL import Image

import catclf.cli.check
from catclf.errors import SettingsError
from catclf.maths import graph
from catclf.maths.graph import Node
from catclf.training import gradient_check
from catclf.training.gradient_check import Gradient, Place


@pytest.fixture
def at() -> Place:
    images, labels = make_images(6)
    return gradient_check.place(images, labels.astype(float).reshape(1, -1), 2.0, seed=3)


def test_all_forms_agree(at: Place) -> None:
    found = gradient_check.check_gradient(at)
    assert found.agrees
    assert [form.name for form in found.forms] == [*gradient_check.FORMS, "finite differences"]
    assert len(found.pairs) == 6 + 1
    assert max(pair.difference for pair in found.pairs[:-1]) < 1e-13
    assert 0 < found.pairs[-1].difference < 1e-8
    assert (found.images, found.features) == (6, 192)


def test_the_random_point_is_not_flat(at: Place) -> None:
    Z = at.w.T @ at.X
    assert np.abs(Z).max() == pytest.approx(1.0)
    np.testing.assert_allclose(at.w, at.images.reshape(6, -1).T / 255 @ at.a, rtol=1e-12)


def wrong_weight(at: Place) -> Gradient:
    J, dw, db = gradient_check.vectorized(at)
    dw = dw.copy()
    dw[np.argmax(np.abs(dw))] *= 1.001
    return J, dw, db


def wrong_bias(at: Place) -> Gradient:
    J, dw, db = gradient_check.vectorized(at)
    return J, dw, db * 1.001


def wrong_cost(at: Place) -> Gradient:
    J, dw, db = gradient_check.vectorized(at)
    return J * 1.001, dw, db


def penalised_bias(at: Place) -> Gradient:
    J, dw, db = gradient_check.vectorized(at)
    return J, dw, db + at.l2 / len(at.images) * at.b


def not_a_number(at: Place) -> Gradient:
    J, dw, db = gradient_check.vectorized(at)
    return J, dw * np.nan, db


@pytest.mark.parametrize(
    "wrong", [wrong_weight, wrong_bias, wrong_cost, penalised_bias, not_a_number]
)
def test_a_wrong_form_disagrees_with_every_other(at: Place, wrong: gradient_check.Form) -> None:
    found = gradient_check.check_gradient(at, forms=gradient_check.FORMS | {"loop": wrong})
    wrong_pairs = {(p.first, p.second) for p in found.pairs if not p.agrees}
    assert wrong_pairs == {("vectorized", "loop"), ("loop", "graph"), ("loop", "gram")}
    assert not found.agrees


@pytest.mark.parametrize("wrong", [wrong_weight, wrong_bias, penalised_bias, not_a_number])
def test_finite_differences_catch_a_wrong_gradient_alone(
    at: Place, wrong: gradient_check.Form
) -> None:
    found = gradient_check.check_gradient(at, directions=3, forms={"vectorized": wrong})
    assert [pair.agrees for pair in found.pairs] == [False]


def test_differences_are_relative_to_the_largest_number_of_a_kind() -> None:
    zero = np.zeros((2, 1))
    one = (1.0, np.array([[100.0], [1.0]]), 2.0)
    other = (1.0, np.array([[100.0], [1.5]]), 2.0)
    assert gradient_check.difference(one, other) == 0.5 / 100
    assert gradient_check.difference((0.0, zero, 0.0), (0.0, zero, 0.0)) == 0.0
    assert math.isnan(gradient_check.difference(one, (1.0, np.zeros((1, 2)), 2.0)))


def test_the_course_graph_has_the_course_values() -> None:
    values = {
        n.name: (n.value, n.grad)
        for n in graph.topological(gradient_check.course_graph())
        if n.name
    }
    assert values == {
        "a": (5, 3),
        "b": (3, 6),
        "c": (2, 9),
        "u": (6, 3),
        "v": (11, 3),
        "J": (33, 1),
    }


def test_examples_agree_and_can_disagree() -> None:
    worked = gradient_check.examples()
    assert len(worked) == 8
    assert all(example.agrees for example in worked)
    assert not gradient_check.Example("x", (1.0, 2.0), (1.0, 2.1)).agrees


@pytest.mark.parametrize("z", [-800.0, -30.0, -0.5, 0.0, 2.0, 40.0, 800.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_the_loss_in_the_graph_is_that_of_z(z: float, y: float) -> None:
    node = Node(z)
    loss = graph.logistic_loss(node, y)
    graph.backward(loss)
    assert loss.value == pytest.approx(np.logaddexp(0, z) - y * z, rel=1e-12)
    a = math.exp(-np.logaddexp(0, -z))
    assert node.grad == pytest.approx(a - y, rel=1e-12, abs=1e-15)


def test_examples_are_spread_over_all_rows() -> None:
    assert gradient_check.evenly(100, 3).tolist() == [0, 50, 99]
    assert gradient_check.evenly(2, 5).tolist() == [0, 1]
    with pytest.raises(SettingsError, match="examples 0"):
        gradient_check.evenly(5, 0)


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
    assert facts["pictures"] == 4
    assert facts["speedup"] == pytest.approx(
        facts["seconds"]["loop"] / facts["seconds"]["vectorized"]
    )
    assert all(pair["difference"] <= pair["allowed"] for pair in facts["pairs"])


def test_a_disagreement_is_exit_1(
    small_hdf5: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(gradient_check.FORMS, "loop", wrong_weight)
    with pytest.raises(typer.Exit) as raised:
        catclf.cli.check.check(data=small_hdf5, examples=4)
    assert raised.value.exit_code == 1
    shown = capsys.readouterr().out
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
