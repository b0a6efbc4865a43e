"""Arrays as images: what can be taken in one way only becomes uint8 (m, size, size, 3).

The rules are the same for HDF5, ``.npz`` and what Python holds. A note says how an array was taken;
the refusal of another names the line of NumPy that converts it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.datasets.dataset import SPLITS, ReadOptions, Split
from catclf.datasets.listing import Items, Listing, listing_of_items
from catclf.datasets.names import Named, split_named, words
from catclf.errors import DataError
from catclf.images.preprocess import FITS, Preprocess
from catclf.maths import Pixels
from catclf.samples import Rows, extremes
from catclf.storage.location import locate
from catclf.text import counted, printable

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


class Taken(NamedTuple):
    """Images as they are used, and what was decided about them."""

    pixels: Pixels
    notes: list[str]


def stored_listing(
    path: Path,
    pair: Key,
    labels: Named,
    images: Any,
    options: ReadOptions,
    *,
    matlab: bool = False,
    made: tuple[Any, Any] = (None, None),
    unwritten: int = 0,
    **facts: Any,
) -> Listing:
    """The images under a key of a file: pixels by the rules, or encoded images to be decoded.

    ``images`` are an array, or rows on disk that need no conversion; ``made`` is the fit and the
    resampling recorded with them. Raises DataError.
    """
    (x_key, y_key), shown, name = pair, printable(path), locate(path).name
    where, notes = f"{shown}: {x_key}", [f"{y_key} {note}" for note in labels.notes]
    if images.dtype.kind in "OSV":
        items = encoded(images.reshape(-1).tolist(), shown, where)
        _require_as_many(len(items), len(labels.labels), where)
        notes.append(f"{x_key} holds encoded images")
        return listing_of_items(
            shown, name, labels.classes, labels.labels, items, options, notes=tuple(notes), **facts
        )
    pixels = images
    if isinstance(images, Rows):
        _require_as_many(len(images), len(labels.labels), where)
    else:
        pixels, taken = as_pixels(images, len(labels.labels), where, matlab=matlab)
        notes += [f"{x_key} {note}" for note in taken]
    preprocess = recorded(*made, pixels.shape[1], options, where)
    notes += blank_notes(pixels, where, unwritten)
    return Listing(
        shown,
        name,
        labels.classes,
        labels.labels,
        preprocess,
        options,
        pixels=pixels,
        notes=tuple(notes),
        **facts,
    )


def encoded(contents: list[Any], shown: str, where: str) -> Items:
    """Image files that are held whole. Raises DataError for text, such as their paths."""
    from catclf.images.archive import Content

    if not all(isinstance(each, bytes) for each in contents) or b"".join(contents).isascii():
        raise DataError(
            f"{where} holds text or records, and no images: of paths and labels make a .csv table"
        )
    return Items([Content.holding(shown, str(row), each) for row, each in enumerate(contents)])


def _require_as_many(images: int, labels: int, shown: str, hint: str = "") -> None:
    if images != labels:
        raise DataError(
            f"{shown} has {counted(images, 'image')}, but {counted(labels, 'label')}{hint}"
        )


def is_plain(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether an array needs no conversion: uint8 (m, size, size, 3)."""
    square = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
    return square and dtype == np.uint8 and 0 not in shape


def as_pixels(
    values: NDArray[Any], m: int, shown: str, *, matlab: bool = False, square: bool = True
) -> Taken:
    """Images uint8 (m, size, size, 3) from any array that can be taken in one way only.

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
    if square:
        _require_square(values.shape, shown)
    scale = scale_of([values], shown, notes)
    return Taken(in_colour(values, scale, notes), notes)


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
    if channels != 3:
        notes.append(
            "is taken as grey"
            if channels == 1
            else "its fourth channel is taken as opacity, over white"
        )
    return pixels


def require_numbers(dtype: np.dtype[Any], shown: str) -> None:
    """Raise DataError for anything but booleans, integers and floats."""
    if dtype.kind not in "biuf":
        raise DataError(
            f"{shown} is {dtype}: pixels must be uint8, 0 to 255: x = x.astype('uint8')"
        )


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
        line = "x.reshape(m, size, size, 3)"
        if len(shape) == 4 and shape[3] == m and shape[2] in CHANNELS:
            line = "np.moveaxis(x, 3, 0)"
        elif len(shape) == 5 and shape[0] == m and 1 in shape[1:]:
            line = f"x.squeeze({shape.index(1, 1)})"
        raise DataError(
            f"{shown} has shape {shape}: (m, 64, 64, 3) or another square is needed: x = {line}"
        )
    hint = f": x = np.moveaxis(x, {shape.index(m)}, 0)" if m in shape else ""
    _require_as_many(len(values), m, shown, hint)
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
    for channels in CHANNELS:
        size = round((n / channels) ** 0.5)
        if size * size * channels == n and size > 1:
            break
    else:
        raise DataError(
            f"{shown} has shape {shape}: rows of {n} numbers are no square images: "
            "x = x.reshape(m, height, width, 3)"
        )
    if channels == 1:
        notes.append(f"has flat rows, taken as grey images of {size}x{size}")
        return values.reshape(-1, size, size, 1)
    planes = values.reshape(-1, channels, size, size)
    mixed = values.reshape(-1, size, size, channels)
    if _roughness(np.moveaxis(planes[:_TRIED], 1, 3)) < _CLEARLY * _roughness(mixed[:_TRIED]):
        notes.append(f"has flat rows, taken as {channels} planes of {size}x{size}")
        return np.moveaxis(planes, 1, 3)
    notes.append(f"has flat rows, taken as {size}x{size} pixels of {channels} numbers")
    return mixed


def _roughness(images: NDArray[Any]) -> float:
    """The mean difference of neighbouring pixels: small for images in their right order."""
    x = images.astype(np.float64)
    return float(np.abs(np.diff(x, axis=1)).mean() + np.abs(np.diff(x, axis=2)).mean())


def _require_square(shape: tuple[int, ...], shown: str) -> None:
    _, height, width, _ = shape
    if height == width:
        return
    side, skip = min(height, width), abs(height - width) // 2
    rows = f"{skip}:{skip + side}"
    line = f"x = x[:, {rows}]" if height > width else f"x = x[:, :, {rows}]"
    raise DataError(
        f"{shown} has images of {height}x{width}, which are no squares: their middle is {line}"
    )


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
    low = min(float(values.min()) for values in several)
    high = max(float(values.max()) for values in several)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(
            f"{shown} holds numbers that are not finite: x = np.nan_to_num(x) makes them 0"
        )
    if dtype.kind == "f" and low >= 0 and high <= 1:
        if high == 0:
            return 1.0
        notes.append(f"is {dtype} of 0 to 1, taken x 255")
        return 255.0
    if low >= 0 and high <= 255 and (dtype.kind in "iu" or high > 16):
        notes.append(f"is {dtype} of 0 to 255, taken as it is")
        return 1.0
    line = "((x - x.min()) / (x.max() - x.min()) * 255).round().astype('uint8')"
    if low >= 0 and high > 255:
        line = "(x / 65535 * 255).round().astype('uint8'), if 65535 is white"
    elif low >= -1 and high <= 1:
        line = "((x + 1) * 127.5).round().astype('uint8'), if -1 is black and 1 white"
    raise DataError(
        f"{shown} is {dtype} from {low:g} to {high:g}: pixels must be 0 to 255 (uint8), or floats "
        f"from 0 to 1: x = {line}"
    )


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


def recorded(fit: Any, resampling: Any, size: int, options: ReadOptions, shown: str) -> Preprocess:
    """The preprocessing that made stored images, as recorded with them, else as stated.

    Raises DataError where another one, or another size, is wanted.
    """
    if options.size is not None and size != options.size:
        raise DataError(
            f"{shown} has images of {size}x{size}, not {options.size}x{options.size}: train with "
            f"`size={size}`"
        )
    if fit is None:
        return Preprocess(size, options.fit or "squash")
    if fit not in FITS or not isinstance(resampling, str):
        raise DataError(f"{shown}: was packed in a way that this catclf does not know")
    if options.fit not in (None, fit):
        raise DataError(f"{shown}: was packed with `fit={fit}`, not {options.fit}")
    return Preprocess(size, fit, resampling)


def blank_notes(pixels: Any, shown: str, unwritten: int = 0) -> list[str]:
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
    if unwritten:
        return [
            f"{counted(unwritten, 'image')} of {m} were never written and are empty: cut them off"
        ]
    if not len(constant):
        return []
    among = f"{m}" if len(rows) == m else f"the {len(rows)} looked at"
    tone = "black" if (low[low == high] == 0).all() else "of one tone"
    return [
        f"{counted(len(constant), 'image')} of {among} are empty ({tone}): the first is image "
        f"{constant[0]}; were rows never written? Cut them off"
    ]
