"""Mini-batches: which images an update looks at, as a function of the update's number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from catclf.maths.threads import Team
from catclf.samples import Indices, Labelled, cut, in_memory, read_rows, take
from catclf.training.objective import Values

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
        self._images, self._seed = data.images, seed
        self.m, self.size = len(data.images), min(size, len(data.images))
        self.updates_per_epoch = -(-self.m // self.size)
        self._epoch, self._order = -1, np.empty(0, np.intp)
        # Of images on disk: the rows of each window of this epoch, and the order that they get.
        self._windows: list[tuple[Indices, Indices]] = []
        self._reader = Team(1)
        self._read_ahead: dict[int, Future[Values]] = {}

    def batch(self, update: int) -> tuple[Values, Indices]:
        """Images (k, …) of an update, counted from 0, and their numbers (k,)."""
        epoch, number = divmod(update, self.updates_per_epoch)
        if epoch != self._epoch:
            self._begin(epoch)
        start = number * self.size
        rows = self._order[start : start + self.size]
        if self._windows:
            return self._from_windows(start, start + len(rows)), rows
        rows = np.sort(rows)
        return take(self._images, rows), rows

    def _begin(self, epoch: int) -> None:
        rng = np.random.default_rng([self._seed, _SHUFFLE, epoch])
        self._epoch = epoch
        if in_memory(self._images):
            self._order = rng.permutation(self.m)
            return
        stored = int(getattr(self._images, "chunk_rows", 0))  # of a file with chunks of its own
        chunk = stored if 1 < stored < min(WINDOW, self.m) else CHUNK
        blocks = rng.permutation(-(-self.m // chunk))
        self._windows, self._read_ahead = [], {}
        for some in cut(slice(len(blocks)), max(1, WINDOW // chunk)):
            rows = (np.sort(blocks[some])[:, None] * chunk + np.arange(chunk)).reshape(-1)
            rows = rows[rows < self.m]
            self._windows.append((rows, rng.permutation(len(rows))))
        self._order = np.concatenate([rows[order] for rows, order in self._windows])
        self._ends = np.cumsum([len(rows) for rows, _ in self._windows])

    def _from_windows(self, start: int, stop: int) -> Values:
        """The images at the places start … stop of the epoch's order; one more window is read."""
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right").tolist()
        for number in range(first, min(last + 2, len(self._windows))):
            if number not in self._read_ahead:
                self._read_ahead[number] = self._reader.submit(self._read, number)
        for number in [number for number in self._read_ahead if number < first]:
            del self._read_ahead[number]
        parts = []
        for number in range(first, last + 1):
            rows, order = self._windows[number]
            begins = int(self._ends[number]) - len(rows)
            places = order[max(start - begins, 0) : stop - begins]
            parts.append(self._read_ahead[number].result()[places])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read(self, number: int) -> Values:
        rows = self._windows[number][0]
        runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)  # of consecutive numbers
        parts = [read_rows(self._images, slice(int(run[0]), int(run[-1]) + 1)) for run in runs]
        return np.concatenate(parts).reshape(len(rows), *self._images.shape[1:])
