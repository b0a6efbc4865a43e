"""Mini-batches: which images an update looks at, as a function of the update's number."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from catclf.maths.threads import Team
from catclf.samples import Images, Indices, Labelled, in_memory, read_rows, take
from catclf.training.kernels import Values

if TYPE_CHECKING:
    from concurrent.futures import Future

WINDOW = 2048  # images on disk that are shuffled together: 25 MB, and as much is read ahead
CHUNK = 64  # images on disk that stay together until then, unless their file has its own chunks

_SHUFFLE = 2  # keeps the order's random numbers apart from those of splitting


class Batches:
    """The batches of a data set in random order, each image once in an epoch.

    An epoch has ceil(m / size) batches; the last is smaller where ``size`` does not divide m. The
    order follows from seed and epoch alone, so that training can go on from any update.

    Images in memory are shuffled as a whole. Images on disk are shuffled as blocks of
    neighbours, and then one by one among the ``WINDOW`` images or more of neighbouring blocks in
    that order: reading stays sequential inside blocks, memory stays bounded, and images that are
    far apart in the file still meet in a batch; but two neighbours meet more often than by chance.
    """

    def __init__(self, data: Labelled, size: int, seed: int) -> None:
        self._images = data.images
        self.m, self.size, self._seed = len(data.images), min(size, len(data.images)), seed
        self.updates_per_epoch = -(-self.m // self.size)
        self._epoch = -1
        self._order: Indices = np.empty(0, np.intp)
        self._windows: Windows | None = None

    def batch(self, update: int) -> tuple[Values, Indices]:
        """Images (k, …) of an update, counted from 0, and their numbers (k,)."""
        epoch, number = divmod(update, self.updates_per_epoch)
        if epoch != self._epoch:
            self._begin(epoch)
        start = number * self.size
        rows = self._order[start : start + self.size]
        if self._windows is None:
            rows = np.sort(rows)
            return take(self._images, rows), rows
        return self._windows.take(start, start + len(rows)), rows

    def _begin(self, epoch: int) -> None:
        rng = np.random.default_rng([self._seed, _SHUFFLE, epoch])
        self._epoch = epoch
        if in_memory(self._images):
            self._order = rng.permutation(self.m)
            return
        chunk = _chunk(self._images)
        blocks = rng.permutation(-(-self.m // chunk))
        together = max(1, WINDOW // chunk)
        windows: list[tuple[Indices, Indices]] = []
        for start in range(0, len(blocks), together):
            chosen = np.sort(blocks[start : start + together])
            rows = (chosen[:, None] * chunk + np.arange(chunk)).reshape(-1)
            rows = rows[rows < self.m]
            windows.append((rows, rng.permutation(len(rows))))
        self._order = np.concatenate([rows[order] for rows, order in windows])
        self._windows = Windows(self._images, windows)


class Windows:
    """The images of one epoch on disk, window by window, the next one read ahead."""

    def __init__(self, images: Images, windows: list[tuple[Indices, Indices]]) -> None:
        self._images, self._windows = images, windows
        self._ends = np.cumsum([len(rows) for rows, _ in windows])
        self._reader = Team(1)
        self._held: dict[int, Future[Values]] = {}

    def take(self, start: int, stop: int) -> Values:
        """The images at the places start … stop of the epoch's order."""
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right").tolist()
        for number in [number for number in self._held if number < first]:
            del self._held[number]
        parts = []
        for number in range(first, last + 1):
            rows, order = self._windows[number]
            begins = int(self._ends[number]) - len(rows)
            places = order[max(start - begins, 0) : stop - begins]
            parts.append(self._window(number).result()[places])
        if last + 1 < len(self._windows):
            self._window(last + 1)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _window(self, number: int) -> Future[Values]:
        if number not in self._held:
            self._held[number] = self._reader.submit(self._read, number)
        return self._held[number]

    def _read(self, number: int) -> Values:
        rows = self._windows[number][0]
        edges = [0, *(np.flatnonzero(np.diff(rows) > 1) + 1).tolist(), len(rows)]
        pixels = np.empty((len(rows), *self._images.shape[1:]), self._images.dtype)
        for a, b in pairwise(edges):
            block = read_rows(self._images, slice(int(rows[a]), int(rows[b - 1]) + 1))
            pixels[a:b] = block.reshape(b - a, *self._images.shape[1:])
        return pixels


def _chunk(images: Images) -> int:
    """How many neighbours to read at once: a whole chunk of a file that is stored in chunks."""
    stored = int(getattr(images, "chunk_rows", 0))
    return stored if 1 < stored < min(WINDOW, len(images)) else CHUNK
