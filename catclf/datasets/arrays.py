"""Arrays as images: what can be taken in one way only becomes uint8 (m, size, size, 3).

The rules are the same for HDF5, ``.npz`` and what Python holds. A note says how an array was taken.
A file is a ``Store`` of named arrays; that of ``.npz`` is here, and is read without unpickling.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf import machine
from catclf.datasets.dataset import SPLITS, ReadOptions, Split
from catclf.datasets.listing import Items, Listing, Source, listing_of_items
from catclf.datasets.names import (
    CLASSES_LIMIT,
    as_labels,
    check_classes,
    check_shape,
    split_named,
    words,
)
from catclf.errors import DataError
from catclf.images.preprocess import FITS, Preprocess
from catclf.maths import Pixels
from catclf.samples import Rows, extremes
from catclf.storage.local import kind_of_file
from catclf.storage.location import locate
from catclf.text import counted, printable, reason

PLAIN = (("x", "y"), ("images", "labels"))
CLASS_NAMES = words(
    "list_classes classes class_names classnames label_names target_names category_names"
)
_IMAGES = frozenset(
    words(
        "x image images img imgs data pixels pixel picture pictures photo photos jpeg jpegs input "
        "inputs"
    )
)
_LABELS = frozenset(words("y label labels target targets lab labs class category"))
CHANNELS = (1, 3, 4)
_AT_ONCE = 256  # images converted at a time: floats take eight times the memory
_TRIED = 64  # images by which the order of flat rows is recognised
_CLEARLY = 0.6  # of the differences between neighbours in the other order
_LOOKED_AT = 256  # images that stay on disk of which it is asked whether they are blank

Key = tuple[str, str]  # of images and of labels
Shape = tuple[int, ...]


class About(NamedTuple):
    """What a file says beside its arrays: how images were made, and the names of labels 0, 1, …

    The axes of MATLAB's arrays are in reverse. ``fields`` are those of a listing, such as
    ``called``.
    """

    fit: Any = None
    resampling: Any = None
    matlab: bool = False
    classes: tuple[str, ...] = ()
    fields: Mapping[str, Any] = MappingProxyType({})


# Files of named arrays


class Store:
    """Named arrays of an open file; their headers are looked at before they are read.

    Methods raise DataError.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.shown = path, printable(path)

    def keys(self) -> list[str]:
        """The names of all arrays."""
        raise NotImplementedError

    def __contains__(self, key: str) -> bool:
        return key in self.keys()

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and type of an array that is as large as it says."""
        raise NotImplementedError

    def array(self, key: str) -> NDArray[Any]:
        """An array whose header is sound."""
        raise NotImplementedError

    def images(self, key: str, options: ReadOptions) -> NDArray[Any] | Rows:
        """The images, or rows of them that stay on disk."""
        dtype = self.header(key)[1]
        if dtype.kind not in "OSV":  # encoded images
            require_numbers(dtype, f"{self.shown}: {key}")
        return self.array(key)

    def about(self, pair: Key) -> About:
        """What else it says of images and their labels."""
        return About()


Opened = Callable[[Path], AbstractContextManager[Store]]


def read(path: Path, options: ReadOptions, opened: Opened) -> Source:
    """The splits of a file of arrays. Raises DataError."""

    def part(pair: Key, options: ReadOptions) -> Listing:
        with opened(path) as store:
            return listing_of(store, pair, options)

    with opened(path) as store:
        keys = keys_of(store.keys(), store.shown, options.keys)
    parts = {split: partial(part, pair) for split, pair in keys.items()}
    return Source(printable(path), options, parts, lenient=True)


def listing_of(
    store: Store, pair: Key, options: ReadOptions, *, with_images: bool = True
) -> Listing:
    """The images under a key: pixels by the rules, or encoded images to be decoded.

    Without images their labels and what is beside them are listed alone. Raises DataError.
    """
    (x_key, y_key), shown, name = pair, store.shown, locate(store.path).name
    where, about = f"{shown}: {x_key}", store.about(pair)
    check_shape(*store.header(y_key), f"{shown}: {y_key}")
    known = _classes_of(store) or about.classes or options.classes
    labels = as_labels(store.array(y_key), known, f"{shown}: {y_key}", matlab=about.matlab)
    m, notes = len(labels.labels), [f"{y_key} {note}" for note in labels.notes]
    facts = shown, name, labels.classes, labels.labels
    if not with_images:
        made = recorded(about, store.header(x_key)[0][1], options, where)
        return Listing(*facts, made, options, **about.fields)
    images = store.images(x_key, options)
    if not isinstance(images, Rows) and images.dtype.kind in "OSV":
        items = encoded(images.reshape(-1).tolist(), shown, where)
        _require_as_many(len(items), m, where)
        notes.append(f"{x_key} holds encoded images")
        return listing_of_items(*facts, items, options, notes=tuple(notes), **about.fields)
    if isinstance(images, Rows):
        _require_as_many(len(images), m, where)
    else:
        images, taken = as_pixels(images, m, where, matlab=about.matlab)
        notes += [f"{x_key} {note}" for note in taken]
    made = recorded(about, images.shape[1], options, where)
    notes += blank_notes(images, where)
    return Listing(*facts, made, options, pixels=images, notes=tuple(notes), **about.fields)


def _classes_of(store: Store) -> tuple[str, ...]:
    """The names of labels 0, 1, … under a usual key; none without one."""
    for key in filter(store.__contains__, CLASS_NAMES):
        shape, dtype = store.header(key)
        if len(shape) == 1 and shape[0] <= CLASSES_LIMIT and dtype.kind in "SUO":
            return check_classes(texts_of(store.array(key)), f"{store.shown}: {key}")
        if key == CLASS_NAMES[0]:
            raise DataError(f"{store.shown}: {key} must be a list of names")
    return ()


def texts_of(values: Iterable[Any]) -> list[str]:
    """Texts, and empty ones in the place of what is none."""
    return [os.fsdecode(text) if isinstance(text, bytes | str) else "" for text in values]


def encoded(contents: list[Any], shown: str, where: str) -> Items:
    """Image files that are held whole. Raises DataError for text, such as their paths."""
    from catclf.images.archive import Content

    if not all(isinstance(each, bytes) for each in contents) or b"".join(contents).isascii():
        raise DataError(
            f"{where} holds text or records, and no images: of paths and labels make a .csv table"
        )
    return Items([Content.holding(shown, str(row), each) for row, each in enumerate(contents)])


def keys_of(listed: Sequence[str], shown: str, wanted: Key | None) -> dict[Split | None, Key]:
    """The keys of images and labels of each split, None for undivided ones.

    The course's keys and plain ones go before what is recognised by pattern, which must be one key
    of each kind. Raises DataError that lists those found.
    """
    held = ", ".join(printable(key) for key in list(listed)[:20]) or "nothing"
    for key in wanted or ():
        if key not in listed:
            raise DataError(f"{shown}: has no key {printable(key)}; it holds {held}")
    if wanted is not None:
        return {None: wanted}
    roles: dict[Any, list[str]] = {}
    for key in listed:
        roles.setdefault(role_of(key), []).append(key)
    keys: dict[Split | None, Key] = {}
    for split in (*SPLITS, None):
        known = [(f"{split}_set_x", f"{split}_set_y")] if split else PLAIN
        x, y = (roles.get((split, role), []) for role in ("x", "y"))
        recognised = [(x[0], y[0])] if len(x) == len(y) == 1 else []
        for pair in (*known, *recognised):
            if set(pair) <= set(listed):
                keys.setdefault(split, pair)
    if not keys:
        raise DataError(
            f"{shown}: has none of the keys train_set_x and train_set_y, x and y, images and "
            f"labels, or the like; it holds {held}: `keys=images,labels` names others"
        )
    return keys


def role_of(key: str) -> tuple[Split | None, Literal["x", "y"] | None]:
    """The split that a key such as ``X_train`` names, and whether it is of images or labels."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[XY])(?=[a-zA-Z])", "_", key)
    split: Split | None = None
    rest = []
    for word in re.split(r"[/_\s.-]+", words.casefold()):
        kind = split_named(word) if word else None
        if kind is not None and kind != "other":
            split = kind
        elif word and word != "set":
            rest.append(word)
    name = "_".join(rest)
    return split, "x" if name in _IMAGES else "y" if name in _LABELS else None


def recorded(about: About, size: int, options: ReadOptions, shown: str) -> Preprocess:
    """The preprocessing that made stored images, as recorded with them, else as stated.

    Raises DataError where another one, or another size, is wanted.
    """
    if options.size is not None and size != options.size:
        raise DataError(
            f"{shown} has images of {size}x{size}, not {options.size}x{options.size}: train with "
            f"`size={size}`"
        )
    fit, resampling = about.fit, about.resampling
    if fit is None:
        return Preprocess(size, options.fit or "squash")
    if fit not in FITS or not isinstance(resampling, str):
        raise DataError(f"{shown}: was packed in a way that this catclf does not know")
    if options.fit not in (None, fit):
        raise DataError(f"{shown}: was packed with `fit={fit}`, not {options.fit}")
    return Preprocess(size, fit, resampling)


class _Npz(Store):
    """The arrays of an open ``.npz`` file."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        super().__init__(path)
        self._archive = archive
        self._keys = [name.removesuffix(".npy") for name in archive.namelist()]
        if len(set(self._keys)) < len(self._keys):
            raise DataError(f"{self.shown}: holds a name twice")

    def keys(self) -> list[str]:
        return self._keys

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        where, info = f"{self.shown}: {key}", self._archive.getinfo(f"{key}.npy")
        with self._archive.open(info) as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise DataError(f"{where} is in an unknown array format")
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)  # at most 64 KB
            if dtype.hasobject:
                raise DataError(f"{where} holds pickled objects: they are never loaded")
            nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if nbytes != info.file_size - stream.tell():
                raise DataError(f"{where} does not hold as much as its shape {shape} says")
        machine.require_memory(nbytes, where)
        return shape, dtype

    def array(self, key: str) -> NDArray[Any]:
        with self._archive.open(f"{key}.npy") as stream:
            try:
                values = np.lib.format.read_array(stream, allow_pickle=False)
            except ValueError as error:
                raise DataError(f"{self.shown}: {key} is truncated") from error
            stream.read(1)  # the end: here zipfile compares the checksum
        return np.ascontiguousarray(values)


@contextmanager
def npz(path: Path) -> Iterator[Store]:
    """An open ``.npz`` file, with whatever is raised about it as DataError."""
    shown = printable(path)
    try:
        with zipfile.ZipFile(locate(path).local()) as archive:
            yield _Npz(path, archive)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {reason(error)}") from error
    except zipfile.BadZipFile as error:
        kind = kind_of_file(Path(locate(path).local()))
        why = kind if kind and " zip archive" not in kind else f": {error}"
        raise DataError(f"{shown}: is not a sound .npz archive{why}") from error
    except Exception as error:  # zipfile and the header parser raise anything on hostile bytes
        raise DataError(f"{shown}: is damaged and cannot be read") from error


# The rules of pixels


def is_plain(shape: Shape, dtype: np.dtype[Any]) -> bool:
    """Whether an array needs no conversion: uint8 (m, size, size, 3)."""
    square = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
    return square and dtype == np.uint8 and 0 not in shape


def as_pixels(
    values: NDArray[Any], m: int, shown: str, *, matlab: bool = False, square: bool = True
) -> tuple[Pixels, list[str]]:
    """Images uint8 (m, size, size, 3) from any array that can be taken in one way only, and notes.

    ``m`` is the number of labels. ``matlab`` arrays have their axes in reverse. Images that are not
    ``square`` are taken where that is not asked for. Raises DataError.
    """
    notes: list[str] = []
    if matlab:
        values = values.T
        first = values.shape[0] == m and (values.ndim != 4 or values.shape[3] in CHANNELS)
        if values.ndim in (3, 4) and values.shape[-1] == m and not first:
            values = np.moveaxis(values, -1, 0)  # MATLAB's own order: height, width, channels, m
        notes.append(f"its axes are MATLAB's and were turned: {values.shape}")
    values = four_axes(values, m, shown, notes)
    _, height, width, _ = values.shape
    if square and height != width:
        raise DataError(f"{shown} has images of {height}x{width}: cut or pad them to squares")
    scale = scale_of([values], shown, notes)
    return in_colour(values, scale, notes), notes


def require_numbers(dtype: np.dtype[Any], shown: str) -> None:
    """Raise DataError for anything but booleans, integers and floats."""
    if dtype.kind not in "biuf":
        raise DataError(
            f"{shown} is {dtype}: pixels must be uint8, 0 to 255: x = x.astype('uint8')"
        )


def _require_as_many(images: int, labels: int, shown: str) -> None:
    if images != labels:
        raise DataError(f"{shown} has {counted(images, 'image')}, but {counted(labels, 'label')}")


def four_axes(values: NDArray[Any], m: int, shown: str, notes: list[str]) -> NDArray[Any]:
    """The images as (m, height, width, channels). Raises DataError."""
    require_numbers(values.dtype, shown)
    shape = values.shape
    if values.ndim == 2:
        values = _from_flat(values, m, shown, notes)
    elif values.ndim == 3:
        values = values[..., None]
    elif values.ndim == 4 and shape[3] not in CHANNELS and shape[1] in CHANNELS:
        notes.append(f"has its channels first, {shape}, and is taken so")
        values = np.moveaxis(values, 1, 3)
    if values.ndim != 4 or values.shape[3] not in CHANNELS:
        raise DataError(
            f"{shown} has shape {shape}: (m, 64, 64, 3) or another square is needed: np.moveaxis "
            "brings axes in this order, and squeeze takes those of 1 away"
        )
    _require_as_many(len(values), m, shown)
    if 0 in values.shape:
        raise DataError(f"{shown} has shape {values.shape}: it has no images")
    return values


def _from_flat(values: NDArray[Any], m: int, shown: str, notes: list[str]) -> NDArray[Any]:
    """Flat images, one a row, or one a column as in the course's X (n, m)."""
    shape = values.shape
    if shape[0] != m and shape[1] == m:
        values = values.T
        notes.append(f"has one image a column, {shape}, and is taken so")
    n = values.shape[1]
    sizes = {channels: round((n / channels) ** 0.5) for channels in CHANNELS}
    fitting = [each for each, size in sizes.items() if size > 1 and size * size * each == n]
    if not fitting:
        raise DataError(
            f"{shown} has shape {shape}: rows of {n} numbers are no square images: "
            "x = x.reshape(m, height, width, 3)"
        )
    channels, size = fitting[0], sizes[fitting[0]]
    planes = np.moveaxis(values.reshape(-1, channels, size, size), 1, 3)
    mixed = values.reshape(-1, size, size, channels)
    if _roughness(planes[:_TRIED]) < _CLEARLY * _roughness(mixed[:_TRIED]):
        notes.append(f"has flat rows, taken as {channels} planes of {size}x{size}")
        return planes
    notes.append(f"has flat rows, taken as {size}x{size} pixels of {counted(channels, 'number')}")
    return mixed


def _roughness(images: NDArray[Any]) -> float:
    """The mean difference of neighbouring pixels: small for images in their right order."""
    x = images.astype(np.float64)
    return float(np.abs(np.diff(x, axis=1)).mean() + np.abs(np.diff(x, axis=2)).mean())


def scale_of(several: Sequence[NDArray[Any]], shown: str, notes: list[str]) -> float:
    """The number that makes values 0 … 255. Raises DataError where there are several.

    All images of one type together decide, and floats must be 0 … 1 or go well beyond.
    """
    dtype = several[0].dtype
    if dtype == np.uint8:
        return 1.0
    if dtype.kind == "b":
        notes.append("holds booleans, taken as black and white")
        return 255.0
    low = float(np.min([values.min() for values in several]))  # NaN where there is any
    high = float(np.max([values.max() for values in several]))
    if dtype.kind == "f" and low >= 0 and high <= 1:
        if high == 0:
            return 1.0
        notes.append(f"is {dtype} of 0 to 1, taken x 255")
        return 255.0
    if low >= 0 and high <= 255 and (dtype.kind in "iu" or high > 16):
        notes.append(f"is {dtype} of 0 to 255, taken as it is")
        return 1.0
    raise DataError(
        f"{shown} is {dtype} from {low:g} to {high:g}: pixels must be 0 to 255 (uint8), or floats "
        "from 0 to 1: x = ((x - black) / (white - black) * 255).round().astype('uint8')"
    )


def in_colour(values: NDArray[Any], scale: float, notes: list[str]) -> Pixels:
    """Images uint8 (m, h, w, 3) of (m, h, w, channels), whose values times ``scale`` are 0 … 255.

    A fourth channel is opacity, over white.
    """
    channels = values.shape[3]
    if values.dtype == np.uint8 and channels == 3:
        return np.ascontiguousarray(values)
    pixels = np.empty((*values.shape[:3], 3), dtype=np.uint8)
    for start in range(0, len(values), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        block = values[rows]
        if block.dtype != np.uint8 or scale != 1.0:
            block = np.rint(block.astype(np.float64) * scale).astype(np.uint8)
        if channels == 4:
            opacity = block[..., 3:].astype(np.float64) / 255.0
            block = np.rint(block[..., :3] * opacity + 255.0 * (1.0 - opacity)).astype(np.uint8)
        pixels[rows] = block  # one channel becomes three
    if channels == 1:
        notes.append("is taken as grey")
    if channels == 4:
        notes.append("its fourth channel is taken as opacity, over white")
    return pixels


def blank_notes(pixels: Any, shown: str) -> list[str]:
    """Notes on images that show nothing, of all in memory, and of some on disk.

    Raises DataError where every pixel is 0 or 1, and not all are 0.
    """
    m = len(pixels)
    rows = np.arange(m)
    if not isinstance(pixels, np.ndarray) and m > _LOOKED_AT:
        rows = np.linspace(0, m - 1, _LOOKED_AT).astype(np.int64)
    low, high = extremes(pixels, rows)
    constant = rows[low == high]
    if high.max() == 1:
        raise DataError(
            f"{shown} holds pixels of 0 or 1 alone, out of 255, which is all but black: floats of "
            "0 to 1 must be multiplied before they are cast: x = (x * 255).round().astype('uint8')"
        )
    if not len(constant):
        return []
    among = f"{m}" if len(rows) == m else f"the {len(rows)} looked at"
    tone = "black" if (low[low == high] == 0).all() else "of one tone"
    return [
        f"{counted(len(constant), 'image')} of {among} are empty ({tone}): the first is image "
        f"{constant[0]}; were rows never written? Cut them off"
    ]
