"""Cross-validation: side by side gives what separate training gives, and no fold sees another."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wording
from conftest import CLASSES, Run, dataset, make_images, on_terminal, write_hdf5
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score

import catclf
from catclf.cli.compare import format_text
from catclf.cli.shell import options_of
from catclf.datasets import Dataset
from catclf.errors import DataError, DivergedError, SettingsError
from catclf.evaluation import compare
from catclf.evaluation.compare import Candidate, Comparison, Plan, Result
from catclf.features.rows import prepare
from catclf.maths import metrics
from catclf.samples import stratified_folds
from catclf.terminal.stream import Styling
from catclf.training import solve


def make(m: int = 30, seed: int = 0, size: int = 8) -> Dataset:
    """Images whose classes overlap, so that no fold is perfect."""
    images, labels = make_images(m, size, seed)
    rng = np.random.default_rng(seed + 100)
    labels[rng.permutation(m)[: m // 5]] ^= 1
    return dataset(images, labels)


def test_side_by_side_is_what_training_alone_gives() -> None:
    data = make()
    candidates = (Candidate(0.02), Candidate(0.005, 3.0), Candidate(0.02, 1.0))
    plan = Plan(candidates, iterations=120, folds=3, repeats=2, seed=4)
    found = compare.cross_validate(data, plan)
    folds = stratified_folds(data.Y, 3, 4, 2, level=True)
    assert (plan.steps[0], plan.steps[-1]) == (0, 120)
    for candidate, result in zip(candidates, found.results, strict=True):
        assert len(result.trained) == len(result.held_out) == len(plan.steps)
        expected: dict[str, list[float]] = {name: [] for name in compare.NAMES}
        costs = []
        for repeat in folds:
            for fold in range(3):
                held = repeat == fold
                train = dataset(data.images[~held], data.Y[:, ~held])
                fit = solve(train, catclf.Settings(candidate.learning_rate, 120, candidate.l2))
                costs.append(fit.costs[-1])
                Z = data.images[held].reshape(held.sum(), -1) / 255 @ fit.w[:, 0] + fit.b
                truth = data.Y[0, held]
                expected["accuracy"].append(accuracy_score(truth, Z > 0))
                expected["balanced_accuracy"].append(balanced_accuracy_score(truth, Z > 0))
                expected["roc_auc"].append(roc_auc_score(truth, Z))
                expected["log_loss"].append(log_loss(truth, 1 / (1 + np.exp(-Z))))
        for name, values in expected.items():
            np.testing.assert_allclose(result.scores[name], values, rtol=1e-9, err_msg=name)
            assert result.mean(name) == pytest.approx(np.mean(values), rel=1e-9)
            assert result.std(name) == pytest.approx(np.std(values, ddof=1), rel=1e-9)
        assert (result.trained[0], result.held_out[0]) == pytest.approx([math.log(2)] * 2)
        assert result.trained[-1] == pytest.approx(np.mean(costs), rel=1e-9)
        assert result.held_out[-1] == pytest.approx(np.mean(expected["log_loss"]), rel=1e-9)


@pytest.mark.usefixtures("few_patches")
def test_features_are_learned_and_standardised_without_the_fold_held_out() -> None:
    images, labels = make_images(30, size=20, seed=1)
    labels[::7] ^= 1
    data = dataset(images, labels)
    descends, optimal = Candidate(1.9, 0.1, "patches"), Candidate(None, 0.1, "patches")
    plan = Plan((descends, optimal), iterations=60, folds=3, seed=4)
    result, best = compare.cross_validate(data, plan).results
    losses, optima, costs = [], [], []
    for fold in range(3):
        held = stratified_folds(data.Y, 3, 4, 1, level=True)[0] == fold
        rest, others = (dataset(images[rows], labels[rows]) for rows in (~held, held))
        encoder, rows = prepare(rest, "patches", seed=4, workers=1)
        fit = solve(rows, catclf.Settings(1.9, 60, 0.1))
        out = encoder.encode(others)
        Z = np.asarray(out.images[:]) @ fit.w[:, 0] + fit.b
        losses.append(log_loss(labels[held], 1 / (1 + np.exp(-Z))))
        costs.append(fit.costs[-1])
        judge = LogisticRegression(C=1 / 0.1, tol=1e-8, max_iter=1000)
        judge.fit(np.asarray(rows.images[:], float), labels[~held])
        A = judge.predict_proba(np.asarray(out.images[:], float))
        optima.append(log_loss(labels[held], A))
    np.testing.assert_allclose(result.scores["log_loss"], losses, rtol=1e-4)
    np.testing.assert_allclose(best.scores["log_loss"], optima, rtol=1e-2)
    assert (best.trained, best.held_out, best.penalties) == ((), (), ())
    assert result.trained[-1] == pytest.approx(np.mean(costs), rel=1e-4)


def test_a_candidate_that_diverges_is_left_out_and_disturbs_none() -> None:
    alone = compare.cross_validate(make(), Plan((Candidate(0.01),), 50))
    both = compare.cross_validate(make(), Plan((Candidate(1e6), Candidate(0.01)), 50))
    lost, kept = both.results
    assert lost.diverged == 1
    assert math.isnan(lost.mean("accuracy"))
    for name in compare.NAMES:
        np.testing.assert_allclose(kept.scores[name], alone.results[0].scores[name], rtol=1e-10)
    assert both.best("accuracy") is kept
    facts = json.loads(json.dumps(compare.to_dict(both, "accuracy"), allow_nan=False))
    assert facts["take"] == 1
    assert facts["candidates"][0]["diverged"] == 1
    assert facts["candidates"][0]["accuracy"]["mean"] is None
    assert "diverged at step 1" in format_text(both, "accuracy", Styling())
    assert facts["candidates"][1]["accuracy"]["std"] == kept.std("accuracy")
    assert compare.from_json(json.dumps(facts).encode())[0].results[1].candidate == Candidate(0.01)
    hopeless = compare.cross_validate(make(), Plan((Candidate(1e6),), 50))
    with pytest.raises(DivergedError, match="try smaller learning rates, as `learning_rate"):
        hopeless.require_sound()
    both.require_sound()


def outcome(*scores: list[float]) -> Comparison:
    results = tuple(
        Result(Candidate(0.1 / (i + 1)), dict.fromkeys(compare.NAMES, np.array(s)), (), ())
        for i, s in enumerate(scores)
    )
    plan = Plan(tuple(r.candidate for r in results), folds=len(scores[0]))
    return Comparison(plan, "x", 10_000, 5_000, ("a", "b"), 0, results)


def test_the_best_is_the_highest_or_for_losses_the_lowest() -> None:
    found = outcome([0.5, 0.6], [0.7, 0.7], [0.1, 0.2])
    assert found.best("accuracy") is found.results[1]
    assert found.best("log_loss") is found.results[2]


def test_equally_good_depends_on_differences_between_the_same_folds() -> None:
    # Differences of 0.02, 0.03, 0.02, 0.01 have s = 0.00816: 2 s sqrt(1/4 + 1/3) = 0.0125 < 0.02.
    clear = outcome([0.9, 0.5, 0.7, 0.3], [0.88, 0.47, 0.68, 0.29])
    assert clear.as_good("accuracy") == []
    # Differences of 0.02, 0.03, 0.01, 0 have s = 0.0129: 2 s / sqrt(4) = 0.0129 would tell them
    # apart, but as the training sets overlap 2 s sqrt(1/4 + 1/3) = 0.0197 > 0.015 does not.
    near = outcome([0.9, 0.5, 0.7, 0.3], [0.88, 0.47, 0.69, 0.3])
    assert near.as_good("accuracy") == [near.results[1]]
    text = format_text(near, "accuracy", Styling())
    assert f"{wording.AS_GOOD}{near.results[1].candidate}\n" in text
    # The same means, but differences of 0.02, -0.15, 0.15, 0.06: they tell nothing.
    vague = outcome([0.9, 0.5, 0.7, 0.3], [0.88, 0.65, 0.55, 0.24])
    assert vague.as_good("accuracy") == [vague.results[1]]


def test_two_folds_that_differ_by_the_same_image_are_not_sure() -> None:
    found = outcome([0.9, 0.5], [0.8, 0.4])
    assert found.as_good("accuracy") == []
    few = replace(found, images=20, positives=10)
    assert few.as_good("accuracy") == [few.results[1]]


def false_differences(
    folds: int, repeats: int, count: int, samples: int, m: int = 60
) -> dict[str, float]:
    """How often ``compare`` tells equal candidates apart, by measure.

    Each candidate is least squares on 8 numbers of its own an image, as telling as the others'.
    """
    rng = np.random.default_rng([folds, repeats, count])
    Y = (np.arange(m) % 2).astype(np.float64)[None]
    plan = Plan(tuple(Candidate(1.0 + i) for i in range(count)), folds=folds, repeats=repeats)
    told = dict.fromkeys(("accuracy", "roc_auc"), 0.0)
    for _ in range(samples):
        divisions = stratified_folds(Y, folds, int(rng.integers(2**30)), repeats, level=True)
        results = []
        for candidate in plan.candidates:
            X = np.hstack([rng.normal(size=(m, 8)), np.ones((m, 1))])
            X[:, 0] += Y[0] - 0.5
            found = []
            for held in (fold_of == fold for fold_of in divisions for fold in range(folds)):
                A = X[~held]
                w = np.linalg.solve(A.T @ A + np.eye(9), A.T @ (Y[0, ~held] - 0.5))
                z, y = np.asarray(X[held] @ w, np.float64)[None], Y[:, held]
                found.append((((z > 0) == (y > 0.5)).mean(), metrics.roc(z, y).auc))
            results.append(Result(candidate, dict(zip(told, np.array(found).T, strict=True))))
        comparison = Comparison(plan, "", m, m // 2, ("0", "1"), 0, tuple(results))
        for name in told:
            told[name] += (len(comparison.as_good(name)) < count - 1) / samples
    return told


@pytest.mark.parametrize(("folds", "repeats", "count"), [(2, 1, 2), (5, 3, 2), (5, 1, 4)])
def test_equal_candidates_are_hardly_ever_told_apart(folds: int, repeats: int, count: int) -> None:
    for name, told in false_differences(folds, repeats, count, 200).items():
        print(f"{folds} folds, {repeats} repeats, {count} candidates: {name} {100 * told:.1f} %")
        assert told <= 0.06 + 2 * math.sqrt(0.06 * 0.94 / 200)


@pytest.mark.parametrize(
    ("candidate", "options"),
    [
        (Candidate(0.01), "--learning-rate 0.01"),
        (Candidate(0.01, 2.0), "--learning-rate 0.01 --l2 2"),
        (Candidate(None, "auto"), "--l2 auto"),
        (Candidate(None, 0.1), "--solver lbfgs --l2 0.1"),
        (Candidate(1.9, 0.0, "hog"), "--features hog --solver gd --learning-rate 1.9 --l2 0"),
        (Candidate(None, "auto", "hog"), "--features hog"),
        (
            Candidate(None, 0.3, "hog", "balanced"),
            "--features hog --class-weight balanced --l2 0.3",
        ),
    ],
)
def test_the_settings_of_a_candidate_train_as_it_did(candidate: Candidate, options: str) -> None:
    assert options_of(candidate.settings()) == options


def test_a_selected_penalty_is_that_of_the_training_folds() -> None:
    data = make(60)
    plan = Plan(
        (Candidate(None, "auto"), Candidate(None, "auto", class_weight="balanced")), folds=3
    )
    found, weighted = compare.cross_validate(data, plan).results
    fold_of = stratified_folds(data.Y, 3, 0, level=True)[0]
    for fold in range(3):
        rest = compare.rows_of(data, np.flatnonzero(fold_of != fold))
        chosen = catclf.train(rest, l2="auto", features="pixels").training.settings["l2"]
        assert found.penalties[fold] == pytest.approx(chosen, rel=1e-6)
    assert weighted.mean("log_loss") < 1.3 * found.mean("log_loss")


def test_copies_of_an_image_are_on_one_side() -> None:
    rng = np.random.default_rng(5)
    images = np.repeat(make_images(30, size=16)[0], 3, axis=0)
    data = dataset(images, np.repeat(rng.permutation(np.arange(30) % 2), 3))
    plan = Plan((Candidate(None, 0.1),), folds=5, repeats=4)
    assert compare.cross_validate(data, plan).results[0].mean("accuracy") < 0.65  # above 0.8 else


def test_a_learning_curve_trains_on_nested_subsets_and_tests_on_the_same_images() -> None:
    data = make(60)
    plan = Plan((Candidate(0.01, 1.0),), iterations=60, folds=3)
    curve = compare.learning_curve(data, plan, (10, 20, 40))
    whole = compare.cross_validate(data, plan).results[0]
    for name in compare.NAMES:
        assert curve.scores[name].shape == (3, 3)
        np.testing.assert_allclose(curve.scores[name][-1], whole.scores[name], rtol=1e-9)
    gain, (low, high) = curve.gain("accuracy")
    assert low <= gain <= high
    facts = json.loads(json.dumps(curve.to_dict("accuracy"), allow_nan=False))
    assert [each["images"] for each in facts["sizes"]] == [10, 20, 40]
    for sizes in ((40,), (20, 10), (1, 20)):
        with pytest.raises((SettingsError, DataError)):
            compare.learning_curve(data, plan, sizes)
    with pytest.raises(DataError, match="2 to 40 images to train on"):
        compare.learning_curve(data, plan, (10, 41))


def test_repeated_images_are_left_out() -> None:
    data = make(10)
    twice = compare.pool([data, data])
    assert (twice.m, twice.source) == (20, "made + made")
    kept = compare.without_repeats(twice)
    np.testing.assert_array_equal(kept.images, data.images)
    np.testing.assert_array_equal(kept.Y, data.Y)


@pytest.mark.parametrize(
    "plan",
    [
        {"candidates": ()},
        {"candidates": (Candidate(0.1), Candidate(0.1))},
        {"candidates": (Candidate(-0.1),)},
        {"candidates": (Candidate(math.nan),)},
        {"candidates": (Candidate(0.1, -1.0),)},
        {"candidates": (Candidate(0.1, "auto"),)},
        {"candidates": (Candidate(None, 0.0),)},
        {"candidates": (Candidate(0.1, features="odd"),)},
        {"candidates": (Candidate(0.1),), "folds": 1},
        {"candidates": (Candidate(0.1),), "repeats": 0},
        {"candidates": (Candidate(0.1),), "iterations": 0},
    ],
)
def test_plans_that_make_no_sense_are_refused(plan: dict[str, tuple[Candidate, ...]]) -> None:
    with pytest.raises(SettingsError):
        Plan(**plan)  # type: ignore[arg-type]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    data = make(40, size=16)
    return write_hdf5(
        tmp_path / "x.h5",
        images=np.asarray(data.images),
        labels=data.Y[0].astype(int),
        list_classes=CLASSES,
    )


def test_compare_prints_a_table_and_what_to_take(run: Run, small: Path) -> None:
    args = ("compare", "x.h5", "--iterations", "40", "--l2", "0,1")
    shown = run(*args).done()
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[:2] for line in lines[4:10]] == [
        [rate, l2] for l2 in ("0", "1") for rate in ("0.01", "0.005", "0.001")
    ]
    assert f"{wording.TAKE}--learning-rate " in shown
    assert wording.TEST_SET_KEPT in shown
    assert lines[1].endswith(f"mean ± {wording.STD} over held-out folds")
    more = ("--features", "pixels,hog", "--l2", "auto,0.1", "--class-weight", "none,balanced")
    shown = run("compare", "x.h5", "--iterations", "20", "--folds", "3", *more).done()
    assert shown.splitlines()[3].split()[:4] == ["features", "weights", "rate", "λ"]


def test_sizes_give_a_learning_curve(run: Run, small: Path) -> None:
    args = ("compare", "x.h5", "--lr", "0.01", "--iterations", "40", "--sizes", "8,16,32")
    lines = run(*args).done().splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["8", "16", "32"]
    assert lines[-1].startswith("from 16 to 32 images: ")
    assert run("compare", "x.h5", "--sizes", "8,16").code == 2  # three rates


def test_several_sources_are_pooled_and_repeats_are_noted(run: Run, small: Path) -> None:
    args = ("compare", "x.h5", "x.h5", "--iterations", "5", "--lr", "0.01", "--format", "json")
    result = run(*args)
    assert result.stderr == "catclf: left out 40 of 80 images, which repeat others\n"
    facts = json.loads(result.stdout)
    assert (facts["images"], facts["dropped"], facts["source"]) == (40, 40, "x.h5 + x.h5")
    assert json.loads(run(*args, "--no-distinct").stdout)["images"] == 80


def test_the_bundled_training_set_is_the_default_and_is_compared_live(tmp_path: Path) -> None:
    shown = on_terminal("catclf compare --iterations 1000 --lr 0.01,0.001 > table", tmp_path)
    assert (tmp_path / "table").read_text().startswith("train.h5: ")
    assert re.search(r"comparing.*/1000 ", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))


@pytest.mark.parametrize("format", ["text", "json"])
def test_nothing_to_take_is_exit_2(run: Run, small: Path, format: str) -> None:
    rates = ("compare", "x.h5", "--iterations", "50", "--format", format, "--lr")
    run(*rates, "1e5,1e6").refused(f"x.h5: {wording.EVERY_DIVERGED}--learning-rate 10000\n")
    run(*rates, "1e5,0.01").done()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("none.h5",), f"none.h5: {wording.NO_SOURCE}"),
        (("x.h5", "--lr", "fast"), "--learning-rate fast: give numbers with commas"),
        (("x.h5", "--lr", "0"), "--learning-rate 0 is not a number above 0"),
        (("x.h5", "--folds", "1"), "--folds 1 is not a number of at least 2"),
        (("x.h5", "--folds", "30"), "cross-validation needs 30 images of each class"),
        (("x.h5", "--by", "luck"), "--by"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    run: Run, small: Path, args: tuple[str, ...], why: str
) -> None:
    run("compare", *args).refused(why)
