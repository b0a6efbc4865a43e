"""Even and odd directions beside the whole covariance, k-means beside loops over all atoms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from catclf.features.patch_layers import mirror_order
from catclf.features.patch_learning import (
    Mirror,
    covariance_of,
    even_first,
    principal_directions,
    symmetric_k_means,
    unit,
    window_mirror,
)
from catclf.maths.threads import Team

Array = NDArray[np.float64]
COLOURS = Mirror(np.arange(3), np.ones(3, np.float32))
# Channels of which the first two are exchanged, the third stays, and the fourth is negated.
MIXED = Mirror(np.array([1, 0, 2, 3]), np.array([1, 1, 1, -1], np.float32))


def as_matrix(mirror: Mirror) -> Array:
    """R with R x the mirror image of x."""
    return mirror(np.eye(len(mirror.order), dtype=np.float32)).T.astype(np.float64)


def test_the_mirror_of_a_window_is_that_of_its_picture() -> None:
    np.testing.assert_array_equal(window_mirror(5, COLOURS).order, mirror_order(5))
    image = np.random.default_rng(0).normal(size=(3, 3, 4)).astype(np.float32)
    turned = image[:, ::-1][:, :, MIXED.order] * MIXED.signs
    mirror = window_mirror(3, MIXED)
    np.testing.assert_array_equal(mirror(image.reshape(1, -1))[0], turned.reshape(-1))
    np.testing.assert_array_equal(mirror(mirror(image.reshape(1, -1))), image.reshape(1, -1))


@pytest.mark.parametrize("mirror", [window_mirror(3, COLOURS), window_mirror(2, MIXED)])
def test_directions_are_the_leading_eigenvectors_each_even_or_odd(mirror: Mirror) -> None:
    d = len(mirror.order)
    rng = np.random.default_rng(d)
    A = rng.normal(size=(d, d)) * np.geomspace(5.0, 0.1, d)
    C, R = A @ A.T, as_matrix(mirror)
    basis = principal_directions(C, mirror, 7)
    values, vectors = np.linalg.eigh((C + R @ C @ R.T) / 2.0)
    np.testing.assert_allclose(np.sort(basis.variances)[::-1], values[::-1][:7], rtol=1e-8)
    np.testing.assert_allclose(basis.V.T @ basis.V, np.eye(7), atol=1e-10)
    leading = vectors[:, -7:]
    np.testing.assert_allclose(basis.V @ basis.V.T, leading @ leading.T, atol=1e-7)
    np.testing.assert_allclose(R @ basis.V, basis.V * even_first(basis.even, 7), atol=1e-10)
    assert 0 < basis.even < 7


def test_all_directions_are_a_whole_basis() -> None:
    mirror = window_mirror(2, MIXED)
    basis = principal_directions(np.eye(16), mirror, 16)
    np.testing.assert_allclose(basis.V @ basis.V.T, np.eye(16), atol=1e-10)
    assert basis.even == int((np.trace(as_matrix(mirror)) + 16) / 2)


def test_mean_and_covariance_are_numpys() -> None:
    rng = np.random.default_rng(3)
    mirror = window_mirror(2, COLOURS)
    half = (rng.normal(size=(500, 12)) + 2.0).astype(np.float32)
    vectors = np.concatenate([half, mirror(half)])
    mean, covariance = covariance_of(vectors, mirror)
    np.testing.assert_allclose(mean, vectors.astype(np.float64).mean(axis=0), rtol=1e-5)
    expected = np.cov(vectors.T.astype(np.float64), bias=True)
    np.testing.assert_allclose(covariance, expected, atol=1e-4)


def round_by_loops(vectors: Array, atoms: Array, even: int) -> Array:
    """One round of k-means as its definition has it."""
    signs = np.where(np.arange(atoms.shape[1]) < even, 1.0, -1.0)
    sums = atoms.copy()
    for x in vectors:
        scores = np.stack([atoms @ x, (atoms * signs) @ x])  # plain, mirrored
        side, nearest = np.unravel_index(np.abs(scores).argmax(), scores.shape)
        sums[nearest] += scores[side, nearest] * (x * signs if side else x)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_round_of_k_means_is_that_of_loops(workers: int) -> None:
    vectors = np.random.default_rng(4).normal(size=(9000, 8)).astype(np.float32)
    begun = np.random.default_rng(9)
    first = unit(vectors[begun.choice(9000, 5, replace=False)]).astype(np.float64)
    found = next(symmetric_k_means(vectors, 5, 5, np.random.default_rng(9), Team(workers)))
    expected = round_by_loops(vectors.astype(np.float64), first, 5)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_planted_directions_and_their_mirror_images_are_found() -> None:
    rng = np.random.default_rng(2)
    planted = unit(rng.normal(size=(3, 12)))
    both = np.concatenate([planted, planted * even_first(7, 12)])
    vectors = both[rng.integers(0, 6, 4000)] * rng.normal(0, 5, (4000, 1))
    vectors += rng.normal(0, 0.1, vectors.shape)
    rounds = symmetric_k_means(vectors.astype(np.float32), 7, 6, rng, Team(1))
    atoms = [next(rounds) for _ in range(10)][-1]
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1.0, rtol=1e-5)
    all_atoms = np.concatenate([atoms, atoms * even_first(7, 12)])
    assert np.abs(both @ all_atoms.T).max(axis=1).min() > 0.99


def test_more_atoms_than_vectors_stay_unit_vectors() -> None:
    vectors = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    rounds = symmetric_k_means(vectors, 3, 8, np.random.default_rng(0), Team(1))
    for atoms in (next(rounds), next(rounds)):
        np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1.0, rtol=1e-5)
