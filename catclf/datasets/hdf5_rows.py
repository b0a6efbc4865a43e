"""Images that are fetched when they are sliced: from an open HDF5 file, or some of others."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import DataError
from catclf.maths import Pixels


def row_numbers(rows: NDArray[np.integer[Any]], m: int, shown: str) -> NDArray[np.integer[Any]]:
    """Numbers of m rows counted from the start. Raises IndexError for those that are not there."""
    numbers = np.asarray(rows)
    if len(numbers) and not -m <= numbers.min() <= numbers.max() < m:
        raise IndexError(f"{shown} has {m} rows")
    return numbers % m


class ReadRows:
    """Images uint8 (m, size, size, 3) that are read when they are sliced, by ``read_into``."""

    shape: tuple[int, ...]
    _shown: str  # in messages

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> Pixels:
        """Rows by a slice, or by an array of row numbers, as a new array."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                images = np.empty((max(stop - start, 0), *self.shape[1:]), np.uint8)
                self.read_into(start, images)
                return images
            rows = np.arange(start, stop, step)
        numbers = row_numbers(rows, len(self), self._shown)
        images = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for place, row in enumerate(numbers.tolist()):
            self.read_into(row, images[place : place + 1])
        return images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.uint8, copy=False)

    def read_into(self, start: int, images: Pixels) -> None:
        """Fill an array of images with those from ``start`` on.

        Saves a new array for each slice, whose fresh pages cost more than the copying.
        """
        raise NotImplementedError


class DiskRows(ReadRows):
    """Rows of an HDF5 data set uint8 (m, size, size, 3), with what is used of an array.

    Uncompressed rows are read straight from their place in the file into memory, which several
    threads may do at once; compressed ones through the HDF5 library, one thread at a time. Raises
    DataError when the file is cut short or damaged while it is in use.
    """

    def __init__(self, dataset: Any, shown: str) -> None:
        self._dataset, self._shown = dataset, shown
        self._lock = threading.Lock()
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.dtype = np.dtype(np.uint8)
        self.ndim = 4
        self.nbytes = int(dataset.nbytes)
        self.chunk_rows: int = dataset.chunks[0] if dataset.chunks else self.shape[0]
        self._row_bytes = int(np.prod(self.shape[1:]))
        self._offsets = self._find_offsets()
        self._descriptor = os.open(os.fsencode(dataset.file.filename), os.O_RDONLY | os.O_CLOEXEC)
        if self._offsets is not None and not self._places_are_right():
            self._offsets = None

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read_into(self, start: int, images: Pixels) -> None:
        """Fill an array of images with those from ``start`` on."""
        stop = start + len(images)
        if self._offsets is None:
            self._read_packed(images, start)
            return
        row = start
        while row < stop:
            chunk, inside = divmod(row, self.chunk_rows)
            count = min(stop - row, self.chunk_rows - inside)
            view = images[row - start : row - start + count].data.cast("B")
            self._read_at(view, self._offsets[chunk] + inside * self._row_bytes)
            row += count

    def _read_at(self, view: memoryview, offset: int) -> None:
        while view:
            try:
                count = os.preadv(self._descriptor, [view], offset)
            except OSError as error:
                raise DataError(f"{self._shown} cannot be read: {error.strerror}") from error
            if count == 0:
                raise DataError(f"{self._shown}: the file was cut short while it was read")
            view, offset = view[count:], offset + count

    def _read_packed(self, pixels: Pixels, start: int) -> None:
        try:
            with self._lock:
                if len(pixels):
                    self._dataset.read_direct(pixels, np.s_[start : start + len(pixels)])
        except (OSError, ValueError, RuntimeError) as error:
            cause = str(error).splitlines()[0]
            raise DataError(f"{self._shown} is damaged and cannot be read ({cause})") from error

    def _find_offsets(self) -> list[int] | None:
        """The place of each chunk in the file, if rows lie there as they are in memory."""
        dataset = self._dataset
        if dataset.chunks is None:
            offset = dataset.id.get_offset()
            return None if offset is None else [offset]
        filters = dataset.id.get_create_plist().get_nfilters()
        if filters or dataset.chunks[1:] != self.shape[1:]:
            return None
        offsets = [0] * -(-self.shape[0] // self.chunk_rows)
        if dataset.id.get_num_chunks() != len(offsets):
            return None  # chunks that were never written have no place

        def note(info: Any) -> None:
            offsets[info.chunk_offset[0] // self.chunk_rows] = info.byte_offset

        dataset.id.chunk_iter(note)  # asking for them one by one takes quadratic time
        return offsets

    def _places_are_right(self) -> bool:
        """Whether first and last row, read from their places, are what the HDF5 library reads."""
        last = len(self) - 1
        try:
            return all(
                np.array_equal(self[row : row + 1][0], self._dataset[row]) for row in (0, last)
            )
        except (DataError, OSError):
            return False
