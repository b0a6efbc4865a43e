"""Labelled images in ``.npz`` archives, read without unpickling anything."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from catclf import machine
from catclf.datasets.arrays import (
    CLASS_NAMES,
    Key,
    as_pixels,
    blank_notes,
    keys_of,
    recorded,
    require_numbers,
)
from catclf.datasets.dataset import ReadOptions
from catclf.datasets.labels import as_labels, check_classes, check_shape
from catclf.datasets.listing import Listing, Source
from catclf.errors import DataError
from catclf.storage.local import kind_of_file
from catclf.storage.location import locate
from catclf.text import printable, reason


def read(path: Path, options: ReadOptions) -> Source:
    """The splits of an archive. Raises DataError."""
    with _opened(path) as archive:
        keys = keys_of(_keys(archive, printable(path)), printable(path), options.keys)
    parts = {split: partial(_listing, path, pair) for split, pair in keys.items()}
    return Source(printable(path), options, parts, lenient=True)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An open archive, with whatever is raised about it as DataError."""
    shown = printable(path)
    try:
        with zipfile.ZipFile(locate(path).local()) as archive:
            yield archive
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {reason(error)}") from error
    except zipfile.BadZipFile as error:
        kind = kind_of_file(Path(locate(path).local()))
        why = kind if kind and " zip archive" not in kind else f": {error}"
        raise DataError(f"{shown}: is not a sound .npz archive{why}") from error
    except Exception as error:  # zipfile and the header parser raise anything on hostile bytes
        raise DataError(f"{shown}: is damaged and cannot be read") from error


def _keys(archive: zipfile.ZipFile, shown: str) -> list[str]:
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    if len(set(keys)) < len(keys):
        raise DataError(f"{shown}: holds a name twice")
    return keys


def _listing(path: Path, pair: Key, options: ReadOptions) -> Listing:
    shown, (x_key, y_key) = printable(path), pair
    with _opened(path) as archive:
        others = [key for key in _keys(archive, shown) if key not in pair]
        classes = _read_classes(archive, others, shown)
        with _Member(archive, y_key, shown) as member:
            where = f"{shown}: {y_key}"
            check_shape(member.shape, member.dtype, where)
            named = as_labels(member.array(), classes or options.classes, where)
        with _Member(archive, x_key, shown) as member:
            where = f"{shown}: {x_key}"
            require_numbers(member.dtype, where)
            taken = as_pixels(member.array(), len(named.labels), where)
    preprocess = recorded(None, None, taken.pixels.shape[1], options, where)
    notes = [f"{y_key} {note}" for note in named.notes]
    notes += [f"{x_key} {note}" for note in taken.notes]
    notes += blank_notes(taken.pixels, where)
    return Listing(
        shown,
        locate(path).name,
        named.classes,
        named.labels,
        preprocess,
        options,
        pixels=taken.pixels,
        notes=tuple(notes),
    )


def _read_classes(archive: zipfile.ZipFile, keys: list[str], shown: str) -> tuple[str, ...]:
    """The class names under the first of the known keys that holds text."""
    for key in CLASS_NAMES:
        if key not in keys:
            continue
        with _Member(archive, key, shown) as member:
            plain = member.dtype.kind in "SU" and len(member.shape) == 1
            if not plain or member.nbytes > 1 << 20:
                if key == CLASS_NAMES[0]:
                    raise DataError(f"{shown}: list_classes must be a list of names")
                continue
            raw = member.array()
        names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in raw]
        return check_classes(names, f"{shown}: {key}")
    return ()


class _Member:
    """One array of an archive: its header is read at once, its data when asked for."""

    def __init__(self, archive: zipfile.ZipFile, key: str, shown: str) -> None:
        self._shown = f"{shown}: {key}"
        info = archive.getinfo(f"{key}.npy")
        self._stream: IO[bytes] = archive.open(info)
        try:
            self._read_header(info.file_size)
        except BaseException:
            self._stream.close()
            raise

    def _read_header(self, held: int) -> None:
        if np.lib.format.read_magic(self._stream) != (1, 0):
            raise DataError(f"{self._shown} is in an unknown array format")
        header = np.lib.format.read_array_header_1_0(self._stream)  # at most 64 KB
        self.shape, self._fortran, self.dtype = header
        if self.dtype.hasobject:
            raise DataError(f"{self._shown} holds pickled objects: they are never loaded")
        self.nbytes = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if self.nbytes != held - self._stream.tell():
            raise DataError(f"{self._shown} does not hold as much as its shape {self.shape} says")

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()

    def array(self) -> NDArray[Any]:
        """The data, read to the end so that the archive's checksum is verified."""
        machine.require_memory(self.nbytes, self._shown)
        flat = np.empty(self.nbytes, dtype=np.uint8)
        filled = 0
        while filled < self.nbytes:
            part = self._stream.read(min(1 << 20, self.nbytes - filled))
            if not part:
                raise DataError(f"{self._shown} is truncated")
            flat[filled : filled + len(part)] = np.frombuffer(part, dtype=np.uint8)
            filled += len(part)
        self._stream.read(1)  # the end: here zipfile compares the checksum
        values = flat.view(self.dtype).reshape(self.shape, order="F" if self._fortran else "C")
        return np.ascontiguousarray(values)
