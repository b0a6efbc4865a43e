"""The canonical sum: any grouping into aligned runs of parts gives the same bits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lazily import Labels, labelled

from catclf.maths.threads import (
    PART,
    PARTS,
    TreeSum,
    aligned_runs,
    balanced,
    part_length,
)
from catclf.training.kernels import BLOCK, FUSED_BLOCK, Sums
from catclf.training.objective import Point, StreamObjective

COUNTS = st.integers(1, 300)


def words(a: str, b: str) -> str:
    """An addition that shows its order."""
    return f"({a}{b})"


def tree_of(values: list[str]) -> str:
    tree = TreeSum(words)
    for value in values:
        tree.take(value)
    return tree.total()


def halved(values: list[str]) -> str:
    """The same tree from above: the largest power of two below the length, and the rest."""
    if len(values) == 1:
        return values[0]
    half = 1 << (len(values) - 1).bit_length() - 1
    return words(halved(values[:half]), halved(values[half:]))


@given(COUNTS)
def test_the_counter_adds_neighbours(count: int) -> None:
    values = [f"{i} " for i in range(count)]
    assert tree_of(values) == halved(values)


@given(COUNTS, st.data())
def test_any_grouping_into_aligned_runs_adds_in_the_same_order(
    count: int, data: st.DataObject
) -> None:
    values = [f"{i} " for i in range(count)]
    cuts = data.draw(st.sets(st.integers(1, count)))
    tree = TreeSum(words)
    for start, stop in pairwise(sorted({0, count} | cuts)):
        for run in aligned_runs(start, stop, count):
            tree.take(tree_of(values[run.start : run.stop]), run.level)
    assert tree.total() == tree_of(values)


@given(COUNTS, st.data())
def test_runs_are_aligned_and_cover_their_range(count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    runs = list(aligned_runs(start, stop, count))
    assert [run.start for run in runs] == [start, *(run.stop for run in runs[:-1])]
    assert runs[-1].stop == stop
    for run in runs:
        assert run.start % (1 << run.level) == 0
        assert run.stop - run.start == 1 << run.level or run.stop == count
    assert len(runs) <= 2 * count.bit_length()


@given(st.integers(1, 5000), st.integers(1, 40))
def test_ranges_are_balanced(parts: int, tasks: int) -> None:
    ranges = balanced(parts, tasks)
    assert [a for a, _ in ranges] == [0, *(b for _, b in ranges[:-1])]
    assert ranges[-1][1] == parts
    assert len(ranges) == min(tasks, parts)
    assert max(b - a for a, b in ranges) <= parts / len(ranges) * 1.25 + 1
    assert max(len(list(aligned_runs(a, b, parts))) for a, b in ranges) <= 10


@pytest.mark.parametrize("block", [BLOCK, FUSED_BLOCK])
def test_a_part_is_a_power_of_two_of_blocks(block: int) -> None:
    for m in [1, 100, 4000, 4096, 8191, 8192, 10**5, 10**9]:
        length = part_length(m, block)
        assert length in (BLOCK, 2 * BLOCK, PART)
        assert length == block or m >= PARTS * length
    assert part_length(PARTS * PART, block) == part_length(10**9, block) == PART


@pytest.mark.parametrize("m", [700, 5000, 9000])
@pytest.mark.parametrize("workers", [1, 2])
def test_problems_of_aligned_runs_sum_to_the_bits_of_the_whole(m: int, workers: int) -> None:
    data = labelled(m, size=2)
    length = part_length(m, BLOCK)
    parts = -(-m // length)
    point = Point(np.random.default_rng(3).standard_normal((12, 1)), -0.2)
    whole = StreamObjective(data, team=workers).sums(point)
    for tasks in (1, 2, 3, 5):
        tree: TreeSum[Sums] = TreeSum(Sums.plus)
        for start, stop in balanced(parts, tasks):
            for run in aligned_runs(start, stop, parts):
                rows = slice(run.start * length, min(run.stop * length, m))
                piece = Labels(data.images[rows], data.Y[:, rows])
                tree.take(StreamObjective(piece, part=length).sums(point), run.level)
        total = tree.total()
        assert (total.loss, total.db) == (whole.loss, whole.db)
        assert total.dw.tobytes() == whole.dw.tobytes()
