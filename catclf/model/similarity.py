"""How like an image is to those that a model was trained on, by its row of features.

A hundred centres of the training rows, from k-means on their directions, stand for all of them. The
similarity of an image is the greatest cosine of its row with a centre, the training mean taken from
both. An image is unlike the training images where fewer than one in a hundred of those, compared
with centres that they had no part in, is as far away: measured on the rows that the centres are
made from, that point would be crossed by 4 to 5 % of images of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
CENTERS = 100
FOLDS, ROUNDS = 5, 15
SAMPLE = 3000  # rows at most that centres are made from
LEAST = 10  # rows: fewer say nothing
POINT = 0.01  # of training images are called unlike
SHORTEST = np.float32(1e-6)


@dataclass(frozen=True, eq=False)
class Similarity:
    """Centres of training rows: ``centers`` int8 (k, n), of which the direction counts alone.

    ``mean`` float32 (n,) is that of the training rows; an image whose similarity is below
    ``limit`` is unlike them. No image can be recognised from a centre, and none is named.
    """

    centers: NDArray[np.int8]
    mean: Rows
    limit: float

    @classmethod
    def learn(cls, sample: Rows, mean: Rows, seed: int) -> Self | None:
        """From rows (m, n) less their mean (n,); None where too few differ from it.

        To be called with one BLAS thread, for equal sums everywhere.
        """
        rows, rng = unit(sample[np.abs(sample).max(axis=1) > SHORTEST]), np.random.default_rng(seed)
        if len(rows) < LEAST:
            return None
        fold_of = rng.permutation(len(rows)) % FOLDS
        held = [
            _nearest(rows[fold_of == fold], _centers(rows[fold_of != fold], rng))[1]
            for fold in range(FOLDS)
        ]
        limit = float(np.quantile(np.concatenate(held), POINT, method="lower"))
        return cls(_centers(rows, rng), mean, limit)

    def of_rows(self, rows: Rows) -> Rows:
        """The similarities (m,) of rows (m, n), each by itself: the same in any batch."""
        directions, centers = unit(rows - self.mean), unit(self.centers.astype(np.float32))
        found = [np.einsum("kn,n->k", centers, row).max() for row in directions]
        return np.array(found, np.float32)


def unit(rows: Rows) -> Rows:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return np.asarray(rows / np.maximum(lengths, np.float32(1e-12)))


def _nearest(rows: Rows, centers: NDArray[Any]) -> tuple[NDArray[np.intp], Rows]:
    """For each row (n,) of length 1 the centre with the greatest cosine, and the cosine."""
    cosines = rows @ unit(centers.astype(np.float32)).T
    return cosines.argmax(axis=1), cosines.max(axis=1)


def _centers(rows: Rows, rng: np.random.Generator) -> NDArray[np.int8]:
    """Directions (k, n) from k-means on rows of length 1, each scaled to whole numbers to 127."""
    centers = rows[np.sort(rng.choice(len(rows), min(CENTERS, len(rows)), replace=False))]
    for _ in range(ROUNDS):
        members = _nearest(rows, centers)[0] == np.arange(len(centers))[:, None]
        # A centre that no row belongs to stays.
        sums = unit(members.astype(np.float32) @ rows)
        centers = np.where(members.any(axis=1, keepdims=True), sums, centers)
    largest = np.maximum(np.abs(centers).max(axis=1, keepdims=True), np.float32(1e-12))
    return np.asarray(np.rint(centers * (np.float32(127) / largest)), np.int8)
