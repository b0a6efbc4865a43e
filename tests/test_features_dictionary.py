"""Learning: hand-made directions found again, sums beside loops, equal bytes for equal seeds."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from numpy.typing import NDArray

from catclf.features import dictionary, learn
from catclf.features.dictionary import assigned_sums, draw, symmetric_k_means, unit, whitening
from catclf.features.patches import Recipe, mirror_order
from catclf.parallel import Team

MIRROR = mirror_order(2)  # d = 12


def images_of(m: int, size: int = 16) -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return (
        (rng.integers(0, 256, (m, size // 4, size // 4, 3), dtype=np.uint8))
        .repeat(4, 1)
        .repeat(4, 2)
    )


@pytest.fixture(autouse=True)
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "PATCHES", 3000)


def small_recipe() -> Recipe:
    return Recipe(atoms=8, patch=4, grid=2, scales=((1, 2), (2, 1)))


def test_sums_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    block = rng.normal(size=(50, 12)).astype(np.float32)
    D = unit(rng.normal(size=(5, 12)))
    expected = np.zeros((5, 12))
    for x in block:
        cosines = [float(x @ atom) for atom in D]
        nearest = max(range(5), key=lambda k: abs(cosines[k]))
        expected[nearest] += cosines[nearest] * x
    np.testing.assert_allclose(assigned_sums(block, D), expected, rtol=1e-4, atol=1e-4)


def test_planted_directions_and_their_mirror_images_are_found() -> None:
    rng = np.random.default_rng(2)
    planted = unit(rng.normal(size=(3, 12)))
    both = np.concatenate([planted, planted[:, MIRROR]])
    strengths = rng.normal(0, 5, 4000)
    patches = both[rng.integers(0, 6, 4000)] * strengths[:, None] + rng.normal(0, 0.1, (4000, 12))
    rounds: list[int] = []
    atoms = symmetric_k_means(patches.astype(np.float32), 6, 2, rng, Team(1), rounds.append)
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1.0, rtol=1e-5)
    assert rounds == list(range(1, dictionary.ROUNDS + 1))
    all_atoms = np.concatenate([atoms, atoms[:, MIRROR]])
    assert np.abs(both @ all_atoms.T).max(axis=1).min() > 0.99


def test_white_patches_have_nearly_the_identity_as_covariance() -> None:
    rng = np.random.default_rng(3)
    patches = (rng.normal(size=(20000, 12)) @ rng.normal(size=(12, 12)) * 3 + 1).astype(np.float32)
    mean, W = whitening(patches, 2)
    together = np.concatenate([patches, patches[:, MIRROR]]).astype(np.float64)
    np.testing.assert_allclose(mean, together.mean(axis=0), rtol=1e-3, atol=1e-3)
    C = np.cov(((together - mean) @ W).T)
    values = np.linalg.eigvalsh(np.cov(together.T))
    shrunk = np.sort(values / (values + dictionary.WHITENING))
    np.testing.assert_allclose(np.linalg.eigvalsh(C), shrunk, rtol=0.02)
    np.testing.assert_allclose(W, W.T, atol=1e-4)
    np.testing.assert_allclose(W[MIRROR][:, MIRROR], W, atol=1e-4)


def test_drawn_patches_are_cut_from_the_images() -> None:
    images = images_of(2, 8)
    cuts = {
        (p[i : i + 3, j : j + 3].astype(np.float32) - 128).tobytes()
        for p in images
        for i in range(6)
        for j in range(6)
    }
    drawn = draw(images, 1, 3, np.random.default_rng(0), 48)
    assert drawn.shape == (48, 27)
    assert draw(images, 1, 3, np.random.default_rng(0), 500).shape == (2 * 36, 27)
    order = mirror_order(3)
    for number, patch in enumerate(drawn):
        assert (patch[order] if number % 2 else patch).tobytes() in cuts


def test_the_same_for_any_number_of_workers_and_another_for_another_seed() -> None:
    images = images_of(12)
    first, second, third = (
        dictionary.learn_patches(images, small_recipe(), seed, workers=workers).arrays()
        for seed, workers in ((4, 1), (4, 3), (5, 1))
    )
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert np.abs(first[name] - third[name]).max() > 1e-3
    assert first["filters"].dtype == first["offsets"].dtype == np.float32


def test_filters_ignore_brightness() -> None:
    filters = dictionary.learn_patches(images_of(12), small_recipe(), 0).arrays()["filters"]
    np.testing.assert_allclose(filters.sum(axis=1), 0.0, atol=1e-4)


def test_progress_counts_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    learn("patches", images_of(3, 64), phase=lambda what: nullcontext(lambda *at: seen.append(at)))
    total = 2 * dictionary.ROUNDS
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_images_of_one_colour_teach_finite_filters() -> None:
    flat = np.full((3, 16, 16, 3), 7, dtype=np.uint8)
    features = dictionary.learn_patches(flat, small_recipe(), 0)
    assert np.isfinite(features.arrays()["filters"]).all()
    assert np.isfinite(features.transform(flat)).all()
