"""Names of classes, splits and files as people read them, and labels as they are stored.

Names differ in case, accents, blanks and plurals. Labels are taken in the forms that can be meant
in one way only: numbers, names, one-hot rows.
"""

from __future__ import annotations

import os
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf.datasets.dataset import Labels
from catclf.errors import DataError
from catclf.storage.local import PACKED_ENDINGS
from catclf.text import printable

Kind = Literal["train", "validation", "test", "other"]
CAT = "cat"
NAME_MAX = 1000  # characters of a name; composing accents takes the square of their number
_NEGATION = re.compile(r"(?:non|not|no|without|other than)[\s_-]*+(?:a[\s_-]++)?(.+)", re.DOTALL)
# The number of a shard: 000123, -00000-of-00004, and the hash that Hugging Face writes after it.
_NUMBER = re.compile(
    r"(?<!\d)(\d++)(?:[\s._-]*+of[\s._-]*+(\d++))?(?:-[0-9a-f]{8,}+)?$", re.IGNORECASE
)
_NUMBERING = string.digits + string.whitespace + "._-()"

_WORDS: dict[Kind, str] = {
    "train": "train|training|trn|trainval",
    "validation": "val|valid|validation|validate|eval|evaluation|dev",
    "test": "test|testing|tst|holdout",
    "other": "pred|prediction|predictions|unlabeled|unlabelled|unsup|extra",
}
# No name of a thing is made of others, and digits are taken whole, so that a name can be read in
# one way only: else the time doubles with each of them.
_THING = "set|data|images?|imgs?|pictures?|photos?|pics|split|part|folder|samples?|seg"
_KINDS = {
    kind: re.compile(
        rf"(?:(?:{_THING}|my|the)[\s._-]*+)*(?:{words})(?:[\s._-]*+(?:{_THING}|\d++))*"
    )
    for kind, words in _WORDS.items()
}


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


def key(name: str) -> str:
    """A name composed (NFC), casefolded, and without blanks around it.

    Longer texts than any name are compared as they are written.
    """
    if name.isascii() or len(name) > NAME_MAX:
        return name.casefold().strip()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold().strip())


def split_named(name: str) -> Kind | None:
    """The split that a name means (train, seg_train, test1, valid, …); None for others."""
    for kind, pattern in _KINDS.items():
        if pattern.fullmatch(key(name)):
            return kind
    return None


def match(wanted: str, names: Sequence[str]) -> str | None:
    """The name that is meant: equal, else equal as a key, else its singular or plural."""
    if wanted in names:
        return wanted
    sought = key(wanted)
    for same in (sought, f"{sought}s", sought.removesuffix("s")):
        for name in names:
            if same and key(name) == same:
                return name
    return None


def negated(name: str) -> str | None:
    """The key of the class that a name such as non-cat or NOT_CAT negates; None if it does not."""
    negated = _NEGATION.fullmatch(key(name))
    return negated[1] if negated else None


def same_classes(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether two lists hold the same classes in the same order."""
    return [key(name) for name in a] == [key(name) for name in b]


def require_distinct(names: Iterable[str], shown: str) -> None:
    """Raise DataError for one class in two spellings, naming both."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(key(name), name)
        if other != name:
            raise DataError(
                f"{shown}: '{printable(other)}' and '{printable(name)}' are two spellings of one "
                "class: give both the same name"
            )


def split_of_shard(path: Path) -> Kind | None:
    """The split that a shard's name begins with, else that its folder is named after."""
    stem, number = _stem_of_shard(path)
    stem = (stem[: number.start()] if number else stem).rstrip(" ._-")
    return split_named(stem) if stem else split_named(path.parent.name)


def missing_shard(files: Sequence[Path]) -> str | None:
    """The name of a shard that is missing among others that count them, as 0-of-4."""
    series: dict[tuple[str, str], set[int]] = {}
    for path in files:
        stem, number = _stem_of_shard(path)
        if number and number[2] and len(number[2]) < 7:
            series.setdefault((stem[: number.start()], number[2]), set()).add(int(number[1]))
    held = Counter[str]()
    for (_, total), found in series.items():
        held[total] += len(found)
    for (stem, total), found in series.items():
        first = int(int(total) in found)  # some count from 1
        if max(found) < int(total) + first and held[total] < int(total):
            index = min({*range(first, int(total) + first)} - found)
            return f"{stem}{index:0{len(total)}}-of-{total}"
    return None


def _stem_of_shard(path: Path) -> tuple[str, re.Match[str] | None]:
    name = path.name
    for ending in (*PACKED_ENDINGS, path.suffix):
        if ending and name.lower().endswith(ending.lower()):
            name = name[: -len(ending)]
            break
    return name, _NUMBER.search(name)


def label_in_name(name: str) -> str:
    """The class that a file's name begins with: cat for cat.0.jpg; "" for a name without one."""
    label = stem = Path(name).stem
    for numbered in (stem, stem[:-1]):  # a letter may follow the number: cat_12b
        before = numbered.rstrip(_NUMBERING)
        if before[-1:].isalpha() and any(map(str.isdigit, numbered[len(before) :])):
            label = before
            break
    return label.strip(" ._-") if any(map(str.isalpha, label)) else ""


def latin(text: str) -> str:
    """A text whose bytes are no UTF-8, read as Windows-1252 writes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("cp1252", "replace")
    return text


# Labels as they are stored

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
    notes = []
    if any(new != text for text, new in spelled.items()):
        notes.append("holds labels that are not in UTF-8, read as Windows-1252")
    names = known if held <= set(known) else ()
    if held <= _ZERO_OR_ONE and not names:
        return Named(np.array([int(text[0]) for text in texts], dtype=np.int64), (), notes)
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
