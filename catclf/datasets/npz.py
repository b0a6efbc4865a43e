"""``.npz`` archives with ``x`` and ``y``, or with the keys of the course's schema."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from catclf import machine
from catclf.datasets import schema
from catclf.datasets.dataset import Part, Reading
from catclf.datasets.sources import ArraySource
from catclf.errors import DataError
from catclf.text import printable, reason


def read(path: Path, part: Part, reading: Reading) -> ArraySource:
    """Images and labels, without unpickling anything. Raises DataError."""
    shown = printable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path, part, reading)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {reason(error)}") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"{shown}: is not a sound .npz archive: {error}") from error
    except Exception as error:  # zipfile and the header parser raise anything on hostile bytes
        raise DataError(f"{shown}: is damaged and cannot be read") from error


def _read(archive: zipfile.ZipFile, path: Path, part: Part, reading: Reading) -> ArraySource:
    shown = printable(path)
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    if len(set(keys)) < len(keys):
        raise DataError(f"{shown}: holds a name twice")
    x_key, y_key = schema.find_keys(keys, keys, part, shown)
    classes: tuple[str, ...] = ()
    if "list_classes" in keys:
        with _Member(archive, "list_classes", shown) as member:
            if member.dtype.kind not in "SU" or len(member.shape) != 1 or member.nbytes > 1 << 20:
                raise DataError(f"{shown}: list_classes must be a list of names")
            raw = member.array()
        names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in raw]
        classes = schema.check_classes(names, shown)
    with _Member(archive, y_key, shown) as member:
        schema.check_labels(member.shape, member.dtype, f"{shown}: {y_key}")
        labels = schema.check_values(member.array(), classes, f"{shown}: {y_key}")
    with _Member(archive, x_key, shown) as member:
        where = f"{shown}: {x_key}"
        schema.check_images(member.shape, member.dtype, len(labels), reading.size, where)
        pixels = member.array()
    preprocess = schema.recorded(None, None, pixels.shape[1], reading, shown)
    return ArraySource(shown, path.name, classes, labels, preprocess, pixels)


def parts(path: Path) -> set[Part]:
    """Which of a training and a test part one archive has."""
    with suppress(Exception), zipfile.ZipFile(path) as archive:  # reading it will say what is wrong
        return schema.parts({name.removesuffix(".npy") for name in archive.namelist()})
    return set()


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
