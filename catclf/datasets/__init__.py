"""Labelled pictures: every source becomes the same ``Dataset``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from catclf.errors import DataError
from catclf.files import printable
from catclf.maths import Floats, Pixels, flatten

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Dataset:
    """Pictures uint8 (m, size, size, 3), labels Y float64 (1, m) of 0.0 and 1.0.

    ``classes`` are the names of labels 0 and 1; ``source`` says where it came from.
    """

    pictures: Pixels
    Y: Floats
    classes: tuple[str, str]
    source: str

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
        """The pictures as columns, uint8 (n, m): a view, not a copy. Features are these / 255."""
        return np.asarray(flatten(self.pictures), dtype=np.uint8)

    @property
    def positives(self) -> int:
        """How many pictures have label 1."""
        return int(self.Y.sum())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shape, pixels and labels: equal for equal data, wherever it is kept."""
        digest = hashlib.sha256(repr((self.pictures.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.pictures).data)
        digest.update(self.Y.astype(np.uint8).data)
        return digest.hexdigest()

    def require_both_classes(self) -> None:
        """Raise DataError when all labels are the same: there is nothing to tell apart."""
        if self.positives in (0, self.m):
            only = self.classes[1 if self.positives else 0]
            raise DataError(
                f"{self.source}: all {self.m} pictures are {only}: training needs both classes"
            )


def open_dataset(
    path: str | Path,
    part: Part = "train",
    *,
    positive: str | None = None,
    size: int | None = None,
) -> Dataset:
    """Read one part of a data set.

    ``part`` is the part taken where a file holds both. ``positive`` names the class of label 1
    (default: cat where there is one, else the class that the file labels 1). ``size`` is the
    height and width that the pictures must have. Raises DataError.
    """
    from catclf.datasets import hdf5

    path = Path(path)
    if not path.exists():
        raise DataError(f"{printable(path)}: there is no such file or folder")
    return hdf5.read(path, part, positive, size)


def open_parts(
    data: Path, test: Path | None, *, positive: str | None = None, size: int | None = None
) -> tuple[Dataset, Dataset | None]:
    """Training data and, where there is one, the test set: ``test``, or ``data``'s own test part.

    Raises DataError, also when the two parts do not belong together.
    """
    from catclf.datasets import hdf5

    train = open_dataset(data, "train", positive=positive, size=size)
    if test is None and hdf5.holds_both(data):
        test = data
    if test is None:
        return train, None
    tested = open_dataset(test, "test", positive=positive or train.classes[1], size=size)
    if tested.size != train.size:
        raise DataError(
            f"{tested.source}: pictures of {tested.size}x{tested.size} cannot test a model of "
            f"{train.size}x{train.size} pictures"
        )
    if tested.classes != train.classes:
        raise DataError(
            f"{tested.source}: its classes are {' and '.join(tested.classes)}, those of "
            f"{train.source} are {' and '.join(train.classes)}"
        )
    return train, tested


def bundled() -> tuple[Path, Path]:
    """Train and test files of the data set that comes with the program."""
    package = Path(__file__).parents[1]
    for folder in (package / "data", package.parent / "data"):  # installed, then a checkout
        train, test = folder / "train.h5", folder / "test.h5"
        if train.is_file() and test.is_file():
            return train, test
    raise DataError("the bundled data set is missing from this installation: give --data")
