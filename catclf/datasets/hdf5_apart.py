"""HDF5 values of variable length, read in a process of their own with a limit of time.

A damaged file with such values can crash the HDF5 library, or keep it busy for ever. Here this
costs a process, and the file is refused with one line.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catclf.errors import DataError
from catclf.text import printable

SECONDS = 20.0  # and one more for each BYTES_A_SECOND of the file
BYTES_A_SECOND = 20_000_000
_MEMORY = 2 << 30  # bytes of addresses, and four times the size of the file
_COUNT = struct.Struct("<Q")

Place = tuple[str, str | None]  # a data set or a group, and the name of its attribute or None


def read_apart(filename: str | bytes, places: Sequence[Place]) -> list[list[Any]]:
    """The values of each place in order, as texts (str) or bytes. Raises DataError."""
    name = os.fsdecode(filename)
    shown = (
        f"{printable(name)}: {printable(', '.join((a or key).lstrip('/') for key, a in places))}"
    )
    size = Path(name).stat().st_size
    code = f"import sys; sys.path[:] = {sys.path!r}\n"
    code += "from catclf.datasets.hdf5_apart import main; main()"
    arguments = [word for key, attribute in places for word in (key, attribute or "")]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, os.fsencode(name), *map(os.fsencode, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS + size / BYTES_A_SECOND,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{shown} is damaged: reading it takes too long") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{shown} cannot be read: no process can be started") from error
    if done.returncode:
        raise DataError(f"{shown} is damaged and cannot be read as HDF5")
    return _unpacked(done.stdout)


def main() -> None:
    """Read the places given as arguments and write their values to stdout."""
    import resource

    import h5py  # noqa: TID251
    import numpy as np

    name, *words = sys.argv[1:]
    room = _MEMORY + 4 * Path(name).stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with h5py.File(os.fsencode(name), "r") as file:
        lists = []
        for key, attribute in zip(words[::2], words[1::2], strict=True):
            place = file[key]
            values = place.attrs[attribute] if attribute else place[...]
            lists.append([_encoded(value) for value in np.asarray(values, object).reshape(-1)])
    with os.fdopen(1, "wb", closefd=False) as out:
        out.write(_packed(lists))
    os._exit(0)  # the library may crash as it closes a damaged file


def _encoded(value: Any) -> bytes:
    """One value with a letter that says whether it is text."""
    import numpy as np

    if isinstance(value, str):
        return b"t" + os.fsencode(value)
    if isinstance(value, bytes):
        return b"t" + value
    array = np.asarray(value)
    if array.dtype not in (np.uint8, np.int8):
        raise ValueError
    return b"b" + array.tobytes()


def _packed(lists: list[list[bytes]]) -> bytes:
    pieces = [_COUNT.pack(len(lists))]
    for values in lists:
        pieces.append(_COUNT.pack(len(values)))
        for value in values:
            pieces += (_COUNT.pack(len(value)), value)
    return b"".join(pieces)


def _unpacked(content: bytes) -> list[list[Any]]:
    position = 0

    def number() -> int:
        nonlocal position
        position += _COUNT.size
        return int(_COUNT.unpack_from(content, position - _COUNT.size)[0])

    lists: list[list[Any]] = []
    for _ in range(number()):
        values: list[Any] = []
        for _ in range(number()):
            length = number()
            kind, value = (
                content[position : position + 1],
                content[position + 1 : position + length],
            )
            values.append(os.fsdecode(value) if kind == b"t" else value)
            position += length
        lists.append(values)
    return lists
