"""Graphs of every kind of features give, in ONNX Runtime, what the model gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from networks import random_weights
from test_features_hog import tied_images

import catclf
from catclf.export import to_onnx
from catclf.features import learn
from catclf.features.base import Features
from catclf.features.network import NetworkFeatures
from catclf.images.preprocess import Preprocess

pytest.importorskip("onnx")
onnxruntime: Any = pytest.importorskip("onnxruntime")

FIXED = Path(ROOT / "data" / "test.h5")


def run_graph(content: bytes, images: Any) -> dict[str, Any]:
    """The outputs by name, and the facts of the file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"images": images}), strict=True))
    return found | {"facts": session.get_modelmeta().custom_metadata_map}


def photographs(m: int, size: int) -> Any:
    """Images with edges, flat parts and noise: drawings, enlarged or cut, beside random ones."""
    drawn = np.asarray(catclf.open_dataset(FIXED).images[: m - 3])
    if size > 64:
        drawn = drawn.repeat(-(-size // 64), axis=1).repeat(-(-size // 64), axis=2)
    rng = np.random.default_rng(0)
    others = [
        rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8),
        np.zeros((1, size, size, 3), np.uint8),
        np.full((1, size, size, 3), 255, np.uint8),
    ]
    return np.concatenate([drawn[:, :size, :size], *others])


def model_of(features: Features | None, size: int, images: Any) -> catclf.Model:
    """Random weights of a size that make scores of all sizes up to about 10."""
    rng = np.random.default_rng(1)
    preprocess = Preprocess(size, "crop")
    n = features.n if features else preprocess.n
    w = rng.normal(size=(n, 1))
    bare = catclf.Model(w, 0.0, preprocess, ('no "dog"', "hönd"), features=features)
    Z = bare.scores(images)
    w *= 4.0 / Z.std()
    b = -4.0 * float(np.median(Z)) / float(Z.std())
    return catclf.Model(w, b, preprocess, ('no "dog"', "hönd"), 0.6, features=features)


def require_equal(model: catclf.Model, images: Any, tolerance: float) -> None:
    found = run_graph(to_onnx(model), images)
    Z, A = model.scores(images)[0], model.probabilities(images)[0]
    assert A.max() > 0.6
    assert A.min() < 0.4
    np.testing.assert_allclose(found["probability"], A, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found["z"], Z, rtol=0, atol=20 * tolerance)
    sure = np.abs(A - model.threshold) > tolerance
    expected = np.array(model.classes)[(model.threshold < A).astype(int)]
    assert found["label"][sure].tolist() == expected[sure].tolist()
    assert sure.sum() >= len(A) - 1


# Tolerance of probabilities, and images: random weights of a network make more of each rounding.
BY_KIND = {"pixels": (1e-6, 30), "hog": (1e-4, 20), "patches": (1e-4, 12), "network": (1e-3, 5)}


@pytest.mark.usefixtures("few_patches")
@pytest.mark.parametrize(
    ("kind", "size", "flip"),
    [
        *(("pixels", size, False) for size in (8, 64)),
        *(("hog", size, flip) for size in (16, 45, 64) for flip in (True, False)),
        *(("patches", size, flip) for size, flip in ((40, True), (40, False), (261, True))),
        *(("network", size, flip) for size, flip in ((128, True), (40, False))),
    ],
)
def test_a_graph_gives_what_its_model_gives(kind: str, size: int, flip: bool) -> None:
    tolerance, m = BY_KIND[kind]
    images = photographs(m, size)
    features: Features | None = None
    if kind == "network":
        features = NetworkFeatures(size, random_weights(), flip)
    elif kind != "pixels":
        features = learn(kind, images, flip=flip)
    require_equal(model_of(features, size, images), images, tolerance)


def test_hog_of_equally_long_gradients() -> None:
    images = tied_images()
    require_equal(model_of(learn("hog", images, flip=False), 16, images), images, 1e-4)


def test_the_file_says_what_the_model_is() -> None:
    images = photographs(8, 16)
    model = model_of(learn("hog", images), 16, images)
    content = to_onnx(model)
    assert content == to_onnx(model)  # the same bytes each time
    facts = run_graph(content, images)["facts"]
    assert json.loads(facts["classes"]) == ['no "dog"', "hönd"]
    assert (facts["positive"], float(facts["threshold"])) == ("hönd", 0.6)
    np.testing.assert_allclose(float(facts["z_threshold"]), np.log(0.6 / 0.4))
    assert json.loads(facts["preprocessing"]) == {
        "size": 16,
        "fit": "crop",
        "resampling": "bicubic",
        "background": [255, 255, 255],
    }
    assert "largest square in its middle" in facts["preprocessing_text"]
    assert json.loads(facts["features"])["kind"] == "hog"
    assert facts["fingerprint"] == model.fingerprint
    assert facts["catclf"] == catclf.__version__


def test_a_selected_threshold_beyond_all_probabilities_is_kept() -> None:
    images = photographs(8, 16)
    plain = catclf.Model(np.full((768, 1), 0.5), 0.0, Preprocess(16))
    z = float(np.median(plain.scores(images)))
    assert plain.probabilities(images)[0].max() == 1.0
    model = catclf.Model(plain.w, plain.b, plain.preprocess, threshold=1.0, z_threshold=z)
    found = run_graph(to_onnx(model), images)
    assert found["label"].tolist() == [
        "cat" if score > z else "non-cat" for score in model.scores(images)[0]
    ]
    assert set(found["label"]) == {"cat", "non-cat"}


def test_a_trained_model_on_photographs(course: tuple[Path, Path]) -> None:
    model = catclf.train(catclf.open_dataset(course[0]), features="hog")
    require_equal(model, np.asarray(catclf.open_dataset(course[1], "test").images), 1e-4)
