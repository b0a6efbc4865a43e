"""Random divisions of a data set, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from catclf.errors import DataError
from catclf.maths import Floats
from catclf.samples import Indices, Labelled, Subset
from catclf.text import counted

_SPLIT = 1  # keeps the split's random numbers apart from those of shuffling


def stratified_split(
    labels: Indices, groups: Indices, fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Row numbers of two splits, sorted: the rest, and about ``fraction`` of each class.

    ``labels`` (m,) are class numbers, ``groups`` (m,) say which rows must stay together: a group
    goes to the side that its first row's class still needs. Raises DataError when a split would
    be empty.
    """
    rng = np.random.default_rng(seed)
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)
    names = sorted(members)
    missing = {int(k): fraction * np.sum(labels == k) for k in np.unique(labels)}
    held: list[int] = []
    for place in rng.permutation(len(names)):
        rows = members[names[place]]
        need = missing[int(labels[rows[0]])]
        if need >= len(rows) / 2:  # rounds to the nearer side
            held += rows
            for row in rows:
                missing[int(labels[row])] -= 1
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[held] = True
    if chosen.all() or not chosen.any():
        raise DataError(
            f"{counted(len(labels), 'image')} cannot be divided so that each part has some: "
            "try `test=0.5`"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def split(data: Labelled, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """The images to train on, and ``fraction`` of each class held out, drawn by ``seed``.

    Raises DataError when a class has too few images to be in both.
    """
    held = np.zeros(data.Y.shape[1], dtype=bool)
    for _, rows in _shuffled_classes(data.Y, np.random.default_rng([seed, _SPLIT])):
        count = round(fraction * len(rows))
        if not 0 < count < len(rows):
            raise DataError(
                f"{fraction:g} of {counted(len(rows), 'image')} of one class cannot be held out "
                "for validation: use more images or another fraction"
            )
        held[rows[:count]] = True
    return Subset(data, np.flatnonzero(~held)), Subset(data, np.flatnonzero(held))


def stratified_folds(
    Y: Floats,
    folds: int,
    seed: int,
    repeats: int = 1,
    *,
    level: bool = False,
    advice: str = "try `folds=2` or more images",
) -> Indices:
    """The fold of each image in each repeat, (repeats, m), for labels Y (1, m).

    Each class is dealt out evenly, at random. The first folds get one image more of a class that
    ``folds`` does not divide; with ``level`` the last ones do of class 1, so that folds differ less
    in size. Raises DataError, with ``advice``, when a class has fewer images than there are folds.
    """
    fold_of = np.empty((repeats, Y.shape[1]), dtype=np.int64)
    dealt = {False: 0, True: 0}  # repeats, by class
    for label, rows in _shuffled_classes(Y, np.random.default_rng(seed), repeats):
        if len(rows) < folds:
            raise DataError(
                f"cross-validation needs {folds} images of each class, one has {len(rows)}: "
                f"{advice}"
            )
        places = np.arange(len(rows)) % folds
        fold_of[dealt[label], rows] = folds - 1 - places if label and level else places
        dealt[label] += 1
    return fold_of


def stratified_sample(Y: Floats, limit: int, seed: int) -> Indices:
    """Sorted row numbers of at most ``limit`` images, classes in the proportion of Y (1, m)."""
    m = Y.shape[1]
    if m <= limit:
        return np.arange(m)
    return np.flatnonzero(stratified_folds(Y, -(-m // limit), seed)[0] == 0)


def _shuffled_classes(
    Y: Floats, rng: np.random.Generator, repeats: int = 1
) -> Iterator[tuple[bool, Indices]]:
    """Each class, negatives first, with its row numbers in random order, ``repeats`` times."""
    labels = Y[0] > 0.5
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        for _ in range(repeats):
            yield label, rng.permutation(rows)
