"""A text out of an ``.npz`` file without NumPy, which takes longer to load than to read it.

It is for hints, such as names to complete: ``storage.npz`` reads files that are to be trusted.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
from pathlib import Path

_HEADER = struct.Struct("<6sBBH")  # of NumPy's format 1.0: magic, version, length of the header
_DESCR = re.compile(rb"'descr': '<U(\d{1,9})'")


def read_text(path: Path, name: str, file_limit: int, limit: int) -> str:
    """The text ``name``, of up to ``limit`` characters, of a regular file of up to ``file_limit``.

    It never waits for a pipe to be written. Raises OSError, ValueError, KeyError and BadZipFile.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > file_limit:
            raise ValueError("is not a regular file, or is too large")
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo(f"{name}.npy")
            if member.file_size > 4 * limit + 10_000 or member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"has {name} of {member.file_size} bytes")
            content = archive.read(member)
    magic, major, _, length = _HEADER.unpack_from(content)
    descr = _DESCR.search(content, _HEADER.size, _HEADER.size + length)
    data = content[_HEADER.size + length :]
    if magic != b"\x93NUMPY" or major != 1 or not descr or len(data) != 4 * int(descr[1]):
        raise ValueError(f"has {name} that is not a text")
    return data.decode("utf-32-le").rstrip("\0")
