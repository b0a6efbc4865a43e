"""Packed folders: shards in HDF5 with a manifest, written by ranges of rows, read as one data set.

The manifest says which shards hold which images, and their SHA-256. That every shard is there with
its size is checked when the folder is opened; its SHA-256 when its first image is read, once in a
process, so that opening reads no pixels. With ``skip_bad`` all are checked when it is opened, and
those that are missing or damaged are left out.

A shard is a fixed range of rows of a listing, and needs nothing else: on disk or in a store it is
written and hashed on this machine, or on that of a worker, and then put there whole. A rerun keeps
each shard that is there with the hash in the manifest and was made of the same rows, decoded alike.
"""

from __future__ import annotations

import hashlib
import json
import threading
from bisect import insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np

from catclf.datasets import hdf5
from catclf.datasets.arrays import About, recorded
from catclf.datasets.dataset import MANIFEST, SPLITS, Labels, ReadOptions, Split
from catclf.datasets.digests import Digester, Digests
from catclf.datasets.listing import BLOCK, LISTED, Listing, Source
from catclf.errors import DataError, OutputError
from catclf.images.decode import decoders
from catclf.images.preprocess import FITS, Preprocess
from catclf.maths import Pixels
from catclf.samples import Rows, cut
from catclf.storage.location import (
    Copy,
    is_remote,
    locate,
    replacing,
    replacing_path,
    require_writable,
    same,
)
from catclf.text import counted, printable, reason
from catclf.version import __version__

FORMAT, VERSION = "catclf-packed", 1
OPEN = 128  # shards open at a time: a process may have 1024 files, and a shard takes two
NAMED = 10_000_000  # images above which their names are not read: 1 GB
_MEND = "pack the images again, or leave the shard out with `skip_bad`"
SHARD = 65_536  # images: 128 parts of 512, 805 MB of 64x64 pixels
BYTES_MAX = 64 * 1024 * 1024  # of a manifest: 100 000 shards have 30 MB
_HASHED = 512  # images read at a time to be hashed

Value = TypeVar("Value")


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
class Manifest:
    """The shards of each split of a packed folder.

    It is ``complete`` once every image of its source is there.
    """

    classes: tuple[str, ...]
    preprocess: Preprocess
    splits: dict[Split, list[Shard]] = field(default_factory=dict)
    complete: bool = False

    def write(self, folder: Path) -> None:
        """Replace the manifest in a folder, wholly or not at all. Raises OutputError."""
        fields = {"format": FORMAT, "version": VERSION, "catclf": __version__, **asdict(self)}
        with replacing(folder / MANIFEST, kept=False) as file:
            file.write(json.dumps(fields, indent=1).encode() + b"\n")

    @property
    def size(self) -> int:
        """Height and width of all images."""
        return self.preprocess.size

    def files(self) -> set[str]:
        """The names of all shards."""
        return {shard.file for shards in self.splits.values() for shard in shards}


def load(folder: Path) -> Manifest:
    """The manifest of a folder, complete or not. Raises DataError for one that is not sound."""
    path = folder / MANIFEST
    shown = printable(path)
    try:
        if locate(path).size() > BYTES_MAX:
            raise DataError(f"{shown}: is too large for a manifest of catclf")
        fields = json.loads(locate(path).read())
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise DataError(f"{shown}: is not a manifest of catclf: pack the images anew")
        if fields.get("version") != VERSION:
            raise DataError(f"{shown}: was made by a newer catclf, which is needed to read it")
        manifest: Manifest = _built(Manifest, fields)
        made = manifest.preprocess
        if made.size < 1 or made.fit not in FITS or made.background != Preprocess().background:
            raise ValueError
        for shard in chain.from_iterable(manifest.splits.values()):
            outside = shard.file in ("", ".", "..") or shard.file != Path(shard.file).name
            if outside or not shard.images:
                raise ValueError
    except OSError as error:
        raise DataError(f"{shown}: {reason(error)}") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{shown}: is damaged, or of an earlier catclf: pack the images again"
        ) from error
    return manifest


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


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        why = "; ".join(list(damaged.values())[:LISTED]) + ("; …" if len(damaged) > LISTED else "")
        notes = (f"left out {counted(len(damaged), 'damaged shard')}: {why}",)
        rows = PackedRows(folder, manifest, split, tuple(damaged))
        if not len(rows):
            raise DataError(f"{shown}: {notes[0]}, and there is no other")
    rows.require_files()
    return Listing(
        shown,
        locate(folder).name,
        manifest.classes,
        rows.labels(0, len(rows)),
        recorded(About(made.fit, made.resampling), made.size, options, shown),
        options,
        pixels=rows,
        called=rows.names(),
        groups=rows.groups(),
        notes=notes,
        damage=notes,
    )


class _DamagedError(DataError):
    """A shard that is missing, or is not the one that was packed."""


class _ShardFile:
    """A shard where it lies, on disk or in a store.

    Raises DataError where it is missing, damaged or another one than was packed.
    """

    def __init__(self, folder: Path, manifest: Manifest, split: Split, shard: Shard) -> None:
        self.shard, self._path, self._manifest = shard, folder / shard.file, manifest
        self._pair = f"{split}_set_x", f"{split}_set_y"
        self._lock, self._verified = threading.Lock(), ""  # the file, or a copy, that is right

    def require(self) -> None:
        """Raise DataError unless it is there with its size."""
        with self._failures_named():
            size = locate(self._path).size()
        if size != self.shard.bytes:
            raise self._other(f"it has {size:,} bytes and not {self.shard.bytes:,}")

    def open(self) -> hdf5.DiskRows:
        """The images; the SHA-256 of all is compared first, once in a process."""
        with self._lock, self._failures_named():  # other threads may verify other shards
            if not self._verified:
                place = Copy.of(self._path) if is_remote(self._path) else str(self._path)
                if (found := sha256_of(Path(place))) != self.shard.sha256:
                    raise self._other(f"its SHA-256 begins with {found[:12]}")
                self._verified = place
        rows, size = hdf5.open_rows(Path(self._verified), self._pair[0]), self._manifest.size
        if rows.shape != (self.shard.images, size, size, 3):
            raise self._other(f"it holds images {rows.shape}")
        return rows

    def damage(self) -> str:
        """The reason why it cannot be used, all of which is read; "" where it can."""
        try:
            self.require()
            self.open()
        except _DamagedError as error:
            return str(error).removesuffix(f": {_MEND}")
        return ""

    @cached_property
    def listing(self) -> Listing:
        """Labels and names; a remote shard is not copied for these."""
        with self._failures_named(), locate(self._path).stream() as file:
            found, manifest = hdf5.read_labels(self._path, file, self._pair), self._manifest
        same = found.classes == manifest.classes and found.preprocess == manifest.preprocess
        if not same or len(found) != self.shard.images:
            raise self._other(f"it holds {counted(len(found), 'image')} of others")
        return found

    def digests(self) -> Digests:
        """The digests of its images; likewise."""
        with self._failures_named(), locate(self._path).stream() as file:
            return hdf5.read_digests(self._path, file, self._pair)

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        """A block that reads the file; a disk, a store or a network may be mended."""
        try:
            yield
        except FileNotFoundError as error:
            raise _DamagedError(
                f"{printable(self._path)}: the shard is missing: {_MEND}"
            ) from error
        except OSError as error:
            raise DataError(f"{printable(self._path)}: cannot be read: {reason(error)}") from error

    def _other(self, why: str) -> DataError:
        shown = printable(self._path)
        return _DamagedError(f"{shown}: is not the shard that was packed: {why}: {_MEND}")


class PackedRows(Rows):
    """The images of one split uint8 (m, size, size, 3), with what is used of an array.

    Shards are opened when they are read, and up to ``OPEN`` of them stay open. Slices may be asked
    for by several threads. Raises DataError for a shard that is missing, damaged or another one.
    ``left_out`` names shards that are passed over.
    """

    chunk_rows = BLOCK

    def __init__(
        self, folder: Path, manifest: Manifest, split: Split, left_out: Collection[str] = ()
    ) -> None:
        self.folder, self.split, self.left_out = folder, split, tuple(left_out)
        self._manifest = manifest
        shards = [each for each in manifest.splits[split] if each.file not in left_out]
        self._files = [_ShardFile(folder, manifest, split, shard) for shard in shards]
        self._ends = np.cumsum([shard.images for shard in shards])
        m = sum(shard.images for shard in shards)
        self.shape: tuple[int, ...] = (m, manifest.size, manifest.size, 3)
        self._open: dict[int, hdf5.DiskRows] = {}  # the latest is the last
        self._lock = threading.Lock()

    def read_into(self, start: int, images: Pixels) -> None:
        """Fill an array of images with those from ``start`` on."""
        done = 0
        for number, rows in self._pieces(start, start + len(images)):
            count = rows.stop - rows.start
            self._opened(number).read_into(rows.start, images[done : done + count])
            done += count

    def labels(self, start: int, stop: int) -> Labels:
        """The labels of some images, indices of the classes, int64."""
        pieces = self._pieces(start, stop)
        labels = [self._files[number].listing.labels[rows] for number, rows in pieces]
        return np.concatenate([np.empty(0, np.int64), *labels])

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        """Consecutive images as shards with rows of each."""
        while start < stop:
            number = int(np.searchsorted(self._ends, start, side="right"))
            end = int(self._ends[number])
            first, last = end - self._files[number].shard.images, min(stop, end)
            yield number, slice(start - first, last - first)
            start = last

    def _opened(self, number: int) -> hdf5.DiskRows:
        with self._lock:
            if number in self._open:
                self._open[number] = self._open.pop(number)
                return self._open[number]
        rows = self._files[number].open()
        with self._lock:
            self._open[number] = rows
            while len(self._open) > OPEN:
                del self._open[next(iter(self._open))]
        return rows

    def label_of(self, name: str) -> int:
        """The label of a class; 1 where the source named none."""
        classes = self._manifest.classes
        return classes.index(name) if name in classes else 1

    def names(self) -> tuple[str, ...] | None:
        """The images' names before they were packed; None where they had none, or are too many."""
        if len(self) > NAMED:
            return None
        known = self._of_all(lambda file: file.listing.called)
        return tuple(chain.from_iterable(known)) if known else None

    def groups(self) -> Labels | None:
        """Which images stay together; None where that was not packed."""
        known = self._of_all(lambda file: file.listing.groups)
        return np.concatenate(known) if known else None

    @cached_property
    def digests(self) -> Digests:
        """The digests of all images."""
        columns = zip(*(file.digests() for file in self._files), strict=True)
        return Digests(*map(np.concatenate, columns))

    def _of_all(self, of: Callable[[_ShardFile], Value | None]) -> list[Value]:
        """What each shard says; nothing if one of them says nothing."""
        known = [each for file in self._files if (each := of(file)) is not None]
        return known if len(known) == len(self._files) else []

    def require_files(self) -> None:
        """Raise DataError unless every shard is there with its size."""
        for file in self._files:
            file.require()

    def damaged(self) -> dict[str, str]:
        """The names of shards that cannot be used, with the reason; all of them are read."""
        return {file.shard.file: why for file in self._files if (why := file.damage())}


def require_folder(output: Path, taken: Sequence[Path]) -> None:
    """Make the folder; raise OutputError where it cannot be a packed one, or is read itself.

    Stores have no folders to make.
    """
    shown = printable(output)
    names = _names_in(output, make=not is_remote(output))
    if any(same(path, output) for path in taken):
        raise OutputError(f"{shown}: is what is read: give another output name")
    if MANIFEST not in names and any(not name.startswith(".") for name in names):
        raise OutputError(f"{shown}: holds other files: give a new folder, or an empty one")
    require_writable(output / MANIFEST)
    for name in names:
        if name.startswith(".catclf-") and name.endswith(".tmp"):  # of a run that was killed
            locate(output / name).remove()


def _names_in(output: Path, make: bool = False) -> list[str]:
    """The names in a folder; a store that cannot be reached is not taken for an empty one."""
    try:
        if make:
            output.mkdir(exist_ok=True)
        return locate(output).names()
    except OSError as error:
        raise OutputError(f"{printable(output)}: cannot be a folder: {reason(error)}") from error


@dataclass
class Packed:
    """The result of packing one split: labels, and the number of shards that were there already."""

    labels: Labels
    shards: int
    kept: int


class Made(NamedTuple):
    """A shard, None where no image can be read; whether it was there; and the rows left out."""

    shard: Shard | None
    was_there: bool
    skipped: list[tuple[int, str]]


@dataclass(frozen=True)
class Job:
    """One shard to be made: its number, and rows ``first`` … ``stop`` - 1 of the listing.

    ``older`` is the shard of an earlier run for the same rows.
    """

    output: Path
    split: Split
    compression: str
    number: int
    first: int
    stop: int
    older: Shard | None = None

    def done(self, rows: Listing) -> Made:
        """Write the shard of ``rows``, or keep the older one. Raises DataError and OutputError."""
        name, older = f"{self.split}-{self.number:05d}.h5", self.older
        source, shard = _digest(rows, self.compression), None
        if older is not None and (older.source, older.file) == (source, name):
            made = Manifest(rows.classes, rows.preprocess)
            there = _ShardFile(self.output, made, self.split, older)
            if (not older.skipped or rows.options.skip_bad) and not there.damage():
                return Made(older, True, [])
        path, rows = self.output / name, rows.with_options(every_class=False)
        with suppress(hdf5.NoImagesError), replacing_path(path, kept=False) as file:
            splits, digester = {self.split: rows}, Digester(near=True)
            m = len(hdf5.fill(file, splits, self.compression, digester=digester)[self.split])
            size, sha256, skipped = file.stat().st_size, sha256_of(file), len(rows) - m
            shard = Shard(name, m, size, sha256, self.first, self.stop, source, skipped)
        return Made(shard, False, [(self.first + row, why) for row, why in rows.skipped])


# Does jobs of a split in any order; those of a listing that is cut into them.
Workers = Callable[[Listing, Split, Sequence[Job]], Iterator[Made]]


def write_folder(
    output: Path,
    splits: Mapping[Split, Listing],
    compression: str = "none",
    *,
    shard_images: int | None = None,
    workers: Workers | None = None,
) -> dict[Split, Packed]:
    """Write the splits as shards of ``shard_images`` rows (SHARD), each whole, and a manifest.

    ``workers`` write the shards in the place of this process. Raises DataError and OutputError, and
    what ``workers`` raise; what was written by then is kept by the next run.
    """
    first = next(iter(splits.values()))
    hdf5.classes_of(splits)
    older = load(output) if MANIFEST in _names_in(output) else None
    manifest = Manifest(first.classes, first.preprocess)
    if older is None:
        manifest.write(output)  # by which a run that is stopped before its first shard goes on
    unchanged = older and (older.classes, older.preprocess) == (first.classes, first.preprocess)
    before = older.splits if older is not None and unchanged else {}
    results = {}
    for split, listing in splits.items():
        shards = before.get(split, [])
        known = {(each.first, each.next): each for each in shards}
        jobs = [
            Job(output, split, compression, number, *ends, known.get(ends))
            for number, rows in enumerate(cut(slice(0, len(listing)), shard_images or SHARD))
            for ends in [(rows.start, rows.stop)]
        ]
        made = (workers or _in_turn)(listing, split, jobs)
        results[split] = _pack(output, manifest, split, listing, made, shards)
    manifest.complete = True
    manifest.write(output)
    for name in (older.files() if older else set()) - manifest.files():
        with suppress(OSError):
            locate(output / name).remove()
    return results


def _in_turn(listing: Listing, split: Split, jobs: Sequence[Job]) -> Iterator[Made]:
    report, m = listing.options.on_progress, len(listing)
    for job in jobs:
        rows = listing.select(np.arange(job.first, job.stop))
        if report is not None:
            told = partial(
                lambda report, first, done, _: report(first + done, m), report, job.first
            )
            rows = rows.with_options(on_progress=told)
        yield job.done(rows)


def _pack(
    output: Path,
    manifest: Manifest,
    split: Split,
    listing: Listing,
    made: Iterable[Made],
    before: Sequence[Shard],
) -> Packed:
    """Note each shard in the manifest as it is made. Raises DataError."""
    shards, kept = list[Shard](), 0
    manifest.splits[split] = shards
    for shard, was_there, skipped in made:
        listing.skipped += skipped
        kept += was_there
        if shard is None:
            continue
        insort(shards, shard, key=lambda each: each.first)
        if not was_there:  # until then the manifest of the earlier run knows more shards
            files = {each.file for each in shards}
            waiting = [each for each in before if each.file not in files]
            replace(manifest, splits=manifest.splits | {split: shards + waiting}).write(output)
    listing.skipped.sort()
    if not shards:
        why = f": {listing.left_out()}" if listing.skipped else ""
        raise DataError(f"{listing.shown}: has no images to write{why}")
    rows = PackedRows(output, manifest, split)
    labels = rows.labels(0, len(rows))
    for label in sorted(set(listing.labels.tolist()) - set(labels.tolist())):
        name = printable(listing.classes[label]) if listing.classes else str(label)
        raise DataError(f"{listing.shown}: no image of class {name} can be read")
    return Packed(labels, len(shards), kept)


def _digest(rows: Listing, compression: str) -> str:
    """The hash of rows as they are listed: labels, names, and pixels or the files' states."""
    facts: tuple[Any, ...] = (len(rows), compression)
    if rows.items is not None:
        facts += rows.options.limits, decoders()
    digest = hashlib.sha256(repr(facts).encode())
    digest.update(rows.labels.astype("<i8").tobytes())
    names = rows.names()
    digest.update(repr(list(names) if names else None).encode())
    if rows.groups is not None:
        digest.update(rows.groups.astype("<i8").tobytes())
    if rows.items is None:
        for some in cut(slice(0, len(rows)), _HASHED):
            digest.update(np.ascontiguousarray(rows.pixels[some]).data)
        return digest.hexdigest()
    for row, name in enumerate(rows.items.names):
        with suppress(OSError):
            remote = rows.options.remote_rows and is_remote(name)
            state = locate(name).version() if remote else rows.items.state(row)
            digest.update(repr(state).encode())
    return digest.hexdigest()
