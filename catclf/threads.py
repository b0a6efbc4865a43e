"""How many threads the linear algebra may use: the one door to threadpoolctl."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Run the block with ``count`` BLAS threads.

    With one thread a product is summed in the same order on every run, so that results do not
    depend on OPENBLAS_NUM_THREADS or on the number of cores; and small products are faster, because
    no thread has to be woken for them.
    """
    from threadpoolctl import threadpool_limits  # noqa: TID251

    with threadpool_limits(limits=count, user_api="blas"):
        yield
