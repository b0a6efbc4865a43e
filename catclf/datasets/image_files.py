"""Image files as a source lists them: their places, and the size that they are brought to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from catclf.datasets.dataset import Reading
from catclf.errors import ImageError
from catclf.images.member import Member

SAMPLED = 25  # images whose dimensions are looked at
SMALL = 64  # height and width of images that are brought to no other size


def size_of_files(root: Path, files: Sequence[str], reading: Reading) -> int:
    """Height and width that image files are brought to: the size wanted, or the default."""
    places = np.unique(np.linspace(0, len(files) - 1, SAMPLED).astype(int)).tolist()
    return size_of_images((place_of(root, files[place]) for place in places), reading)


def size_of_images(some: Iterable[str], reading: Reading) -> int:
    """The same of images of which ``some`` are spread over all.

    A default above SMALL is for images with more pixels than that: for those whose shorter side
    has, in the median of them.
    """
    from catclf.images.decode import dimensions

    if reading.size or reading.default_size <= SMALL:
        return reading.size or reading.default_size
    sides = []
    for path in some:
        with suppress(ImageError):  # decoding says what is wrong with a file
            sides.append(min(dimensions(path)))
    return reading.default_size if sides and np.median(sides) > SMALL else SMALL


def place_of(root: Path, file: str) -> str:
    """The path of a file below ``root``, or a member of an archive, which has none."""
    return file if isinstance(file, Member) else str(root / file)
