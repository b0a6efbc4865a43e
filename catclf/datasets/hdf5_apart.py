"""HDF5 values of variable length, read in a process of their own with a limit of time.

A damaged file with such values can crash the HDF5 library, or keep it busy for ever. Here this
costs a process, and the file is refused with one line.
"""

from __future__ import annotations

import json
import os
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

Place = tuple[str, str | None]  # a data set or a group, and the name of its attribute or None


def read_apart(filename: str | bytes, places: Sequence[Place]) -> list[list[Any]]:
    """The values of each place in order, as texts (str) or bytes. Raises DataError."""
    name = os.fsdecode(filename)
    keys = ", ".join((attribute or key).lstrip("/") for key, attribute in places)
    shown = f"{printable(name)}: {printable(keys)}"
    code = f"import sys; sys.path[:] = {sys.path!r}\n"
    code += "from catclf.datasets.hdf5_apart import main; main()"
    words = [word for key, attribute in places for word in (key, attribute or "")]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, os.fsencode(name), *map(os.fsencode, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS + Path(name).stat().st_size / BYTES_A_SECOND,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{shown} is damaged: reading it takes too long") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{shown} cannot be read: no process can be started") from error
    if done.returncode:
        raise DataError(f"{shown} is damaged and cannot be read as HDF5")
    lists = json.loads(done.stdout.decode("utf-8", "surrogatepass"))
    return [[v if kind == "text" else v.encode("latin-1") for kind, v in each] for each in lists]


def main() -> None:
    """Read the places given as arguments and write their values to stdout, as JSON."""
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
            lists.append([_plain(value) for value in np.asarray(values, object).reshape(-1)])
    with os.fdopen(1, "wb", closefd=False) as out:
        out.write(json.dumps(lists, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    os._exit(0)  # the library may crash as it closes a damaged file


def _plain(value: Any) -> tuple[str, str]:
    """One value as text, and whether it is one or stands for bytes."""
    import numpy as np

    if isinstance(value, str | bytes):
        return "text", os.fsdecode(value)
    array = np.asarray(value)
    if array.dtype not in (np.uint8, np.int8):
        raise ValueError
    return "bytes", array.tobytes().decode("latin-1")
