"""Names of classes and files compared as people read them: case, accents, blanks and plurals."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from catclf.errors import DataError
from catclf.text import printable

CAT = "cat"
_NEGATION = re.compile(r"(?:non|not|no|without|other than)[\s_-]*(?:a[\s_-]+)?(.+)")


def key(name: str) -> str:
    """A name composed (NFC), casefolded, and without blanks around it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold().strip())


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
                f"{shown}: {_quoted(other)} and {_quoted(name)} are two spellings of one class: "
                "give both the same name"
            )


def other_spelling(root: Path, name: str) -> str | None:
    """The one path below ``root`` that differs from ``name`` in spelling alone; None if not one.

    Each part is compared as a key, with backslashes as separators, and the last part also
    without the ending of the file that is there.
    """
    place, shown = root, []
    parts = [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    if name.startswith("/"):
        place = Path("/")
    for number, part in enumerate(parts):
        if part == ".." or (place / part).exists():
            spellings = [part]
        else:
            spellings = _alike(place, part, last=number == len(parts) - 1)
        if len(spellings) != 1:
            return None
        place = place / spellings[0]
        shown.append(spellings[0])
    if not shown or not place.is_file():
        return None
    return ("/" if name.startswith("/") else "") + "/".join(shown)


def _alike(place: Path, part: str, *, last: bool) -> list[str]:
    """The names in a folder that are like ``part``; without an ending only where none is equal."""
    listed = _Listing.of(place)
    return listed.by_key.get(key(part), []) or (listed.by_stem.get(key(part), []) if last else [])


class _Listing:
    """The names of one folder by their keys; folders are kept until they are let go of."""

    _kept: ClassVar[dict[str, _Listing]] = {}

    def __init__(self, place: Path) -> None:
        self.by_key: dict[str, list[str]] = {}
        self.by_stem: dict[str, list[str]] = {}
        try:
            names = sorted(path.name for path in place.iterdir())
        except OSError:
            names = []
        for name in names:
            self.by_key.setdefault(key(name), []).append(name)
            stem = name.rpartition(".")[0]
            if stem:
                self.by_stem.setdefault(key(stem), []).append(name)

    @classmethod
    def of(cls, place: Path) -> _Listing:
        where = str(place)
        if where not in cls._kept:
            cls._kept[where] = cls(place)
        return cls._kept[where]

    @classmethod
    def forget(cls) -> None:
        """Let go of all folders, whose content may have changed."""
        cls._kept.clear()


def latin(text: str) -> str:
    """A text whose bytes are no UTF-8, read as Windows-1252 writes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("cp1252", "replace")
    return text


def forget_folders() -> None:
    """Let go of the listings that ``other_spelling`` keeps."""
    _Listing.forget()


def _quoted(name: str) -> str:
    """A name as it is shown; with quotes where blanks or forms would not be seen."""
    plain = name == name.strip() and unicodedata.normalize("NFC", name) == name
    return printable(name) if plain else f"'{printable(name)}'"
