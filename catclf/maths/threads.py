"""Threads that compute: the only module that imports threadpoolctl, and work side by side."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from catclf.maths.reduction import TreeSum, aligned_runs, balanced, tree_sum

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Run the block with ``count`` BLAS threads.

    With one thread a product is summed in the same order on every run, so that results do not
    depend on OPENBLAS_NUM_THREADS or on the number of cores; and small products are faster, because
    no thread has to be woken for them.
    """
    with _controller(len(sys.modules)).limit(limits=count, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _controller(modules: int) -> Any:
    """What knows the BLAS libraries; they are looked for again (2 ms) when modules were loaded."""
    from threadpoolctl import ThreadpoolController  # noqa: TID251

    return ThreadpoolController()


class Team:
    """Threads that work side by side and hand over their results in the order of the items.

    They are started with the first work and end with the team. NumPy releases Python's lock in
    large operations, so that threads are enough, and the arrays need not be copied.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ThreadPoolExecutor | None = None

    def in_order(
        self, function: Callable[[Item], Result], items: Iterable[Item], ahead: int = 1
    ) -> Iterator[Result]:
        """function(item) of each item, in order; up to ``ahead`` wait beyond those in work.

        ``items`` is drawn from in the calling thread, no faster than results are taken. A failure
        is raised where its result would be, after all work that had begun has ended.
        """
        pool = self._started()
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= self.workers + ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                if not future.cancel():
                    future.exception()

    def reduced(
        self, of_block: Callable[[int], Result], count: int, add: Callable[[Result, Result], Result]
    ) -> Result:
        """The canonical sum of ``of_block`` of the numbers 0 … count - 1.

        Each worker adds up a range of consecutive numbers, so that nobody waits for another; the
        ranges consist of whole subtrees, and the bits are those of one worker.
        """

        def of_range(edges: tuple[int, int]) -> list[tuple[int, Result]]:
            return [
                (run.level, tree_sum(map(of_block, range(run.start, run.stop)), add))
                for run in aligned_runs(*edges, count)
            ]

        ranges = balanced(count, self.workers)
        tree: TreeSum[Result] = TreeSum(add)
        for sums in self.in_order(of_range, ranges) if len(ranges) > 1 else map(of_range, ranges):
            for level, value in sums:
                tree.take(value, level)
        return tree.total()

    def submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Begin one piece of work."""
        return self._started().submit(function, item)

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # Costs 10 ms to import, which short runs on the Gram matrix do without.
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.workers)
        return self._pool
