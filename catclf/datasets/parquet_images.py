"""The images of Parquet files by the numbers of their rows, read on from the last one."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from catclf.datasets.image_files import SAMPLED
from catclf.errors import ImageError
from catclf.images.member import Member, Unreadable
from catclf.images.parquet import member
from catclf.storage.copies import state_of
from catclf.storage.parquet import ParquetFile
from catclf.storage.remote import absolute

_Group = tuple[str, str, int]  # file, column, number in the file


class ParquetImages:
    """Images of rows that are numbered through all files.

    Only one row group is open at a time, of which a few images are held. Rows that are read in
    order cost nothing more; going back, or to another row group, begins that anew.
    """

    def __init__(
        self, limit: int, groups: Sequence[_Group] = (), firsts: Sequence[int] = (0,)
    ) -> None:
        self._limit = limit
        self._groups = list(groups)
        self._firsts = list(firsts)  # the first row of each group, and the number of all rows
        self._lock = threading.Lock()
        self._group, self._next = -1, 0
        self._last: bytes | int | ImageError | None = None
        self._stream: Iterator[bytes | int | None] = iter(())

    def __reduce__(self) -> tuple[type[ParquetImages], tuple[Any, ...]]:
        return ParquetImages, (self._limit, self._groups, self._firsts)

    def absolute(self) -> ParquetImages:
        """The same in files that are named from any folder."""
        groups = [(absolute(file), column, number) for file, column, number in self._groups]
        return ParquetImages(self._limit, groups, self._firsts)

    def absolute_name(self, row: int, name: str) -> str:
        """The name there of an image that is called ``name`` here."""
        file = self.file_of(row)
        return absolute(file) + name[len(file) :]

    def file_of(self, row: int) -> str:
        """The file that a row is in."""
        return self._groups[bisect_right(self._firsts, row) - 1][0]

    def add(self, file: str, column: str, groups: Sequence[int]) -> None:
        """Rows that follow: those of one more file, of which ``groups`` are the lengths."""
        for number, rows in enumerate(groups):
            self._groups.append((file, column, number))
            self._firsts.append(self._firsts[-1] + rows)

    def at(self, row: int, name: str) -> Member:
        """The image of a row, which ``name`` names with its file; also one that cannot be read."""
        with self._lock:
            group = bisect_right(self._firsts, row) - 1
            file = self._groups[group][0]
            content = self._content(group, row)
        own = name[len(file) + 1 :]
        if isinstance(content, ImageError):
            return Unreadable.because(file, own, content)
        return member(file, own, content)

    def some(self) -> Iterator[Member]:
        """The first images of some row groups that are spread over all."""
        for group in np.unique(np.linspace(0, len(self._groups) - 1, SAMPLED).astype(int)).tolist():
            if self._groups and self._firsts[group] < self._firsts[group + 1]:
                yield self.at(self._firsts[group], f"{self._groups[group][0]}:")

    def state(self, row: int) -> tuple[int, ...]:
        """Numbers that change with the file of a row. Raises OSError."""
        return row, *state_of(self.file_of(row))

    def _content(self, group: int, row: int) -> bytes | int | ImageError | None:
        if group != self._group or row < self._next - 1:
            self._group, self._next = group, self._firsts[group]
            self._stream = self._opened(group)
        while self._next <= row:
            self._next += 1
            try:
                self._last = next(self._stream)
            except StopIteration:
                if not isinstance(self._last, ImageError):
                    self._last = ImageError("damaged", "is missing in its file, which is damaged")
            except ImageError as error:  # the rest of the row group cannot be read either
                self._last = error
        return self._last

    def _opened(self, group: int) -> Iterator[bytes | int | None]:
        self._last = None
        file, column, number = self._groups[group]
        with suppress(GeneratorExit), ParquetFile(file) as opened:
            yield from opened.images(column, number, self._limit)
