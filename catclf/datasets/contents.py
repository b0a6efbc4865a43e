"""Image files stored whole in an array, such as JPEG bytes in HDF5, decoded as files are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from catclf import machine
from catclf.datasets.dataset import Reading
from catclf.errors import DataError
from catclf.images.member import Content
from catclf.images.pool import decode_all
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels

_LISTED = 10


def decode_contents(
    contents: Sequence[Any], reading: Reading, shown: str
) -> tuple[Pixels, list[str]]:
    """Pixels (m, size, size, 3) of encoded images. Raises DataError."""
    size = reading.size or 64
    preprocess = Preprocess(size, reading.fit or "squash")
    machine.require_memory(len(contents) * preprocess.n, shown)
    pixels = np.empty((len(contents), size, size, 3), dtype=np.uint8)
    bad: list[str] = []
    images = (
        Content.holding(shown, str(row), bytes(content)) for row, content in enumerate(contents)
    )
    decoded = decode_all(images, preprocess, reading.limits, workers=reading.workers)
    for row, (_, result) in enumerate(decoded):
        if isinstance(result, Exception):
            bad.append(f"image {row} ({result})")
        else:
            pixels[row] = result
        if len(bad) >= _LISTED:
            break
        if reading.on_progress:
            reading.on_progress(row + 1, len(contents))
    if bad:
        raise DataError(f"{shown} holds images that cannot be read: {'; '.join(bad)}")
    return pixels, [f"holds encoded images, decoded to {size}x{size}"]
