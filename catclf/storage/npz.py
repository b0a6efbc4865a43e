"""``.npz`` files: written whole, and read only if they are what the reader asks for.

Readable with ``numpy.load``. Nothing in a file is ever executed, and every name, dtype, shape and
size is checked against what the reader asks for before it is believed. Python's ``zipfile``
forgives much, for archives have many makers; a file that is to be trusted has one. So a file is
refused if it has comments, gaps, overlaps, encrypted members, links or compression: it never
holds more than its size.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.storage.files import replacing
from catclf.storage.remote import is_remote, read_within

MEMBERS_LIMIT = 100
_HEADER_LIMIT = 10_000  # bytes of an array's header, as NumPy limits it
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a member: the lengths of its name and its extra field
_FLAG_UTF8 = 0x800  # the one flag that changes nothing here
_LINK, _KIND = 0xA000, 0xF000  # of the Unix mode in the upper half of the attributes


class UnsoundError(Exception):
    """The reason why a file is refused, to be shown after its name."""


class NotAnArchiveError(UnsoundError):
    """Not a zip archive, or one that was cut short."""


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays: wholly or not at all, equal bytes for equal arrays. Raises OutputError."""
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, (1, 0), allow_pickle=False)
            # A fixed date, so that equal arrays are equal files.
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content.getvalue())


class ArrayFile:
    """The arrays of a file of up to ``limit`` bytes, on disk or in a store.

    Raises OSError and UnsoundError, here and in every method.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._content = _content(path, limit)
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(self._content))
        except Exception as error:  # a damaged directory raises more than BadZipFile
            raise NotAnArchiveError("is no archive, or is truncated") from error
        entries = self._archive.infolist()
        self._members = {entry.filename: entry for entry in entries}
        if len(entries) > MEMBERS_LIMIT:
            raise UnsoundError(f"is not sound: it has {len(entries)} members")
        if len(self._members) < len(entries) or sum(e.file_size for e in entries) > limit:
            raise UnsoundError("is not sound: members are repeated or too large")

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._members

    def digest(self) -> str:
        """The SHA-256 of the file."""
        from hashlib import sha256

        return sha256(self._content).hexdigest()

    def check(self) -> None:
        """Refuse a file that is not a plain list of its members."""
        if self._archive.comment:
            raise UnsoundError("is not sound: it has a comment")
        position = 0
        for member in sorted(self._members.values(), key=lambda member: member.header_offset):
            if unusual := _unusual(member):
                raise UnsoundError(f"is not sound: it has members that are {unusual}")
            if member.header_offset != position:
                raise UnsoundError("is not sound: it has gaps or overlaps between its members")
            position = self._data_start(member) + member.file_size
        if position != self._archive.start_dir:
            raise UnsoundError("is not sound: it has gaps or overlaps between its members")

    def require(self, names: Iterable[str]) -> None:
        """Refuse a file that does not hold exactly these arrays."""
        required = list(names)
        if sorted(self._members) != sorted(f"{name}.npy" for name in required):
            raise UnsoundError(f"is not sound: it must hold exactly {', '.join(required)}")

    def array(
        self, name: str, dtype: str, shape: tuple[int, ...], *, at_most: bool = False
    ) -> NDArray[Any]:
        """An array of exactly this dtype and shape, or of up to this shape; floats are finite."""
        room = math.prod(shape) * np.dtype(dtype).itemsize
        declared_dtype, declared, data = self._header(name, room)
        fits = declared == shape
        if at_most:
            fits = len(declared) == len(shape)
            fits = fits and all(a <= b for a, b in zip(declared, shape, strict=True))
        if not fits or declared_dtype != dtype:
            required = f"{dtype} of up to {shape}" if at_most else f"{dtype} {shape}"
            raise UnsoundError(f"has {name} of {declared_dtype} {declared}, not {required}")
        if len(data) != math.prod(declared) * np.dtype(dtype).itemsize:
            raise UnsoundError(f"has {name} with {len(data)} bytes of data, which is not its shape")
        values = np.frombuffer(data, dtype=dtype).reshape(declared).copy()
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UnsoundError(f"has values in {name} that are not finite numbers")
        return values

    def text(self, name: str, limit: int) -> str:
        """A text of up to ``limit`` characters."""
        dtype, shape, data = self._header(name, 4 * limit)
        declared = re.fullmatch(r"<U([0-9]{1,9})", dtype)
        length = int(declared[1]) if declared else limit + 1
        if length > limit or shape != () or len(data) != 4 * length:
            raise UnsoundError(f"has {name} of {dtype} {shape} in {len(data)} bytes")
        return data.decode("utf-32-le").rstrip("\0")

    def _header(self, name: str, room: int) -> tuple[str, tuple[int, ...], bytes]:
        """An array's dtype and shape as declared, and its data of up to ``room`` bytes."""
        member = self._members[f"{name}.npy"]
        if member.file_size > room + _HEADER_LIMIT:
            raise UnsoundError(f"has {name} of {member.file_size} bytes, which is too large")
        file = io.BytesIO(self._read(member))
        try:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # headers of Python 2 are none of ours
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(
                    file, max_header_size=_HEADER_LIMIT
                )
        except Exception as error:
            raise UnsoundError(f"has {name} in an unknown array format") from error
        if dtype.hasobject:
            raise UnsoundError(f"has pickled objects in {name}: they are never loaded")
        if fortran and len(shape) > 1:
            raise UnsoundError(f"has {name} of an unknown layout")
        return dtype.str if dtype.names is None else "records", shape, file.read()

    def _read(self, member: zipfile.ZipInfo) -> bytes:
        """A member's bytes, with its checksum checked."""
        start = self._data_start(member)
        data = self._content[start : start + member.file_size]
        if zlib.crc32(data) != member.CRC:
            raise UnsoundError("is damaged: its checksum is wrong")
        return data

    def _data_start(self, member: zipfile.ZipInfo) -> int:
        """The place of a member's bytes, if its own header agrees with the directory."""
        try:
            self._archive.open(member).close()  # compares name, flags and place
            sizes = _LOCAL_HEADER.unpack_from(self._content, member.header_offset)
        except Exception as error:
            raise UnsoundError(
                "is not sound: it has members that are not what its directory says"
            ) from error
        start = member.header_offset + _LOCAL_HEADER.size + sum(sizes)
        if start + member.file_size > len(self._content):
            raise NotAnArchiveError("has members outside of the file")
        return int(start)


def _unusual(member: zipfile.ZipInfo) -> str:
    """The reason why a member is not read; empty for one that is."""
    if member.flag_bits & ~_FLAG_UTF8 or member.comment or member.volume:
        return "encrypted, or otherwise unusual"
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        return "compressed"
    return "links" if member.external_attr >> 16 & _KIND == _LINK else ""


def _content(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of up to ``limit``; never waits for a pipe to be written."""
    if is_remote(path):
        return read_within(path, limit)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UnsoundError("is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > limit:
            raise UnsoundError(f"is too large: {status.st_size} bytes")
        return file.read(status.st_size)
