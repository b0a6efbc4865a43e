"""Stored labels in the forms that can be taken in one way only: numbers, names, one-hot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.datasets.dataset import Labels
from catclf.datasets.names import latin, require_distinct
from catclf.errors import DataError
from catclf.text import printable

CLASSES_LIMIT = 1000
_ZERO_OR_ONE = {"0", "1", "0.0", "1.0"}


class Named(NamedTuple):
    """Labels (m,) int64 as indices of classes, which may be none, and what was decided."""

    labels: Labels
    classes: tuple[str, ...]
    notes: list[str]


def check_shape(shape: tuple[int, ...], dtype: np.dtype[Any], shown: str) -> None:
    """Raise DataError for what cannot be labels, before they are read."""
    if dtype.kind not in "biufSUO":
        raise DataError(f"{shown} is {dtype}: labels must be integers, 0 or 1, or names")
    sides = [side for side in shape if side != 1]
    if len(sides) > 2 or len(shape) == 0 or (len(sides) == 2 and min(sides) > CLASSES_LIMIT):
        raise DataError(
            f"{shown} has shape {shape}: labels must have shape (m,): y = y.reshape(-1)"
        )


def as_labels(
    values: NDArray[Any], classes: tuple[str, ...], shown: str, *, matlab: bool = False
) -> Named:
    """Labels from integers, whole floats, names or one-hot rows. Raises DataError."""
    notes: list[str] = []
    if matlab:
        values = values.T
    sides = [side for side in values.shape if side != 1]
    if len(sides) == 2:
        values = _from_one_hot(values.reshape(sides), shown, notes)
    values = values.reshape(-1)
    if values.dtype.kind in "SUO":
        texts = [os.fsdecode(text) if isinstance(text, bytes | str) else "" for text in values]
        return from_texts([text.strip() for text in texts], shown, known=classes)
    if values.dtype.kind == "f":
        _require_whole(values, shown)
    return Named(_numbered(values.astype(np.int64), classes, shown, notes), classes, notes)


def check_classes(names: list[str], shown: str) -> tuple[str, ...]:
    """Two or more different names."""
    if not 2 <= len(names) <= CLASSES_LIMIT or len(set(names)) < len(names) or not all(names):
        raise DataError(f"{shown} must be two or more different names")
    require_distinct(names, shown)
    return tuple(names)


def from_texts(
    texts: Sequence[str], shown: str, every: Iterable[str] = (), known: tuple[str, ...] = ()
) -> Named:
    """Labels (m,) from texts, which are names, or 0 and 1 throughout. Raises DataError.

    ``every`` text of the source decides it (default: these). ``known`` are the classes if every
    one is among them. Texts that are not in UTF-8 come as ``os.fsdecode`` gives them.
    """
    spelled = {text: latin(text) for text in {*texts, *every}}
    held = set(spelled.values())
    if "" in held:
        raise DataError(f"{shown} holds labels that are no text")
    require_distinct(sorted(held), shown)
    notes, others = [], held - _ZERO_OR_ONE
    if any(new != text for text, new in spelled.items()):
        notes.append("holds labels that are not in UTF-8, read as Windows-1252")
    names = known if held <= set(known) else ()
    if not others and not names:
        return Named(np.array([int(text[0]) for text in texts], dtype=np.int64), (), notes)
    if (
        others < held
        and not names
        and not any(name.replace(".", "", 1).isdigit() for name in others)
    ):
        raise DataError(
            f"{shown}: has labels 0 or 1 in some places and names such as "
            f"{printable(min(others))} in others: give all of them as numbers, or as names"
        )
    names = names or tuple(sorted({spelled[text] for text in texts}))
    if len(names) < 2:
        raise DataError(f"{shown}: all images are {printable(names[0])}: two classes needed")
    index = {name: number for number, name in enumerate(names)}
    return Named(np.array([index[spelled[text]] for text in texts], np.int64), names, notes)


def numbered(texts: Sequence[str]) -> Labels | None:
    """A number for each text, -1 where it is empty; None where all are."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(filter(None, texts)))}
    return np.array([numbers.get(text, -1) for text in texts], np.int64) if numbers else None


def _from_one_hot(values: NDArray[Any], shown: str, notes: list[str]) -> NDArray[Any]:
    ones = values.dtype.kind in "biuf" and bool(((values == 0) | (values == 1)).all())
    if not ones or not (values.sum(axis=1) == 1).all() or values.shape[1] > CLASSES_LIMIT:
        raise DataError(
            f"{shown} has shape {values.shape}: labels must have shape (m,), or be one-hot rows: "
            "y = y.argmax(axis=1)"
        )
    notes.append(f"is one-hot: the {values.shape[1]} columns are taken as labels 0, 1, …")
    return np.asarray(values.argmax(axis=1))


def _require_whole(values: NDArray[Any], shown: str) -> None:
    odd = np.flatnonzero(~np.isfinite(values) | (values != np.rint(values)))
    if len(odd):
        raise DataError(
            f"{shown} has label {values[odd[0]]:g} at image {odd[0]}: labels must be integers, "
            "0 or 1: y = (y > 0.5).astype('uint8')"
        )
    if np.abs(values).max(initial=0) > 1 << 40:
        raise DataError(f"{shown} has labels far above 1: labels must be 0 or 1")


def _numbered(values: Labels, classes: tuple[str, ...], shown: str, notes: list[str]) -> Labels:
    """Labels counted from 0: -1 and 1, and labels counted from 1, are moved, with a note."""
    held = set(values.tolist())  # np.unique would load NumPy's masked arrays: 30 ms
    count = len(classes) or 2
    if held == {-1, 1} and count == 2:
        notes.append("holds -1 and 1, taken as labels 0 and 1")
        return (values + 1) // 2
    if held and (min(held), max(held)) == (1, count):
        notes.append(f"holds labels from 1 to {count}, taken as 0 to {count - 1}")
        return values - 1
    outside = np.flatnonzero((values < 0) | (values >= count))
    if len(outside):
        allowed = "0 or 1" if count == 2 else f"0 to {count - 1}"
        raise DataError(
            f"{shown} has label {values[outside[0]]} at image {outside[0]}: "
            f"labels must be {allowed}: y = (y == LABEL).astype('uint8') makes one of them 1"
        )
    return values
