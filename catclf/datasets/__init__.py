"""Labelled pictures: every source becomes the same ``Dataset``."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from catclf.errors import DataError
from catclf.images.preprocess import Preprocess
from catclf.maths import Floats, Pixels, flatten
from catclf.text import printable, reason

if TYPE_CHECKING:
    from catclf.datasets.sources import Source

Part = Literal["train", "test"]
HDF5_ENDINGS = (".h5", ".hdf5", ".hdf", ".he5")
TABLE_ENDINGS = (".csv", ".tsv")
ENDINGS = (*HDF5_ENDINGS, *TABLE_ENDINGS, ".npz")
_AT_ONCE = 1024  # pictures hashed at a time


@dataclass(frozen=True)
class Reading:
    """How to read a source.

    ``positive`` names the class of label 1 (default: cat where there is one). ``size`` is the
    height and width wanted (default: those of stored pictures, 64 for picture files). ``fit`` is
    how picture files are brought to that shape. ``skip_bad`` leaves unreadable pictures out instead
    of refusing the source; ``every_class`` refuses one of which a class cannot be read at all.
    ``stream`` leaves the pixels of HDF5 files on disk however few they are.
    ``on_progress(done, total)`` is told how many pictures are decoded.
    """

    positive: str | None = None
    size: int | None = None
    fit: str | None = None
    skip_bad: bool = False
    workers: int | None = None
    on_progress: Callable[[int, int], None] | None = None
    every_class: bool = True
    stream: bool = False


@dataclass(frozen=True)
class Dataset:
    """Pictures uint8 (m, size, size, 3), labels Y float64 (1, m) of 0.0 and 1.0.

    ``pictures`` is an array, or reads its rows from disk when sliced if it is large. ``classes``
    are the names of labels 0 and 1; ``source`` says where it came from, ``notes`` what the reader
    decided on its way.
    """

    pictures: Pixels
    Y: Floats
    classes: tuple[str, str]
    source: str
    preprocess: Preprocess = field(default_factory=Preprocess)
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def m(self) -> int:
        """The number of pictures."""
        return len(self.pictures)

    @property
    def size(self) -> int:
        """Height and width of the pictures in pixels."""
        return int(self.pictures.shape[1])

    @property
    def X(self) -> Pixels:
        """The pictures as columns, uint8 (n, m): a view of pictures in memory, read from disk else.

        Features are these divided by 255.
        """
        return np.asarray(flatten(np.asarray(self.pictures)), dtype=np.uint8)

    @property
    def positives(self) -> int:
        """How many pictures have label 1."""
        return int(self.Y.sum())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shape, classes, pixels and labels: equal for equal data, wherever kept."""
        digest = hashlib.sha256(repr((self.pictures.shape, self.classes)).encode())
        for start in range(0, self.m, _AT_ONCE):
            digest.update(np.ascontiguousarray(self.pictures[start : start + _AT_ONCE]).data)
        digest.update(self.Y.astype(np.uint8).data)
        return digest.hexdigest()

    def require_both_classes(self) -> None:
        """Raise DataError when all labels are the same: there is nothing to tell apart."""
        if self.positives in (0, self.m):
            only = self.classes[1 if self.positives else 0]
            raise DataError(
                f"{printable(self.source)}: every picture is {printable(only)}: "
                "training needs both classes"
            )


def open_dataset(path: str | Path, part: Part = "train", reading: Reading | None = None) -> Dataset:
    """Read one part of a data set: HDF5, class folders, a CSV or TSV manifest, or ``.npz``.

    ``part`` is the part taken where a source holds both. Raises DataError.
    """
    from catclf.datasets.sources import to_dataset

    reading = reading or Reading()
    return to_dataset(open_source(path, part, reading), reading)


def open_parts(
    data: Path, test: Path | None, reading: Reading | None = None
) -> tuple[Dataset, Dataset | None]:
    """Training data and, where there is one, the test set: ``test``, or ``data``'s own test part.

    Raises DataError, also when the two parts do not belong together.
    """
    from dataclasses import replace

    reading = reading or Reading()
    train = open_dataset(data, "train", reading)
    if test is None and has_both_parts(data):
        test = data
    if test is None:
        return train, None
    same = replace(
        reading,
        positive=reading.positive or train.classes[1],
        size=train.size,
        fit=train.preprocess.fit,
    )
    tested = open_dataset(test, "test", same)
    if tested.classes != train.classes:
        raise DataError(
            f"{printable(tested.source)}: its classes are "
            f"{printable(' and '.join(tested.classes))}, those of {printable(train.source)} are "
            f"{printable(' and '.join(train.classes))}"
        )
    return train, tested


def open_source(path: str | Path, part: Part, reading: Reading) -> Source:
    """The reader for what is at ``path``, with its labels read and its pictures not yet."""
    path = Path(path)
    shown, ending = printable(path), path.suffix.lower()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "there is no such file or folder" if missing else reason(error)
        raise DataError(f"{shown}: {why}") from error
    if stat.S_ISDIR(mode):
        from catclf.datasets import folders

        return folders.read(path, part, reading)
    if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
        raise DataError(f"{shown}: is not a file: give a file or a folder")
    if ending in TABLE_ENDINGS:
        from catclf.datasets import manifest

        return manifest.read(path, reading)
    if ending == ".npz":
        from catclf.datasets import npz

        return npz.read(path, part, reading)
    if ending in HDF5_ENDINGS:
        from catclf.datasets import hdf5

        return hdf5.read(path, part, reading)
    raise DataError(
        f"{shown}: cannot tell what this is: give a folder of class folders, or a file ending in "
        f"{', '.join(ENDINGS)}"
    )


def parts_of(path: Path) -> set[Part]:
    """Which parts a source holds under their names; none where it is not divided."""
    if path.is_dir():
        from catclf.datasets import folders

        return folders.parts(path)
    if path.suffix.lower() in HDF5_ENDINGS:
        from catclf.datasets import hdf5

        return hdf5.parts(path)
    if path.suffix.lower() == ".npz":
        from catclf.datasets import npz

        return npz.parts(path)
    return set()


def has_both_parts(path: Path) -> bool:
    """Whether a source holds a training and a test part."""
    return len(parts_of(path)) == 2


def stores_pixels(path: Path) -> bool:
    """Whether pictures lie there as pixels of one size, and not as files that are decoded."""
    return path.suffix.lower() in (*HDF5_ENDINGS, ".npz") and not path.is_dir()


def bundled() -> tuple[Path, Path]:
    """Train and test files of the data set that comes with the program."""
    package = Path(__file__).parents[1]
    for folder in (package / "data", package.parent / "data"):  # installed, then a checkout
        train, test = folder / "train.h5", folder / "test.h5"
        if train.is_file() and test.is_file():
            return train, test
    raise DataError("the bundled data set is missing from this installation: give --data")
