"""Many pictures decoded at once: in input order, in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from catclf import images
from catclf.errors import PictureError
from catclf.images import Limits, Preprocess
from catclf.maths import Pixels

_AHEAD = 8  # pictures waiting for each worker: enough to keep it busy


def decode_all(
    paths: Iterable[str],
    preprocess: Preprocess,
    limits: Limits | None = None,
    workers: int | None = None,
) -> Iterator[tuple[str, Pixels | PictureError]]:
    """Each path with its pixels (size, size, 3), or with the reason why there are none.

    Pillow decodes without holding Python's lock, so ``workers`` threads (default: one for each
    core) decode side by side.
    """
    workers = workers or len(os.sched_getaffinity(0))
    waiting: deque[tuple[str, Future[Pixels | PictureError]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for path in paths:
                waiting.append((path, pool.submit(_decode, path, preprocess, limits)))
                if len(waiting) >= workers * _AHEAD:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _decode(path: str, preprocess: Preprocess, limits: Limits | None) -> Pixels | PictureError:
    try:
        return images.read(path, preprocess, limits)
    except PictureError as error:
        return error
