"""Image files stored whole in an array, such as JPEG bytes in HDF5, decoded as files are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catclf import machine
from catclf.datasets.dataset import Reading
from catclf.errors import DataError
from catclf.images.pool import decode_all
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels

_LISTED = 10


def decode_contents(
    contents: Sequence[Any], reading: Reading, shown: str
) -> tuple[Pixels, list[str]]:
    """Pixels (m, size, size, 3) of encoded images. Raises DataError.

    They are written to files for a while: only files are decoded, in processes of their own.
    """
    size = reading.size or 64
    preprocess = Preprocess(size, reading.fit or "squash")
    machine.require_memory(len(contents) * preprocess.n, shown)
    pixels = np.empty((len(contents), size, size, 3), dtype=np.uint8)
    bad: list[str] = []
    with tempfile.TemporaryDirectory(prefix="catclf-") as folder:
        decoded = decode_all(
            _written(contents, Path(folder)), preprocess, reading.limits, workers=reading.workers
        )
        for row, (path, result) in enumerate(decoded):
            if isinstance(result, Exception):
                bad.append(f"image {row} ({result})")
            else:
                pixels[row] = result
            Path(path).unlink(missing_ok=True)
            if len(bad) >= _LISTED:
                break
            if reading.on_progress:
                reading.on_progress(row + 1, len(contents))
    if bad:
        raise DataError(f"{shown} holds images that cannot be read: {'; '.join(bad)}")
    return pixels, [f"holds encoded images, decoded to {size}x{size}"]


def _written(contents: Sequence[Any], folder: Path) -> Iterator[str]:
    for row, content in enumerate(contents):
        path = folder / f"{row}"
        path.write_bytes(bytes(content))
        yield str(path)
