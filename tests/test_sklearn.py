"""The classifier of images: scikit-learn's own checks, and its tools on images and paths."""

from __future__ import annotations

import pickle
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GREEN, Run, fill, make_images
from PIL import Image

import catclf
from catclf.errors import DataError, ModelError, SettingsError
from catclf.features.rows import Encoded
from catclf.samples import split

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from catclf.sklearn import ImageClassifier

STATUS = ("passed", "skipped")


@pytest.fixture
def images() -> Any:
    return make_images(40, size=16)


def at_optimum(**more: Any) -> ImageClassifier:
    return ImageClassifier(**{"l2": 1.0, "solver": "lbfgs"} | more)


def test_scikit_learn_finds_no_fault() -> None:
    results = check_estimator(ImageClassifier(iterations=200), on_skip=None)
    of_status = {status: [r for r in results if r["status"] == status] for status in STATUS}
    assert sum(map(len, of_status.values())) == len(results)
    for result in of_status["skipped"]:  # for want of what is not needed here
        assert re.search("pandas|SCIPY_ARRAY_API", str(result["exception"])), result
    assert len({result["check_name"] for result in of_status["passed"]}) > 40


def test_it_is_the_model_that_train_makes(images: Any) -> None:
    X, y = images
    names = np.array(["day", "night"])[y]
    classifier = ImageClassifier(iterations=300, l2=0.5).fit(X, names)
    data = catclf.open_dataset(X, labels=y)
    model = catclf.train(data, catclf.Settings(iterations=300), l2=0.5)
    assert np.array_equal(classifier.coef_, model.w.T)
    A = model.probabilities(X)[0]
    assert np.array_equal(classifier.predict_proba(X)[:, 1], A)
    assert np.array_equal(classifier.predict(X), np.where(A > 0.5, "night", "day"))
    assert classifier.model_.classes == ("day", "night")
    assert classifier.score(X, names) == np.mean((A > 0.5) == y)


def test_rows_are_standardised_and_reach_the_penalised_optimum() -> None:
    """The same optimum as LogisticRegression on rows scaled in the same way, with C = 1/λ."""
    rng = np.random.default_rng(0)
    X = rng.normal(3.0, [1.0, 5.0, 0.5], (60, 3))
    y = X[:, 0] + 0.4 * X[:, 1] + rng.normal(0, 2, 60) > 4.2
    ours = ImageClassifier(l2=0.1, solver="lbfgs").fit(X, y)
    scaled = (X - X.mean(axis=0)) / (X.std(axis=0) * np.sqrt(3))
    theirs = LogisticRegression(C=10.0, tol=1e-10).fit(scaled, y)
    z = theirs.decision_function(scaled)
    np.testing.assert_allclose(ours.decision_function(X), z, rtol=1e-3, atol=1e-3)
    assert not hasattr(ours, "model_")
    with pytest.raises(ModelError, match="trained on rows"):
        ours.save("nowhere.npz")
    with pytest.raises(SettingsError, match="are for images"):
        ImageClassifier("hog").fit(X, y)


@pytest.mark.parametrize("solver", ["gd", "lbfgs"])
def test_rows_have_no_units(solver: str) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    classifier = ImageClassifier(l2=0.1, solver=solver, iterations=500)
    plain = classifier.fit(X, y).decision_function(X)
    for scale in (1e-9, 1e6):
        scaled = X * scale + np.arange(30) * scale
        found = classifier.fit(scaled, y).decision_function(scaled)
        np.testing.assert_allclose(found, plain, atol=1e-3)
        assert classifier.score(scaled, y) > 0.97


def test_constant_columns_count_for_nothing() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    X[:, 1], X[:, 2] = 5.0, 1e6 * (1 + 1e-14 * rng.normal(size=40))
    fitted = ImageClassifier(l2=0.1, solver="lbfgs").fit(X, X[:, 0] > 0)
    assert fitted.coef_[0, 1:3].tolist() == [0.0, 0.0]
    assert abs(fitted.coef_[0, 0]) > 0.1


def test_rows_that_are_held_out_do_not_change_the_weights() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = X[:, 0] > 0
    settings: dict[str, Any] = {"validation": 0.5, "seed": 3, "iterations": 20, "patience": 100}
    labels = Encoded(X, y.astype(float)[None], "", "")
    held = split(labels, 0.5, 3, np.arange(60))[1].images.rows  # type: ignore[attr-defined]
    other = X.copy()
    other[held] *= 1.0001  # other rows, in the same order by score
    first, second = (ImageClassifier(**settings).fit(rows, y) for rows in (X, other))
    np.testing.assert_array_equal(first.coef_, second.coef_)


@pytest.mark.parametrize("solver", ["gd", "lbfgs"])
@pytest.mark.parametrize("kind", ["rows", "images"])
def test_a_weight_is_a_number_of_copies(solver: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    X: Any = rng.normal(size=(30, 3)) + 1.0
    if kind == "images":
        X = rng.integers(0, 256, (30, 4, 4, 3), np.uint8)
    y = rng.permutation(np.arange(30) % 2)
    copies = rng.integers(0, 4, 30)
    settings: dict[str, Any] = {"l2": 1.0, "solver": solver, "iterations": 50}
    weighted = ImageClassifier(**settings).fit(X, y, sample_weight=copies)
    rows = np.repeat(np.arange(30), copies)
    repeated = ImageClassifier(**settings).fit(X[rows], y[rows])
    found, expected = weighted.decision_function(X), repeated.decision_function(X)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=3e-3)


@pytest.mark.parametrize("kind", ["rows", "images"])
def test_weights_enter_the_choice_of_the_penalty(kind: str) -> None:
    rng = np.random.default_rng(0)
    y, noise = np.arange(80) % 2, np.arange(80) >= 40  # whose labels tell nothing
    X: Any = rng.normal(size=(80, 3)) + 3.0 * (y * ~noise)[:, None]
    if kind == "images":
        X = np.clip(100 + 25 * rng.normal(size=(80, 2, 2, 3)) + 20 * X[:, :1, None, None], 0, 255)
        X = X.astype(np.uint8)
    plain, same, without = (
        at_optimum(l2="auto").fit(X, y, sample_weight=weights).coef_
        for weights in (None, np.full(80, 2.0), np.where(noise, 1e-6, 1.0))
    )
    np.testing.assert_allclose(same, plain, rtol=1e-6, atol=1e-12)
    assert np.abs(without).max() > 2 * np.abs(plain).max()


def test_images_with_weights_may_be_held_out_and_classes_may_weigh(images: Any) -> None:
    X, y = images
    weights = np.random.default_rng(0).random(40)
    found = ImageClassifier(validation=0.25, iterations=50).fit(X, y, weights)
    assert found.model_.training.images == 30
    assert found.model_.training.validation["counts"]
    names = np.where(y, "cat", "dog")
    by_class = at_optimum(class_weight={"cat": 3.0}).fit(X, names)
    by_image = at_optimum().fit(X, names, sample_weight=np.where(y, 3.0, 1.0))
    np.testing.assert_array_equal(by_class.coef_, by_image.coef_)


def test_weights_that_are_none_are_refused(images: Any) -> None:
    for weights in (np.ones(3), -np.ones(40), np.full(40, np.nan), np.zeros(40)):
        with pytest.raises(ValueError, match="sample_weight"):
            ImageClassifier().fit(images[0], images[1], weights)


@pytest.mark.parametrize("kind", ["rows", "images"])
def test_the_positive_label_may_be_the_first(images: Any, kind: str) -> None:
    X, y = images
    X = X.reshape(40, -1) if kind == "rows" else X
    names = np.where(y, "b", "a")
    usual, turned = at_optimum().fit(X, names), at_optimum(positive="a", threshold=0.9)
    A = turned.fit(X, names).predict_proba(X)
    np.testing.assert_allclose(A, usual.predict_proba(X), atol=1e-5)
    assert turned.predict(X).tolist() == np.where(A[:, 0] > 0.9, "a", "b").tolist()
    np.testing.assert_allclose(turned.coef_, usual.coef_, rtol=1e-2, atol=1e-5)
    if kind == "images":
        assert turned.model_.classes == ("b", "a")
    with pytest.raises(ValueError, match="positive='c' is none of"):
        ImageClassifier(positive="c").fit(X, names)


def test_an_end_short_of_the_optimum_is_warned_about_and_errors_are_value_errors(
    images: Any,
) -> None:
    X, y = images
    for rows in (X, X.reshape(40, -1)):
        with pytest.warns(ConvergenceWarning, match="short of the optimum"):
            at_optimum(l2=1e-6, iterations=2).fit(rows, y)
    odd: list[dict[str, Any]] = [{"class_weight": "odd"}, {"l2": -1.0}, {"features": "odd"}]
    for settings in odd:
        with pytest.raises(SettingsError) as caught:
            ImageClassifier(**settings).fit(X, y)
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), ValueError)


def test_images_in_lists_of_one_or_several_shapes_and_columns_of_paths(
    images: Any, tmp_path: Path
) -> None:
    X, y = images
    usual = at_optimum(size=16).fit(X, y)
    pictures = [Image.fromarray(x) for x in X]
    np.testing.assert_array_equal(at_optimum(size=16).fit(pictures, y).coef_, usual.coef_)
    several = [np.repeat(x, 1 + i % 2, axis=0) for i, x in enumerate(X)]
    assert at_optimum(size=16).fit(several, y).predict(several).shape == (40,)
    fill(tmp_path, {f"{i}.png": x for i, x in enumerate(X)})
    paths = [str(tmp_path / f"{i}.png") for i in range(40)]
    columns: list[Any] = [np.array(paths, object)[:, None]]
    if find_spec("pandas"):
        columns.append(import_module("pandas").DataFrame({"path": paths}))
    for column in columns:
        fitted = at_optimum(size=16).fit(column, y)
        np.testing.assert_array_equal(fitted.coef_, usual.coef_)
        assert fitted.predict(column).tolist() == usual.predict(X).tolist()


def test_it_is_a_step_of_a_pipeline_and_of_a_search(images: Any) -> None:
    X, y = images
    flat = X.reshape(len(X), -1)
    scores = cross_val_score(
        make_pipeline(StandardScaler(), PCA(4), ImageClassifier(l2=0.1)), flat, y, cv=4
    )
    assert scores.mean() > 0.9  # positives are brighter
    search = GridSearchCV(at_optimum(), {"l2": [0.1, 1.0, 10.0]}, cv=3).fit(X, y)
    assert search.best_params_["l2"] in (0.1, 1.0, 10.0)
    assert search.best_score_ > 0.9


def test_paths_are_read_as_the_command_line_reads_them(
    images: Any, tmp_path: Path, run: Run
) -> None:
    X, y = images
    paths = [tmp_path / f"{number}.png" for number in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(image).resize((30, 20)).save(path)
    classifier = ImageClassifier("hog", size=32, image_fit="crop", l2=1.0)
    classifier.fit(list(map(str, paths)), y)
    assert (classifier.model_.preprocess.size, classifier.model_.preprocess.fit) == (32, "crop")
    classifier.save(tmp_path / "model.npz")
    result = run("predict", "-m", "model.npz", *paths[:12], "--format", "tsv")
    printed = [float(line.split("\t")[2]) for line in result.stdout.splitlines()]
    assert printed == classifier.predict_proba(paths[:12])[:, 1].tolist()
    with pytest.raises(DataError, match=r"none\.png \(there is no such file\)"):
        classifier.predict(["none.png"])


@pytest.mark.parametrize("labels", [("cat", "dog"), (3, 7), (-1, 1), (False, True), (1.0, 2.0)])
def test_a_model_file_keeps_labels_and_parameters(
    labels: tuple[Any, Any], images: Any, tmp_path: Path
) -> None:
    X, y = images
    targets = np.array(labels)[y]
    fitted = ImageClassifier(iterations=5, l2=0.25, threshold=0.75).fit(X, targets)
    fitted.save(tmp_path / "model.npz")
    loaded = ImageClassifier.load(tmp_path / "model.npz")
    assert loaded.get_params() == fitted.get_params() == clone(fitted).get_params()
    assert loaded.classes_.tolist() == list(labels)
    assert loaded.classes_.dtype.kind == fitted.classes_.dtype.kind
    a = fitted.predict_proba(X)[:, 1]
    assert np.array_equal(loaded.predict(X), fitted.classes_[(a > 0.75).astype(int)])
    np.testing.assert_allclose(loaded.decision_function(X), np.log(a / (1 - a) / 3), atol=1e-9)


def test_any_model_file_is_a_classifier(model: Path) -> None:
    classifier = ImageClassifier.load(model)
    green = np.full((1, 64, 64, 3), GREEN, np.uint8)
    assert classifier.predict(green).tolist() == ["cat"]
    np.testing.assert_allclose(classifier.decision_function(green), [4.0])


def test_labels_that_a_file_cannot_hold_and_other_shapes_are_refused(
    images: Any, tmp_path: Path
) -> None:
    X, y = images
    classifier = ImageClassifier(iterations=2).fit(X, y)
    classifier.classes_ = np.array([(1,), None], dtype=object)
    with pytest.raises(ModelError, match="a file holds text, numbers"):
        classifier.save(tmp_path / "model.npz")
    odd: list[Any] = ["cat.png", np.full((2, 9, 9, 3), 900.0)]
    for inputs, why in zip(odd, ("a data set of its own: give a list", "is float64"), strict=True):
        with pytest.raises(DataError, match=why):
            classifier.predict(inputs)
    for labels, why in ((np.arange(40) % 3, "has 3 classes"), (np.zeros(40), "has 1 class")):
        with pytest.raises(ValueError, match=why):
            ImageClassifier().fit(X, labels)
