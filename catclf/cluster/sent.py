"""The rows of a source as tasks know them, and how a worker finds them.

Image files and members of archives are sent as names and places, so that no worker lists a source,
and one that is remote is copied by the workers that read of it alone. Sources of stored pixels are
opened by each worker.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from zlib import compress, decompress

import numpy as np

from catclf.datasets import Reading, open_source
from catclf.datasets.dataset import MANIFEST, Part, is_packed
from catclf.datasets.shards import files_of
from catclf.datasets.sources import FileSource, Source
from catclf.errors import DataError
from catclf.storage.copies import renew, state_of
from catclf.storage.remote import AnyPath, absolute
from catclf.text import printable

_State = tuple[int, ...] | None


class Opened(NamedTuple):
    """Some rows of a source, or all, and the number of the first one."""

    source: Source
    first: int


@dataclass(frozen=True)
class Files:
    """Rows of image files from ``first`` on: a pickled FileSource, packed.

    The ``states`` of the first and the last file, and of all archives, tell whether a worker sees
    the same ones.
    """

    first: int
    content: bytes
    states: tuple[_State, ...]

    @classmethod
    def of(cls, source: FileSource, reading: Reading, start: int, stop: int) -> Files:
        """Some rows as this process sees them."""
        rows = replace(source.of(np.arange(start, stop)).absolute(), reading=reading)
        return cls(start, compress(pickle.dumps(rows), level=1), _states(rows))

    def opened(self) -> Opened:
        """The rows. Raises DataError where this worker sees other files."""
        # Pickled by the run that sent the task itself, which is pickled, too.
        source: FileSource = pickle.loads(decompress(self.content))
        _renew(source.containers())
        if _states(source) != self.states:
            raise _other_images(source.shown)
        return Opened(source, self.first)


@dataclass(frozen=True)
class Whole:
    """A part of a source that workers open.

    ``digest`` of what it lists tells whether they see the same, and ``states`` of its files
    whether they have it open.
    """

    path: str
    part: Part
    reading: Reading
    digest: str
    states: tuple[_State, ...]

    def opened(self) -> Opened:
        """The source, which this process opens once. Raises DataError for another one."""
        if self not in _sources:
            source = open_source(Path(self.path), self.part, self.reading)
            if listing_digest(source) != self.digest:
                raise _other_images(printable(self.path))
            _sources.clear()
            _sources[self] = source
        return Opened(_sources[self], 0)


Sent = Files | Whole
_sources: dict[Whole, Source] = {}


@dataclass(frozen=True)
class Sender:
    """What tasks are to know of a part of the source at ``path``."""

    source: Source
    path: Path
    part: Part
    reading: Reading

    def rows(self, start: int, stop: int) -> Sent:
        """The rows ``start`` … ``stop`` - 1."""
        if isinstance(self.source, FileSource):
            return Files.of(self.source, self.reading, start, stop)
        return self._whole

    @cached_property
    def _whole(self) -> Whole:
        digest, states = listing_digest(self.source), _states_of_files(self.path)
        return Whole(absolute(self.path), self.part, self.reading, digest, states)

    @property
    def shown(self) -> str:
        """The source in messages."""
        return self.source.shown


def listing_digest(source: Source) -> str:
    """The hash of what a source lists: classes, labels, names, and how images are brought in."""
    digest = hashlib.sha256(repr((source.classes, source.preprocess)).encode())
    digest.update(np.asarray(source.labels).astype("<i8").tobytes())
    for name in source.names() or ():
        digest.update(os.fsencode(name) + b"\0")
    return digest.hexdigest()


def _states_of_files(path: Path) -> tuple[_State, ...]:
    files = [path / MANIFEST] if is_packed(path) else files_of(path)
    _renew(files)
    return tuple(_state(state_of, file) for file in files)


def _states(source: FileSource) -> tuple[_State, ...]:
    """Of archives, whose members would be sought elsewhere; of files the sizes, not the times."""
    ends = [_state(source.state, row) for row in (0, len(source.files) - 1)]
    sizes = (state and state[:-1] for state in ends)
    return *sizes, *(_state(state_of, each) for each in source.containers())


def _state(of: Callable[[Any], tuple[int, ...]], place: object) -> _State:
    """Numbers that change with a file; None where there is none."""
    try:
        return of(place)
    except OSError:
        return None


def _renew(files: Iterable[AnyPath]) -> None:
    """Forget the copies of files that have changed, also in a worker that outlives runs."""
    for file in files:
        with suppress(OSError):  # reading it will say what is wrong
            renew(file)


def _other_images(shown: str) -> DataError:
    return DataError(f"{shown}: a worker sees other images there than this run")
