"""Explaining models of features: sums that add up, score drops by hand, a graph that agrees."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from catclf.errors import ModelError
from catclf.explain import explain, loss_graph
from catclf.explain.occlusion import OcclusionExplanation, explain_by_occlusion
from catclf.features.base import Features
from catclf.features.hog import HogFeatures
from catclf.features.patches import PatchFeatures, Recipe
from catclf.images.preprocess import Preprocess
from catclf.maths import sigmoid
from catclf.model import Model

SIZE = 24


def patches(flip: bool = True) -> PatchFeatures:
    rng = np.random.default_rng(0)
    recipe = Recipe(atoms=8, patch=4, grid=3, scales=((1, 2), (2, 1)), flip=flip)
    filters = rng.normal(0, 0.3, (2, 48, 4)).astype(np.float32)
    return PatchFeatures(SIZE, recipe, filters, np.zeros((2, 4), np.float32))


def made(features: Features) -> Model:
    w = np.random.default_rng(1).normal(size=(features.n, 1)) / 10
    return Model(w, 0.3, Preprocess(SIZE), features=features)


def an_image(seed: int = 2) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(params=["hog", "patches", "one-sided"])
def model(request: pytest.FixtureRequest) -> Model:
    if request.param == "hog":
        return made(HogFeatures(SIZE))
    return made(patches(flip=request.param == "patches"))


def test_kinds_and_bias_add_up_to_z(model: Model) -> None:
    found = explain(model, an_image())
    assert isinstance(found, OcclusionExplanation)
    z = float(model.scores(an_image()[None])[0, 0])
    assert found.z == pytest.approx(z, abs=1e-9)
    assert found.bias + sum(found.channels.values()) == pytest.approx(z, abs=1e-9)
    assert found.probability == pytest.approx(float(sigmoid(np.array(z))))


def test_score_drops_are_those_of_covering_by_hand(model: Model) -> None:
    image = an_image()
    found = explain(model, image)
    colour = np.rint(image.mean(axis=(0, 1))).astype(np.uint8)
    whole = float(model.scores(image[None])[0, 0])
    for cells, drops in ((3, found.regions), (8, None)):
        step = SIZE // cells
        for i, j in ((0, 0), (1, 2), (cells - 1, 0)):
            covered = image.copy()
            square = np.s_[i * step : (i + 1) * step, j * step : (j + 1) * step]
            covered[square] = colour
            drop = whole - float(model.scores(covered[None])[0, 0])
            if drops is not None:
                assert drops[i, j] == pytest.approx(drop, abs=1e-9)
            else:
                assert found.per_pixel[square].sum() == pytest.approx(drop, abs=1e-9)


def test_the_graph_agrees_with_the_gradient(model: Model) -> None:
    found = explain(model, an_image())
    assert isinstance(found, OcclusionExplanation)
    for label in (0, 1):
        rows = {row.node: row for row in loss_graph(found, label, features=4)}
        a = found.probability
        assert rows["z"].value == pytest.approx(found.z, abs=1e-9)
        assert rows["z"].grad == pytest.approx(a - label)
        assert rows["L"].value == pytest.approx(-np.log(a if label else 1 - a))
        strongest = np.argsort(-np.abs(found.weights[:, 0] * found.x))[:4]
        for number in strongest.tolist():
            row = rows[f"w {found.features.name_of(number)}"]
            assert row.value == pytest.approx(float(found.weights[number, 0]))
            assert row.grad == pytest.approx((a - label) * found.x[number])
        for name, value in found.channels.items():
            assert rows[name].value == pytest.approx(value, abs=1e-9)


def test_every_number_has_its_own_name_and_part(model: Model) -> None:
    features = model.features
    assert features is not None
    names = [features.name_of(number) for number in range(features.n)]
    assert len(set(names)) == features.n
    covered = [number for part in features.parts.values() for number in range(features.n)[part]]
    assert covered == list(range(features.n))


def test_weights_too_large_to_add_are_refused() -> None:
    features = patches()
    model = Model(np.full((features.n, 1), 1e308), 0.0, Preprocess(SIZE), features=features)
    with pytest.raises(ModelError, match="so large"):
        explain(model, an_image())
    with pytest.raises(ModelError, match="no features"):
        explain_by_occlusion(Model(np.zeros((1728, 1)), 0.0, Preprocess(SIZE)), an_image())
