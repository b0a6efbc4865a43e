"""Random divisions of a data set, the same for the same seed."""

from __future__ import annotations

import numpy as np

from catclf.errors import DataError
from catclf.samples import Indices, Labelled, Subset
from catclf.text import counted

_SPLIT = 1  # keeps the split's random numbers apart from those of shuffling


def stratified_split(
    labels: Indices, groups: Indices, fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Row numbers of two parts, sorted: the rest, and about ``fraction`` of each class.

    ``labels`` (m,) are class numbers, ``groups`` (m,) say which rows must stay together: a group
    goes to the side that its first row's class still needs. Raises DataError when a part would be
    empty.
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
    """The images to train on, and ``fraction`` of each class held out, chosen by ``seed``.

    Raises DataError when a class has too few images to be in both.
    """
    rng = np.random.default_rng([seed, _SPLIT])
    labels = data.Y[0] > 0.5
    held = np.zeros(len(labels), dtype=bool)
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        count = round(fraction * len(rows))
        if not 0 < count < len(rows):
            raise DataError(
                f"{fraction:g} of {counted(len(rows), 'image')} of one class cannot be held out "
                "for validation: use more images or another fraction"
            )
        held[rng.permutation(rows)[:count]] = True
    return Subset(data, np.flatnonzero(~held)), Subset(data, np.flatnonzero(held))
