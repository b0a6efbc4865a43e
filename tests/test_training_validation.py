"""Held-out images: who they are, what is kept because of them, and when training ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import dataset
from lazily import Labels, labelled

from catclf.maths.logistic import cost
from catclf.samples import IndexedImages, split
from catclf.training import Fit, Settings, build_model, solve


def rows_of(part: object) -> list[int]:
    images = part.images  # type: ignore[attr-defined]
    assert isinstance(images, IndexedImages)
    return list(images.rows.tolist())


def noisy(m: int = 60) -> Labels:
    """Labels that have nothing to do with the images: learning makes others only worse."""
    data = labelled(m, size=8)
    data.Y = np.random.default_rng(8).permutation(data.Y[0]).reshape(1, m)
    return data


CASES = {
    "gram": Settings(method="gram", iterations=300, print_every=10, learning_rate=0.05),
    "stream": Settings(method="stream", iterations=300, print_every=10, learning_rate=0.05),
    "batches": Settings(batch_size=16, iterations=300, print_every=10, learning_rate=0.05),
    "lbfgs": Settings(solver="lbfgs", iterations=60),
}


def held_out_cost(fit: Fit) -> float:
    assert fit.validation is not None
    held = fit.validation.held_out
    X = held.images[0 : held.Y.shape[1]].reshape(held.Y.shape[1], -1).T / 255
    return cost(fit.w.T @ X + fit.b, held.Y)


@pytest.mark.parametrize("case", CASES)
def test_the_best_weights_are_kept_and_patience_ends(case: str) -> None:
    settings = CASES[case]
    watched = solve(noisy(), with_validation(settings, patience=10**6))
    seen = watched.validation
    assert seen is not None
    assert seen.best_cost == min(seen.costs)
    assert seen.best_step == seen.cost_steps[seen.costs.index(seen.best_cost)] > 0
    assert held_out_cost(watched) == pytest.approx(seen.best_cost, rel=1e-5)
    assert watched.steps > seen.best_step
    patient = solve(noisy(), with_validation(settings, patience=3))
    assert patient.validation is not None
    assert patient.reason == "patience"
    best = patient.validation.costs.index(patient.validation.best_cost)
    assert len(patient.validation.costs) == best + 4
    assert patient.validation.costs == seen.costs[: best + 4]
    assert patient.costs[-1] > 0


def with_validation(settings: Settings, patience: int) -> Settings:
    return replace(settings, validation=0.3, patience=patience)


@pytest.mark.parametrize("case", CASES)
def test_training_sees_nothing_but_its_part(case: str) -> None:
    settings, data = with_validation(CASES[case], 10**6), noisy()
    fit = solve(data, settings)
    changed = Labels(data.images.copy(), data.Y.copy())
    held = rows_of(split(data, 0.3, 0)[1])
    changed.images[held] = 255 - changed.images[held]
    other = solve(changed, settings)
    assert other.costs == fit.costs


def test_other_images_may_judge() -> None:
    data, judge = noisy(), noisy(30)
    fit = solve(data, replace(CASES["gram"], patience=10**6), validation=judge)
    alone = solve(data, CASES["gram"])
    assert fit.costs == alone.costs  # all images are trained on
    assert fit.validation is not None
    assert fit.validation.held_out is judge
    assert held_out_cost(fit) == pytest.approx(fit.validation.best_cost, rel=1e-5)


def test_a_run_stopped_at_once_still_has_a_best_step() -> None:
    fit = solve(noisy(), with_validation(CASES["gram"], 3), should_stop=lambda: True)
    assert fit.validation is not None
    assert (fit.steps, fit.validation.best_step, fit.interrupted) == (0, 0, True)


def test_the_model_remembers_who_judged() -> None:
    labels = noisy()
    data = dataset(labels.images, labels.Y)
    fit = solve(data, with_validation(CASES["gram"], 3))
    training = build_model(fit, data).training
    assert fit.validation is not None
    assert training.images == training.train.total == 42
    assert training.validation["best_step"] == fit.validation.best_step
    assert sum(training.validation["counts"].values()) == 18
    assert training.settings["validation"] == 0.3
