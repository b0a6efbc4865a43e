"""Files of models of two layers of patches: what they give back, and what they may not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import Opened, opened
from numpy.typing import NDArray

from catclf.errors import ModelError
from catclf.explain.pictures import model_image
from catclf.features.patch_layers import Recipe
from catclf.features.patches import PatchFeatures
from catclf.images.preprocess import Preprocess
from catclf.model import Model
from catclf.model.file import load, save

RECIPE = Recipe(first_atoms=8, patch=4, places=7, channels=6, directions=10, second_atoms=12)


def images_of(m: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (m, 24, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Model:
    features = PatchFeatures.learn(images_of(6), workers=1, recipe=RECIPE)
    w = np.random.default_rng(4).normal(size=(features.n, 1))
    return Model(w, 0.5, Preprocess(24), features=features)


def test_a_file_gives_the_same_scores_and_bytes(model: Model, tmp_path: Path) -> None:
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    np.testing.assert_array_equal(model.scores(images_of(9)), again.scores(images_of(9)))
    save(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()
    assert again.fingerprint == model.fingerprint


def test_the_filters_are_what_can_be_seen(model: Model) -> None:
    assert model.features is not None
    image = model_image(model)
    filters = model.features.arrays()["filters"]
    scale = image.shape[1] // (16 * 5 - 1)
    for place in range(4):
        tile = image[: 4 * scale : scale, place * 5 * scale : (place * 5 + 4) * scale : scale]
        learned = filters[:, place].reshape(4, 4, 3)
        expected = 127.5 + 127.5 * learned / np.abs(learned).max()
        np.testing.assert_allclose(tile, expected, atol=0.6)


def set_all(name: str, value: float) -> Callable[[Opened], object]:
    return lambda file: file.arrays.update({name: np.full_like(file.arrays[name], value)})


def setting(**changes: Any) -> Callable[[Opened], object]:
    return lambda file: file.meta["features"].update(changes)


CHANGES: dict[str, Callable[[Opened], object]] = {
    "another kind": setting(kind="hog"),
    "unknown": setting(kind="deep"),
    "kind a list": setting(kind=[]),
    "a list": lambda file: file.meta.update(features=[]),
    "a bare name": lambda file: file.meta.update(features="patches"),
    "pixels": lambda file: file.meta.update(features="pixels"),
    "pixels as an object": lambda file: file.meta.update(features={"kind": "pixels"}),
    "more": setting(more=1),
    "version 1": lambda file: file.meta.update(version=1),
    "more atoms": setting(second_atoms=14),
    "huge atoms": setting(second_atoms=10**12),
    "huge places": setting(places=64, window=16),
    "text": setting(grid="2"),
    "energy zero": setting(energy=0.0),
    "energy missing": lambda file: file.meta["features"].pop("energy"),
    "more even directions": setting(first_even=7),
    "other size": lambda file: file.meta["preprocess"].update(size=9),
    "huge atoms' numbers": set_all("atoms", 1e7),
    "huge directions": set_all("directions", 1e20),
    "huge channels": set_all("channels", 1e7),
    "huge filters": set_all("filters", 1e7),
    "not a number": set_all("channel_means", float("nan")),
    "no atoms": lambda file: file.arrays.pop("atoms"),
    "cut": lambda file: file.arrays.update(atoms=file.arrays["atoms"][:, :-1]),
    "float64": lambda file: file.arrays.update(offsets=file.arrays["offsets"].astype(float)),
    "short w": lambda file: file.arrays.update(w=file.arrays["w"][:-1]),
    "one more array": lambda file: file.arrays.update(extra=np.zeros(3)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_refused(name: str, model: Model, tmp_path: Path) -> None:
    save(model, tmp_path / "model.npz")
    file = opened(tmp_path / "model.npz")
    assert load(file.write(tmp_path / "same.npz")).n == RECIPE.n
    CHANGES[name](file)
    with pytest.raises(ModelError) as refused:
        load(file.write(tmp_path / "changed.npz"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["filters", "offsets", "channels", "channel_means"])
def test_the_largest_numbers_that_are_taken_give_finite_rows(
    name: str, model: Model, tmp_path: Path
) -> None:
    save(model, tmp_path / "model.npz")
    file = opened(tmp_path / "model.npz")
    set_all(name, 1e5)(file)
    again = load(file.write(tmp_path / "large.npz"))
    assert np.isfinite(again.scores(images_of(3))).all()
