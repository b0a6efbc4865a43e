"""What every kind of features offers: a map from images to rows of numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from catclf.maths import Pixels

Rows = NDArray[np.float32]
KINDS = ("pixels", "hog", "patches", "stacked", "network")
LEARNED_KINDS = ("patches", "stacked")  # learned from the images of the data set
DEFAULT_SIZES = {"stacked": 128, "network": 256}  # of larger image files; 64 for other kinds
OnProgress = Callable[[int, int], None]
# Progress of a named phase of the work.
Phase = Callable[[str], AbstractContextManager[OnProgress]]
# The array of that name in a model file, which must have this dtype and shape.
Read = Callable[[str, str, tuple[int, ...]], NDArray[Any]]
NUMBERS_LIMIT = 1_000_000  # features of an image; 1024x1024 pixels are no more than 3 million


class Features(Protocol):
    """A map from images uint8 (k, size, size, 3) to rows float32 (k, n)."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def n(self) -> int:
        """Numbers for each image."""

    @property
    def settings(self) -> dict[str, Any]:
        """What a model file must remember beside ``arrays``, as JSON values; has ``kind``."""

    @property
    def parts(self) -> dict[str, slice]:
        """Kinds of numbers in a row, by name, in order; together all of them."""

    def name_of(self, number: int) -> str:
        """What one number of a row is, for people."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was learned, by name; empty for kinds that learn nothing."""

    def transform(self, images: Pixels) -> Rows:
        """Rows (k, n) of images uint8 (k, size, size, 3). Raises ShapeError.

        To be called with one BLAS thread, for equal sums everywhere.
        """


def require_images(images: Pixels, size: int) -> None:
    """Raise ShapeError unless images are uint8 (k, size, size, 3)."""
    from catclf.errors import ShapeError

    if images.shape[1:] != (size, size, 3) or images.dtype != np.uint8:
        raise ShapeError(
            f"images {images.dtype} {images.shape} do not fit uint8 (k, {size}, {size}, 3)"
        )


def silent(what: str) -> AbstractContextManager[OnProgress]:
    """A phase without progress."""
    return nullcontext(lambda done, total: None)
