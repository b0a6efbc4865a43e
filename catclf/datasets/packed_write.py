"""Writing packed folders, shard by shard: one that was stopped goes on where it was.

On disk or in a store: a shard is written and hashed on this machine, and then put there whole.
Which images a shard holds follows from the source alone, so a rerun keeps each shard that is there
with the hash in the manifest and was made of the same rows of the source, and writes the others.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np

from catclf.datasets.dataset import MANIFEST, Labels, Part
from catclf.datasets.digests import Digester, fingerprint
from catclf.datasets.hdf5_write import fill
from catclf.datasets.manifest import (
    SHARD,
    Manifest,
    PackedPart,
    Shard,
    load,
    sha256_of,
)
from catclf.datasets.packed import PackedRows
from catclf.datasets.sources import (
    ArraySource,
    FileSource,
    Source,
    choose_positive,
    rows_of,
    two_classes,
)
from catclf.errors import DataError, OutputError
from catclf.images.decode import decoders
from catclf.maths import Pixels
from catclf.storage.files import replacing_path, require_writable, same
from catclf.storage.remote import is_remote, names_in, remove
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


def _names_in(output: Path, make: bool = False) -> list[str]:
    """The names in a folder; a store that cannot be reached is not taken for an empty one."""
    try:
        if make:
            output.mkdir(exist_ok=True)
        return names_in(output)
    except OSError as error:
        raise OutputError(f"{printable(output)}: cannot be a folder: {reason(error)}") from error


@dataclass
class Packed:
    """The result of packing one part: labels, and the number of shards that were there already."""

    labels: Labels
    shards: int
    kept: int


@dataclass
class _ShardSource:
    """The rows of one shard as a source of their own, read as they come."""

    whole: Source
    stream: Iterator[tuple[Labels, Pixels]]

    def __post_init__(self) -> None:
        self.shown, self.name = self.whole.shown, self.whole.name
        self.classes, self.labels = self.whole.classes, self.whole.labels
        self.preprocess = self.whole.preprocess
        self.notes, self.damage = self.whole.notes, self.whole.damage

    def blocks(self) -> Iterator[tuple[Labels, Pixels]]:
        return self.stream

    def names(self) -> Sequence[str] | None:
        return self.whole.names()


@dataclass
class _Rows:
    """The rows of a source from some row up to ``stop``, handed out in shards of images."""

    source: Source
    stop: int
    read: Source | None = None  # the rows of ``source`` that are being read
    _blocks: Iterator[tuple[Labels, Pixels]] = field(default_factory=lambda: iter(()))
    _rest: tuple[Labels, Pixels] | None = None
    _at: int = -1

    def shard(self, first: int, images: int) -> tuple[Iterator[tuple[Labels, Pixels]], list[int]]:
        """Blocks of up to so many images from row ``first`` on, and then the row after them."""
        if self._at != first:
            self._begin(first)
        after = [self.stop]

        def blocks() -> Iterator[tuple[Labels, Pixels]]:
            left = images
            while left and (block := self._next()) is not None:
                rows, pixels = block
                if len(rows) > left:
                    self._rest = rows[left:], pixels[left:]
                    rows, pixels = rows[:left], pixels[:left]
                left -= len(rows)
                yield rows, pixels
            if (following := self._next()) is not None:
                self._rest = following
                after[0] = int(following[0][0])
            self._at = after[0]

        return blocks(), after

    def _begin(self, first: int) -> None:
        rest = without_every_class(self.source)
        if first or self.stop < len(rest.labels):
            rest = rows_of(rest, np.arange(first, self.stop))
        self._rest = None
        self._blocks = ((rows + first, pixels) for rows, pixels in rest.blocks())
        self.read = rest

    def _next(self) -> tuple[Labels, Pixels] | None:
        block, self._rest = self._rest, None
        return block if block is not None else next(self._blocks, None)


def without_every_class(source: Source) -> Source:
    """The source, some of whose rows may have no image of a class that can be read."""
    if isinstance(source, FileSource):
        return replace(source, reading=replace(source.reading, every_class=False))
    return source


def write_folder(
    output: Path,
    parts: Mapping[Part, Source],
    compression: str = "none",
    *,
    shard_images: int | None = None,
    elsewhere: Elsewhere | None = None,
) -> dict[Part, Packed]:
    """Write the parts as shards of ``shard_images`` (SHARD), each wholly or not, and a manifest.

    ``elsewhere`` has the shards written by others. Raises DataError and OutputError, and what
    ``elsewhere`` raises; what was written by then is kept by the next run.
    """
    first = next(iter(parts.values()))
    if any(source.classes != first.classes for source in parts.values()):
        raise DataError(f"{printable(output)}: the parts have different classes")
    older = load(output) if MANIFEST in _names_in(output) else None
    manifest = Manifest(first.classes, first.preprocess)
    if older is None:
        manifest.write(output)  # by which a run that is stopped before its first shard goes on
    unchanged = older and (older.classes, older.preprocess) == (first.classes, first.preprocess)
    before = older.parts if older is not None and unchanged else {}
    results = {}
    for part, source in parts.items():
        packing = Packing(output, manifest, part, source, compression, shard_images or SHARD)
        results[part] = packing.run(before.get(part, PackedPart()), elsewhere)
    manifest.complete = True
    manifest.write(output)
    for name in (older.files() if older else set()) - manifest.files():
        with suppress(OSError):
            remove(output / name)
    return results


@dataclass
class Packing:
    """The work on one part."""

    output: Path
    manifest: Manifest
    part: Part
    source: Source
    compression: str
    shard_images: int
    _passing: Digester | None = None  # of the images that have passed here, all in their order

    def run(self, before: PackedPart, elsewhere: Elsewhere | None = None) -> Packed:
        """Write each shard, or keep that of ``before``."""
        packed, kept = PackedPart(), 0
        self.manifest.parts[self.part] = packed
        older = {shard.first: shard for shard in before.shards}
        for shard, was_there in (elsewhere or Packing.in_turn)(self, older):
            kept += was_there
            insort(packed.shards, shard, key=lambda each: each.first)
            if not was_there:  # until then the manifest of the earlier run knows more shards
                self._write_manifest(packed, before)
        if not packed.shards:
            raise DataError(f"{self.source.shown}: has no images to write")
        each = [self._rows_of(shard).labels(0, shard.images) for shard in packed.shards]
        labels = np.concatenate(each)
        self._require_every_class(labels)
        self._fingerprint(packed, before, labels)
        return Packed(labels, len(packed.shards), kept)

    def _write_manifest(self, packed: PackedPart, before: PackedPart) -> None:
        """Write it with the shards of an earlier run that may stay, though not looked at yet."""
        last, files = packed.shards[-1].next, {each.file for each in packed.shards}
        later = (each for each in before.shards if each.first >= last)
        waiting = [each for each in later if each.file not in files]
        parts = self.manifest.parts | {self.part: PackedPart([*packed.shards, *waiting])}
        replace(self.manifest, parts=parts).write(self.output)

    def in_turn(self, older: Mapping[int, Shard]) -> Iterator[tuple[Shard, bool]]:
        """Each shard, and whether it was there already."""
        rows, row, number = _Rows(self.source, len(self.source.labels)), 0, 0
        self._passing = Digester()
        while row < len(self.source.labels):
            shard = older.get(row)
            kept = shard is not None and self._keeps(shard, number)
            if not kept:
                shard = self._written(rows, row, number)
            if shard is None:
                break
            yield shard, kept
            row, number = shard.next, number + 1
        self._note_skipped(rows)

    def suits(self, shard: Shard, number: int) -> bool:
        """Whether this run would write a shard of those rows, and of that many images."""
        m, skips = len(self.source.labels), getattr(self.source, "reading", None)
        last = shard.next == m
        if shard.file != self._name(number) or not shard.first < shard.next <= m:
            return False
        if shard.images > self.shard_images or (shard.images < self.shard_images and not last):
            return False
        return not shard.skipped or bool(skips and skips.skip_bad)

    def is_whole(self, shard: Shard) -> bool:
        """Whether a shard is there with its bytes, and was made of rows as they are now."""
        return self._whole(shard) is not None

    def _whole(self, shard: Shard) -> PackedRows | None:
        """The images of such a shard, of which a copy is here then if it is in a store."""
        if shard.source != self._digest(shard.first, shard.next):
            return None
        images = self._rows_of(shard)
        return None if images.damaged() else images

    def _keeps(self, shard: Shard, number: int) -> bool:
        images = self._whole(shard) if self.suits(shard, number) else None
        if images is not None and self._passing is not None:
            _pass(images, self._passing)
        return images is not None

    def _rows_of(self, shard: Shard) -> PackedRows:
        """The images of one shard: a copy of it ends with them, so that few are here at a time."""
        one = replace(self.manifest, parts={self.part: PackedPart([shard])})
        return PackedRows(self.output, one, self.part)

    def written(self, first: int, stop: int, number: int) -> Shard | None:
        """The shard of some rows, which is written; None if none of them can be read."""
        return self._written(_Rows(self.source, stop), first, number)

    def _written(self, rows: _Rows, first: int, number: int) -> Shard | None:
        blocks, after = rows.shard(first, self.shard_images)
        try:
            head = next(blocks)
        except StopIteration:
            return None  # what is left cannot be read
        name = self._name(number)
        path, source = self.output / name, _ShardSource(self.source, chain([head], blocks))
        if self._passing is not None:
            source.stream = _passed(source.stream, self._passing)
        with replacing_path(path, kept=False) as file:
            labels = fill(file, path, {self.part: source}, self.compression)[self.part]
            size, sha256 = file.stat().st_size, sha256_of(file)
        stop = after[0]
        return Shard(
            name,
            len(labels),
            size,
            sha256,
            first,
            stop,
            self._digest(first, stop),
            stop - first - len(labels),
        )

    def _name(self, number: int) -> str:
        return f"{self.part}-{number:05d}.h5"

    def _digest(self, first: int, stop: int) -> str:
        """The hash of rows as they are listed: labels, names, and pixels or the files' sizes."""
        decoding: tuple[object, ...] = ()
        if isinstance(self.source, FileSource):
            decoding = self.source.reading.limits, decoders()
        digest = hashlib.sha256(repr((stop - first, self.compression, decoding)).encode())
        digest.update(self.source.labels[first:stop].astype("<i8").tobytes())
        names = self.source.names()
        digest.update(repr(list(names[first:stop]) if names else None).encode())
        if isinstance(self.source, FileSource):
            for row in range(first, stop):
                with suppress(OSError):
                    digest.update(repr(self.source.state(row)).encode())
        elif isinstance(self.source, ArraySource):
            for start in range(first, stop, _LOOKED_AT):
                pixels = self.source.pixels[start : min(start + _LOOKED_AT, stop)]
                digest.update(np.ascontiguousarray(pixels).data)
        return digest.hexdigest()

    def _note_skipped(self, rows: _Rows) -> None:
        """Hand on what was left out by the part of the source that was read."""
        rest = rows.read
        if isinstance(rest, FileSource) and isinstance(self.source, FileSource):
            begun = len(self.source.files) - len(rest.files)
            self.source.skipped[:] = [(row + begun, why) for row, why in rest.skipped]

    def _require_every_class(self, labels: Labels) -> None:
        there = set(labels.tolist())
        for label in sorted(set(self.source.labels.tolist()) - there):
            name = printable(self.source.classes[label]) if self.source.classes else str(label)
            raise DataError(f"{self.source.shown}: no image of class {name} can be read")

    def _fingerprint(self, packed: PackedPart, before: PackedPart, labels: Labels) -> None:
        """Note the fingerprint; shards are read again unless all images have passed here."""
        made = self._passing
        if made is None or len(made) != packed.images:
            if packed.shards == before.shards and before.fingerprint:
                packed.fingerprint = before.fingerprint
                packed.fingerprint_classes = before.fingerprint_classes
                return
            made = Digester()
            for shard in packed.shards:
                _pass(self._rows_of(shard), made)
        source = self.source
        with suppress(DataError):  # of several classes none is positive by itself
            positive = choose_positive(source, None)[0]
            classes, size = two_classes(source.classes, positive), source.preprocess.size
            index = source.classes.index(positive) if source.classes else 1
            exact = made.result().exact
            packed.fingerprint = fingerprint(exact, labels == index, size, classes)
            packed.fingerprint_classes = classes


def _pass(images: PackedRows, digester: Digester) -> None:
    """Measure images that are read for that."""
    for start in range(0, len(images), _LOOKED_AT):
        digester.add(images[start : start + _LOOKED_AT])


def _passed(
    blocks: Iterator[tuple[Labels, Pixels]], digester: Digester
) -> Iterator[tuple[Labels, Pixels]]:
    """Blocks of images, which are measured as they pass."""
    for rows, images in blocks:
        digester.add(images)
        yield rows, images


# Gives the shards of a part in any order, and whether each was there already; the shards of an
# earlier run are known by their first rows.
Elsewhere = Callable[[Packing, Mapping[int, Shard]], Iterator[tuple[Shard, bool]]]
