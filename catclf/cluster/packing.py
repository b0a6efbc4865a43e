"""Shards of a packed folder written by workers: counted first, so that no number depends on time.

Where unreadable images are left out, which rows a shard holds depends on those before it: workers
then decode all images once to find the unreadable ones, and once more to write them. They must see
the source, and the folder, under the same paths or URLs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from catclf.cluster.engine import Engine
from catclf.cluster.sent import Sender, Sent
from catclf.datasets import Reading
from catclf.datasets.dataset import Part
from catclf.datasets.manifest import Manifest, Shard
from catclf.datasets.packed_write import Packing, without_every_class
from catclf.datasets.sources import FileSource, Source, rows_of
from catclf.errors import CatclfError
from catclf.samples import cut
from catclf.storage.remote import absolute

COUNTED = 4096  # rows whose images a task looks at


class Skipped(NamedTuple):
    """A row whose image cannot be read, and why."""

    row: int
    why: str


@dataclass(frozen=True)
class Packers:
    """Workers that write the shards of ``path``; each has ``threads`` decoders (0: its cores)."""

    engine: Engine
    path: Path
    reading: Reading
    threads: int = 0

    def __call__(
        self, packing: Packing, older: Mapping[int, Shard]
    ) -> Iterator[tuple[Shard, bool]]:
        """As ``Packing.in_turn``, in the order in which they are done.

        A shard that fails is no reason not to write the others. Raises the last of such failures.
        """
        source = Sender(packing.source, self.path, packing.part, self._reading())
        whole = self._whole(packing, older, source)
        skipped = self._skipped(packing, source, whole)
        plan = planned(packing, whole, [each.row for each in skipped])
        if plan is None:  # the source has changed before them
            whole, skipped = {}, self._skipped(packing, source, {})
            plan = planned(packing, whole, [each.row for each in skipped]) or []
        if isinstance(packing.source, FileSource):
            packing.source.skipped[:] = skipped
        yield from ((shard, True) for shard in whole.values())
        done = sum(shard.next - shard.first for shard in whole.values())
        m = len(packing.source.labels)
        for shard in self._made(packing, source, plan):
            yield shard, False
            done += shard.next - shard.first
            if self.reading.on_progress:
                self.reading.on_progress(done, m)

    def _made(
        self, packing: Packing, source: Sender, plan: list[tuple[int, int, int]]
    ) -> Iterator[Shard]:
        where = _where(packing)
        tasks = [(source.rows(first, stop), *where, first, stop, n) for first, stop, n in plan]
        shown = [f"{source.shown}, images {first} to {stop - 1}" for first, stop, _ in plan]
        failure: CatclfError | None = None
        for _, result in self.engine.each(written, tasks, shown):
            if isinstance(result, CatclfError):
                failure = result
            elif result is not None:
                yield result
        if failure is not None:
            raise failure

    def _reading(self) -> Reading:
        return replace(self.reading, on_progress=None, encoder=None, workers=self.threads or None)

    def _whole(
        self, packing: Packing, older: Mapping[int, Shard], source: Sender
    ) -> dict[int, Shard]:
        """The shards of an earlier run, by their first rows, that are what this run would write."""
        numbered = sorted(older.values(), key=lambda shard: shard.file)
        known = [
            shard for shard in numbered if packing.suits(shard, _number_of(shard, packing.part))
        ]
        where = _where(packing)
        tasks = [(source.rows(each.first, each.next), *where, each) for each in known]
        kept = self.engine.run(is_whole, tasks, [shard.file for shard in known])
        return {shard.first: shard for shard, right in zip(known, kept, strict=True) if right}

    def _skipped(
        self, packing: Packing, source: Sender, whole: Mapping[int, Shard]
    ) -> list[Skipped]:
        """The rows that cannot be read, of those that are in no shard yet, and may be left out."""
        if not isinstance(packing.source, FileSource) or not packing.source.reading.skip_bad:
            return []
        tasks, row, m = list[tuple[Sent, int, int]](), 0, len(packing.source.labels)
        for shard in [*sorted(whole.values(), key=lambda each: each.first), None]:
            stop = shard.first if shard is not None else m
            for part in cut(slice(row, stop), COUNTED):
                tasks.append((source.rows(part.start, part.stop), part.start, part.stop))
            row = shard.next if shard is not None else m
        shown = [f"{source.shown}, images {start} to {stop - 1}" for _, start, stop in tasks]
        return [each for part in self.engine.run(unreadable, tasks, shown) for each in part]


def planned(
    packing: Packing, whole: Mapping[int, Shard], skipped: list[int]
) -> list[tuple[int, int, int]] | None:
    """First row, the row after the last, and number of each shard that is to be written.

    A shard has as many readable images as fit, and the unreadable ones up to the next readable.
    None where ``whole`` ones do not lie between those.
    """
    m, plan, row, number = len(packing.source.labels), list[tuple[int, int, int]](), 0, 0
    readable = np.setdiff1d(np.arange(m), np.asarray(skipped, np.int64), assume_unique=True)
    starts = sorted(whole)
    while row < m:
        if row in whole:
            if not packing.suits(whole[row], number):
                return None
            row = whole[row].next
        else:
            after = int(np.searchsorted(readable, row)) + packing.shard_images
            stop = int(readable[after]) if after < len(readable) else m
            following = bisect_right(starts, row)
            if following < len(starts) and starts[following] < stop:
                return None
            plan.append((row, stop, number))
            row = stop
        number += 1
    return plan


def unreadable(sent: Sent, start: int, stop: int) -> list[Skipped]:
    """The task that finds images which cannot be read among some rows. Raises DataError."""
    source, first = sent.opened()
    rows = rows_of(without_every_class(source), np.arange(start - first, stop - first))
    for _ in rows.blocks():
        pass
    assert isinstance(rows, FileSource)
    return [Skipped(start + row, why) for row, why in rows.skipped]


def written(
    sent: Sent,
    output: str,
    part: Part,
    compression: str,
    shard_images: int,
    start: int,
    stop: int,
    number: int,
) -> Shard | None:
    """The task that writes a shard. Raises DataError and OutputError."""
    source, first = sent.opened()
    packing = _packing(source, output, part, compression, shard_images)
    shard = packing.written(start - first, stop - first, number)
    return shard and replace(shard, first=shard.first + first, next=shard.next + first)


def is_whole(
    sent: Sent, output: str, part: Part, compression: str, shard_images: int, shard: Shard
) -> bool:
    """The task that looks whether a shard of an earlier run can stay. Raises DataError."""
    source, first = sent.opened()
    packing = _packing(source, output, part, compression, shard_images)
    return packing.is_whole(replace(shard, first=shard.first - first, next=shard.next - first))


def _where(packing: Packing) -> tuple[str, Part, str, int]:
    return absolute(packing.output), packing.part, packing.compression, packing.shard_images


def _packing(
    source: Source, output: str, part: Part, compression: str, shard_images: int
) -> Packing:
    manifest = Manifest(source.classes, source.preprocess)
    return Packing(Path(output), manifest, part, source, compression, shard_images)


def _number_of(shard: Shard, part: Part) -> int:
    """The number in a shard's name; -1 for a name of another kind, which suits no number."""
    digits = shard.file.removeprefix(f"{part}-").removesuffix(".h5")
    return int(digits) if digits.isascii() and digits.isdigit() else -1
