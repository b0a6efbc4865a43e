"""Writing HDF5 data sets, block by block: images of any number in the memory of a few."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.datasets.dataset import HDF5_ENDINGS, Labels, Split
from catclf.datasets.digests import Digester
from catclf.datasets.hdf5 import FIT, RESAMPLING
from catclf.datasets.listing import BLOCK, Listing
from catclf.errors import CatclfError, DataError, OutputError
from catclf.storage.files import replacing_path, require_writable
from catclf.storage.location import is_remote
from catclf.text import printable, reason


class NoImagesError(DataError):
    """There is no image that can be read."""


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
    splits: Mapping[Split, Listing],
    compression: str = "none",
    on_split: Callable[[Split], None] | None = None,
) -> dict[Split, Labels]:
    """Write the splits to one file, wholly or not at all; the labels that were written, by split.

    ``output`` is on disk or remote; ``on_split`` is called as each split is done. Raises DataError
    and OutputError.
    """
    with replacing_path(output) as file:
        return fill(file, output, splits, compression, on_split)


def fill(
    path: Path,
    output: Path,
    splits: Mapping[Split, Listing],
    compression: str = "none",
    on_split: Callable[[Split], None] | None = None,
    digester: Digester | None = None,
) -> dict[Split, Labels]:
    """Write the splits to the file ``path``, which will be ``output``; as ``write``.

    Images lie in chunks of 64, so that reading them in order touches each byte once. Their names
    and how they were made are kept beside them, and their digests if a ``digester`` is given.
    Raises DataError and OutputError.
    """
    import h5py  # noqa: TID251

    classes = next(iter(splits.values())).classes
    if any(listing.classes != classes for listing in splits.values()):
        raise DataError(f"{printable(output)}: the splits have different classes")
    try:
        with _Disk(path) as disk, h5py.File(disk, "w") as file:
            if classes:
                file.create_dataset("list_classes", data=_bytes(classes), track_times=False)
            written = {}
            for split, listing in splits.items():
                written[split] = _write_split(file, disk, split, listing, compression, digester)
                if on_split:
                    on_split(split)
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


def _write_split(
    file: Any,
    disk: _Disk,
    split: Split,
    listing: Listing,
    compression: str,
    digester: Digester | None,
) -> Labels:
    size = listing.preprocess.size
    images = file.create_dataset(
        f"{split}_set_x",
        shape=(0, size, size, 3),
        maxshape=(None, size, size, 3),
        chunks=(BLOCK, size, size, 3),
        dtype=np.uint8,
        compression=None if compression == "none" else compression,
        track_times=False,
    )
    images.attrs[FIT] = np.bytes_(listing.preprocess.fit)
    images.attrs[RESAMPLING] = np.bytes_(listing.preprocess.resampling)
    rows: list[Labels] = []
    count = 0
    for block_rows, block in listing.blocks():
        images.resize(count + len(block), axis=0)
        images[count:] = block
        disk.check()
        count += len(block)
        rows.append(block_rows)
        if digester is not None:
            digester.add(block)
    if not rows:
        raise NoImagesError(f"{listing.shown}: has no images to write")
    kept = np.concatenate(rows)
    columns: dict[str, NDArray[Any]] = {"y": listing.labels[kept]}
    if (names := listing.names()) is not None:
        columns["names"] = _bytes([names[row] for row in kept.tolist()])
    if listing.groups is not None:
        columns["groups"] = listing.groups[kept]
    if digester is not None:
        exact, columns["hashes"], columns["small"] = digester.result()
        columns["digests"] = exact.view(np.uint8).reshape(-1, 16)
    for name, values in columns.items():
        file.create_dataset(f"{split}_set_{name}", data=values, track_times=False)
    return columns["y"]


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
