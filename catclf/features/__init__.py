"""What turns pictures into rows of numbers: pixels, oriented gradients, or learned patches.

Every kind is learned from training pictures without their labels, and then maps each picture by
itself to n float32 numbers: the row does not depend on other pictures, on the block it is in or on
the number of threads. A linear model of such rows is all that the rest of the program knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError, SettingsError

if TYPE_CHECKING:
    from catclf.maths import Pixels
    from catclf.objective import Pictures

Rows = NDArray[np.float32]
KINDS = ("pixels", "hog", "patches")
OnProgress = Callable[[int, int], None]
# The array of that name in a model file, which must have this dtype and shape.
Read = Callable[[str, str, tuple[int, ...]], NDArray[Any]]
NUMBERS_LIMIT = 1_000_000  # features of a picture; 1024x1024 pixels are no more than 3 million


class Features(Protocol):
    """A map from pictures uint8 (k, size, size, 3) to rows float32 (k, n)."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def n(self) -> int:
        """Numbers for each picture."""

    @property
    def settings(self) -> dict[str, Any]:
        """What a model file must remember beside ``arrays``, as JSON values; has ``kind``."""

    @property
    def parts(self) -> dict[str, slice]:
        """Kinds of numbers in a row, by name, in order; together all of them."""

    def name_of(self, number: int) -> str:
        """What one number of a row is, for people."""

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What was learned, by name; empty for kinds that learn nothing."""

    def transform(self, pictures: Pixels) -> Rows:
        """Rows (k, n) of pictures uint8 (k, size, size, 3). Raises ShapeError.

        To be called with one BLAS thread, for equal sums everywhere.
        """


def learn(
    kind: str,
    pictures: Pictures,
    seed: int = 0,
    *,
    flip: bool = True,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Features:
    """Features of a kind, learned from pictures uint8 (m, size, size, 3) and a seed.

    With ``flip`` a picture and its mirror image get the same row, so that a model cannot tell left
    from right: it is what training on the mirror images, too, leads to. ``on_progress(done,
    total)`` counts the rounds of learning. Raises SettingsError when the kind is unknown or the
    pictures are too small for it.
    """
    size = int(pictures.shape[1])
    if kind == "pixels":
        from catclf.features.pixels import PixelFeatures

        return PixelFeatures(size, flip)
    if kind == "hog":
        from catclf.features.hog import HogFeatures

        return HogFeatures(size, flip)
    if kind == "patches":
        from catclf.features.dictionary import learn_patches
        from catclf.features.patches import Recipe

        recipe = Recipe.for_size(size, flip=flip)
        return learn_patches(pictures, recipe, seed, workers=workers, on_progress=on_progress)
    raise SettingsError(f"features {kind!r} are unknown: use one of {', '.join(KINDS)}")


def restore(settings: dict[str, Any], size: int, read: Read) -> Features:
    """The features that a model file describes; ``read`` fetches its arrays, checked.

    Raises ModelError when the settings are not ones that ``learn`` makes.
    """
    kind = settings.get("kind")
    try:
        if kind == "hog":
            from catclf.features.hog import HogFeatures

            return HogFeatures.restore(settings, size)
        if kind == "patches":
            from catclf.features.patches import PatchFeatures

            return PatchFeatures.restore(settings, size, read)
    except SettingsError as error:
        raise ModelError(f"has features that make no sense: {error}") from error
    raise ModelError("has features that this catclf does not know")


def require_pictures(pictures: Pixels, size: int) -> None:
    """Raise ShapeError unless pictures are uint8 (k, size, size, 3)."""
    from catclf.errors import ShapeError

    if pictures.shape[1:] != (size, size, 3) or pictures.dtype != np.uint8:
        raise ShapeError(
            f"pictures {pictures.dtype} {pictures.shape} do not fit uint8 (k, {size}, {size}, 3)"
        )
