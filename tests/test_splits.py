"""Random divisions: stratified, seeded, groups kept together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lazily import labelled

from catclf.errors import DataError
from catclf.maths import Floats
from catclf.samples import (
    possible_folds,
    split,
    stratified_folds,
    stratified_sample,
    stratified_split,
)


def alone(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(count, dtype=np.int64)


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((50, 50), 0.2, (10, 10)),
        ((90, 10), 0.2, (18, 2)),
        ((90, 10), 0.5, (45, 5)),
        ((30, 20, 10), 0.1, (3, 2, 1)),
        ((7, 7), 0.2, (1, 1)),
        ((8, 8), 0.2, (2, 2)),
        ((1000, 1), 0.2, (200, 0)),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_each_class_gives_its_share_rounded(
    counts: tuple[int, ...], share: float, expected: tuple[int, ...], seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(labels)
    rest, held = stratified_split(labels, alone(len(labels)), share, seed)
    assert stratified_split(labels, alone(len(labels)), share, seed)[1].tolist() == held.tolist()
    found = Counter(labels[held].tolist())
    assert tuple(found[k] for k in range(len(counts))) == expected
    assert len(rest) == sum(counts) - sum(expected)


@settings(max_examples=200)
@given(data=st.data(), share=st.floats(0.05, 0.95), seed=st.integers(0, 5))
def test_parts_are_whole_and_split_no_group(data: st.DataObject, share: float, seed: int) -> None:
    count = data.draw(st.integers(2, 60))
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    groups = np.array(data.draw(st.lists(st.integers(0, 40), min_size=count, max_size=count)))
    try:
        rest, held = stratified_split(labels, groups, share, seed)
    except DataError:
        assume(False)
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(count))
    assert rest.tolist() == sorted(rest.tolist())
    assert held.tolist() == sorted(held.tolist())
    assert not set(groups[rest]) & set(groups[held])
    assert len(rest)
    assert len(held)


def test_small_groups_do_not_spoil_the_shares() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], [600, 400])
    groups = np.arange(1000)
    for _ in range(100):  # a hundred pairs of one class each
        i = int(rng.integers(0, 999))
        if labels[i] == labels[i + 1]:
            groups[i + 1] = groups[i]
    _, held = stratified_split(labels, groups, 0.2, 0)
    found = Counter(labels[held].tolist())
    assert abs(found[0] - 120) <= 1
    assert abs(found[1] - 80) <= 1


def test_every_row_is_held_out_about_equally_often() -> None:
    labels = np.arange(40) % 2
    counts = np.zeros(40)
    for seed in range(500):
        counts[stratified_split(labels, alone(40), 0.25, seed)[1]] += 1
    # 125 of 500 are expected with a deviation of 9.7.
    assert counts.sum() == 5000
    assert np.abs(counts - 125).max() < 45


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001, 0.999, float("nan")])
def test_a_part_without_images_is_refused_with_what_to_try(share: float) -> None:
    for groups, part in ((alone(10), share), (0 * alone(10), 0.5)):
        with pytest.raises(DataError, match=r"10 images cannot be divided .* try `test"):
            stratified_split(np.arange(10) % 2, groups, part, 0)


# Folds and held-out images


def labels_of(negatives: int, positives: int) -> Floats:
    """Y (1, m), in random order."""
    Y = (np.arange(negatives + positives) < positives).astype(np.float64)[None]
    return np.random.default_rng(7).permutation(Y, axis=1)


@pytest.mark.parametrize("level", [False, True])
@pytest.mark.parametrize(("counts", "folds"), [((23, 14), 5), ((10, 10), 5), ((7, 3), 2)])
def test_folds_hold_each_class_evenly(counts: tuple[int, int], folds: int, level: bool) -> None:
    Y = labels_of(*counts)
    fold_of = stratified_folds(Y, folds, 1, repeats=3, level=level)
    assert fold_of.shape == (3, sum(counts))
    for repeat in fold_of:
        positives = [int(Y[0, repeat == f].sum()) for f in range(folds)]
        negatives = [int((1 - Y[0, repeat == f]).sum()) for f in range(folds)]
        sizes = [negatives, positives]
        for found, count in zip(sizes, counts, strict=True):
            assert sorted(set(found)) == sorted({count // folds, -(-count // folds)})
        totals = np.sum(sizes, axis=0)
        if level:  # the images left over of both classes fill different folds first
            assert totals.max() - totals.min() <= 1
    assert (fold_of[0] != fold_of[1]).any()
    again, other = (stratified_folds(Y, folds, seed, repeats=3, level=level) for seed in (1, 2))
    assert (again == fold_of).all()
    assert (other != fold_of).any()


def test_a_class_with_fewer_images_than_folds_is_refused_with_what_to_try() -> None:
    with pytest.raises(DataError, match="needs 5 images of each class, one has 4: give `l2`"):
        stratified_folds(labels_of(20, 4), 5, 0)
    with pytest.raises(DataError, match="one has 4: take more"):
        stratified_folds(labels_of(20, 4), 5, 0, advice="take more")


@settings(max_examples=200)
@given(
    groups=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=4, max_size=40),
    folds=st.integers(2, 6),
    seed=st.integers(0, 3),
)
def test_groups_stay_in_one_fold(groups: list[tuple[int, int]], folds: int, seed: int) -> None:
    """Groups of some images: all negative, all positive, or both."""
    of_group = np.repeat(np.arange(len(groups)), [size for size, _ in groups])
    order = np.random.default_rng(seed).permutation(len(of_group))
    of_group = of_group[order]
    kinds = np.array([kind for _, kind in groups])[of_group]
    Y = np.where(kinds == 2, order % 2, kinds).astype(np.float64)[None]
    possible = possible_folds(Y, folds, of_group)
    assert possible == min(folds, *(len(set(of_group[Y[0] == y].tolist())) for y in (0, 1)))
    try:
        fold_of = stratified_folds(Y, possible, seed, groups=of_group)[0]
    except DataError:
        assume(False)
    for group in range(len(groups)):
        assert len(set(fold_of[of_group == group].tolist())) == 1
    for fold in range(possible):
        assert set(Y[0, fold_of != fold].tolist()) == {0.0, 1.0}


def test_folds_of_groups_are_even_and_large_groups_come_first() -> None:
    sizes = np.array([40, 1, 1, 30, *[2] * 50])
    groups = np.repeat(np.arange(54), sizes)
    Y = (groups % 2).astype(np.float64)[None]
    fold_of = stratified_folds(Y, 5, 0, groups=groups)[0]
    counts = np.array([[np.sum(Y[0, fold_of == f] == y) for y in (0, 1)] for f in range(5)])
    assert counts[:, 0].max() == 40  # one group is a fold's share and more
    assert np.ptp(np.sort(counts[:, 0])[:-1]) <= 2
    assert (stratified_folds(Y, 5, 1, groups=groups)[0] != fold_of).any()
    alone = np.random.default_rng(0).permutation(len(groups))
    ungrouped = stratified_folds(Y, 5, 0)
    np.testing.assert_array_equal(stratified_folds(Y, 5, 0, groups=alone), ungrouped)


def test_a_sample_is_as_large_as_allowed_and_sorted() -> None:
    Y = labels_of(750, 250)
    rows = stratified_sample(Y, 100, 0)
    assert len(rows) == 100
    assert Y[0, rows].sum() == 25
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(stratified_sample(Y, 1000, 0), np.arange(1000))
    rare = labels_of(100_000, 7)
    rows = stratified_sample(rare, 1000, 0)
    assert 990 <= len(rows) <= 1010
    assert rare[0, rows].sum() >= 5


def test_a_validation_split_takes_its_part_of_each_class_and_splits_no_group() -> None:
    data, groups = labelled(60, size=2), np.arange(60) // 2
    rest, held = split(data, 0.25, 5)
    for label in (0, 1):
        assert np.sum(label == held.Y) == round(0.25 * np.sum(label == data.Y))
    both = np.concatenate([rest.images[:], held.images[:]])
    assert sorted(map(bytes, both)) == sorted(map(bytes, data.images))
    assert rest.fingerprint != held.fingerprint
    rest, held = split(data, 0.25, 5, groups)
    assert not set(groups[rest.rows]) & set(groups[held.rows])
    with pytest.raises(DataError, match="cannot be held out"):
        split(data, 0.001, 5)
