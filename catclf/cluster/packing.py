"""Shards of a packed folder written by workers, each of them from its own rows alone.

Image files and members of archives are sent as names and places, so that no worker lists a source,
and one that is remote is copied by the workers that read of it alone. Sources of stored pixels are
opened by each worker. Workers must see the source, and the folder, under the same paths or URLs.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import compress, decompress

import numpy as np

from catclf.cluster.engine import Engine
from catclf.datasets import Listing, ReadOptions, Split, is_packed, open_source
from catclf.datasets.dataset import MANIFEST
from catclf.datasets.listing import Items
from catclf.datasets.open import files_of
from catclf.datasets.packed import Job, Made
from catclf.errors import CatclfError, DataError
from catclf.storage.location import AnyPath, locate
from catclf.text import printable

_State = tuple[int, ...] | None


@dataclass(frozen=True)
class Packers:
    """Workers that write the shards of ``path``; each has ``threads`` decoders (0: its cores)."""

    engine: Engine
    path: Path
    threads: int = 0

    def done(self, listing: Listing, split: Split, jobs: Sequence[Job]) -> Iterator[Made]:
        """The shards in the order in which they are done.

        A shard that fails is no reason not to write the others. Raises the last of such failures.
        """
        report, m = listing.options.on_progress, len(listing)
        plain = listing.with_options(on_progress=None, encoder=None, workers=self.threads or None)
        rows_of = sender(plain, self.path, split)
        output = Path(locate(jobs[0].output).absolute) if jobs else Path()
        tasks = [(rows_of(job.first, job.stop), replace(job, output=output)) for job in jobs]
        shown = [f"{listing.shown}, images {job.first} to {job.stop - 1}" for job in jobs]
        failure: CatclfError | None = None
        done = 0
        for number, result in self.engine.each(made, tasks, shown):
            if isinstance(result, CatclfError):
                failure = result
                continue
            yield result
            done += jobs[number].stop - jobs[number].first
            if report is not None:
                report(done, m)
        if failure is not None:
            raise failure


@dataclass(frozen=True)
class Files:
    """Rows of images to be decoded: a pickled listing of them, packed.

    The ``states`` of the first and the last file, and of all archives, tell whether a worker sees
    the same ones.
    """

    content: bytes
    states: tuple[_State, ...]

    def opened(self) -> Listing:
        """The rows. Raises DataError where this worker sees other files."""
        # Pickled by the run that sent the task itself, which is pickled, too.
        listing: Listing = pickle.loads(decompress(self.content))
        assert listing.items is not None
        _renew(listing.items.containers())
        if _states(listing.items) != self.states:
            raise _other_images(listing.shown)
        return listing


@dataclass(frozen=True)
class Stored:
    """The rows ``first`` … ``stop`` - 1 of a split of stored pixels, which workers open.

    ``digest`` of what it lists tells whether they see the same, and ``states`` of its files
    whether they have it open.
    """

    path: str
    split: Split
    options: ReadOptions
    digest: str
    states: tuple[_State, ...]
    first: int = 0
    stop: int = 0

    def opened(self) -> Listing:
        """The rows, of a source that is opened once. Raises DataError for another source."""
        whole = _opened(replace(self, first=0, stop=0))
        return whole.select(np.arange(self.first, self.stop))


@lru_cache(maxsize=1)
def _opened(stored: Stored) -> Listing:
    listing = open_source(stored.path, stored.options).split(stored.split)
    if listing_digest(listing) != stored.digest:
        raise _other_images(printable(stored.path))
    return listing


def made(sent: Files | Stored, job: Job) -> Made:
    """The task that writes a shard, or keeps it. Raises DataError and OutputError."""
    return job.done(sent.opened())


def sender(listing: Listing, path: Path, split: Split) -> Callable[[int, int], Files | Stored]:
    """What makes a task's rows ``first`` … ``stop`` - 1 of a split of the source at ``path``."""
    if listing.items is None:
        files = [path / MANIFEST] if is_packed(path) else files_of(path)
        _renew(files)
        states = tuple(_state(locate(file).state) for file in files)
        place = locate(path).absolute
        whole = Stored(place, split, listing.options, listing_digest(listing), states)
        return lambda first, stop: replace(whole, first=first, stop=stop)

    def files_at(first: int, stop: int) -> Files:
        rows = listing.select(np.arange(first, stop))
        assert rows.items is not None
        items = rows.items.absolute()
        content = pickle.dumps(replace(rows, items=items, called=rows.names()))
        return Files(compress(content, level=1), _states(items))

    return files_at


def listing_digest(listing: Listing) -> str:
    """The hash of what is listed: classes, labels, names, and how images are brought in."""
    digest = hashlib.sha256(repr((listing.classes, listing.preprocess)).encode())
    digest.update(listing.labels.astype("<i8").tobytes())
    for name in listing.names() or ():
        digest.update(os.fsencode(name) + b"\0")
    return digest.hexdigest()


def _states(items: Items) -> tuple[_State, ...]:
    """Of archives, whose members would be sought elsewhere; of files the sizes, not the times."""
    ends = [_state(items.state, row) for row in (0, len(items) - 1)]
    sizes = (state and state[:-1] for state in ends)
    return *sizes, *(_state(locate(each).state) for each in items.containers())


def _state(of: Callable[..., tuple[int, ...]], *place: Any) -> _State:
    """Numbers that change with a file; None where there is none."""
    try:
        return of(*place)
    except OSError:
        return None


def _renew(files: Iterable[AnyPath]) -> None:
    """Forget the copies of files that have changed, also in a worker that outlives runs."""
    for file in files:
        with suppress(OSError):  # reading it will say what is wrong
            locate(file).renew()


def _other_images(shown: str) -> DataError:
    return DataError(f"{shown}: a worker sees other images there than this run")
