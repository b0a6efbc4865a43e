"""Labelled images, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from catclf.datasets.digests import (
    NEAR_LIMIT,
    Digests,
    Grouping,
    digests_of,
    fingerprint,
    grouping,
    kept_digests,
)
from catclf.errors import DataError, SettingsError
from catclf.images.preprocess import FITS, Limits, Preprocess
from catclf.machine import require_workers
from catclf.maths import Floats, Pixels, flatten
from catclf.text import printable

Labels = NDArray[np.int64]


Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
HDF5_ENDINGS = (".h5", ".hdf5", ".hdf", ".he5")
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
TABLE_ENDINGS = (*_TABLES, *(f"{ending}.gz" for ending in _TABLES))
SHARD_ENDINGS = (".zip", ".tar", ".parquet", ".tar.gz", ".tgz")
ENDINGS = (*HDF5_ENDINGS, *TABLE_ENDINGS, ".npz", *SHARD_ENDINGS)
MANIFEST = "catclf-manifest.json"  # folders of images may have a manifest of others
SOURCE_PIXELS = 250_000_000  # limit of one image: phones make 200 million


class BlockEncoder(Protocol):
    """Makes rows of features of images, block by block."""

    def encode_blocks(self, blocks: Iterable[Pixels]) -> Iterator[NDArray[np.float32]]:
        """Rows (k, n) of blocks of images, in their order, whatever the length of each."""


# What makes rows of images of that size; None where they are only to be decoded when needed.
EncoderOf = Callable[[int], BlockEncoder | None]


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source.

    ``positive`` names the class of label 1 (default: cat where there is one). ``size`` is the
    height and width wanted (default: those of stored images; for image files ``default_size``,
    or 64 if most of them have no more pixels). ``fit`` is how image files are brought to that
    shape. ``skip_bad`` leaves unreadable images out instead of refusing the source;
    ``every_class`` refuses one of which a class cannot be read at all. ``stream`` leaves the
    pixels of HDF5 files on disk however few they are. ``on_progress(done, total)`` receives the
    number of decoded images. ``encoder`` makes rows of images as they are decoded.
    ``label_from`` is where labels of files in folders are: "folder" or the file's "name".
    ``classes`` name labels 0, 1, … of a source that does not name them. ``columns`` are those of
    path and label in a table, ``keys`` those of images and labels in HDF5 and ``.npz``, or of
    samples in a tar the ending of images and the ending of labels or their key in ``.json``.
    ``limits`` are those of image files. ``outside`` reads files that a table names outside of its
    folder, ``remote_rows`` those that it names by a URL. Raises SettingsError for values that make
    no sense.
    """

    positive: str | None = None
    size: int | None = None
    fit: str | None = None
    skip_bad: bool = False
    workers: int | None = None
    on_progress: Callable[[int, int], None] | None = None
    every_class: bool = True
    stream: bool = False
    default_size: int = 64
    encoder: EncoderOf | None = None
    label_from: Literal["folder", "name"] = "folder"
    classes: tuple[str, ...] = ()
    columns: tuple[str, str] | None = None
    keys: tuple[str, str] | None = None
    limits: Limits = field(default_factory=lambda: Limits(SOURCE_PIXELS))
    outside: bool = False
    remote_rows: bool = False

    def __post_init__(self) -> None:
        require_workers(self.workers)
        whole = isinstance(self.size, int | np.integer)
        if self.size is not None and not (whole and self.size > 0):
            raise SettingsError(f"`size={self.size}` is not a number of pixels: try 64")
        if self.fit is not None and self.fit not in FITS:
            raise SettingsError(f"`fit={self.fit}` is unknown: use one of {', '.join(FITS)}")


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (m, size, size, 3), labels Y float64 (1, m) of 0.0 and 1.0.

    ``images`` is an array, or reads its rows from disk when sliced if it is large. ``classes``
    are the names of labels 0 and 1; ``source`` says where it came from, ``notes`` what the reader
    decided on its way. Images with equal ``groups`` int64 (m,) stay together where the data
    are divided; a negative number groups nothing.
    """

    images: Pixels
    Y: Floats
    classes: tuple[str, str]
    source: str
    preprocess: Preprocess = field(default_factory=Preprocess)
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    groups: Labels | None = None

    def __repr__(self) -> str:
        size, positives = self.preprocess.size, int(self.Y.sum())
        names = f"{self.m - positives} {self.classes[0]}, {positives} {self.classes[1]}"
        return f"Dataset({self.source}: {self.m} images {size}x{size}, {names})"

    @property
    def m(self) -> int:
        """The number of images."""
        return len(self.images)

    @property
    def size(self) -> int:
        """Height and width of the images in pixels."""
        return int(self.images.shape[1])

    @property
    def X(self) -> Pixels:
        """The images as columns, uint8 (n, m): a view of images in memory, read from disk else.

        Features are these divided by 255.
        """
        return np.asarray(flatten(np.asarray(self.images)), dtype=np.uint8)

    @property
    def positives(self) -> int:
        """How many images have label 1."""
        return int(self.Y.sum())

    def digests(self, near: bool = False) -> Digests:
        """Digests of all images, with what finds near-duplicates or without; made once."""
        stored: Digests | None = getattr(self.images, "digests", None)
        known: Digests | None = self.__dict__.get("_digests", stored)
        if known is None or (near and not known.near and self.m <= NEAR_LIMIT):
            known = self.__dict__["_digests"] = digests_of(self.images, near)
        return known

    def kept_digests(self, rows: Labels | None = None) -> NDArray[np.uint64]:
        """What a model keeps of these images, or of ``rows``."""
        exact = self.digests().exact
        return kept_digests(exact if rows is None else exact[rows])

    def grouping(self, folds: int = 5) -> Grouping:
        """Which images stay on one side of a division, found once; see ``digests``."""
        known: dict[int, Grouping] = self.__dict__.setdefault("_groupings", {})
        if folds not in known:
            known[folds] = grouping(self.digests(near=True), self.Y[0], folds, self.groups)
        return known[folds]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of images, labels, size and classes: equal for equal data, wherever kept."""
        return fingerprint(self.digests().exact, self.Y[0], self.size, self.classes)

    def require_both_classes(self) -> None:
        """Raise DataError when all labels are the same: there is nothing to tell apart."""
        if self.positives in (0, self.m):
            only = self.classes[1 if self.positives else 0]
            raise DataError(
                f"{printable(self.source)}: every image is {printable(only)}: "
                "training needs both classes"
            )
