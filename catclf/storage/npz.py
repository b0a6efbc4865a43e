"""``.npz`` files: written whole, and read only if they are what the reader asks for.

Readable with ``numpy.load``. Nothing in a file is ever executed, and every name, dtype, shape and
size is checked against what the reader asks for before it is believed. Members are neither
compressed nor encrypted, so that a file never holds more than its size. NumPy is loaded by the
functions that need it: reading a text of a file does not.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catclf.storage.location import locate, replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMBERS_LIMIT = 100
_HEADER_LIMIT = 10_000  # bytes of an array's header, as NumPy limits it
_HEADER = struct.Struct("<6sHH")  # of NumPy's format 1.0: magic, version, length of the header
_DECLARED = re.compile(  # what NumPy writes there
    rb"\{'descr': (.+), 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*"
)
_FLAG_UTF8 = 0x800  # the one flag of a member that changes nothing here
_LINK, _KIND = 0xA000, 0xF000  # of the Unix mode in the upper half of the attributes


class UnsoundError(Exception):
    """The reason why a file is refused, to be shown after its name."""


class NotAnArchiveError(UnsoundError):
    """Not a zip archive, or one that was cut short."""


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays: wholly or not at all, equal bytes for equal arrays. Raises OutputError."""
    import numpy as np

    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, (1, 0), allow_pickle=False)
            # A fixed date, so that equal arrays are equal files.
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content.getvalue())


def read_text(path: Path, name: str, file_limit: int, limit: int) -> str:
    """The text ``name`` of a file, without NumPy. Raises OSError, UnsoundError and KeyError."""
    return ArrayFile(path, file_limit).text(name, limit)


def holds_model(path: Path, file_limit: int = 64 << 20, limit: int = 1 << 20) -> bool:
    """Whether a file on disk is a model, as far as its beginning tells."""
    if path.suffix != ".npz":
        return False
    try:
        return bool(read_text(path, "meta", file_limit, limit))
    except (OSError, ValueError, KeyError, UnsoundError):
        return False


class ArrayFile:
    """The arrays of a file of up to ``limit`` bytes, on disk or in a store.

    Raises OSError and UnsoundError, here and in every method.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._content = locate(path).read(limit)
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(self._content))
        except Exception as error:  # a damaged directory raises more than BadZipFile
            raise NotAnArchiveError("is no archive, or is truncated") from error
        entries = self._archive.infolist()
        self._members = {entry.filename: entry for entry in entries}
        too_large = sum(entry.file_size for entry in entries) > limit
        if len(self._members) < len(entries) or len(entries) > MEMBERS_LIMIT or too_large:
            raise UnsoundError("is not sound: its members are repeated, too many or too large")

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._members

    def digest(self) -> str:
        """The SHA-256 of the file."""
        from hashlib import sha256

        return sha256(self._content).hexdigest()

    def require(self, names: Iterable[str]) -> None:
        """Refuse a file that does not hold exactly these arrays."""
        required = list(names)
        if sorted(self._members) != sorted(f"{name}.npy" for name in required):
            raise UnsoundError(f"is not sound: it must hold exactly {', '.join(required)}")

    def array(
        self, name: str, dtype: str, shape: tuple[int, ...], *, at_most: bool = False
    ) -> NDArray[Any]:
        """An array of exactly this dtype and shape, or of up to this shape; floats are finite."""
        import numpy as np

        size = np.dtype(dtype).itemsize
        declared_dtype, declared, data = self._declared(name, math.prod(shape) * size)
        fits = declared == shape
        if at_most and len(declared) == len(shape):
            fits = all(a <= b for a, b in zip(declared, shape, strict=True))
        if not fits or declared_dtype != dtype:
            required = f"{dtype} of up to {shape}" if at_most else f"{dtype} {shape}"
            raise UnsoundError(f"has {name} of {declared_dtype} {declared}, not {required}")
        if len(data) != math.prod(declared) * size:
            raise UnsoundError(f"has {name} with {len(data)} bytes of data, which is not its shape")
        values = np.frombuffer(data, dtype=dtype).reshape(declared).copy()
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UnsoundError(f"has values in {name} that are not finite numbers")
        return values

    def text(self, name: str, limit: int) -> str:
        """A text of up to ``limit`` characters."""
        dtype, shape, data = self._declared(name, 4 * limit)
        if shape or dtype != f"<U{len(data) // 4}" or len(data) % 4 or len(data) > 4 * limit:
            raise UnsoundError(f"has {name} of another type than text, or too much of it")
        return data.decode("utf-32-le").rstrip("\0")

    def _declared(self, name: str, room: int) -> tuple[str, tuple[int, ...], bytes]:
        """An array's dtype and shape as declared, and its data of up to ``room`` bytes."""
        content = self._read(name, room)
        magic, version, length = _HEADER.unpack(content[: _HEADER.size].ljust(_HEADER.size))
        start = _HEADER.size + length
        found = _DECLARED.fullmatch(content, _HEADER.size, start)
        if found is None or (magic, version) != (b"\x93NUMPY", 1):
            raise UnsoundError(f"has {name} in an unknown array format")
        dtype, fortran, sides = found.groups()
        if b"|O" in dtype:
            raise UnsoundError(f"has pickled objects in {name}: they are never loaded")
        shape = tuple(map(int, sides.replace(b",", b" ").split()))
        if fortran == b"True" and len(shape) > 1:
            raise UnsoundError(f"has {name} of an unknown layout")
        return dtype.decode("latin-1").strip("'"), shape, content[start:]

    def _read(self, name: str, room: int) -> bytes:
        """A member's bytes, of up to ``room`` behind a header, with its checksum checked."""
        member = self._members[f"{name}.npy"]
        plain = member.compress_type == zipfile.ZIP_STORED
        plain = plain and member.compress_size == member.file_size
        link = member.external_attr >> 16 & _KIND == _LINK
        if link or member.flag_bits & ~_FLAG_UTF8 or member.volume or not plain:
            raise UnsoundError("is not sound: members are compressed, encrypted or links")
        if member.file_size > room + _HEADER_LIMIT:
            raise UnsoundError(f"has {name} of {member.file_size} bytes, which is too large")
        try:
            return self._archive.read(member)
        except zipfile.BadZipFile as error:
            raise UnsoundError("is damaged: its checksum is wrong") from error
        except Exception as error:  # its own header is not what the directory says
            raise UnsoundError(f"is not sound: {name} cannot be read") from error
