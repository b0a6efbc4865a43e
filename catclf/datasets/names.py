"""Names of classes, splits and files as people read them: case, accents, blanks and plurals."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from catclf.errors import DataError
from catclf.text import printable

Kind = Literal["train", "validation", "test", "other"]
CAT = "cat"
NAME_MAX = 1000  # characters of a name; composing accents takes the square of their number
_NEGATION = re.compile(r"(?:non|not|no|without|other than)[\s_-]*+(?:a[\s_-]++)?(.+)", re.DOTALL)

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
