"""Learning both layers, the mirror, what a model file gives back, and what is refused of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from tests_read import reader

from catclf.errors import SettingsError, ShapeError
from catclf.features import learn, patch_learning, restore
from catclf.features.base import Phase, silent
from catclf.features.patch_layers import First, FirstLayer, Recipe, all_windows, normalized
from catclf.features.patches import PatchFeatures

SMALL = Recipe(first_atoms=8, patch=4, places=7, channels=6, directions=10, second_atoms=12)


@pytest.fixture(autouse=True)
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch_learning, "PATCHES", 3000)
    monkeypatch.setattr(patch_learning, "WINDOWS", 1000)


def learn_patches(
    images: NDArray[np.uint8],
    recipe: Recipe,
    seed: int,
    workers: int | None = None,
    phase: Phase = silent,
) -> PatchFeatures:
    return PatchFeatures.learn(images, seed, workers=workers, phase=phase, recipe=recipe)


def images_of(m: int, size: int = 24, seed: int = 5) -> NDArray[np.uint8]:
    """Images of squares of 4 pixels."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 256, (m, size // 4, size // 4, 3), dtype=np.uint8)
    return squares.repeat(4, 1).repeat(4, 2)


def test_the_same_for_any_number_of_workers_and_another_for_another_seed() -> None:
    first, second, third = (
        learn_patches(images_of(12), SMALL, seed, workers=workers).arrays()
        for seed, workers in ((4, 1), (4, 3), (5, 1))
    )
    assert list(first) == list(second)
    for name, array in first.items():
        assert array.dtype == np.float32
        assert array.tobytes() == second[name].tobytes()
    assert np.abs(first["atoms"] - third["atoms"]).max() > 1e-3


def test_an_image_and_its_mirror_image_have_the_same_row() -> None:
    images = images_of(12)
    features = learn_patches(images, SMALL, 0)
    rows = features.transform(images)
    assert rows.shape == (12, features.n)
    np.testing.assert_allclose(features.transform(images[:, :, ::-1]), rows, atol=2e-3)
    assert np.abs(rows[0] - rows[1]).max() > 0.1
    np.testing.assert_allclose(np.square(rows).sum(axis=1), features.n, rtol=1e-4)


def test_without_flip_the_mirror_image_has_the_same_numbers_elsewhere() -> None:
    images = images_of(12)
    recipe = Recipe(**(vars(SMALL) | {"flip": False}))
    features = learn_patches(images, recipe, 0)
    rows, turned = features.transform(images), features.transform(images[:, :, ::-1])
    shape = 12, 2, 2, 2, 2, 6  # image, region row and column, sign, side, atom
    np.testing.assert_allclose(
        turned.reshape(shape)[:, :, ::-1, :, ::-1], rows.reshape(shape), atol=2e-3
    )
    assert np.abs(turned - rows).max() > 0.1


def test_a_row_does_not_depend_on_the_images_beside_it() -> None:
    images = images_of(9)
    features = learn_patches(images, SMALL, 0)
    assert features.transform(images)[7].tobytes() == features.transform(images[7:8])[0].tobytes()


def test_scores_of_the_second_layer_have_a_standard_deviation_of_one() -> None:
    images = images_of(40)
    features = learn_patches(images, SMALL, 0)
    scores = []
    arrays = features.arrays()
    learned = arrays["filters"], arrays["offsets"], arrays["channels"], arrays["channel_means"]
    layer = FirstLayer(24, SMALL, First(*learned, features.settings["first_even"]))
    floor = np.float32(SMALL.floor * features.settings["energy"])
    for image in images:
        windows = normalized(all_windows(layer.map(image), SMALL.window), floor)
        x = windows @ arrays["directions"] - arrays["direction_means"]
        scores.append(x @ arrays["atoms"])
    assert float(np.concatenate(scores).std()) == pytest.approx(1.0, rel=0.1)


def test_progress_of_each_layer_counts_to_its_end() -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def phase(what: str) -> Iterator[Callable[[int, int], None]]:
        counts = seen.setdefault(what, [])
        yield lambda *at: counts.append(at)

    learn_patches(images_of(6), SMALL, 0, phase=phase)
    assert list(seen) == ["learning the first layer", "learning the second layer"]
    for counts in seen.values():
        total = counts[0][1]
        assert counts == [(done, total) for done in range(1, total + 1)]


def test_images_of_one_colour_teach_finite_features() -> None:
    flat = np.full((3, 24, 24, 3), 7, dtype=np.uint8)
    features = learn_patches(flat, SMALL, 0)
    for array in features.arrays().values():
        assert np.isfinite(array).all()
    assert np.isfinite(features.transform(flat)).all()
    restore(features.settings, 24, reader(features.arrays()))  # is not refused


def test_images_that_hardly_differ_teach_features_that_can_be_restored() -> None:
    images = np.full((6, 24, 24, 3), 90, dtype=np.uint8)
    images[3:, 5, 5] += 1
    features = learn_patches(images, SMALL, 0)
    again = restore(features.settings, 24, reader(features.arrays()))
    assert np.isfinite(again.transform(images)).all()


def test_a_single_image_is_enough() -> None:
    assert np.isfinite(learn_patches(images_of(1), SMALL, 0).transform(images_of(1))).all()


def test_other_images_are_refused() -> None:
    features = learn_patches(images_of(3), SMALL, 0)
    with pytest.raises(ShapeError):
        features.transform(images_of(2, 28))
    with pytest.raises(SettingsError, match="too small for patches"):
        learn_patches(images_of(3, 8), SMALL, 0)


def test_groups_and_names_belong_to_regions() -> None:
    features = learn_patches(images_of(3), SMALL, 0)
    each = features.n // 4
    assert features.groups["region 1,0"] == slice(2 * each, 3 * each)
    assert sum(part.stop - part.start for part in features.groups.values()) == features.n
    assert features.name_of(0) == "atom 0+(0,0)"
    assert features.name_of(2 * each + 6 + 5) == "atom 5-(1,0)"
    both = learn_patches(images_of(3), Recipe(**(vars(SMALL) | {"flip": False})), 0)
    assert len({both.name_of(number) for number in range(both.n)}) == both.n


def test_pixels_are_divided_by_255() -> None:
    images = images_of(3, 8)
    features = learn("pixels", images, flip=False)
    assert (features.n, features.settings, features.arrays()) == (
        192,
        {"kind": "pixels", "flip": False},
        {},
    )
    expected = images.reshape(3, -1) / 255
    np.testing.assert_allclose(features.transform(images), expected, rtol=1e-7)
    mirrored = images[:, :, ::-1].reshape(3, -1) / 255
    flipped = learn("pixels", images).transform(images)
    np.testing.assert_allclose(flipped, (expected + mirrored) / 2, rtol=1e-6)
