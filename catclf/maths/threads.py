"""The canonical sum, and threads that make it: the only module that imports threadpoolctl.

Floating-point addition is not associative, so a sum has to say in which order it adds. This one is
a binary tree over numbered parts: it adds neighbours, parts 0 and 1, parts 2 and 3, then these
sums, and so on; what is left at the end, where the number of parts is no power of two, is added
from the right. An aligned run of 2^k parts (its first number a multiple of 2^k) is a subtree, so
that it can be summed anywhere, by itself, and the bits of the whole do not depend on who summed
what. A left fold has no such parts.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

RULE = "binary tree"  # as a model remembers it
SUMMED = ("stream", "fused")  # methods that sum over parts
PART = 512  # images at most: a worker's unit of work, 6 MB of pixels
PARTS = 16  # or more, where that many images are there

Item = TypeVar("Item")
Value = TypeVar("Value")


def part_length(m: int, block: int) -> int:
    """How many of m images are a part, by their number alone: ``block`` times a power of two.

    ``PART``, or less where that leaves less than ``PARTS`` parts, but a block at least.
    """
    length = block
    while 2 * length <= min(PART, m // PARTS):
        length *= 2
    return length


class TreeSum(Generic[Value]):
    """The canonical sum of values that come in order, in the memory of log2 of their number.

    It is a binary counter: a value of level k is the sum of 2^k parts, and two of the same level
    become one of the next. ``add(a, b)`` gives a + b and may change a.
    """

    def __init__(self, add: Callable[[Value, Value], Value]) -> None:
        self._add = add
        self._waiting: list[tuple[int, Value]] = []  # levels fall from left to right

    def take(self, value: Value, level: int = 0) -> None:
        """Add the sum of the next 2^level parts, aligned; the last one of all may have fewer."""
        while self._waiting and self._waiting[-1][0] == level:
            value = self._add(self._waiting.pop()[1], value)
            level += 1
        self._waiting.append((level, value))

    def total(self) -> Value:
        """The sum of all values; the counter is empty then. Raises IndexError without any."""
        _, value = self._waiting.pop()
        while self._waiting:
            value = self._add(self._waiting.pop()[1], value)
        return value


def tree_sum(values: Iterable[Value], add: Callable[[Value, Value], Value]) -> Value:
    """The canonical sum of values that come in order. Raises IndexError without any."""
    tree = TreeSum(add)
    for value in values:
        tree.take(value)
    return tree.total()


class Run(NamedTuple):
    """The parts ``start`` … ``stop`` - 1, an aligned subtree of 2^level parts or its beginning."""

    start: int
    stop: int
    level: int


def aligned_runs(start: int, stop: int, parts: int) -> Iterator[Run]:
    """The fewest subtrees that the parts ``start`` … ``stop`` - 1 of ``parts`` consist of."""
    while start < stop:
        left = stop - start
        fits = (left - 1).bit_length() if stop == parts else left.bit_length() - 1
        level = min((start & -start).bit_length() - 1, fits) if start else fits
        yield Run(start, min(start + (1 << level), stop), level)
        start += 1 << level


def balanced(parts: int, tasks: int) -> list[tuple[int, int]]:
    """Up to ``tasks`` consecutive ranges of parts, of about the same length.

    Their edges are multiples of a power of two, an eighth of a range or less, so that each of them
    consists of a few subtrees and no range is much longer than another.
    """
    step = 1
    while 16 * step * tasks <= parts:
        step *= 2
    groups = -(-parts // step)
    tasks = min(tasks, groups)
    edges = [min(groups * i // tasks * step, parts) for i in range(tasks)] + [parts]
    return list(pairwise(edges))


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
        self, function: Callable[[Item], Value], items: Iterable[Item], ahead: int = 1
    ) -> Iterator[Value]:
        """function(item) of each item, in order; up to ``ahead`` wait beyond those in work.

        ``items`` is drawn from in the calling thread, no faster than results are taken. A failure
        is raised where its result would be, after all work that had begun has ended.
        """
        pool = self._started()
        waiting: deque[Future[Value]] = deque()
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
        self, of_block: Callable[[int], Value], count: int, add: Callable[[Value, Value], Value]
    ) -> Value:
        """The canonical sum of ``of_block`` of the numbers 0 … count - 1.

        Each worker adds up a range of consecutive numbers, so that nobody waits for another; the
        ranges consist of whole subtrees, and the bits are those of one worker.
        """

        def of_range(edges: tuple[int, int]) -> list[tuple[int, Value]]:
            return [
                (run.level, tree_sum(map(of_block, range(run.start, run.stop)), add))
                for run in aligned_runs(*edges, count)
            ]

        ranges = balanced(count, self.workers)
        tree: TreeSum[Value] = TreeSum(add)
        for sums in self.in_order(of_range, ranges) if len(ranges) > 1 else map(of_range, ranges):
            for level, value in sums:
                tree.take(value, level)
        return tree.total()

    def submit(self, function: Callable[[Item], Value], item: Item) -> Future[Value]:
        """Begin one piece of work."""
        return self._started().submit(function, item)

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # Costs 10 ms to import, which short runs on the Gram matrix do without.
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.workers)
        return self._pool
