"""How many threads compute: the one door to threadpoolctl, and work done side by side in order."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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

    def fold(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        take: Callable[[Result], None],
    ) -> None:
        """``take(function(item))`` for each item: takes one by one and in order, by any thread.

        For work of a millisecond or less: nobody is woken for each result, as with ``in_order``,
        because the thread that has the next one takes it, and the calling thread works, too. The
        first failure is raised after all work that had begun has ended.
        """
        fold = _Fold(function, iter(enumerate(items)), take, 4 * self.workers)
        others: list[Future[None]] = []
        try:
            for _ in range(self.workers - 1):
                others.append(self._started().submit(fold.work))
            fold.work()
            for other in others:
                other.result()
        except BaseException as error:  # a signal in the calling thread
            fold.fail(error)
            for other in others:
                if not other.cancel():
                    other.exception()
        if fold.failure is not None:
            raise fold.failure

    def submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Begin one piece of work."""
        return self._started().submit(function, item)

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # Costs 10 ms to import, which short runs on the Gram matrix do without.
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.workers)
        return self._pool


class _Fold(Generic[Item, Result]):
    """Numbered items that threads work on, and results that are taken in the items' order."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterator[tuple[int, Item]],
        take: Callable[[Result], None],
        ahead: int,
    ) -> None:
        self._function, self._items, self._take, self._ahead = function, items, take, ahead
        self._done: dict[int, Result] = {}  # and not taken
        self._next = 0  # the number of the result to be taken
        self._turn = threading.Condition()
        self.failure: BaseException | None = None

    def work(self) -> None:
        """Work on items until there are no more, or one has failed."""
        try:
            while (entry := self._draw()) is not None:
                number, item = entry
                self._hand_in(number, self._function(item))
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Begin no more items."""
        with self._turn:
            self.failure = self.failure or error
            self._turn.notify_all()

    def _draw(self) -> tuple[int, Item] | None:
        with self._turn:
            # Where one thread waits for its disk, the others may not pile up results for ever.
            while len(self._done) > self._ahead and self.failure is None:
                self._turn.wait()
            return None if self.failure is not None else next(self._items, None)

    def _hand_in(self, number: int, result: Result) -> None:
        with self._turn:
            self._done[number] = result
            if number != self._next:
                return
            while self._next in self._done:
                self._take(self._done.pop(self._next))
                self._next += 1
            self._turn.notify_all()
