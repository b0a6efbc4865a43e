"""The canonical sum: a binary tree over numbered parts, the same bits however they are grouped.

Floating-point addition is not associative, so a sum has to say in which order it adds. This one
adds neighbours: parts 0 and 1, parts 2 and 3, then these sums, and so on; what is left at the end,
where the number of parts is no power of two, is added from the right. An aligned run of 2^k parts
(its first number a multiple of 2^k) is a subtree, so that it can be summed anywhere, by itself,
and the bits of the whole do not depend on who summed what. A left fold has no such parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

RULE = "binary tree"  # as a model remembers it
SUMMED = ("stream", "fused")  # methods that sum over parts
PART = 512  # images at most: a worker's unit of work, 6 MB of pixels
PARTS = 16  # or more, where that many images are there

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
