"""The canonical sum in any grouping, and work side by side: order, failures, bounded waiting."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclf.machine import core_quota, cores, memory_limits
from catclf.maths.threads import (
    PART,
    PARTS,
    Team,
    TreeSum,
    aligned_runs,
    balanced,
    blas_threads,
    part_length,
    tree_sum,
)
from catclf.training.objective import BLOCK, FUSED_BLOCK

workers = pytest.mark.parametrize("count", [1, 2, 5])


def uneven(number: int) -> int:
    time.sleep(0.002 if number % 3 == 0 else 0)  # so that later items are done first
    return number * number


@workers
@pytest.mark.parametrize("blocks", [1, 2, 7, 64, 1000])
def test_a_sum_has_the_bits_of_one_worker(count: int, blocks: int) -> None:
    values = np.random.default_rng(blocks).standard_normal(blocks) * 1e3

    def add(a: float, b: float) -> float:
        return a + b

    found = Team(count).reduced(lambda number: float(values[number]), blocks, add)
    assert found == tree_sum(values.tolist(), add)


@workers
def test_results_come_in_order(count: int) -> None:
    assert list(Team(count).in_order(uneven, range(50))) == [n * n for n in range(50)]


@workers
def test_a_failure_is_raised_when_all_work_has_ended(count: int) -> None:
    underway: set[int] = set()

    def work(number: int) -> int:
        underway.add(number)
        time.sleep(0.001)
        underway.remove(number)
        if number == 7:
            raise OSError("the disk has gone")
        return number

    with pytest.raises(OSError, match="the disk has gone"):
        Team(count).reduced(work, 100, int.__add__)
    assert not underway


def test_several_threads_work_at_once() -> None:
    together = threading.Barrier(3, timeout=180)  # passed only when three work at once
    Team(3).reduced(lambda _: together.wait(), 3, int.__add__)


def test_threads_of_blas_are_limited_and_given_back() -> None:
    from threadpoolctl import threadpool_info

    def counts() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = counts()
    with blas_threads(1):
        assert counts() == {1}
    assert counts() == before
    assert cores() >= 1


@pytest.mark.parametrize(
    ("group", "files", "quota", "limits"),
    [
        ("0::/", {}, None, []),
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 2, []),
        ("0::/", {"cpu.max": "30000 100000"}, 1, []),
        ("0::/a", {"a/memory.max": "900", "a/memory.current": "100"}, None, [(900, 100)]),
        ("0::/a", {"a/memory.max": "max", "a/memory.current": "100"}, None, []),
        (
            "4:memory:/x\n2:cpu,cpuacct:/x",
            {
                "cpu/x/cpu.cfs_quota_us": "-1",
                "cpu/x/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "300000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "700",
                "memory/memory.usage_in_bytes": "60",
                "memory/memory.stat": "cache 9\ntotal_inactive_file 10\n",
            },
            3,
            [(700, 50)],
        ),
        ("nonsense", {"cpu.max": "x y"}, None, []),
    ],
)
def test_a_container_says_what_may_be_used(
    tmp_path: Path,
    group: str,
    files: dict[str, str],
    quota: int | None,
    limits: list[tuple[int, int]],
) -> None:
    for name, text in {
        "proc/self/cgroup": group,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert core_quota(tmp_path) == (quota or 1 << 20)
    assert memory_limits(tmp_path) == limits
    assert cores() >= 1


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
