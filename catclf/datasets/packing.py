"""Writing packed folders: a shard is a fixed range of rows of a listing, and needs nothing else.

On disk or in a store: a shard is written and hashed on this machine, or on that of a worker, and
then put there whole. A rerun keeps each shard that is there with the hash in the manifest and was
made of the same rows, decoded alike, and writes the others.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from catclf.datasets.dataset import MANIFEST, Labels, Split
from catclf.datasets.digests import Digester, fingerprint
from catclf.datasets.hdf5_write import NoImagesError, fill
from catclf.datasets.listing import Listing, choose_positive, two_classes
from catclf.datasets.packed import (
    SHARD,
    Manifest,
    PackedRows,
    PackedSplit,
    Shard,
    load,
    sha256_of,
)
from catclf.errors import DataError, OutputError
from catclf.images.decode import decoders
from catclf.storage.files import replacing_path, require_writable
from catclf.storage.location import is_remote, locate, same
from catclf.text import printable, reason

_LOOKED_AT = 512  # images read at a time to be hashed


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
        name = f"{self.split}-{self.number:05d}.h5"
        source = _digest(rows, self.compression)
        if self.older is not None and self.older.source == source:
            may_skip = not self.older.skipped or rows.options.skip_bad
            if may_skip and self.older.file == name and self._is_whole(rows, self.older):
                return Made(self.older, True, [])
        path, rows = self.output / name, rows.with_options(every_class=False)
        try:
            with replacing_path(path, kept=False) as file:
                labels = fill(
                    file, path, {self.split: rows}, self.compression, digester=Digester(near=True)
                )[self.split]
                size, sha256 = file.stat().st_size, sha256_of(file)
        except NoImagesError:
            return Made(None, False, self._skipped(rows))
        m, skipped = len(labels), len(rows) - len(labels)
        shard = Shard(name, m, size, sha256, self.first, self.stop, source, skipped)
        return Made(shard, False, self._skipped(rows))

    def _is_whole(self, rows: Listing, shard: Shard) -> bool:
        manifest = Manifest(rows.classes, rows.preprocess, {self.split: PackedSplit([shard])})
        return not PackedRows(self.output, manifest, self.split).damaged()

    def _skipped(self, rows: Listing) -> list[tuple[int, str]]:
        return [(self.first + row, why) for row, why in rows.skipped]


class Made(NamedTuple):
    """A shard, None where no image can be read; whether it was there; and the rows left out."""

    shard: Shard | None
    was_there: bool
    skipped: list[tuple[int, str]]


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
    if any(listing.classes != first.classes for listing in splits.values()):
        raise DataError(f"{printable(output)}: the splits have different classes")
    older = load(output) if MANIFEST in _names_in(output) else None
    manifest = Manifest(first.classes, first.preprocess)
    if older is None:
        manifest.write(output)  # by which a run that is stopped before its first shard goes on
    unchanged = older and (older.classes, older.preprocess) == (first.classes, first.preprocess)
    before = older.splits if older is not None and unchanged else {}
    results = {}
    for split, listing in splits.items():
        jobs = _jobs(output, split, len(listing), compression, shard_images or SHARD, before)
        made = (workers or _in_turn)(listing, split, jobs)
        results[split] = _pack(output, manifest, split, listing, made, before.get(split))
    manifest.complete = True
    manifest.write(output)
    for name in (older.files() if older else set()) - manifest.files():
        with suppress(OSError):
            locate(output / name).remove()
    return results


def _jobs(
    output: Path,
    split: Split,
    m: int,
    compression: str,
    shard_images: int,
    before: Mapping[Split, PackedSplit],
) -> list[Job]:
    older = {(each.first, each.next): each for each in before.get(split, PackedSplit()).shards}
    jobs = []
    for number, first in enumerate(range(0, m, shard_images)):
        stop = min(first + shard_images, m)
        jobs.append(Job(output, split, compression, number, first, stop, older.get((first, stop))))
    return jobs


def _in_turn(listing: Listing, split: Split, jobs: Sequence[Job]) -> Iterator[Made]:
    report, m = listing.options.on_progress, len(listing)
    for job in jobs:
        rows = listing.select(np.arange(job.first, job.stop))
        if report is not None:
            rows = rows.with_options(on_progress=_from(job.first, m, report))
        yield job.done(rows)


def _from(first: int, m: int, report: Callable[[int, int], None]) -> Callable[[int, int], None]:
    return lambda done, total: report(first + done, m)


def _pack(
    output: Path,
    manifest: Manifest,
    split: Split,
    listing: Listing,
    made: Iterable[Made],
    before: PackedSplit | None,
) -> Packed:
    """Note each shard in the manifest as it is made. Raises DataError."""
    packed, kept = PackedSplit(), 0
    manifest.splits[split] = packed
    for shard, was_there, skipped in made:
        listing.skipped += skipped
        kept += was_there
        if shard is not None:
            insort(packed.shards, shard, key=lambda each: each.first)
            if not was_there:  # until then the manifest of the earlier run knows more shards
                _note(output, manifest, split, packed, before)
    listing.skipped.sort()
    if not packed.shards:
        why = f": {listing.left_out()}" if listing.skipped else ""
        raise DataError(f"{listing.shown}: has no images to write{why}")
    rows = PackedRows(output, manifest, split)
    labels = rows.labels(0, len(rows))
    for label in sorted(set(listing.labels.tolist()) - set(labels.tolist())):
        name = printable(listing.classes[label]) if listing.classes else str(label)
        raise DataError(f"{listing.shown}: no image of class {name} can be read")
    _fingerprint(packed, listing, rows, labels)
    return Packed(labels, len(packed.shards), kept)


def _note(
    output: Path,
    manifest: Manifest,
    split: Split,
    packed: PackedSplit,
    before: PackedSplit | None,
) -> None:
    """Write the manifest, with the shards of an earlier run that may stay."""
    files = {each.file for each in packed.shards}
    waiting = [each for each in (before.shards if before else []) if each.file not in files]
    splits = manifest.splits | {split: PackedSplit([*packed.shards, *waiting])}
    replace(manifest, splits=splits).write(output)


def _fingerprint(packed: PackedSplit, listing: Listing, rows: PackedRows, labels: Labels) -> None:
    """Note the fingerprint, unless no class is positive by itself, of several."""
    digests = rows.digests
    with suppress(DataError):
        positive = choose_positive(listing, None)[0]
        index = listing.classes.index(positive) if listing.classes else 1
        classes, size = two_classes(listing.classes, positive), listing.preprocess.size
        if digests is not None:
            packed.fingerprint = fingerprint(digests.exact, labels == index, size, classes)
            packed.fingerprint_classes = classes


def _digest(rows: Listing, compression: str) -> str:
    """The hash of rows as they are listed: labels, names, and pixels or the files' sizes."""
    facts: tuple[Any, ...] = (len(rows), compression)
    if rows.items is not None:
        facts += rows.options.limits, decoders()
    digest = hashlib.sha256(repr(facts).encode())
    digest.update(rows.labels.astype("<i8").tobytes())
    names = rows.names()
    digest.update(repr(list(names) if names else None).encode())
    if rows.groups is not None:
        digest.update(rows.groups.astype("<i8").tobytes())
    if rows.items is not None:
        for row in range(len(rows)):
            with suppress(OSError):
                digest.update(repr(rows.items.state(row)).encode())
    else:
        for start in range(0, len(rows), _LOOKED_AT):
            digest.update(np.ascontiguousarray(rows.pixels[start : start + _LOOKED_AT]).data)
    return digest.hexdigest()
