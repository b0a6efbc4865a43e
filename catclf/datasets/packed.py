"""Packed folders: shards in HDF5 with a manifest, read as one data set that stays on disk.

That every shard is there with its size is checked when the folder is opened; its SHA-256 when its
first image is read, once in a process, so that opening reads no pixels. With ``skip_bad`` all are
checked when it is opened, and those that are missing or damaged are left out.
"""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from catclf.datasets import hdf5, schema
from catclf.datasets.dataset import MANIFEST, Labels, Part, Reading
from catclf.datasets.hdf5_rows import ReadRows
from catclf.datasets.manifest import (
    Manifest,
    PackedPart,
    Shard,
    load,
    require_complete,
    sha256_of,
)
from catclf.datasets.sources import BLOCK, LISTED, ArraySource
from catclf.errors import DataError
from catclf.maths import Pixels
from catclf.storage.copies import Copy
from catclf.storage.files import same
from catclf.storage.remote import is_remote, size_of, stream
from catclf.text import counted, printable, reason

OPEN = 128  # shards open at a time: a process may have 1024 files, and a shard takes two
_MEND = "pack the images again, or leave the shard out with `skip_bad`"
NAMED = 10_000_000  # images above which their names are not read: 1 GB


def read(folder: Path, part: Part, reading: Reading) -> ArraySource:
    """Labels, class names and images of one part, or of the one that is there. Raises DataError."""
    manifest = load(folder)
    require_complete(manifest, folder)
    shown = printable(folder)
    if not manifest.parts:
        raise DataError(f"{shown}: has no images")
    found: Part = part if part in manifest.parts else next(iter(manifest.parts))
    rows, notes = PackedRows(folder, manifest, found), tuple[str, ...]()
    if reading.skip_bad and (damaged := rows.damaged()):
        rows, notes = PackedRows(folder, manifest, found, tuple(damaged)), (_left_out(damaged),)
        if not len(rows):
            raise DataError(f"{shown}: {notes[0]}, and there is no other")
    rows.require_files()
    size = manifest.preprocess.size
    schema.require_size(size, reading.size, shown)
    made = manifest.preprocess
    preprocess = schema.recorded(made.fit, made.resampling, size, reading, shown)
    labels = rows.labels(0, len(rows))
    pixels: Any = rows  # has what is used of an array
    name = folder.name if is_remote(folder) else folder.resolve().name
    return ArraySource(
        shown, name, manifest.classes, labels, preprocess, pixels, rows.names(), notes, notes
    )


class _DamagedError(DataError):
    """A shard that is missing, or is not the one that was packed."""


def _failure(path: Path, error: OSError) -> DataError:
    """Damage, if the shard is missing or its disk fails; a store or a network may be mended."""
    if isinstance(error, FileNotFoundError):
        return _DamagedError(f"{printable(path)}: the shard is missing: {_MEND}")
    if error.errno == errno.EIO and not is_remote(path):
        return _DamagedError(f"{printable(path)}: {reason(error)}: {_MEND}")
    return DataError(f"{printable(path)}: cannot be read: {reason(error)}")


def _left_out(damaged: dict[str, str]) -> str:
    """Which shards were left out, the first ten with the reason."""
    listed = "; ".join(why for why in list(damaged.values())[:LISTED])
    more = "; …" if len(damaged) > LISTED else ""
    return f"left out {counted(len(damaged), 'damaged shard')}: {listed}{more}"


def parts(folder: Path) -> set[Part]:
    """The parts that the manifest names."""
    return set(load(folder).parts)


def holds(folder: Path, file: Path) -> bool:
    """Whether a file that is there is the manifest or a shard of a packed folder."""
    names = {MANIFEST, *load(folder).files()}
    return any(same(folder / name, file) for name in names)


class PackedRows(ReadRows):
    """The images of one part uint8 (m, size, size, 3), with what is used of an array.

    Shards are opened when they are read, and up to ``OPEN`` of them stay open. Slices may be asked
    for by several threads. Raises DataError for a shard that is missing, damaged or another one.
    ``left_out`` names shards that are passed over.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, part: Part, left_out: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.part, self.left_out = folder, part, left_out
        self._shown = printable(folder)
        self._packed: PackedPart = manifest.parts[part].without(left_out)
        self._classes, self._preprocess = manifest.classes, manifest.preprocess
        self._ends = np.cumsum([shard.images for shard in self._packed.shards])
        size = manifest.preprocess.size
        self.shape: tuple[int, ...] = (self._packed.images, size, size, 3)
        self.dtype, self.ndim = np.dtype(np.uint8), 4
        self.nbytes = int(np.prod(self.shape))
        self.chunk_rows = BLOCK
        self._open: OrderedDict[int, ArraySource] = OrderedDict()
        self._copies: dict[int, Copy] = {}  # of shards of a remote folder
        self._lists: dict[int, ArraySource] = {}  # labels and names of such shards
        self._verified: set[int] = set()
        self._lock = threading.Lock()
        self._each = [threading.Lock() for _ in self._packed.shards]

    def read_into(self, start: int, images: Pixels) -> None:
        """Fill an array of images with those from ``start`` on."""
        for number, begin, count, done in self._pieces(start, start + len(images)):
            pixels: Any = self._verified_shard(number).pixels
            pixels.read_into(begin, images[done : done + count])

    def labels(self, start: int, stop: int) -> Labels:
        """The labels of some images, indices of the classes, int64."""
        labels = np.empty(stop - start, np.int64)
        for number, begin, count, done in self._pieces(start, stop):
            labels[done : done + count] = self._listed(number).labels[begin : begin + count]
        return labels

    def label_of(self, name: str) -> int:
        """The label of a class; 1 where the source named none."""
        return self._classes.index(name) if name in self._classes else 1

    def names(self) -> tuple[str, ...] | None:
        """The images' names before they were packed; None where they had none, or are too many."""
        if len(self) > NAMED:
            return None
        found = [self._listed(number).stored_names for number in range(len(self._ends))]
        if any(names is None for names in found):
            return None
        return tuple(name for names in found for name in names or ())

    def fingerprint(self, classes: tuple[str, str]) -> str:
        """The fingerprint that was made while packing, if it is of these two classes; or nothing.

        Making it anew would read all images in one process.
        """
        known = self._packed.fingerprint_classes == classes
        return self._packed.fingerprint if known else ""

    def require_files(self) -> None:
        """Raise DataError unless every shard is there with its size."""
        for shard in self._packed.shards:
            self._require_file(shard)

    def damaged(self) -> dict[str, str]:
        """The names of shards that cannot be used, with the reason; all of them are read."""
        damaged = {}
        for number, shard in enumerate(self._packed.shards):
            try:
                self._require_file(shard)
                self._verified_shard(number)
            except _DamagedError as error:
                damaged[shard.file] = str(error).removesuffix(f": {_MEND}")
        return damaged

    def _require_file(self, shard: Shard) -> None:
        path = self.folder / shard.file
        try:
            size = size_of(path)
        except OSError as error:
            raise _failure(path, error) from error
        if size != shard.bytes:
            raise self._other(shard, f"it has {size:,} bytes and not {shard.bytes:,}")

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int, int, int]]:
        """Shard, first row in it, number of rows, and their place, for consecutive images."""
        pieces, row = [], start
        while row < stop:
            number = int(np.searchsorted(self._ends, row, side="right"))
            begins = int(self._ends[number]) - self._packed.shards[number].images
            count = min(stop, int(self._ends[number])) - row
            pieces.append((number, row - begins, count, row - start))
            row += count
        return pieces

    def _verified_shard(self, number: int) -> ArraySource:
        """A shard, whose SHA-256 is the manifest's."""
        if number not in self._verified:
            shard = self._packed.shards[number]
            with self._each[number]:  # other threads may verify other shards
                if number not in self._verified:
                    try:
                        found = sha256_of(self._file(number))
                    except OSError as error:
                        raise _failure(self.folder / shard.file, error) from error
                    if found != shard.sha256:
                        raise self._other(shard, f"its SHA-256 begins with {found[:12]}")
                    self._verified.add(number)
        return self._shard(number)

    def _shard(self, number: int) -> ArraySource:
        with self._lock:
            if number not in self._open:
                self._open[number] = self._opened(number)
                while len(self._open) > OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(number)
            return self._open[number]

    def _listed(self, number: int) -> ArraySource:
        """A shard whose labels and names are asked for: a remote one is not copied for these."""
        shard = self._packed.shards[number]
        path = self.folder / shard.file
        if not is_remote(path):
            return self._shard(number)
        if number not in self._lists:
            try:
                with stream(path) as file:
                    source = hdf5.read_labels(file, path, self.part)
            except OSError as error:
                raise DataError(f"{printable(path)}: {reason(error)}") from error
            self._lists[number] = self._required(source, shard)
        return self._lists[number]

    def _file(self, number: int) -> Path:
        """The file of a shard; a remote one is copied to this machine once. Raises OSError."""
        path = self.folder / self._packed.shards[number].file
        if not is_remote(path):
            return path
        if number not in self._copies:
            self._copies[number] = Copy.of(path)
        return Path(self._copies[number])

    def _opened(self, number: int) -> ArraySource:
        source = hdf5.read(self._file(number), self.part, Reading(stream=True))
        return self._required(source, self._packed.shards[number])

    def _required(self, source: ArraySource, shard: Shard) -> ArraySource:
        same = source.classes == self._classes and len(source.labels) == shard.images
        if not same or source.preprocess != self._preprocess:
            raise self._other(shard, f"it holds {counted(len(source.labels), 'image')} of others")
        return source

    def _other(self, shard: Shard, why: str) -> DataError:
        return _DamagedError(
            f"{printable(self.folder / shard.file)}: is not the shard that was packed: {why}: "
            + _MEND
        )
