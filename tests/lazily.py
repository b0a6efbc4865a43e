"""Images that are read when they are sliced, as those of a large file are."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from conftest import make_images

from catclf.maths import Floats, Pixels


@dataclass
class Labels:
    """Images of any kind with their labels."""

    images: Any
    Y: Floats


class OnDisk:
    """Slices of an array as new arrays; remembers them, and can be made to fail."""

    def __init__(self, array: Pixels, chunk_rows: int = 0) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.slices: list[tuple[int, int]] = []
        self.fails_after: int | None = None
        self._lock = threading.Lock()
        if chunk_rows:
            self.chunk_rows = chunk_rows

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> Pixels:
        with self._lock:
            self.slices.append((rows.start, rows.stop))
            if self.fails_after is not None and len(self.slices) > self.fails_after:
                raise OSError("the file has gone\nfor ever")
            return self._array[rows].copy()


def labelled(m: int, size: int = 8, seed: int = 0) -> Labels:
    """Images in memory with labels of both kinds."""
    images, labels = make_images(m, size, seed)
    return Labels(images, labels.reshape(1, m).astype(np.float64))


def on_disk(data: Labels, chunk_rows: int = 0) -> Labels:
    """The same images, read when they are sliced."""
    return Labels(OnDisk(data.images, chunk_rows), data.Y)
