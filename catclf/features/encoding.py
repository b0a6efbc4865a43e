"""All images of a data set as rows, made once: blocks side by side, in memory or in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from catclf.features.base import Features, OnProgress, Rows
from catclf.machine import cores
from catclf.maths.threads import Team, blas_threads

if TYPE_CHECKING:
    from catclf.maths import Pixels
    from catclf.samples import Images

Item = TypeVar("Item")


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
    m, done, length = len(images), 0, features.block
    starts = range(0, m, length)
    made = _rows_made(features, images)

    def transformed(start: int) -> Rows:
        if made is not None:
            return made[start : start + length]
        return features.transform(np.asarray(images[start : start + length]))

    for block in _in_order(
        transformed, starts, workers, alone=len(starts) == 1 or made is not None
    ):
        done += len(block)
        if on_progress:
            on_progress(done, m)
        yield block


@dataclass(frozen=True)
class StreamEncoder:
    """Makes rows of images as they come, so that they need not be held: see ``datasets``."""

    features: Features
    workers: int | None = None

    def encode_blocks(self, blocks: Iterable[Pixels]) -> Iterator[Rows]:
        """Rows of blocks of images, which are drawn in the calling thread, a few ahead."""
        length = self.features.block
        small = (
            block[start : start + length]
            for block in blocks
            for start in range(0, len(block), length)
        )
        return _in_order(self.features.transform, small, self.workers)


def _in_order(
    function: Callable[[Item], Rows],
    items: Iterable[Item],
    workers: int | None,
    *,
    alone: bool = False,
) -> Iterator[Rows]:
    """Work in several threads; in this one where ``alone``, so that none has to be started."""
    count = workers or cores()
    with blas_threads(1):
        if alone or count == 1:
            yield from map(function, items)
        else:
            yield from Team(count).in_order(function, items, ahead=2)


def _rows_made(features: Features, images: Images) -> Rows | None:
    """The rows of images that were encoded by the same features as they were decoded."""
    encoder = getattr(images, "encoder", None)
    if not isinstance(encoder, StreamEncoder) or encoder.features.settings != features.settings:
        return None
    if encoder.features is not features:
        ours, theirs = features.arrays(), encoder.features.arrays()
        if not all(np.array_equal(array, theirs[name]) for name, array in ours.items()):
            return None
    rows: Rows = images.rows  # type: ignore[attr-defined]  # has rows where it has an encoder
    return rows
