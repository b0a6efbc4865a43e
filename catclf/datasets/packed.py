"""Packed folders: shards in HDF5 with a manifest, read as one data set that stays on disk.

The manifest says which shards hold which images, and their SHA-256. That every shard is there with
its size is checked when the folder is opened; its SHA-256 when its first image is read, once in a
process, so that opening reads no pixels. With ``skip_bad`` all are checked when it is opened, and
those that are missing or damaged are left out.
"""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

import numpy as np

from catclf.datasets import hdf5
from catclf.datasets.arrays import recorded
from catclf.datasets.dataset import MANIFEST, SPLITS, Labels, ReadOptions, Split
from catclf.datasets.digests import Digests
from catclf.datasets.listing import BLOCK, LISTED, Listing, Source
from catclf.errors import DataError
from catclf.images.preprocess import FITS, Preprocess
from catclf.maths import Pixels
from catclf.samples import Rows
from catclf.storage.files import replacing
from catclf.storage.location import Copy, Stored, is_remote, locate
from catclf.text import counted, printable, reason
from catclf.version import __version__

FORMAT, VERSION = "catclf-packed", 1
OPEN = 128  # shards open at a time: a process may have 1024 files, and a shard takes two
NAMED = 10_000_000  # images above which their names are not read: 1 GB
_MEND = "pack the images again, or leave the shard out with `skip_bad`"
SHARD = 65_536  # images: 128 parts of 512, 805 MB of 64x64 pixels
BYTES_MAX = 64 * 1024 * 1024  # of a manifest: 100 000 shards have 30 MB


@dataclass(frozen=True)
class Shard:
    """One file: its images, and the rows ``first`` … ``next`` - 1 of the source they came from.

    ``source`` is the hash of these rows as they were listed; ``skipped`` of them were unreadable.
    """

    file: str
    images: int
    bytes: int
    sha256: str
    first: int
    next: int
    source: str
    skipped: int = 0


@dataclass
class PackedSplit:
    """The shards of one split, and the fingerprint of its data set where it is known.

    ``fingerprint`` is that of ``Dataset``, for the two classes beside it.
    """

    shards: list[Shard] = field(default_factory=list)
    fingerprint: str = ""
    fingerprint_classes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """The number of images in all shards."""
        return sum(shard.images for shard in self.shards)

    def without(self, files: Collection[str]) -> PackedSplit:
        """The split without some shards; its fingerprint is not known then."""
        if not files:
            return self
        return PackedSplit([shard for shard in self.shards if shard.file not in files])


@dataclass
class Manifest:
    """All splits of a packed folder; ``complete`` once every image of its source is there."""

    classes: tuple[str, ...]
    preprocess: Preprocess
    splits: dict[Split, PackedSplit] = field(default_factory=dict)
    complete: bool = False

    def write(self, folder: Path) -> None:
        """Replace the manifest in a folder, wholly or not at all. Raises OutputError."""
        fields = {"format": FORMAT, "version": VERSION, "catclf": __version__, **asdict(self)}
        with replacing(folder / MANIFEST, kept=False) as file:
            file.write(json.dumps(fields, indent=1).encode() + b"\n")

    def files(self) -> set[str]:
        """The names of all shards."""
        return {shard.file for split in self.splits.values() for shard in split.shards}


def load(folder: Path) -> Manifest:
    """The manifest of a folder, complete or not. Raises DataError for one that is not sound."""
    path = folder / MANIFEST
    shown = printable(path)
    try:
        if locate(path).size() > BYTES_MAX:
            raise DataError(f"{shown}: is too large for a manifest of catclf")
        fields = json.loads(locate(path).read())
    except (OSError, ValueError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError) else "is damaged: pack the images again"
        raise DataError(f"{shown}: {why}") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise DataError(f"{shown}: is not a manifest of catclf: pack the images anew")
    if fields.get("version") != VERSION:
        raise DataError(f"{shown}: was made by a newer catclf, which is needed to read it")
    try:
        return _manifest(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{shown}: is damaged: pack the images again") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _built(kind: Any, value: Any) -> Any:
    """A value of a type out of JSON. Raises TypeError, KeyError and ValueError."""
    origin, of = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints, make = get_type_hints(kind), cast(Any, kind)
        return make(**{name: _built(hint, value[name]) for name, hint in hints.items()})
    if origin is dict:
        return {name: _built(of[1], value[name]) for name in SPLITS if name in value}
    if origin in (list, tuple) and type(value) is list:
        return origin(_built(of[0], each) for each in value)
    if type(value) is not kind or (kind is int and value < 0):
        raise TypeError
    return value


def _manifest(fields: dict[str, Any]) -> Manifest:
    manifest: Manifest = _built(Manifest, fields)
    made = manifest.preprocess
    if made.size < 1 or made.fit not in FITS or made.background != Preprocess().background:
        raise ValueError
    for shard in (each for split in manifest.splits.values() for each in split.shards):
        if shard.file in ("", ".", "..") or shard.file != Path(shard.file).name or not shard.images:
            raise ValueError  # a name is that of a file in this folder
    return manifest


def read(folder: Path, options: ReadOptions) -> Source:
    """The splits of a packed folder. Raises DataError."""
    manifest, shown = load(folder), printable(folder)
    if not manifest.complete:
        raise DataError(f"{shown}: packing was stopped before its end: run it again to go on")
    if not manifest.splits:
        raise DataError(f"{shown}: has no images")
    parts: dict[Any, Any] = {
        split: partial(_listing, folder, manifest, split) for split in manifest.splits
    }
    return Source(shown, options, parts, lenient=True)


def _listing(folder: Path, manifest: Manifest, split: Split, options: ReadOptions) -> Listing:
    """Labels, class names and images of one split. Raises DataError."""
    shown, made = printable(folder), manifest.preprocess
    rows, notes = PackedRows(folder, manifest, split), tuple[str, ...]()
    if options.skip_bad and (damaged := rows.damaged()):
        rows, notes = PackedRows(folder, manifest, split, tuple(damaged)), (_left_out(damaged),)
        if not len(rows):
            raise DataError(f"{shown}: {notes[0]}, and there is no other")
    rows.require_files()
    return Listing(
        shown,
        locate(folder).name,
        manifest.classes,
        rows.labels(0, len(rows)),
        recorded(made.fit, made.resampling, made.size, options, shown),
        options,
        pixels=rows,
        called=rows.names(),
        groups=rows.groups(),
        notes=notes,
        damage=notes,
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


class PackedRows(Rows):
    """The images of one part uint8 (m, size, size, 3), with what is used of an array.

    Shards are opened when they are read, and up to ``OPEN`` of them stay open. Slices may be asked
    for by several threads. Raises DataError for a shard that is missing, damaged or another one.
    ``left_out`` names shards that are passed over.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, split: Split, left_out: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.split, self.left_out = folder, split, left_out
        self._pair, self._shown = (f"{split}_set_x", f"{split}_set_y"), printable(folder)
        self._packed: PackedSplit = manifest.splits[split].without(left_out)
        self._classes, self._preprocess = manifest.classes, manifest.preprocess
        self._ends = np.cumsum([shard.images for shard in self._packed.shards])
        size = manifest.preprocess.size
        self.shape: tuple[int, ...] = (self._packed.images, size, size, 3)
        self.chunk_rows = BLOCK
        self._open: OrderedDict[int, Listing] = OrderedDict()
        self._copies: dict[int, Copy] = {}  # of shards of a remote folder
        self._lists: dict[int, Listing] = {}  # labels and names of such shards
        self._lists_of_digests: dict[int, Digests | None] = {}
        self._digests: Digests | None = None
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
        found = [self._listed(number).called for number in range(len(self._ends))]
        if any(names is None for names in found):
            return None
        return tuple(name for names in found for name in names or ())

    def groups(self) -> Labels | None:
        """Which images stay together; None where that was not packed."""
        found = [self._listed(number).groups for number in range(len(self._ends))]
        return None if not found or any(each is None for each in found) else np.concatenate(found)  # type: ignore[arg-type]

    @property
    def digests(self) -> Digests | None:
        """The digests of all images, which were packed with them."""
        if self._digests is None:
            lists = [self._digests_of(number) for number in range(len(self._ends))]
            known = [each for each in lists if each is not None]
            if known and len(known) == len(lists):
                self._digests = Digests(*map(np.concatenate, zip(*known, strict=True)))
        return self._digests

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
            size = locate(path).size()
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

    def _verified_shard(self, number: int) -> Listing:
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

    def _shard(self, number: int) -> Listing:
        with self._lock:
            if number not in self._open:
                self._open[number] = self._opened(number)
                while len(self._open) > OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(number)
            return self._open[number]

    def _listed(self, number: int) -> Listing:
        """A shard whose labels and names are asked for: a remote one is not copied for these."""
        shard = self._packed.shards[number]
        path = self.folder / shard.file
        if not is_remote(path):
            return self._shard(number)
        if number not in self._lists:
            listing, self._lists_of_digests[number] = self._streamed(path)
            self._lists[number] = self._required(listing, shard)
        return self._lists[number]

    def _streamed(self, path: Path) -> tuple[Listing, Digests | None]:
        try:
            with Stored(path).stream() as file:
                return hdf5.read_labels(file, path, self._pair)
        except OSError as error:
            raise DataError(f"{printable(path)}: {reason(error)}") from error

    def _digests_of(self, number: int) -> Digests | None:
        path = self.folder / self._packed.shards[number].file
        if is_remote(path):
            self._listed(number)
            return self._lists_of_digests[number]
        with path.open("rb") as file:
            return hdf5.read_labels(file, path, self._pair)[1]

    def _file(self, number: int) -> Path:
        """The file of a shard; a remote one is copied to this machine once. Raises OSError."""
        path = self.folder / self._packed.shards[number].file
        if not is_remote(path):
            return path
        if number not in self._copies:
            self._copies[number] = Copy.of(path)
        return Path(self._copies[number])

    def _opened(self, number: int) -> Listing:
        source = hdf5.read_listing(self._file(number), self._pair, ReadOptions(stream=True))
        return self._required(source, self._packed.shards[number])

    def _required(self, source: Listing, shard: Shard) -> Listing:
        same = source.classes == self._classes and len(source.labels) == shard.images
        if not same or source.preprocess != self._preprocess:
            raise self._other(shard, f"it holds {counted(len(source.labels), 'image')} of others")
        return source

    def _other(self, shard: Shard, why: str) -> DataError:
        return _DamagedError(
            f"{printable(self.folder / shard.file)}: is not the shard that was packed: {why}: "
            + _MEND
        )
