"""Writing HDF5 data sets, block by block: images of any number in the memory of a few."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from catclf.datasets.dataset import HDF5_ENDINGS, Labels, Part
from catclf.datasets.hdf5 import FIT, RESAMPLING
from catclf.datasets.sources import BLOCK, Source
from catclf.errors import CatclfError, DataError, OutputError
from catclf.storage.files import replacing_path, require_writable
from catclf.storage.remote import is_remote
from catclf.text import printable, reason


def require_output(output: Path, taken: Iterable[Path]) -> None:
    """Raise OutputError unless a data set can be put there, under a name by which it is read."""
    if output.suffix.lower() not in HDF5_ENDINGS:
        raise OutputError(
            f"{printable(output)}: would not be known as HDF5: give a name ending in .h5, "
            "or in / for a folder of shards"
        )
    require_writable(output, taken)


def write(
    output: Path,
    parts: Mapping[Part, Source],
    compression: str = "none",
    on_part: Callable[[Part], None] | None = None,
) -> dict[Part, Labels]:
    """Write the parts to one file, wholly or not at all; the labels that were written, by part.

    ``output`` is on disk or remote; ``on_part`` is called as each part is done. Raises DataError
    and OutputError.
    """
    with replacing_path(output) as file:
        return fill(file, output, parts, compression, on_part)


def fill(
    path: Path,
    output: Path,
    parts: Mapping[Part, Source],
    compression: str = "none",
    on_part: Callable[[Part], None] | None = None,
) -> dict[Part, Labels]:
    """Write the parts to the file ``path``, which will be ``output``; as ``write``.

    Images lie in chunks of 64, so that reading them in order touches each byte once. Their names
    and how they were made are kept beside them. Raises DataError and OutputError.
    """
    import h5py  # noqa: TID251

    classes = next(iter(parts.values())).classes
    if any(source.classes != classes for source in parts.values()):
        raise DataError(f"{printable(output)}: the parts have different classes")
    try:
        with _Disk(path) as disk, h5py.File(disk, "w") as file:
            if classes:
                file.create_dataset("list_classes", data=_bytes(classes), track_times=False)
            written = {}
            for part, source in parts.items():
                written[part] = _write_part(file, disk, part, source, compression)
                if on_part:
                    on_part(part)
        return written
    except (OSError, RuntimeError) as error:
        why = _why(error)
        if is_remote(output):
            why += f" (collected in {printable(path.parent)}: set TMPDIR to a larger folder)"
        raise OutputError(f"{printable(output)}: cannot be written: {why}") from error


class _Disk:
    """The file that the HDF5 library writes to, which remembers why something was not written.

    The library keeps data until it closes a file, and loses them on a full disk without an error
    that reaches its caller. So it is told that all went well, and the block ends with the error.
    """

    def __init__(self, path: Path) -> None:
        self._file: Any = path.open("w+b", buffering=0)
        self._error: OSError | None = None
        self.seek, self.tell = self._file.seek, self._file.tell
        self.read, self.readinto = self._file.read, self._file.readinto
        self.flush = self._file.flush

    def __enter__(self) -> _Disk:
        return self

    def __exit__(self, kind: object, error: object, where: object) -> None:
        self._file.close()
        if kind is None or not isinstance(error, CatclfError):
            self.check()

    def check(self) -> None:
        """Raise OSError if something was not written."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        with self._noted():
            while view:
                view = view[self._file.write(view) :]
        return size

    def truncate(self, size: int) -> int:
        with self._noted():
            self._file.truncate(size)
        return size

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._error = self._error or error


def _write_part(file: Any, disk: _Disk, part: Part, source: Source, compression: str) -> Labels:
    size = source.preprocess.size
    images = file.create_dataset(
        f"{part}_set_x",
        shape=(0, size, size, 3),
        maxshape=(None, size, size, 3),
        chunks=(BLOCK, size, size, 3),
        dtype=np.uint8,
        compression=None if compression == "none" else compression,
        track_times=False,
    )
    images.attrs[FIT] = np.bytes_(source.preprocess.fit)
    images.attrs[RESAMPLING] = np.bytes_(source.preprocess.resampling)
    rows: list[Labels] = []
    count = 0
    for block_rows, block in source.blocks():
        images.resize(count + len(block), axis=0)
        images[count:] = block
        disk.check()
        count += len(block)
        rows.append(block_rows)
    if not rows:
        raise DataError(f"{source.shown}: has no images to write")
    kept = np.concatenate(rows)
    labels = source.labels[kept]
    file.create_dataset(f"{part}_set_y", data=labels, track_times=False)
    names = source.names()
    if names is not None:
        data = _bytes([names[row] for row in kept.tolist()])
        file.create_dataset(f"{part}_set_names", data=data, track_times=False)
    return labels


def _bytes(names: Any) -> Any:
    """Names as fixed-length bytes, which hold any file name and are the same in every run."""
    return np.array([os.fsencode(name) for name in names])


def _why(error: OSError | RuntimeError) -> str:
    """HDF5 reports a full disk in the middle of a long sentence."""
    if "No space" in str(error):
        return "no space left on the disk"
    if found := re.search(r"error message = '([^']*)'", str(error)):
        return found[1].lower()
    return reason(error) if isinstance(error, OSError) else str(error)
