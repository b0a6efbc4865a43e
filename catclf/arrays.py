"""Files of arrays in NumPy's own format: written whole, and read only if they are what is asked.

Readable with ``numpy.load``. Nothing in a file is ever executed or evaluated, and every name, type,
shape and size is checked against what the reader asks for before it is believed.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf import archive
from catclf.files import replacing
from catclf.text import printable

_HEADER_LIMIT = 65536  # bytes of an array's header, at most
# As NumPy has written it since its first version 1.0 files; nothing else is understood.
_HEADER = re.compile(
    rb"\{'descr': '([^']{1,20})', 'fortran_order': False, 'shape': \(([0-9, ]{0,60})\), \}[ \n]*"
)
_PICKLED = re.compile(rb"'\|?O\d*'")


class UnsoundError(Exception):
    """Why a file is refused, to be said after its name."""


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays: wholly or not at all, equal bytes for equal arrays. Raises OutputError."""
    import zipfile

    with replacing(path) as file, zipfile.ZipFile(file, "w") as made:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, (1, 0), allow_pickle=False)
            # A fixed date, so that equal arrays are equal files.
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            made.writestr(info, content.getvalue())


class ArrayFile:
    """The arrays of a file of up to ``limit`` bytes.

    Raises OSError, archive.ArchiveError and UnsoundError, here and in every method.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._content = _content(path, limit)
        entries = archive.members(self._content)
        self._members = {entry.name: entry for entry in entries}
        if len(self._members) < len(entries) or sum(entry.size for entry in entries) > limit:
            raise UnsoundError("is not sound: members are repeated or too large")

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._members

    def check(self) -> None:
        """Refuse a file that is not a plain list of its members."""
        archive.check(self._content, list(self._members.values()))

    def require(self, names: Iterable[str]) -> None:
        """Refuse a file that does not hold exactly these arrays."""
        wanted = list(names)
        if sorted(self._members) != sorted(f"{name}.npy" for name in wanted):
            raise UnsoundError(f"is not sound: it must hold exactly {', '.join(wanted)}")

    def array(
        self, name: str, dtype: str, shape: tuple[int, ...], *, at_most: bool = False
    ) -> NDArray[Any]:
        """An array of exactly this type and shape, or of up to this shape; floats are finite."""
        room = math.prod(shape) * np.dtype(dtype).itemsize
        found, declared, data = self._header(name, room)
        fits = declared == shape
        if at_most:
            fits = len(declared) == len(shape)
            fits = fits and all(a <= b for a, b in zip(declared, shape, strict=True))
        if not fits or found != dtype:
            wanted = dtype if at_most else f"{dtype} {shape}"
            raise UnsoundError(f"has {name} of {found} {declared}, not {wanted}")
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
        """An array's type and shape as declared, and its data of up to ``room`` bytes."""
        member = self._members[f"{name}.npy"]
        if member.size > room + _HEADER_LIMIT:
            raise UnsoundError(f"has {name} of {member.size} bytes, which is too large")
        content = archive.read(self._content, member)
        if content[:8] != b"\x93NUMPY\1\0":
            raise UnsoundError(f"has {name} in an unknown array format")
        end = 10 + int.from_bytes(content[8:10], "little")
        if _PICKLED.search(content[10:end][:200]):
            raise UnsoundError(f"has pickled objects in {name}: they are never loaded")
        header = _HEADER.fullmatch(content[10:end])
        if header is None or len(content) < end:
            raise UnsoundError(f"has {name} of an unknown type or layout")
        shape = tuple(int(part) for part in header[2].split(b",") if part.strip())
        return printable(header[1].decode("latin-1")), shape, content[end:]


def _content(path: Path, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UnsoundError("is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > limit:
            raise UnsoundError(f"is too large: {status.st_size} bytes")
        return file.read(status.st_size)
