"""The keys under which images, labels and class names are stored, for HDF5 and ``.npz``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from catclf.datasets.dataset import Part, Reading
from catclf.datasets.parts import part_kind, parts_among
from catclf.errors import DataError
from catclf.images.preprocess import FITS, Preprocess
from catclf.text import printable

Role = Literal["x", "y"]
PLAIN = (("x", "y"), ("images", "labels"))
# The course's schema, and the order in which other parts are taken where the one wanted is not
# there. What is written here goes before what is recognised by pattern.
_ORDER: dict[Part, tuple[Part | None, ...]] = {
    "train": ("train", None, "test"),
    "validation": ("validation", None),
    "test": ("test", None, "validation", "train"),
}
_IMAGES = frozenset(
    [
        "x",
        "image",
        "images",
        "img",
        "imgs",
        "data",
        "pixels",
        "pixel",
        "picture",
        "pictures",
        "photo",
        "photos",
        "jpeg",
        "jpegs",
        "input",
        "inputs",
    ]
)
_LABELS = frozenset(
    ["y", "label", "labels", "target", "targets", "lab", "labs", "class", "category"]
)
CLASS_NAMES = (
    "list_classes", "classes", "class_names", "classnames", "label_names", "target_names",
    "category_names",
)  # fmt: skip


def find_keys(
    listed: Sequence[str], part: Part, shown: str, wanted: tuple[str, str] | None = None
) -> tuple[str, str]:
    """The keys of images and labels. Raises DataError that lists those found."""
    held = ", ".join(printable(key) for key in list(listed)[:20]) or "nothing"
    if wanted is not None:
        for key in wanted:
            if key not in listed:
                raise DataError(f"{shown}: has no key {printable(key)}; it holds {held}")
        return wanted
    there = set(listed)
    if part != "validation":
        course = ((f"{part}_set_x", f"{part}_set_y"), *PLAIN)
        for pair in course:
            if there.issuperset(pair):
                return pair
    pairs = _pairs(listed)
    for kind in _ORDER[part]:
        if kind in pairs:
            return pairs[kind]
    raise DataError(
        f"{shown}: has none of the keys {part}_set_x and {part}_set_y, x and y, images and labels, "
        f"or the like; it holds {held}: `keys=images,labels` names others"
    )


def parts(listed: Iterable[str]) -> set[Part]:
    """Those parts of which images and labels are among the keys."""
    return parts_among(_pairs(listed))


def role(key: str) -> tuple[Part | None, Role | None]:
    """The part that a key such as ``X_train`` names, and whether it is of images or labels."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[XY])(?=[a-zA-Z])", "_", key)
    part: Part | None = None
    rest = []
    for word in re.split(r"[/_\s.-]+", words.casefold()):
        kind = part_kind(word) if word else None
        if kind in ("train", "validation", "test"):
            part = kind
        elif word and word != "set":
            rest.append(word)
    name = "_".join(rest)
    if name in _IMAGES:
        return part, "x"
    return part, "y" if name in _LABELS else None


def recorded(fit: Any, resampling: Any, size: int, reading: Reading, shown: str) -> Preprocess:
    """The preprocessing that made stored images, as recorded with them, else as stated."""
    if fit is None:
        return Preprocess(size, reading.fit or "squash")
    if fit not in FITS or not isinstance(resampling, str):
        raise DataError(f"{shown}: was packed in a way that this catclf does not know")
    if reading.fit not in (None, fit):
        raise DataError(f"{shown}: was packed with `fit={fit}`, not {reading.fit}")
    return Preprocess(size, fit, resampling)


def require_size(size: int, wanted: int | None, shown: str) -> None:
    """Raise DataError where stored images have another size than the one wanted."""
    if wanted is not None and size != wanted:
        raise DataError(
            f"{shown} has images of {size}x{size}, not {wanted}x{wanted}: train with `size={size}`"
        )


def _pairs(listed: Iterable[str]) -> dict[Part | None, tuple[str, str]]:
    """The keys of images and labels of each part that has exactly one of each."""
    found: dict[tuple[Part | None, Role], list[str]] = {}
    for key in listed:
        part, kind = role(key)
        if kind is not None:
            found.setdefault((part, kind), []).append(key)
    pairs = {}
    for part in ("train", "validation", "test", None):
        x, y = found.get((part, "x"), []), found.get((part, "y"), [])
        if len(x) == 1 and len(y) == 1:
            pairs[part] = (x[0], y[0])
    return pairs
