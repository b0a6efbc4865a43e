"""Rows kept in a file, so that the next training run need not encode the images again.

A line of JSON that signs it, spaces to 4096 bytes, then rows of little-endian float32. The key is
a hash of the images and of the features with all that they learned; a file with another key is
made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from catclf.errors import DataError, OutputError
from catclf.features.base import Features, Rows
from catclf.storage.files import replacing
from catclf.text import printable, reason

HEAD = 4096  # bytes
FORMAT = "catclf-features"
VERSION = 1


def key_of(features: Features, fingerprint: str) -> str:
    """A hash that is equal when the rows are: of the data's fingerprint and of the features."""
    digest = hashlib.sha256(json.dumps([fingerprint, features.settings], sort_keys=True).encode())
    for name, array in sorted(features.arrays().items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def open_cache(path: Path, key: str, m: int, n: int) -> FileRows | None:
    """The rows in a file, or None when there is no file or it holds other rows.

    Raises OutputError when the file is not a cache: it must not be replaced.
    """
    shown = printable(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{shown}: cannot be read: {reason(error)}") from error
    status = os.fstat(descriptor)
    head = os.read(descriptor, HEAD) if stat.S_ISREG(status.st_mode) else b""
    found = _parse(head)
    if found is None:
        os.close(descriptor)
        raise OutputError(f"{shown}: is not a file of features: give another name for `cache`")
    if found != _head(key, m, n) or status.st_size != HEAD + 4 * m * n:
        os.close(descriptor)
        return None
    return FileRows(descriptor, (m, n), shown)


def write_cache(path: Path, key: str, m: int, n: int, blocks: Iterable[Rows]) -> None:
    """Write blocks of rows (m, n in all): the whole file or nothing. Raises OutputError."""
    head = json.dumps(_head(key, m, n), sort_keys=True).encode()
    with replacing(path) as file:
        file.write(head.ljust(HEAD - 1) + b"\n")
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype="<f4").data)


def _head(key: str, m: int, n: int) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "key": key, "m": m, "n": n}


def _parse(head: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(head)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


class FileRows:
    """Rows float32 (m, n) of a cache file, read when they are sliced, by any number of threads.

    They are read and not mapped, so that pages of the file do not count as the program's memory.
    """

    def __init__(self, descriptor: int, shape: tuple[int, int], shown: str) -> None:
        self._descriptor, self.shape, self._shown = descriptor, shape, shown
        self.dtype = np.dtype(np.float32)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Rows:
        """Rows by a slice of step 1, as a new array. Raises DataError when the file was cut."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("rows of a cache are read in order")
        found = np.empty((max(stop - start, 0), self.shape[1]), dtype="<f4")
        view: memoryview = found.reshape(-1).view(np.uint8).data
        offset = HEAD + 4 * start * self.shape[1]
        while view:
            try:
                count = os.preadv(self._descriptor, [view], offset)
            except OSError as error:
                raise DataError(f"{self._shown}: cannot be read: {reason(error)}") from error
            if count == 0:
                raise DataError(f"{self._shown}: the file was cut short while it was read")
            view, offset = view[count:], offset + count
        return found.astype(np.float32, copy=False)
