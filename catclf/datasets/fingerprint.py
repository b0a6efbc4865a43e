"""The fingerprint of a data set whose images pass one after the other, as they are packed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from catclf.datasets.dataset import Labels, pixel_digest
from catclf.datasets.hdf5_rows import ReadRows
from catclf.datasets.sources import Source, choose_positive, two_classes
from catclf.errors import DataError
from catclf.maths import Pixels

_AT_ONCE = 512  # images read at a time


class Fingerprint:
    """The fingerprint that ``Dataset`` has with the positive class that is chosen by itself.

    Its hash begins with the number of images, so that it holds if just as many pass. Of several
    classes none is positive by itself: ``classes`` are empty then, and so is the fingerprint.
    """

    def __init__(self, source: Source, images: int) -> None:
        self.classes: tuple[str, ...] = ()
        self._left = images
        with suppress(DataError):
            positive = choose_positive(source, None)[0]
            names = two_classes(source.classes, positive)
            size = int(source.preprocess.size)
            self._digest: Any = pixel_digest((images, size, size, 3), names)
            self._positive = source.classes.index(positive) if source.classes else 1
            self.classes = names

    @property
    def is_complete(self) -> bool:
        """Whether all images have passed, or there is nothing to hash."""
        return not self._left or not self.classes

    def add(self, images: Pixels) -> None:
        """Hash the next images, uint8 (k, size, size, 3)."""
        self._left -= len(images)
        if self.classes:
            self._digest.update(np.ascontiguousarray(images).data)

    def add_rows(self, rows: ReadRows) -> None:
        """Hash the next images, which are read for that."""
        if self.classes:
            for start in range(0, len(rows), _AT_ONCE):
                self.add(rows[start : start + _AT_ONCE])

    def of(self, blocks: Iterator[tuple[Labels, Pixels]]) -> Iterator[tuple[Labels, Pixels]]:
        """Blocks of images, which are hashed as they pass."""
        for rows, images in blocks:
            self.add(images)
            yield rows, images

    def hexdigest(self, labels: Labels) -> str:
        """The fingerprint of all images and their labels, indices of the source's classes (m,)."""
        if not self.classes:
            return ""
        digest = self._digest.copy()
        digest.update((labels == self._positive).astype(np.uint8).data)
        return str(digest.hexdigest())
