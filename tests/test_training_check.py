"""The proof itself: right forms agree, and each kind of wrong gradient is caught."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, fill, make_images
from typer.testing import CliRunner

from catclf.cli.app import app
from catclf.maths import Floats
from catclf.training import check
from catclf.training.check import Gradient, Place


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


def changed(change: Callable[[Place, float, Floats, float], Gradient]) -> check.Form:
    return lambda at: change(at, *check.vectorized(at))


def wrong_weight(at: Place, J: float, dw: Floats, db: float) -> Gradient:
    return J, dw * np.where(np.abs(dw) == np.abs(dw).max(), 1.001, 1.0), db


WRONG = {
    "cost": lambda at, J, dw, db: (J * 1.001, dw, db),
    "weight": wrong_weight,
    "bias": lambda at, J, dw, db: (J, dw, db * 1.001),
    "penalised bias": lambda at, J, dw, db: (J, dw, db + at.l2 / len(at.images) * at.b),
    "not a number": lambda at, J, dw, db: (J, dw * np.nan, db),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_form_disagrees_with_every_other(at: Place, wrong: str) -> None:
    form = changed(WRONG[wrong])
    found = check.check_gradient(at, forms=check.FORMS | {"loop": form})
    wrong_pairs = {(p.first, p.second) for p in found.pairs if not p.agrees}
    assert wrong_pairs == {("vectorized", "loop"), ("loop", "graph"), ("loop", "gram")}
    assert not found.agrees
    if wrong != "cost":  # which no slope is compared with
        alone = check.check_gradient(at, directions=3, forms={"vectorized": form})
        assert [pair.agrees for pair in alone.pairs] == [False]


def test_differences_are_relative_to_the_largest_number_of_a_kind() -> None:
    zero = np.zeros((2, 1))
    one = (1.0, np.array([[100.0], [1.0]]), 2.0)
    other = (1.0, np.array([[100.0], [1.5]]), 2.0)
    assert check.difference(one, other) == 0.5 / 100
    assert check.difference((0.0, zero, 0.0), (0.0, zero, 0.0)) == 0.0
    assert math.isnan(check.difference(one, (1.0, np.zeros((1, 2)), 2.0)))


def test_examples_agree_and_can_disagree() -> None:
    worked = check.examples()
    assert len(worked) == 8
    assert all(example.agrees for example in worked)
    assert not check.Example("x", (1.0, 2.0), (1.0, 2.1)).agrees


def test_examples_are_spread_over_all_rows() -> None:
    assert check.evenly(100, 3).tolist() == [0, 50, 99]
    assert check.evenly(2, 5).tolist() == [0, 1]


@pytest.mark.parametrize("l2", [0.0, 2.5])
def test_slopes_are_as_far_off_as_the_gradient(l2: float) -> None:
    images, labels = make_images(6)
    at = check.place(images, labels.astype(float).reshape(1, -1), l2, seed=3)
    J, dw, db = check.vectorized(at)
    assert check.worst_slope(at, (J, dw, db), 20, 0) <= 1e-9
    off = check.worst_slope(at, (J, 1.001 * dw, 1.001 * db), 20, 0)
    assert off == pytest.approx(1 - 1 / 1.001, rel=1e-4)


def test_check_prints_both_passes_and_the_speedup_and_exits_0(run: Run, small_hdf5: Path) -> None:
    shown = run("check", "--data", "small.h5", "--examples", "4").done()
    rows = [line.split() for line in shown.splitlines()]
    assert ["J", "3", "*", "v", "33", "1"] in rows
    assert ["c", "input", "2", "9"] in rows
    last = shown.splitlines()[-1]
    assert last.startswith("all agree; vectorized against the loop in this run, times as fast: ")
    assert int(last.rpartition(" ")[2]) > 1
    assert "NO" not in shown
    assert max(map(len, shown.splitlines())) <= 80


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
    monkeypatch.setitem(check.FORMS, "loop", changed(wrong_weight))
    done = CliRunner().invoke(app, ["check", "--data", str(small_hdf5), "--examples", "4"])
    assert done.exit_code == 1
    shown = done.stdout
    assert "they do not agree" in shown
    assert "NO  vectorized = loop" in shown


def test_only_the_chosen_images_are_read(run: Run, tmp_path: Path) -> None:
    names = [f"photos/{name}/{i}.png" for name in ("cat", "dog") for i in range(5)]
    fill(tmp_path, {name: (20 * i, 9, 9) for i, name in enumerate(names)})
    fill(tmp_path, {"photos/cat/1.png": "broken"})
    args = ("check", "--data", "photos", "--size", "8", "--examples")
    assert run(*args, "2").code == 0  # the first cat and the last dog
    assert run(*args, "10").code == 2


def test_bad_options_are_usage_errors(run: Run) -> None:
    for args in (("--examples", "0"), ("--l2", "-1"), ("--data", "none.h5")):
        run("check", *args).refused()
