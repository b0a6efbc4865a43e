"""One model on one data set: numbers against scikit-learn's, mistakes, warnings, text and JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wording
from conftest import dataset, make_images
from PIL import Image
from sklearn import metrics as sklearn_metrics

import catclf
from catclf.cli.evaluate import format_text
from catclf.datasets import open_for, open_source
from catclf.errors import DataError, ModelError
from catclf.evaluation import evaluate
from catclf.evaluation.evaluate import Evaluation
from catclf.explain import explain
from catclf.images.preprocess import Preprocess
from catclf.model import Model, Training
from catclf.terminal.stream import Styling


def of(
    Z: list[float], Y: list[int], threshold: float = 0.5, names: tuple[str, ...] | None = None
) -> Evaluation:
    return Evaluation(
        source="x.h5",
        classes=("non-cat", "cat"),
        threshold=threshold,
        Z=np.array([Z], dtype=float),
        Y=np.array([Y], dtype=float),
        names=names,
    )


def test_every_number_on_the_course_data_is_scikit_learns(course: tuple[Path, Path]) -> None:
    model = catclf.train(catclf.open_dataset(course[0]))
    facts, test = catclf.evaluate(model, course[1]), catclf.open_dataset(course[1], "test")
    X = np.asarray(test.images).reshape(50, -1) / 255
    Z = X @ model.w[:, 0] + model.b
    A, truth = 1 / (1 + np.exp(-Z)), test.Y[0]
    predicted = A > 0.5
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, predicted),
        "precision": sklearn_metrics.precision_score(truth, predicted),
        "recall": sklearn_metrics.recall_score(truth, predicted),
        "f1": sklearn_metrics.f1_score(truth, predicted),
        "roc_auc": sklearn_metrics.roc_auc_score(truth, Z),
        "average_precision": sklearn_metrics.average_precision_score(truth, Z),
        "log_loss": sklearn_metrics.log_loss(truth, A),
        "brier": sklearn_metrics.brier_score_loss(truth, A),
    }
    assert {key: facts[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    assert facts["intervals"]["accuracy"] == pytest.approx([0.5625, 0.8090], abs=1e-4)
    assert facts["intervals"]["roc_auc"][0] < facts["roc_auc"] < facts["intervals"]["roc_auc"][1]
    (tn, fp), (fn, tp) = sklearn_metrics.confusion_matrix(truth, predicted)
    assert facts["confusion"] == {"tp": tp, "fp": fp, "tn": tn, "fn": fn}
    assert facts["accuracy"] == 0.7  # the course's own result
    assert facts["trained_on"] == 1  # one of the course's test images is a training image
    assert facts["warnings"][1:] == [
        "class balance differs: cat was 34.4 % in training and is 66.0 % here: "
        "prefer balanced accuracy and ROC AUC"
    ]


def test_mistakes_come_most_confident_first_and_by_name() -> None:
    found = of([-1.0, 3.0, 2.0, -5.0], [1, 0, 1, 1], names=("a", "b\n", "c", "d"))
    wrong = found.predictions(False, 2)
    assert [(a.index, a.display_name, a.label, a.predicted) for a in wrong] == [
        (3, "d", "cat", "non-cat"),
        (1, "b\\n", "non-cat", "cat"),
    ]
    assert [a.index for a in found.predictions(False, 9)] == [3, 1, 0]
    assert [a.index for a in found.predictions(True, 9)] == [2]
    assert of([1.0], [0]).predictions(False, 1)[0].display_name == "image 0"
    above = of([1.0, 2.1], [1, 0], threshold=0.88)  # whose z is 1.99: confidence is the distance
    assert [a.index for a in above.predictions(False, 9)] == [0, 1]


@pytest.mark.parametrize(("threshold", "positives"), [(0.0, 3), (1.0, 0), (0.5, 1)])
def test_the_threshold_decides(threshold: float, positives: int) -> None:
    counts = of([-2.0, 0.0, 2.0], [0, 1, 1], threshold).counts
    assert counts.tp + counts.fp == positives


def test_a_similar_class_balance_is_not_warned_about() -> None:
    for Y, trained in (([0, 1, 1, 0], (0, 0)), ([0, 1, 1, 1], (50, 100))):
        assert replace(of([0.0] * 4, Y), trained=trained).warnings() == []


def test_one_class_gives_a_warning_and_nulls() -> None:
    found = of([1.0, -1.0], [1, 1])
    assert found.warnings() == ["x.h5: every image is cat: most numbers need both classes"]
    facts = json.loads(json.dumps(evaluate.to_dict(found), allow_nan=False))
    assert facts["roc_auc"] is None
    assert facts["balanced_accuracy"] is None
    assert facts["intervals"]["roc_auc"] == [None, None]
    assert facts["recall"] == 0.5
    assert "–" in format_text(found, 0, Styling())


def test_the_table_names_predicted_and_actual_classes_and_the_baseline() -> None:
    lines = format_text(of([-1.0, 3.0, 2.0, -5.0], [1, 0, 1, 1]), 1, Styling()).splitlines()
    assert lines[2].split() == ["model", wording.BASELINE]
    row = next(i for i, line in enumerate(lines) if line.startswith(f"{wording.ACTUAL} non-cat"))
    heads = [f"{wording.PREDICTED} non-cat", f"{wording.PREDICTED} cat"]
    assert re.split("  +", lines[row - 1].strip()) == heads
    assert lines[row].split()[2:] == ["0", "1"]
    assert lines[row + 1].split() == [wording.ACTUAL, "cat", "2", "1"]
    assert lines[row + 3] == wording.MISTAKES
    assert lines[row + 4].split() == ["P(cat)", wording.ACTUAL, wording.PREDICTED, "image"]
    assert lines[row + 5].split() == ["0.67", "%", "cat", "non-cat", "image", "3"]


@pytest.mark.parametrize(
    ("positives", "negatives", "order", "warned"),
    [
        (2, 2, "wrong", False),  # by luck in one of six
        (4, 10, "wrong", False),
        (5, 5, "wrong", True),
        (5, 5, "right", False),
        (30, 30, "mixed", False),
        (1000, 1000, "mostly wrong", True),
    ],
)
def test_labels_may_be_swapped_where_luck_does_not_explain_the_area(
    positives: int, negatives: int, order: str, warned: bool
) -> None:
    Y = [1] * positives + [0] * negatives
    noise = np.random.default_rng(0).standard_normal(len(Y))
    right = 2.0 * np.array(Y) - 1
    Z = {"wrong": -right, "right": right, "mixed": noise, "mostly wrong": noise - right / 5}[order]
    found = of(Z.tolist(), Y)
    assert any("swapped" in line for line in found.warnings()) == warned


def test_intervals_count_copies_of_an_image_once() -> None:
    rng = np.random.default_rng(0)
    Z, Y = rng.standard_normal(40).tolist(), [0, 1] * 20
    rows = np.repeat(np.arange(40), rng.integers(1, 4, 40))  # some once, some two or three times
    alone, copies = of(Z, Y), of([Z[row] for row in rows], [Y[row] for row in rows])
    assert copies.intervals["accuracy"] != alone.intervals["accuracy"]
    grouped = replace(copies, groups=rows + 7)
    for key, interval in alone.intervals.items():
        assert grouped.intervals[key] == pytest.approx(interval, abs=1e-9)
    assert "intervals count 40 images" in format_text(grouped, 0, Styling())
    assert evaluate.to_dict(grouped)["groups"] == 40
    few = of(Z[:29], [1] * 9 + [0] * 20)
    for key in ("average_precision", "log_loss", "brier"):  # from ten images of a class on
        assert all(map(math.isnan, few.intervals[key]))
        low, high = alone.intervals[key]
        assert low < evaluate.to_dict(alone)[key] < high


def test_two_models_are_compared_on_the_same_images() -> None:
    Y = [0, 1] * 10
    first, second = of([2.0 * y - 1 for y in Y], Y), of([1.0] * 20, Y)
    found = evaluate.Pair(second, first).to_dict()
    assert (found["only_second_right"], found["only_first_right"]) == (10, 0)
    assert (found["accuracy"], found["accuracy_p"]) == pytest.approx((0.5, 2 / 2**10))
    assert found["roc_auc"] == 0.5
    same = evaluate.Pair(first, first).to_dict()
    assert (same["accuracy_p"], same["roc_auc_p"], same["roc_auc_interval"]) == (1.0, None, None)
    with pytest.raises(DataError, match="do not see the same images"):
        evaluate.Pair(first, of([1.0], [1]))


def test_text_fits_80_columns_and_colour_adds_no_characters() -> None:
    found = of([-1.0, 3.0, 2.0, -5.0], [1, 0, 1, 1])
    plain = format_text(found, 5, Styling())
    assert max(map(len, plain.splitlines())) <= 80
    coloured = format_text(found, 5, Styling(colour=True))
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[0m"):
        assert code in coloured
        coloured = coloured.replace(code, "")
    assert coloured == plain


def test_baselines_are_those_of_predictions_that_ignore_the_image() -> None:
    Y = [1, 1, 1, 0]
    baseline = {m.key: m.baseline for m in evaluate.measures(of([0.0] * 4, Y))}
    fraction = np.full(4, 0.75)
    assert baseline["accuracy"] == 0.75
    assert baseline["log_loss"] == pytest.approx(sklearn_metrics.log_loss(Y, fraction), rel=1e-12)
    assert baseline["brier"] == pytest.approx(
        sklearn_metrics.brier_score_loss(Y, fraction), rel=1e-12
    )
    expected = sklearn_metrics.average_precision_score(Y, fraction)
    assert baseline["average_precision"] == pytest.approx(expected, rel=1e-12)


def test_files_are_prepared_as_the_model_remembers(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGBA", (40, 20), (255, 0, 0, 0)).save(tmp_path / "photos" / name / "a.png")
    preprocess = Preprocess(8, "pad", background=(0, 0, 255))
    data = open_for(("non-cat", "cat"), preprocess, open_source(tmp_path / "photos"), "test")
    assert data.preprocess == preprocess
    assert (np.asarray(data.images) == (0, 0, 255)).all()
    assert data.notes[-1].endswith("negatives are dog here and were non-cat in training")


def test_the_class_balance_of_training_is_taken_from_the_model() -> None:
    training = Training(images=100, positives=5)
    model = Model(np.zeros((192, 1)), 0.0, Preprocess(8), training=training)
    facts = catclf.evaluate(model, dataset(*make_images(100)))
    assert facts["training_fraction"] == 0.05
    assert len(facts["warnings"]) == 1


def test_images_seen_in_training_are_noted(tmp_path: Path) -> None:
    x, y = make_images(20)
    model = catclf.train(dataset(x, y), iterations=1)
    facts = catclf.evaluate(model, dataset(x, y))
    assert facts["trained_on"] == 20
    assert "made: 20 of its 20 images are among those that the model" in facts["warnings"][0]
    some = np.concatenate([make_images(10, seed=1)[0], x[5:9][::-1]])
    catclf.save(model, tmp_path / "m.npz")
    facts = catclf.evaluate(tmp_path / "m.npz", dataset(some, np.resize(y, 14)))
    assert facts["trained_on"] == 4


def test_weights_beyond_all_sense_are_refused() -> None:
    model = Model(np.full((192, 1), 1.7e308), 0.0, Preprocess(8))
    data = dataset(*make_images(4))
    with pytest.raises(ModelError, match="not finite"):
        evaluate.Evaluation.of(model, data)
    with pytest.raises(ModelError, match="not finite"):
        explain(model, data.images[0])
