"""Directions and atoms that are symmetric under left and right exchanged.

A mirror acts on vectors (d,) as x -> x[order] * signs. An orthonormal basis whose vectors are each
even (equal to their mirror image) or odd (its negative) turns the mirror into a change of signs:
coordinates of even directions stay, those of odd ones are negated. So the score of a vector with
an atom is E + O, with the atom's mirror image E - O, and both cost one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.features.base import Rows
from catclf.maths import Floats
from catclf.parallel import Team

_AT_ONCE = 1024  # vectors assigned at a time


class Mirror(NamedTuple):
    """x -> x[order] * signs, its own inverse: order int64 (d,), signs 1.0 or -1.0 (d,)."""

    order: NDArray[np.int64]
    signs: NDArray[np.float32]

    def __call__(self, x: Rows) -> Rows:
        """The mirror images of vectors (k, d)."""
        return np.asarray(x[:, self.order] * self.signs)


class Basis(NamedTuple):
    """Orthonormal directions V (d, count), the ``even`` even ones first, and their variances."""

    V: Floats
    even: int
    variances: Floats


def window_mirror(width: int, channels: Mirror) -> Mirror:
    """The mirror of windows of width x width places, for that of the channels of a place."""
    count = len(channels.order)
    numbers = np.arange(width**2 * count).reshape(width, width, count)
    order = numbers[:, ::-1][:, :, channels.order].reshape(-1)
    return Mirror(order, np.tile(channels.signs, width**2))


def even_first(even: int, count: int) -> NDArray[np.float32]:
    """What the mirror multiplies coordinates by: 1 for the first ``even`` of them, then -1."""
    return np.where(np.arange(count) < even, 1.0, -1.0).astype(np.float32)


def principal_directions(covariance: Floats, mirror: Mirror, count: int) -> Basis:
    """The ``count`` leading eigenvectors of a covariance (d, d), averaged with its mirror image.

    Such a covariance maps even vectors to even ones and odd to odd ones, so that its eigenvectors
    are found in the two spaces by themselves.
    """
    order, signs = mirror.order, mirror.signs.astype(np.float64)
    mirrored = covariance[order][:, order] * signs * signs[:, None]
    covariance = (covariance + mirrored) / 2.0
    found = []
    for space in _even_and_odd(mirror):
        values, vectors = np.linalg.eigh(space.T @ covariance @ space)
        found.append((values, space @ vectors))
    values = np.concatenate([values for values, _ in found])
    V = np.concatenate([vectors for _, vectors in found], axis=1)
    is_even = np.arange(len(values)) < len(found[0][0])
    best = np.argsort(-values, kind="stable")[:count]
    best = np.concatenate([best[is_even[best]], best[~is_even[best]]])
    return Basis(V[:, best], int(is_even[best].sum()), values[best])


def _even_and_odd(mirror: Mirror) -> tuple[Floats, Floats]:
    """Orthonormal bases (d, ·) of the vectors that the mirror keeps, and of those it negates."""
    order, signs = mirror.order, mirror.signs
    places = np.arange(len(order))
    first, alone = places[places < order], places[places == order]
    pairs = np.arange(len(first))
    bases = []
    for sign in (1.0, -1.0):
        own = alone[signs[alone] == sign]
        basis = np.zeros((len(order), len(first) + len(own)))
        basis[first, pairs] = np.sqrt(0.5)
        basis[order[first], pairs] = sign * signs[first] * np.sqrt(0.5)
        basis[own, len(first) + np.arange(len(own))] = 1.0
        bases.append(basis)
    return bases[0], bases[1]


def covariance_of(vectors: Rows, mirror: Mirror) -> tuple[Floats, Floats]:
    """The mean (d,), averaged with its mirror image, and covariance (d, d) of vectors (N, d)."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    mean = (mean + mean[mirror.order] * mirror.signs) / 2.0
    second = (vectors.T @ vectors).astype(np.float64) / len(vectors)
    return mean, second - np.outer(mean, mean)


def symmetric_k_means(
    vectors: Rows,
    even: int,
    count: int,
    rounds: int,
    rng: np.random.Generator,
    team: Team,
    on_round: Callable[[int], None],
) -> Rows:
    """``count`` unit atoms (count, d) that with their mirror images fit ``vectors`` (N, d).

    Spherical k-means: a vector belongs to the atom, or mirrored atom, with the largest |cosine|,
    and an atom becomes the direction of the signed sum of its vectors. (A. Coates and A. Ng,
    "Learning feature representations with k-means", 2012.) The first ``even`` coordinates are
    those of even directions.
    """
    atoms = unit(vectors[rng.choice(len(vectors), count, replace=len(vectors) < count)])
    blocks = [vectors[start : start + _AT_ONCE] for start in range(0, len(vectors), _AT_ONCE)]
    for done in range(rounds):
        nearest, even_scores, odd_scores = (
            np.concatenate(parts)
            for parts in zip(
                *team.in_order(partial(_assigned, atoms=atoms, even=even), blocks), strict=True
            )
        )
        flips = np.where(even_scores * odd_scores < 0.0, np.float32(-1.0), np.float32(1.0))
        strengths = even_scores + flips * odd_scores
        atoms = unit(_sums(atoms, vectors, nearest, strengths, flips, even))
        on_round(done + 1)
    return atoms


def _assigned(block: Rows, atoms: Rows, even: int) -> tuple[NDArray[np.int64], Rows, Rows]:
    """For each vector its atom, and the even and the odd part of their score: (k,) each.

    max(|E + O|, |E - O|) = |E| + |O|.
    """
    E = block[:, :even] @ atoms[:, :even].T
    O = block[:, even:] @ atoms[:, even:].T  # noqa: E741
    nearest = (np.abs(E) + np.abs(O)).argmax(axis=1)
    places = np.arange(len(block)), nearest
    return nearest, E[places], O[places]


def _sums(
    atoms: Rows,
    vectors: Rows,
    nearest: NDArray[np.int64],
    strengths: Rows,
    flips: Rows,
    even: int,
) -> Floats:
    """Atoms plus the sums of their vectors, weighted by strength and mirrored where they must be.

    The atom itself is a little inertia, and one that nothing belongs to stays.
    """
    sums = atoms.astype(np.float64)
    order = np.argsort(nearest, kind="stable")
    counts = np.bincount(nearest, minlength=len(atoms))
    ends = np.cumsum(counts)
    for rows in _runs(counts):
        chosen = order[ends[rows.start] - counts[rows.start] : ends[rows.stop - 1]]
        weighted = vectors[chosen] * strengths[chosen, None]
        weighted[:, even:] *= flips[chosen, None]
        full = rows.start + np.flatnonzero(counts[rows])
        firsts = ends[full] - counts[full] - (ends[rows.start] - counts[rows.start])
        if len(full):
            sums[full] += np.add.reduceat(weighted, firsts, axis=0, dtype=np.float64)
    return sums


def _runs(counts: NDArray[np.int64], most: int = 8192) -> Iterator[slice]:
    """Slices of atoms with together about ``most`` vectors, so that little is copied at a time."""
    start, held = 0, 0
    for stop, count in enumerate(counts.tolist(), 1):
        held += count
        if held >= most or stop == len(counts):
            yield slice(start, stop)
            start, held = stop, 0


def unit(vectors: NDArray[np.floating[Any]]) -> Rows:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
