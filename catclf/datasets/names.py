"""Names of classes, splits and files as people read them: case, accents, blanks and plurals."""

from __future__ import annotations

import os
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

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
            two = " and ".join(map(_quoted, (other, name)))
            raise DataError(
                f"{shown}: {two} are two spellings of one class: give both the same name"
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


def _quoted(name: str) -> str:
    """A name as it is shown; with quotes where blanks or forms would not be seen."""
    plain = name == name.strip() and unicodedata.normalize("NFC", name) == name
    return printable(name) if plain else f"'{printable(name)}'"
