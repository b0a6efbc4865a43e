"""Writing packed folders, shard by shard: one that was stopped goes on where it was.

Which images a shard holds follows from the source alone, so a rerun keeps each shard that is there
with the hash in the manifest and was made of the same rows of the source, and writes the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from catclf.datasets.dataset import Labels, Part, is_packed, pixel_digest
from catclf.datasets.hdf5_write import write
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
from catclf.maths import Pixels
from catclf.text import printable, reason

_LOOKED_AT = 512  # images read at a time to be hashed


def require_folder(output: Path, taken: Sequence[Path]) -> None:
    """Make the folder; raise OutputError where it cannot be a packed one, or is read itself."""
    shown = printable(output)
    try:
        output.mkdir(exist_ok=True)
        others = [path.name for path in output.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise OutputError(f"{shown}: cannot be a folder: {reason(error)}") from error
    if any(path.exists() and path.samefile(output) for path in taken):
        raise OutputError(f"{shown}: is what is read: give another output name")
    if others and not is_packed(output):
        raise OutputError(f"{shown}: holds other files: give a new folder, or an empty one")


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
        self.preprocess, self.notes = self.whole.preprocess, self.whole.notes

    def blocks(self) -> Iterator[tuple[Labels, Pixels]]:
        return self.stream

    def names(self) -> Sequence[str] | None:
        return self.whole.names()


@dataclass
class _Rows:
    """The rows of a source from some row on, handed out in shards of images."""

    source: Source
    read: Source | None = None  # the rows of ``source`` that are being read
    _blocks: Iterator[tuple[Labels, Pixels]] = field(default_factory=lambda: iter(()))
    _rest: tuple[Labels, Pixels] | None = None
    _at: int = -1

    def shard(self, first: int, images: int) -> tuple[Iterator[tuple[Labels, Pixels]], list[int]]:
        """Blocks of up to so many images from row ``first`` on, and then the row after them."""
        if self._at != first:
            self._begin(first)
        after = [len(self.source.labels)]

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
        m, source = len(self.source.labels), self.source
        if isinstance(source, FileSource):
            source = replace(source, reading=replace(source.reading, every_class=False))
        rest = rows_of(source, np.arange(first, m)) if first else source
        self._rest = None
        self._blocks = ((rows + first, pixels) for rows, pixels in rest.blocks())
        self.read = rest

    def _next(self) -> tuple[Labels, Pixels] | None:
        block, self._rest = self._rest, None
        return block if block is not None else next(self._blocks, None)


def write_folder(
    output: Path,
    parts: Mapping[Part, Source],
    compression: str = "none",
    *,
    shard_images: int | None = None,
) -> dict[Part, Packed]:
    """Write the parts as shards of ``shard_images`` (SHARD), each wholly or not, and a manifest.

    Raises DataError and OutputError; what was written by then is kept by the next run.
    """
    first = next(iter(parts.values()))
    if any(source.classes != first.classes for source in parts.values()):
        raise DataError(f"{printable(output)}: the parts have different classes")
    older = load(output) if is_packed(output) else None
    manifest = Manifest(first.classes, first.preprocess)
    same = older and (older.classes, older.preprocess) == (first.classes, first.preprocess)
    before = older.parts if older is not None and same else {}
    results = {}
    for part, source in parts.items():
        packing = _Packing(output, manifest, part, source, compression, shard_images or SHARD)
        results[part] = packing.run(before.get(part, PackedPart()).shards)
    manifest.complete = True
    manifest.write(output)
    for name in (older.files() if older else set()) - manifest.files():
        with suppress(OSError):
            (output / name).unlink()
    return results


@dataclass
class _Packing:
    """The work on one part."""

    output: Path
    manifest: Manifest
    part: Part
    source: Source
    compression: str
    shard_images: int

    def run(self, before: Sequence[Shard]) -> Packed:
        """Write each shard, or keep that of ``before``."""
        packed = self.manifest.parts[self.part] = PackedPart()
        rows, row, kept = _Rows(self.source), 0, 0
        older = {shard.first: shard for shard in before}
        while row < len(self.source.labels):
            shard = older.get(row)
            if shard is not None and self._is_right(shard, len(packed.shards)):
                kept += 1
            else:
                shard = self._written(rows, row, len(packed.shards))
            if shard is not None:
                packed.shards.append(shard)
                self.manifest.write(self.output)
            row = shard.next if shard else len(self.source.labels)
        if not packed.shards:
            raise DataError(f"{self.source.shown}: has no images to write")
        self._note_skipped(rows)
        images = PackedRows(self.output, self.manifest, self.part)
        labels = images.labels(0, len(images))
        self._require_every_class(labels)
        self._fingerprint(packed, images, labels)
        return Packed(labels, len(packed.shards), kept)

    def _is_right(self, shard: Shard, number: int) -> bool:
        """Whether a shard of an earlier run is what this run would write."""
        m, skips = len(self.source.labels), getattr(self.source, "reading", None)
        last = shard.next == m
        if shard.file != self._name(number) or not shard.first < shard.next <= m:
            return False
        if shard.images > self.shard_images or (shard.images < self.shard_images and not last):
            return False
        if shard.skipped and not (skips and skips.skip_bad):
            return False
        if shard.source != self._digest(shard.first, shard.next):
            return False
        path = self.output / shard.file
        with suppress(OSError):
            return path.stat().st_size == shard.bytes and sha256_of(path) == shard.sha256
        return False

    def _written(self, rows: _Rows, first: int, number: int) -> Shard | None:
        blocks, after = rows.shard(first, self.shard_images)
        try:
            head = next(blocks)
        except StopIteration:
            return None  # what is left cannot be read
        name = self._name(number)
        source = _ShardSource(self.source, chain([head], blocks))
        labels = write(self.output / name, {self.part: source}, self.compression)[self.part]
        path, stop = self.output / name, after[0]
        return Shard(
            name,
            len(labels),
            path.stat().st_size,
            sha256_of(path),
            first,
            stop,
            self._digest(first, stop),
            stop - first - len(labels),
        )

    def _name(self, number: int) -> str:
        return f"{self.part}-{number:05d}.h5"

    def _digest(self, first: int, stop: int) -> str:
        """The hash of rows as they are listed: labels, names, and pixels or the files' sizes."""
        digest = hashlib.sha256(repr((first, stop, self.compression)).encode())
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

    def _fingerprint(self, packed: PackedPart, images: PackedRows, labels: Labels) -> None:
        """Note the fingerprint that the data set has with the positive class chosen by itself."""
        with suppress(DataError):  # of several classes none is positive by itself
            positive = choose_positive(self.source, None)[0]
            classes = two_classes(self.source.classes, positive)
            digest: Any = pixel_digest(images.shape, classes)
            for start in range(0, len(images), _LOOKED_AT):
                digest.update(images[start : start + _LOOKED_AT].data)
            one = self.source.classes.index(positive) if self.source.classes else 1
            digest.update((labels == one).astype(np.uint8).data)
            packed.fingerprint, packed.fingerprint_classes = digest.hexdigest(), classes
