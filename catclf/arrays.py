"""Small zip files of arrays in NumPy's own format, and how to read those of a stranger.

Nothing is ever unpickled, and a file may hold only the members, types and shapes that the reader
asks for, so that it cannot make us allocate more than they take.
"""

from __future__ import annotations

import io
import math
import os
import stat
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.files import replacing


class UnsoundError(Exception):
    """Why a file is refused, to be said after its name."""


@dataclass(frozen=True)
class Member:
    """An array as it must be: ``dtype`` (text: "U"), and the most that each axis may have."""

    dtype: str
    most: tuple[int, ...] = ()
    exact: bool = False


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays: wholly or not at all, equal bytes for equal arrays. Raises OutputError."""
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, (1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content.getvalue())


def read(path: Path, members: Mapping[str, Member], limit: int) -> dict[str, NDArray[Any]]:
    """The arrays of a file of up to ``limit`` bytes. Raises UnsoundError and OSError."""
    content = _content(path, limit)
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(content)) as archive:
            warnings.simplefilter("error")  # the header parser warns of what we never write
            entries = archive.infolist()
            names = sorted(entry.filename for entry in entries)
            if names != sorted(f"{name}.npy" for name in members):
                raise UnsoundError(f"must hold exactly {', '.join(members)}")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise UnsoundError("has compressed members")  # ours never are
            if sum(entry.file_size for entry in entries) > limit:
                raise UnsoundError("has members that are too large")
            return {
                name: _array(archive.read(f"{name}.npy"), name, member)
                for name, member in members.items()
            }
    except UnsoundError:
        raise
    except zipfile.BadZipFile as error:
        what = "its checksum is wrong" if "CRC" in str(error) else "truncated or another's file"
        raise UnsoundError(f"is damaged: {what}") from error
    except Exception as error:  # zipfile and the header parser raise anything on hostile bytes
        raise UnsoundError("is damaged and cannot be read") from error


def _content(path: Path, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnsoundError("is not a regular file")
        if status.st_size > limit:
            raise UnsoundError(f"is too large: {status.st_size} bytes")
        return file.read(limit)


def _array(content: bytes, name: str, member: Member) -> NDArray[Any]:
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise UnsoundError(f"has {name} in an unknown array format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    text = member.dtype == "U" and dtype.kind == "U"
    known = not dtype.hasobject and (text or dtype.str == member.dtype)
    if fortran or not known or len(shape) != len(member.most):
        raise UnsoundError(f"has {name} of {dtype.str} {shape}")
    if any(a != b if member.exact else a > b for a, b in zip(shape, member.most, strict=True)):
        raise UnsoundError(f"has {name} of shape {shape}")
    data = content[stream.tell() :]
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise UnsoundError(f"has {name} with {len(data)} bytes of data, which is not its shape")
    array = np.frombuffer(data, dtype=dtype).reshape(shape).copy()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UnsoundError(f"has values in {name} that are not finite numbers")
    return array
