"""All images of a data set as rows, made once: blocks side by side, in memory or in a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from catclf.features.base import Features, OnProgress, Rows
from catclf.machine import cores
from catclf.parallel import Team, blas_threads

if TYPE_CHECKING:
    from catclf.samples import Images

BLOCK = 16  # images that a worker encodes at a time


def encode(
    features: Features,
    images: Images,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Rows:
    """Rows (m, n) of all images, in memory."""
    rows = np.empty((len(images), features.n), dtype=np.float32)
    start = 0
    for block in encoded(features, images, workers, on_progress):
        rows[start : start + len(block)] = block
        start += len(block)
    return rows


def encoded(
    features: Features,
    images: Images,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Rows]:
    """Blocks of rows in order, a few of them ahead; the same for any number of workers."""
    workers, m, done = workers or cores(), len(images), 0

    def transformed(start: int) -> Rows:
        return features.transform(np.asarray(images[start : start + BLOCK]))

    starts = range(0, m, BLOCK)
    alone = workers == 1 or len(starts) == 1  # then no thread has to be started
    with blas_threads(1):
        for block in (
            map(transformed, starts)
            if alone
            else Team(workers).in_order(transformed, starts, ahead=2)
        ):
            done += len(block)
            if on_progress:
                on_progress(done, m)
            yield block
