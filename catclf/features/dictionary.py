"""Learning a dictionary of patches: whitening, then k-means on directions.

Patches are drawn at random from training images, every other one mirrored. Whitening is "ZCA":
W = V diag(1/sqrt(e + 0.1)) Vᵀ with the covariance V diag(e) Vᵀ. Atoms are unit vectors that patches
are assigned to by the largest |cosine|; each round an atom becomes the direction of the signed sum
of its patches ("spherical k-means" or "gain shape vector quantization", A. Coates and A. Ng,
"Learning feature representations with k-means", 2012). Covariance and atoms are made symmetric:
the mirror image of each atom is an atom, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.features.base import OnProgress, Rows
from catclf.features.patches import (
    MIDDLE,
    PatchFeatures,
    Recipe,
    cut,
    inverse_deviation,
    mirror_order,
    reduce,
)
from catclf.machine import cores
from catclf.parallel import Team, blas_threads
from catclf.samples import Images

PATCHES = 60_000  # drawn for each scale
IMAGES = 4000  # at most, that patches are drawn from
ROUNDS = 10
WHITENING = 0.1  # added to eigenvalues, so that noise is not blown up
_AT_ONCE = 2048  # patches assigned at a time


def learn_patches(
    images: Images,
    recipe: Recipe,
    seed: int,
    *,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> PatchFeatures:
    """A dictionary for each scale of the recipe; the same for any number of workers."""
    size = int(images.shape[1])
    recipe.require_size(size)
    total = len(recipe.scales) * ROUNDS
    filters, offsets = [], []
    team = Team(workers or cores())
    with blas_threads(1):
        for index, (reduction, _) in enumerate(recipe.scales):
            rng = np.random.default_rng((seed, index))
            patches: Rows = draw(images, reduction, recipe.patch, rng, PATCHES)
            patches -= patches.mean(axis=1, keepdims=True)
            patches *= inverse_deviation(patches, recipe.epsilon)
            mean, W = whitening(patches, recipe.patch)
            white = np.matmul(patches - mean, W, dtype=np.float32)  # (N, d)
            del patches

            def told(done: int, before: int = index * ROUNDS) -> None:
                if on_progress:
                    on_progress(before + done, total)

            D = symmetric_k_means(white, recipe.atoms // 2, recipe.patch, rng, team, told)
            F = W @ D.T  # (d, K/2)
            filters.append(F - F.mean(axis=0))  # takes the mean from a patch, too
            offsets.append(mean @ F)
    return PatchFeatures(size, recipe, np.stack(filters), np.stack(offsets))


def draw(images: Images, reduction: int, patch: int, rng: np.random.Generator, count: int) -> Rows:
    """About ``count`` random patches (N, p*p*3), or fewer, with every other one mirrored."""
    m = len(images)
    chosen = np.sort(rng.choice(m, min(m, IMAGES), replace=False))
    places = int(images.shape[1]) // reduction - patch + 1
    each = min(-(-count // len(chosen)), places**2)  # small images have no more to give
    found = np.empty((len(chosen), each, patch, patch, 3), dtype=np.float32)
    for place, number in enumerate(chosen.tolist()):
        windows = cut(reduce(images[number : number + 1][0], reduction) - MIDDLE, patch)
        down, across = rng.integers(0, len(windows), (2, each))
        found[place] = windows[down, across].reshape(each, patch, patch, 3)
    found[:, 1::2] = found[:, 1::2, :, ::-1].copy()
    return found.reshape(len(chosen) * each, patch * patch * 3)


def whitening(patches: Rows, patch: int) -> tuple[Rows, NDArray[np.float32]]:
    """The mean (d,) and W (d, d) of patches (N, d) together with their mirror images."""
    mirror = mirror_order(patch)
    mean = patches.mean(axis=0, dtype=np.float64)
    second = (patches.T @ patches).astype(np.float64) / len(patches) - np.outer(mean, mean)
    mean = (mean + mean[mirror]) / 2.0
    covariance = (second + second[mirror][:, mirror]) / 2.0
    values, V = np.linalg.eigh(covariance)
    W = (V / np.sqrt(np.maximum(values, 0.0) + WHITENING)) @ V.T
    return mean.astype(np.float32), W.astype(np.float32)


def symmetric_k_means(
    white: Rows,
    count: int,
    patch: int,
    rng: np.random.Generator,
    team: Team,
    on_round: Callable[[int], None],
) -> Rows:
    """``count`` unit atoms (count, d) that with their mirror images fit white patches (N, d)."""
    mirror = mirror_order(patch)
    atoms = unit(white[rng.choice(len(white), count, replace=len(white) < count)])
    blocks = [white[start : start + _AT_ONCE] for start in range(0, len(white), _AT_ONCE)]
    for done in range(ROUNDS):
        both = np.concatenate([atoms, atoms[:, mirror]])  # (2 count, d)
        sums = atoms.astype(np.float64)  # a little inertia; atoms that nothing is assigned to stay
        for part in team.in_order(partial(assigned_sums, D=both), blocks):
            sums += part[:count]
            sums += part[count:, mirror]
        atoms = unit(sums)
        on_round(done + 1)
    return atoms


def assigned_sums(block: Rows, D: Rows) -> Rows:
    """For each unit atom of D (K, d) the sum (K, d) of the patches (k, d) that are nearest to it.

    Nearest by |s|, s = D x, and weighted by s, so that x and -x count for the same atom.
    """
    S = block @ D.T  # (k, K)
    places = np.arange(len(block)), np.abs(S).argmax(axis=1)
    strengths = S[places]
    S[...] = 0.0
    S[places] = strengths
    return np.asarray(S.T @ block)


def unit(vectors: NDArray[np.floating[Any]]) -> Rows:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
