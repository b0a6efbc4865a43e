"""The rows of a listing as tasks know them, and how a worker finds them.

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
from typing import Any
from zlib import compress, decompress

import numpy as np

from catclf.datasets import Listing, ReadOptions, Split, is_packed, open_source
from catclf.datasets.dataset import MANIFEST
from catclf.datasets.listing import Items
from catclf.datasets.open import files_of
from catclf.errors import DataError
from catclf.storage.location import AnyPath, locate
from catclf.text import printable

_State = tuple[int, ...] | None


@dataclass(frozen=True)
class Files:
    """Rows of images to be decoded: a pickled listing of them, packed.

    The ``states`` of the first and the last file, and of all archives, tell whether a worker sees
    the same ones.
    """

    content: bytes
    states: tuple[_State, ...]

    @classmethod
    def of(cls, listing: Listing) -> Files:
        """Rows as this process sees them."""
        assert listing.items is not None
        rows = replace(listing, items=listing.items.absolute(), called=listing.names())
        assert rows.items is not None
        return cls(compress(pickle.dumps(rows), level=1), _states(rows.items))

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
class Whole:
    """A split of a source that workers open.

    ``digest`` of what it lists tells whether they see the same, and ``states`` of its files
    whether they have it open.
    """

    path: str
    split: Split
    options: ReadOptions
    digest: str
    states: tuple[_State, ...]

    def opened(self) -> Listing:
        """The listing, which this process opens once. Raises DataError for another one."""
        known = _opened.get(self)
        if known is None:
            known = open_source(self.path, self.options).split(self.split)
            if listing_digest(known) != self.digest:
                raise _other_images(printable(self.path))
            _opened.clear()
            _opened[self] = known
        return known


@dataclass(frozen=True)
class Stored:
    """The rows ``first`` … ``stop`` - 1 of a split of stored pixels."""

    whole: Whole
    first: int
    stop: int

    def opened(self) -> Listing:
        """The rows. Raises DataError where this worker sees another source."""
        return self.whole.opened().select(np.arange(self.first, self.stop))


Sent = Files | Stored
_opened: dict[Whole, Listing] = {}


@dataclass(frozen=True)
class Sender:
    """What tasks are to know of a split of the source at ``path``."""

    listing: Listing
    path: Path
    split: Split

    def rows(self, first: int, stop: int) -> Sent:
        """The rows ``first`` … ``stop`` - 1."""
        if self.listing.items is None:
            return Stored(self._whole, first, stop)
        return Files.of(self.listing.select(np.arange(first, stop)))

    @cached_property
    def _whole(self) -> Whole:
        files = [self.path / MANIFEST] if is_packed(self.path) else files_of(self.path)
        _renew(files)
        states = tuple(_state(locate(file).state) for file in files)
        digest, path = listing_digest(self.listing), locate(self.path).absolute
        return Whole(path, self.split, self.listing.options, digest, states)


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
