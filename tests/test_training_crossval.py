"""Cross-validation beside loops over folds and penalties with scikit-learn, and random labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, Run, write_hdf5
from lazily import Labels, on_disk
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

import catclf
from catclf.errors import DataError
from catclf.maths import sigmoid
from catclf.samples import stratified_folds
from catclf.training import Settings, prepare_job, solve
from catclf.training.crossval import (
    FOLDS,
    STRENGTHS,
    Selection,
    best_threshold,
    descend_out_of_fold,
    descents,
    select,
    thresholds_of_others,
)
from catclf.training.objective import class_weights
from catclf.training.pipeline import resolve

Array = NDArray[np.float64]


def rows_of(m: int = 90, n: int = 60, seed: int = 0) -> Labels:
    """Rows float32 (m, n), a third of them positive, told apart in part."""
    rng = np.random.default_rng(seed)
    Y = (np.arange(m) % 3 == 0).astype(float)[None]
    X = rng.normal(size=(m, n)) / np.sqrt(n) + 0.8 * Y.T * rng.normal(size=(1, n)) / np.sqrt(n)
    Y[0, rng.random(m) < 0.1] = 0.0
    return Labels(X.astype(np.float32), Y)


def gram_of(data: Labels) -> Array:
    X = data.images.astype(np.float64)
    return np.asarray(X @ X.T)


def of_form(data: Labels, form: str, *args: object, **options: object) -> Selection:
    K = gram_of(data) if form == "gram" else None
    return select(data, *args, K=K, **options)  # type: ignore[arg-type]


both_forms = pytest.mark.parametrize("form", ["gram", "rows"])


def reference_scores(data: Labels, fold_of: NDArray[np.int64], l2: float, v: Array) -> Array:
    """Out-of-fold scores by scikit-learn."""
    X, Z = data.images.astype(np.float64), np.zeros(data.Y.shape)
    for fold in range(int(fold_of.max()) + 1):
        kept = fold_of != fold
        model = LogisticRegression(C=1 / l2, tol=1e-10, solver="newton-cholesky")
        model.fit(X[kept], data.Y[0, kept], sample_weight=v[0, kept])
        Z[0, ~kept] = model.decision_function(X[~kept])
    return Z


@both_forms
@pytest.mark.parametrize("balanced", [False, True])
def test_the_choice_is_that_of_a_loop_over_folds_and_penalties(form: str, balanced: bool) -> None:
    data = rows_of()
    given = class_weights(data.Y, "balanced" if balanced else "none")
    v = np.ones_like(data.Y) if given is None else given
    found = of_form(data, form, given, 3, workers=2)
    fold_of = stratified_folds(data.Y, FOLDS, 3)[0]
    np.testing.assert_array_equal(found.fold_of, fold_of)
    scores = np.array([reference_scores(data, fold_of, l2, v)[0] for l2 in found.tried])
    each = v * (np.logaddexp(0, scores) - data.Y * scores)
    exact = form == "gram"  # rows end a penalty where the cost falls by less than 1e-3
    np.testing.assert_allclose(found.losses, each.mean(axis=1), rtol=1e-3 if exact else 0.05)
    if not exact:
        return

    def chosen(folds: list[int]) -> tuple[int, int]:
        """The least loss, and the largest penalty within a standard error of it."""
        means = np.array([each[:, fold_of == fold].mean(axis=1) for fold in folds])  # of one size
        least = int(np.argmin(means.mean(axis=0)))
        limit = means[:, least].mean() + means[:, least].std(ddof=1) / np.sqrt(len(folds))
        return least, int(np.flatnonzero(means.mean(axis=0) <= limit)[0])  # from the strongest on

    assert found.l2 == found.tried[chosen([*range(FOLDS)])[1]]
    # The penalty of each fold is that of the other folds alone.
    for fold in range(FOLDS):
        held = fold_of == fold
        least, l2 = chosen([other for other in range(FOLDS) if other != fold])
        np.testing.assert_allclose(found.Z[0, held], scores[l2, held], atol=0.1)
        np.testing.assert_allclose(found.sharp[0, held], scores[least, held], atol=0.1)
    again = of_form(data, form, given, 3, workers=1)
    assert again.Z.tobytes() == found.Z.tobytes()


def test_rows_on_disk_give_the_same_bits() -> None:
    data = rows_of(700)
    assert select(data).Z.tobytes() == select(on_disk(data), workers=3).Z.tobytes()


@both_forms
def test_a_penalty_that_is_given_is_only_scored(form: str) -> None:
    data = rows_of()
    found = of_form(data, form, None, 3, l2=0.7)
    assert (found.l2, found.tried, found.notes) == (0.7, (0.7,), ())
    v = np.ones_like(data.Y)
    np.testing.assert_allclose(found.Z, reference_scores(data, found.fold_of, 0.7, v), atol=0.1)


def test_choices_follow_the_scale_of_the_features() -> None:
    data = rows_of()
    large = Labels(data.images * np.float32(1000), data.Y)
    one, other = of_form(data, "gram"), of_form(large, "gram")
    assert other.l2 == pytest.approx(one.l2 * 1e6, rel=1e-3)


@both_forms
def test_noise_takes_a_stronger_penalty_than_the_usual_ones(form: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 40)).astype(np.float32) / np.float32(np.sqrt(40))
    data = Labels(rows, (np.arange(200) % 2).astype(float)[None])
    found = of_form(data, form)
    usual = STRENGTHS[0] * np.var(data.images, axis=0).sum()
    assert max(found.tried) > 1.5 * usual
    assert min(found.losses) > found.constant - 0.01
    # Models that know how frequent the classes are and nothing else.
    p = np.array([data.Y[0, found.fold_of != fold].mean() for fold in range(FOLDS)])[found.fold_of]
    expected = -np.mean(np.where(data.Y[0] > 0.5, np.log(p), np.log(1 - p)))
    assert found.constant == pytest.approx(expected)


@pytest.mark.parametrize(
    ("l2", "losses", "says"),
    [
        (10.0, (0.70, 0.71, 0.72), "no penalty beats"),
        (10.0, (0.60, 0.61, 0.62), "strongest"),
        (0.1, (0.60, 0.50, 0.40), "smallest"),
        (1.0, (0.60, 0.50, 0.55), ""),
    ],
)
def test_a_penalty_at_an_end_is_named(l2: float, losses: tuple[float, ...], says: str) -> None:
    nothing = np.zeros((1, 0))
    found = Selection(l2, nothing, nothing, np.zeros(0, np.int64), (10.0, 1.0, 0.1), losses, 0.693)
    assert says in " ".join(found.notes)
    assert bool(says) == bool(found.notes)


@both_forms
def test_an_easy_problem_goes_on_to_weaker_penalties_and_says_so(form: str) -> None:
    data = rows_of(200)
    data.images[:, 0] = 4 * data.Y[0] - 2
    found = of_form(data, form)
    usual = STRENGTHS[-1] * np.var(data.images, axis=0).sum()
    assert min(found.tried) < 0.9 * usual
    assert found.l2 > min(found.tried) or "smallest" in found.notes[0]


def test_equal_images_get_a_penalty_all_the_same() -> None:
    data = Labels(np.ones((20, 5), np.float32), (np.arange(20) % 2).astype(float)[None])
    for form in ("gram", "rows"):
        found = of_form(data, form)
        assert found.l2 > 0
        np.testing.assert_allclose(found.Z, 0.0, atol=1e-6)


def test_fewer_images_of_a_class_make_fewer_folds_and_one_none() -> None:
    data = rows_of(30)
    data.Y[:] = 0.0
    data.Y[0, :3] = 1.0
    assert select(data).fold_of.max() == 2
    data.Y[0, 1:3] = 0.0
    with pytest.raises(DataError, match="needs 2 images of each class, one has 1"):
        select(data)
    settings = Settings(features="hog", threshold="auto")
    found = resolve(settings, data)
    assert found.settings.l2 == pytest.approx(np.var(data.images, axis=0).sum(), rel=1e-3)
    assert (found.threshold, found.out_of_fold) == (0.5, None)
    assert "are not selected" in found.notes[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    Y = (rng.random((1, 40)) < 0.3).astype(float)
    Y[0, :2] = [0, 1]
    Z = np.round(rng.normal(size=(1, 40)) + Y - 0.5, 1)  # with ties

    def balanced(t: float) -> float:
        above = t < Z
        return float((above[Y > 0.5].mean() + (~above)[Y < 0.5].mean()) / 2)

    found = best_threshold(Z, Y)
    grid = np.linspace(Z.min() - 1, Z.max() + 1, 2001)
    assert balanced(found) == pytest.approx(max(map(balanced, grid)))
    fold_of = stratified_folds(Y, 3, seed)[0]
    others = thresholds_of_others(Z, Y, fold_of)
    scores, labels = np.array([[-3.0, -1.0, 2.0, 4.0]]), np.array([[0.0, 0.0, 1.0, 1.0]])
    assert best_threshold(scores, labels) == pytest.approx(0.5)  # the nearest to a half of equals
    for fold in range(3):
        kept = fold_of != fold
        assert set(others[0, ~kept]) == {best_threshold(Z[:, kept], Y[:, kept])}


# Descent


@pytest.mark.parametrize(("l2", "weight"), [(0.0, "none"), (2.0, "balanced")])
def test_descents_side_by_side_are_those_one_by_one(l2: float, weight: str) -> None:
    data = rows_of(60, 20)
    fold_of = stratified_folds(data.Y, 4, 0)[0]
    v = class_weights(data.Y, weight)
    settings = Settings(1.5, 40, l2=l2, schedule="linear")
    Z = descend_out_of_fold(gram_of(data), data.Y, fold_of, settings, 40, v)
    assert Z is not None
    for fold in range(4):
        kept = fold_of != fold
        some = Labels(data.images[kept], data.Y[:, kept])
        fit = solve(some, settings, weights=None if v is None else v[:, kept])
        expected = data.images[~kept] @ fit.w[:, 0] + fit.b
        np.testing.assert_allclose(Z[0, ~kept], expected, atol=1e-5)
    stopped = descend_out_of_fold(
        gram_of(data), data.Y, fold_of, settings, 40, should_stop=lambda: True
    )
    assert stopped is None


def test_a_descent_that_diverges_does_not_touch_the_others() -> None:
    data = rows_of(40)
    given, mask = ([gram_of(data)], data.Y), np.ones((40, 2))
    *_, last = descents(*given, mask, 0.0, None, lambda step: np.array([1e300, 0.5]), 20)
    *_, alone = descents(*given, mask[:, 1:], 0.0, None, lambda step: 0.5, 20)
    assert (last.diverged[0] >= 0, last.diverged[1]) == (True, -1)
    np.testing.assert_allclose(last.Z[:, 1:], alone.Z)


# Groups, and what is said of images that were not learned from


def copies(labels_seed: int = 0) -> catclf.datasets.Dataset:
    """60 images with random labels, each three times."""
    rng = np.random.default_rng(labels_seed)
    images = rng.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8).repeat(2, 1).repeat(2, 2)
    labels = rng.permutation(np.arange(60) % 2)
    return catclf.open_dataset(np.tile(images, (3, 1, 1, 1)), labels=np.tile(labels, 3))


@pytest.mark.parametrize(
    "given", [{"features": "hog"}, {"l2": "auto", "threshold": "auto"}, {"iterations": 100}]
)
def test_copies_of_random_labels_are_guessed(given: dict[str, object]) -> None:
    correct = total = 0
    for seed in range(4):
        job = prepare_job(copies(seed), Settings(**given))  # type: ignore[arg-type]
        counts = job.run(out_of_fold=True).out_of_fold
        assert counts is not None
        correct, total = correct + counts.correct // 3, total + counts.total // 3
    assert abs(correct / total - 0.5) < 0.12  # three standard deviations; with copies 0.92


def test_copies_stay_on_one_side_of_validation() -> None:
    data = copies()
    job = prepare_job(data, Settings(validation=0.3, iterations=5))
    assert job.rows is not None
    images = np.asarray(data.images)
    seen = {image.tobytes() for image in images[job.rows]}
    assert not seen & {image.tobytes() for image in np.asarray(job.held_out.images[:])}  # type: ignore[union-attr]
    assert any("60 groups hold 180 of 180 images" in note for note in job.notes)


def test_the_command_says_what_it_knows_of_other_images(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8), np.arange(40) % 2
    write_hdf5(tmp_path / "d.h5", train_set_x=x, train_set_y=y, list_classes=CLASSES)
    write_hdf5(tmp_path / "t.h5", test_set_x=x[:9], test_set_y=y[:9], list_classes=CLASSES)
    args = ("train", "--data", "d.h5", "--iterations", "50")
    assert "out of fold" in run(*args).stdout
    assert "out of fold" not in run(*args, "--test", "t.h5").stdout
    assert "out of fold" not in run(*args, "--batch-size", "8").stdout
    assert "out of fold" in run(*args, "--solver", "lbfgs", "--l2", "1").stdout


# Weights of classes leave the probabilities of the data


@pytest.mark.parametrize("features", ["pixels", "hog"])
def test_balanced_weights_keep_decisions_and_give_the_probabilities_of_the_data(
    features: str,
) -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 10 == 0).astype(np.int64)
    images = rng.integers(0, 256, (400, 8, 8, 3)).repeat(2, 1).repeat(2, 2).astype(np.float64)
    images += 25 * rng.normal(size=(400, 1, 1, 1)) + 25 * y.reshape(-1, 1, 1, 1)
    data = catclf.open_dataset(np.clip(images, 0, 255).astype(np.uint8), labels=y)
    settings = Settings(features=features, l2=300.0 if features == "pixels" else 10.0)
    options: dict[str, Any] = {"solver": "lbfgs", "class_weight": "balanced"}
    model = catclf.train(data, settings, **options)
    plain = catclf.train(data, settings, solver="lbfgs")
    Z, Z_plain = model.scores(data.images)[0], plain.scores(data.images)[0]
    shift = np.log(360 / 40)
    weighted = Z + shift  # the scores of a world with as many positives as negatives
    assert model.boundary == pytest.approx(-shift)
    assert model.threshold == pytest.approx(0.1)
    np.testing.assert_array_equal(model.boundary < Z, weighted > 0)

    def log_loss(z: Array) -> float:
        return float(np.mean(np.logaddexp(0, z) - y * z))

    assert log_loss(Z) <= 1.15 * log_loss(Z_plain) < log_loss(weighted)
    assert sigmoid(Z[None]).mean() == pytest.approx(0.1, abs=0.03)
    given = catclf.train(data, settings, threshold=0.3, **options)
    assert given.boundary == pytest.approx(np.log(0.3 / 0.7))
    assert given.b == model.b
