"""Image files whose pixels are not kept: made into rows as they are decoded, and decoded anew.

Photographs of 256 pixels take 197 kB each, so that a few thousand would fill the memory. Features
that learn nothing from them can be made of a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catclf.datasets.dataset import BlockEncoder, Labels
from catclf.datasets.digests import NEAR_LIMIT, Digester, Digests
from catclf.errors import DataError, ImageError
from catclf.images import decode
from catclf.maths import Pixels
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.datasets.sources import FileSource


class DecodedImages:
    """Images uint8 (m, size, size, 3) of files, decoded in the calling thread when sliced.

    ``encoder`` is what made ``rows`` float32 (m, n) of them as they were read first, or None.
    ``digests`` were made as they were read.
    """

    def __init__(
        self,
        source: FileSource,
        numbers: Labels,
        encoder: BlockEncoder | None,
        rows: NDArray[np.float32] | None,
        digests: Digests,
    ) -> None:
        self._source, self._numbers = source, numbers
        self.encoder, self.rows, self.digests = encoder, rows, digests
        size = source.preprocess.size
        self.shape = (len(numbers), size, size, 3)
        self.dtype, self.ndim = np.dtype(np.uint8), 4

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, which: slice | NDArray[np.integer[Any]]) -> Pixels:
        """Raises DataError for a file that can no longer be read."""
        numbers, limits = self._numbers[which].tolist(), self._source.reading.limits
        images = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for image, number in zip(images, numbers, strict=True):
            path = self._source.path(number)
            try:
                image[...] = decode.read(path, self._source.preprocess, limits)
            except ImageError as error:
                raise DataError(f"{printable(path)}: can no longer be read: {error}") from error
        return images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.uint8, copy=False)


def encode_files(source: FileSource, encoder: BlockEncoder | None) -> tuple[Labels, Any]:
    """The numbers of the files that can be read, and their images, with their rows."""
    digester = Digester(near=len(source.labels) <= NEAR_LIMIT)
    numbers: list[Labels] = [np.empty(0, np.int64)]

    def blocks() -> Iterator[Pixels]:
        for numbers_read, block in source.blocks():
            numbers.append(numbers_read)
            digester.add(block)
            yield block

    rows = None
    if encoder is None:
        for _ in blocks():
            pass
    else:
        rows = np.concatenate(list(encoder.encode_blocks(blocks())))
    read = np.concatenate(numbers)
    return read, DecodedImages(source, read, encoder, rows, digester.result())
