"""Work side by side: results in the order of the items, failures, and bounded waiting."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from catclf.machine import core_quota, cores, memory_limits
from catclf.maths.threads import Team, blas_threads, tree_sum

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


def test_a_slow_item_does_not_let_results_pile_up() -> None:
    begun: list[int] = []
    taken = Team(2).in_order(lambda number: begun.append(number), range(1000))
    next(taken)
    time.sleep(0.05)
    assert len(begun) < 20


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
