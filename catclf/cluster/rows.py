"""Rows of features that a worker makes of its images once, and reads from a file of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from catclf.features import Features, restore
from catclf.features.base import Read
from catclf.features.rows import FileRows, cached, encoded
from catclf.samples import Images


@dataclass(frozen=True, eq=False)
class Learned:
    """Features as they are sent to workers: settings, and what was learned, once for each."""

    size: int
    n: int
    settings: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    _made: list[Features] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, features: Features, size: int) -> Learned:
        """From features that have been learned of images of that height and width."""
        return cls(size, features.n, features.settings, features.arrays())

    def features(self) -> Features:
        """The features themselves, which this process makes once."""
        if not self._made:
            self._made.append(self._restored())
        return self._made[0]

    def _restored(self) -> Features:
        read: Read = lambda name, dtype, shape: self.arrays[name]  # noqa: E731  checked when learned
        return restore(self.settings, self.size, read)

    def __getstate__(self) -> dict[str, Any]:
        """All but the features themselves, which may hold locks."""
        return {**self.__dict__, "_made": []}


def of_images(name: str, learned: Learned, images: Images, threads: int) -> FileRows:
    """The rows of images, read from this worker's file of that name, or made.

    Raises OutputError where they cannot be written, and DataError.
    """
    from catclf.cluster.engine import scratch

    digest = hashlib.sha256(name.encode()).hexdigest()
    path: Path = scratch() / f"catclf-rows-{digest[:24]}"
    blocks = encoded(learned.features(), images, threads)
    return cached(path, digest, (len(images), learned.n), blocks)
