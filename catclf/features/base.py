"""What every kind of features offers, the registry of kinds, and the simplest kind: pixels.

A kind is a class with ``learn``, ``restore``, ``settings``, ``arrays``, ``transform`` and
``to_onnx``; the rest of the program asks for nothing else, and compares no names of kinds.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from catclf.errors import ModelError, SettingsError, ShapeError
from catclf.maths import PIXEL_MAX, Pixels

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Value
    from catclf.samples import Images

Rows = NDArray[np.float32]
OnProgress = Callable[[int, int], None]
# Progress of a named phase of the work.
Phase = Callable[[str], AbstractContextManager[OnProgress]]
# The array of that name in a model file, which must have this dtype and shape.
Read = Callable[[str, str, tuple[int, ...]], NDArray[Any]]
CHANNELS = ("red", "green", "blue")
SHORTEST = np.float32(1e-6)  # of a row that is brought to one length
_CLASSES = {
    "pixels": "base.PixelFeatures",
    "hog": "hog.HogFeatures",
    "patches": "patches.PatchFeatures",
    "network": "network.NetworkFeatures",
}
KINDS = tuple(_CLASSES)


class Features(ABC):
    """A map from images uint8 (k, size, size, 3) to rows float32 (k, n), each image by itself.

    With ``flip`` an image and its mirror image get the same row, so that a model cannot tell left
    from right: it is what training on the mirror images, too, leads to.
    """

    kind: ClassVar[str]
    default_size: ClassVar[int] = 64  # pixels along a side of image files that have more
    flips: ClassVar[bool] = True  # unless it is said otherwise
    learned: ClassVar[bool] = False  # from the images of the data set
    kept: ClassVar[bool] = True  # in a model; weights of pixels are enough without
    streams: ClassVar[bool] = False  # made of images as they are decoded, which are not kept
    knows_images: ClassVar[bool] = False  # rows tell whether an image is like those of training
    # Of numbers that vary little: see ``Standardizer``. None leaves rows as they are.
    damping: ClassVar[float | None] = 0.0
    block: ClassVar[int] = 16  # images that a thread encodes at a time
    members: ClassVar[tuple[str, ...]] = ()  # names of ``arrays``
    n: int  # numbers in a row

    def __init__(self, size: int, flip: bool) -> None:
        if type(flip) is not bool:
            raise SettingsError(f"{self.kind} settings of a wrong type")
        self.size, self.flip = size, flip

    @classmethod
    def learn(
        cls,
        images: Images,
        seed: int = 0,
        *,
        flip: bool = True,
        workers: int | None = None,
        phase: Phase | None = None,
    ) -> Self:
        """From images uint8 (m, size, size, 3) without their labels, and a seed.

        ``phase`` shows the progress of each step of the learning. Raises SettingsError when the
        images are too small.
        """
        return cls(int(images.shape[1]), flip)

    @classmethod
    def of_size(cls, size: int, flip: bool) -> Self:
        """Without images, for kinds that learn nothing from them. Raises what ``learn`` raises."""
        nothing = np.empty((0, size, size, 3), np.uint8)
        return cls.learn(nothing, flip=flip)

    @classmethod
    def restore(cls, settings: dict[str, Any], size: int, read: Read) -> Self:
        """From what ``settings`` and ``arrays`` gave. Raises SettingsError, KeyError, TypeError."""
        return cls(size, settings["flip"])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what a model file holds: each process makes its own buffers and locks."""
        return _unpickled, (self.settings, self.size, self.arrays())

    @property
    def settings(self) -> dict[str, Any]:
        """What a model file must remember beside ``arrays``, as JSON values; has ``kind``."""
        return {"kind": self.kind, "flip": self.flip}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was learned, by name; empty for kinds that learn nothing."""
        return {}

    @property
    @abstractmethod
    def groups(self) -> dict[str, slice]:
        """Groups of numbers in a row, by name; together all of them."""

    @abstractmethod
    def name_of(self, number: int) -> str:
        """What one number of a row is, for people, or no text where that tells nothing."""

    @abstractmethod
    def transform(self, images: Pixels) -> Rows:
        """Rows (k, n) of images uint8 (k, size, size, 3). Raises ShapeError.

        To be called with one BLAS thread, for equal sums everywhere.
        """

    @abstractmethod
    def to_onnx(self, images: Value) -> Value:
        """Rows float32 (N, n) of images uint8 (N, size, size, 3), in the graph of these."""

    def require_images(self, images: Pixels) -> None:
        """Raise ShapeError unless images are uint8 (k, size, size, 3)."""
        if images.shape[1:] != (self.size, self.size, 3) or images.dtype != np.uint8:
            wanted = f"uint8 (k, {self.size}, {self.size}, 3)"
            raise ShapeError(f"images {images.dtype} {images.shape} do not fit {wanted}")


class PixelFeatures(Features):
    """x = pixels / 255, n = size * size * 3; with ``flip``, the mean with the mirror image.

    Weights that descent finds with ``flip`` are symmetric themselves, so that they score an image
    and its mirror image alike without it: the model is one of plain pixels.
    """

    kind, flips, kept, damping = "pixels", False, False, None

    def __init__(self, size: int, flip: bool = False) -> None:
        super().__init__(size, flip)
        self.n = size * size * 3

    @property
    def groups(self) -> dict[str, slice]:
        return {name: slice(channel, self.n, 3) for channel, name in enumerate(CHANNELS)}

    def name_of(self, number: int) -> str:
        row, column = divmod(number // 3, self.size)
        return f"{CHANNELS[number % 3]}({row},{column})"

    def transform(self, images: Pixels) -> Rows:
        self.require_images(images)
        values = images.astype(np.float32)
        if self.flip:
            values += images[:, :, ::-1]
        rows = values.reshape(len(images), self.n)
        rows /= np.float32(PIXEL_MAX * (2 if self.flip else 1))
        return rows

    def to_onnx(self, images: Value) -> Value:
        """float64, as the model sums pixels; models of pixels know no ``flip``."""
        return images.cast(np.float64).reshape(0, -1) / PIXEL_MAX


def silent(what: str) -> AbstractContextManager[OnProgress]:
    """A phase without progress."""
    return nullcontext(lambda done, total: None)


def class_of(kind: str) -> type[Features]:
    """The class of a kind of features. Raises SettingsError where there is none."""
    if kind not in KINDS:
        raise SettingsError(f"features {kind!r} are unknown: use one of {', '.join(KINDS)}")
    module, _, name = _CLASSES[kind].partition(".")
    found: type[Features] = getattr(import_module(f"catclf.features.{module}"), name)
    return found


def learn(kind: str, images: Images, seed: int = 0, **options: Any) -> Features:
    """Features of a kind: see ``Features.learn``. Raises SettingsError for an unknown one, too."""
    return class_of(kind).learn(images, seed, **options)


def restore(settings: dict[str, Any], size: int, read: Read) -> Features:
    """The features that ``settings`` describe; ``read`` fetches their arrays, checked.

    Raises ModelError when the settings are not ones that ``learn`` makes.
    """
    try:
        features = class_of(settings["kind"]).restore(settings, size, read)
        found = features.settings
        # As text, in which 1, 1.0 and true differ.
        if json.dumps(settings, sort_keys=True) != json.dumps(found, sort_keys=True):
            raise SettingsError(f"unknown settings of {features.kind}")
    except (SettingsError, KeyError, TypeError) as error:
        raise ModelError(f"has features that make no sense: {error}") from error
    return features


def _unpickled(settings: dict[str, Any], size: int, arrays: dict[str, NDArray[Any]]) -> Features:
    return restore(settings, size, lambda name, dtype, shape: arrays[name])


_loading = threading.Lock()
_loaded: list[ModuleType] = []


def compiled(wanted: bool) -> ModuleType | None:
    """The module ``numba_kernels`` where it has been loaded, or now where it is wanted.

    Compiling takes a second or two, so that it pays after many images; it changes no bit. One
    thread loads it while the others go on without. Without Numba it is None.
    """
    if wanted and not _loaded and _loading.acquire(blocking=False):
        # The lock is never given back: this is tried once.
        with suppress(Exception):  # whatever Numba and its libraries may raise
            _loaded.append(import_module("catclf.features.numba_kernels"))
    return _loaded[0] if _loaded else None
