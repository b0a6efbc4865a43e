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

    ``labels`` (m,) are class numbers, ``groups`` (m,) say which rows must stay together. Groups are
    taken at random, large ones first, where that brings the classes nearer to what is wanted.
    Raises DataError when a split would be empty.
    """
    members = _members(labels, groups, np.random.default_rng(seed))
    missing = fraction * np.bincount(labels)
    chosen = np.zeros(len(labels), dtype=bool)
    for rows, counts in members:
        if np.abs(missing - counts).sum() <= np.abs(missing).sum():
            chosen[rows] = True
            missing -= counts
    if chosen.all() or not chosen.any():
        raise DataError(
            f"{counted(len(labels), 'image')} cannot be divided so that each part has some: "
            "try `test=0.5`"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def split(
    data: Labelled, fraction: float, seed: int, groups: Indices | None = None
) -> tuple[Subset, Subset]:
    """The images to train on, and ``fraction`` of each class held out, drawn by ``seed``.

    Images of one of ``groups`` (m,) are on one side. Raises DataError when a class has too few
    images to be in both.
    """
    Y, held = data.Y, np.zeros(data.Y.shape[1], dtype=bool)
    if groups is not None and not _alone(groups):
        labels = (Y[0] > 0.5).astype(np.intp)
        held[stratified_split(labels, groups, fraction, seed)[1]] = True
        for label in (0, 1):
            _require_both(fraction, int(held[labels == label].sum()), int((labels == label).sum()))
    else:
        for _, rows in _shuffled_classes(Y, np.random.default_rng([seed, _SPLIT])):
            count = round(fraction * len(rows))
            _require_both(fraction, count, len(rows))
            held[rows[:count]] = True
    return Subset(data, np.flatnonzero(~held)), Subset(data, np.flatnonzero(held))


def _require_both(fraction: float, count: int, total: int) -> None:
    if not 0 < count < total:
        raise DataError(
            f"{fraction:g} of {counted(total, 'image')} of one class cannot be held out "
            "for validation: use more images or another fraction"
        )


def possible_folds(Y: Floats, folds: int, groups: Indices | None = None) -> int:
    """``folds``, or fewer where a class of labels Y (1, m) has fewer images, or groups of them."""
    labels, rows = Y[0] > 0.5, np.arange(Y.shape[1])
    numbers = rows if groups is None else groups
    return min(folds, *(len(np.unique(numbers[labels == label])) for label in (False, True)))


def stratified_folds(
    Y: Floats,
    folds: int,
    seed: int,
    repeats: int = 1,
    *,
    groups: Indices | None = None,
    level: bool = False,
    advice: str = "give `l2` and `threshold` as numbers, or use more images",
) -> Indices:
    """The fold of each image in each repeat, (repeats, m), for labels Y (1, m).

    Each class is dealt out evenly, at random; images of one of ``groups`` (m,) are in one fold, and
    large groups are dealt out first. The first folds get one image more of a class that ``folds``
    does not divide; with ``level`` the last ones do of class 1, so that folds differ less in size.
    Raises DataError, with ``advice``, when a class has fewer images, or groups of them, than there
    are folds (see ``possible_folds``), or less than two folds are asked for.
    """
    possible = possible_folds(Y, folds, groups)
    if possible < max(folds, 2):
        kind = "images" if groups is None else "images, or groups of equal and similar ones,"
        raise DataError(
            f"cross-validation needs {max(folds, 2)} {kind} of each class, one has {possible}: "
            f"{advice}"
        )
    rng = np.random.default_rng(seed)
    fold_of = np.empty((repeats, Y.shape[1]), dtype=np.int64)
    if groups is not None and not _alone(groups):
        for repeat in range(repeats):
            fold_of[repeat] = _grouped_folds((Y[0] > 0.5).astype(np.intp), groups, folds, rng)
        return fold_of
    dealt = {False: 0, True: 0}  # repeats, by class
    for label, rows in _shuffled_classes(Y, rng, repeats):
        places = np.arange(len(rows)) % folds
        fold_of[dealt[label], rows] = folds - 1 - places if label and level else places
        dealt[label] += 1
    return fold_of


def _grouped_folds(
    labels: Indices, groups: Indices, folds: int, rng: np.random.Generator
) -> Indices:
    """Each group in the fold that has the least of its classes so far."""
    totals = np.bincount(labels, minlength=2)
    have = np.zeros((folds, 2))
    fold_of = np.empty(len(labels), np.int64)
    for rows, counts in _members(labels, groups, rng):
        load = (have / totals) @ counts
        fold = int(np.lexsort((have.sum(axis=1), load))[0])
        fold_of[rows] = fold
        have[fold] += counts
    if (have >= totals).any():
        raise DataError(
            f"cross-validation needs groups that leave both classes outside of each of {folds} "
            "folds: give `l2` and `threshold` as numbers, or use more images"
        )
    return fold_of


def _members(
    labels: Indices, groups: Indices, rng: np.random.Generator
) -> list[tuple[Indices, Indices]]:
    """The rows of each group with the count of each class, at random, large groups first."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    members = np.split(order, ends)
    shuffled = [members[place] for place in rng.permutation(len(members))]
    shuffled.sort(key=len, reverse=True)
    classes = int(labels.max()) + 1
    return [(rows, np.bincount(labels[rows], minlength=classes)) for rows in shuffled]


def _alone(groups: Indices) -> bool:
    """Whether no two rows are of one group."""
    return len(np.unique(groups)) == len(groups)


def stratified_sample(Y: Floats, limit: int, seed: int) -> Indices:
    """Sorted row numbers of about ``limit`` images, classes in the proportion of Y (1, m).

    Of a rare class there are five or more, if it has them.
    """
    stride = -(-Y.shape[1] // limit)
    chosen = [
        rows[:: max(1, min(stride, len(rows) // 5))]
        for _, rows in _shuffled_classes(Y, np.random.default_rng(seed))
    ]
    return np.sort(np.concatenate(chosen))


def _shuffled_classes(
    Y: Floats, rng: np.random.Generator, repeats: int = 1
) -> Iterator[tuple[bool, Indices]]:
    """Each class, negatives first, with its row numbers in random order, ``repeats`` times."""
    labels = Y[0] > 0.5
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        for _ in range(repeats):
            yield label, rng.permutation(rows)
