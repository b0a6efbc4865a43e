"""The classifier of images: scikit-learn's own checks, and its tools on images and paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, make_images
from PIL import Image

import catclf
from catclf.errors import DataError, ModelError, SettingsError

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from catclf.sklearn import PictureClassifier

EXPECTED_FAILURES = {
    "check_class_weight_classifiers": "classes weigh alike or by their counts; no other weights",
}


@pytest.fixture
def images() -> Any:
    return make_images(40, size=16)


def test_scikit_learn_finds_no_fault_but_the_expected() -> None:
    results = check_estimator(
        PictureClassifier(iterations=200),
        expected_failed_checks=EXPECTED_FAILURES,
        on_skip=None,
    )
    status: dict[str, set[str]] = {}
    for result in results:
        status.setdefault(result["status"], set()).add(result["check_name"])
    assert status.pop("xfail") == set(EXPECTED_FAILURES)
    status.pop("skipped", None)
    for result in results:
        if result["status"] == "skipped":  # for want of what is not needed here
            assert re.search("pandas|SCIPY_ARRAY_API", str(result["exception"])), result
    assert set(status) == {"passed"}
    assert len(status["passed"]) > 40


def test_it_is_the_model_that_train_makes(images: Any) -> None:
    X, y = images
    names = np.array(["day", "night"])[y]
    classifier = PictureClassifier(iterations=300, l2=0.5).fit(X, names)
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
    ours = PictureClassifier(l2=0.1, solver="newton").fit(X, y)
    scaled = (X - X.mean(axis=0)) / ((X.std(axis=0) + 0.01) * np.sqrt(3))
    theirs = LogisticRegression(C=10.0, tol=1e-10).fit(scaled, y)
    z = theirs.decision_function(scaled)
    np.testing.assert_allclose(ours.decision_function(X), z, rtol=1e-4, atol=1e-4)
    assert not hasattr(ours, "model_")
    with pytest.raises(ModelError, match="trained on rows"):
        ours.save("nowhere.npz")
    with pytest.raises(SettingsError, match="are for images"):
        PictureClassifier("hog").fit(X, y)


def test_it_is_a_step_of_a_pipeline_and_of_a_search(images: Any) -> None:
    X, y = images
    flat = X.reshape(len(X), -1)
    scores = cross_val_score(
        make_pipeline(StandardScaler(), PCA(4), PictureClassifier(l2=0.1)), flat, y, cv=4
    )
    assert scores.mean() > 0.9  # positives are brighter
    search = GridSearchCV(
        PictureClassifier(solver="newton", iterations=20), {"l2": [0.1, 1.0, 10.0]}, cv=3
    ).fit(X, y)
    assert search.best_params_["l2"] in (0.1, 1.0, 10.0)
    assert search.best_score_ > 0.9
    assert cross_val_score(PictureClassifier(l2=1.0, solver="newton"), X, y, cv=3).mean() > 0.9


def test_calibrated_probabilities_are_of_scores_on_held_out_images(images: Any) -> None:
    X, y = images
    names = np.where(y, "b", "a")
    calibrated = CalibratedClassifierCV(PictureClassifier(iterations=50), cv=2).fit(X, names)
    A = calibrated.predict_proba(X)
    assert A.shape == (40, 2)
    np.testing.assert_allclose(A.sum(axis=1), 1.0)
    assert np.mean(calibrated.predict(X) == names) > 0.9


def test_paths_are_read_as_the_command_line_reads_them(
    images: Any, tmp_path: Path, run: Run
) -> None:
    X, y = images
    paths = [tmp_path / f"{number}.png" for number in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(image).resize((30, 20)).save(path)
    classifier = PictureClassifier("hog", size=32, image_fit="crop", l2=1.0)
    classifier.fit(list(map(str, paths)), y)
    assert (
        classifier.model_.preprocess
        == catclf.Model(
            np.zeros((32 * 32 * 3, 1)), 0.0, preprocess=classifier.model_.preprocess
        ).preprocess
    )
    classifier.save(tmp_path / "model.npz")
    result = run("predict", "-m", "model.npz", *paths[:12], "--format", "tsv")
    printed = [float(line.split("\t")[2]) for line in result.stdout.splitlines()]
    assert printed == classifier.predict_proba(paths[:12])[:, 1].tolist()
    with pytest.raises(DataError, match=r"none\.png: there is no such file"):
        classifier.predict(["none.png"])


@pytest.mark.parametrize(
    "labels", [("cat", "dog"), (0, 1), (3, 7), (-1, 1), (False, True), (1.0, 2.0)]
)
def test_a_model_file_keeps_labels_and_parameters(
    labels: tuple[Any, Any], images: Any, tmp_path: Path
) -> None:
    X, y = images
    targets = np.array(labels)[y]
    fitted = PictureClassifier(iterations=5, l2=0.25, threshold=0.25).fit(X, targets)
    fitted.save(tmp_path / "model.npz")
    loaded = PictureClassifier.load(tmp_path / "model.npz")
    assert loaded.get_params() == fitted.get_params() == clone(fitted).get_params()
    assert loaded.classes_.tolist() == list(labels)
    assert loaded.classes_.dtype.kind == fitted.classes_.dtype.kind
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    assert np.array_equal(loaded.decision_function(X), fitted.decision_function(X))


def test_any_model_file_is_a_classifier(model: Path) -> None:
    classifier = PictureClassifier.load(model)
    green = np.zeros((1, 64, 64, 3), np.uint8)
    green[..., 1] = 255
    assert classifier.predict(green).tolist() == ["cat"]
    np.testing.assert_allclose(classifier.decision_function(green), [4.0])


def test_the_decision_is_at_the_threshold(images: Any) -> None:
    X, y = images
    classifier = PictureClassifier(iterations=20, threshold=0.75).fit(X, y)
    a = classifier.predict_proba(X)[:, 1]
    assert np.array_equal(classifier.predict(X), (a > 0.75).astype(int))
    np.testing.assert_allclose(
        classifier.decision_function(X), np.log(a / (1 - a)) - np.log(3.0), atol=1e-9
    )


def test_labels_that_a_file_cannot_hold_and_other_shapes_are_refused(
    images: Any, tmp_path: Path
) -> None:
    X, y = images
    classifier = PictureClassifier(iterations=2).fit(X, y)
    classifier.classes_ = np.array([(1,), None], dtype=object)
    with pytest.raises(ModelError, match="a file holds text, numbers"):
        classifier.save(tmp_path / "model.npz")
    with pytest.raises(DataError, match=r"cat\.png: is one path: give a list"):
        classifier.predict("cat.png")
    with pytest.raises(DataError, match="images is float64 from 900 to 900"):
        classifier.predict(np.full((2, 9, 9, 3), 900.0))
    with pytest.raises(ValueError, match="has 3 classes"):
        PictureClassifier().fit(X, np.arange(40) % 3)
    with pytest.raises(ValueError, match="has 1 class"):
        PictureClassifier().fit(X, np.zeros(40))
