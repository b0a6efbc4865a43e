"""Text for people: counted nouns, printable names, the system's reasons, rows and columns."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import zip_longest

BACKTICK = "\uff40"  # looks like one, and stands for it in names that have several

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def balance(positives: int, total: int, positive: str) -> str:
    """How many images there are, and of the positive class: 120 images, 60 cat (50.0 %)."""
    share = f"{100 * positives / total:.1f} %"
    return f"{counted(total, 'image')}, {positives} {printable(positive)} ({share})"


_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(?:/|\Z)")
_QUERY, _SETTING_OF_QUERY = re.compile("[?#]"), re.compile(r"\?(?=[\w.-]+=)")
# What people read in the place of keys that model files keep, for scripts rely on those.
_SETTING_NAMES = {
    ("chosen", "names"): "selected by cross-validation",
    ("chosen", "counts"): "cross-validation accuracy",
    ("chosen", "images"): "cross-validation images",
    ("chosen",): "cross-validation",
}


def counted(count: int, noun: str, spec: str = "") -> str:
    """A number, formatted as ``spec`` says, with its noun: 1 image, 2 images."""
    return f"{count:{spec}} {noun}{'' if count == 1 else 's'}"


def has_scheme(path: str | os.PathLike[str]) -> bool:
    """Whether a path begins as a URL does, ``s3://bucket/name``, or is that beginning alone."""
    return _SCHEME.match(os.fspath(path)) is not None


def url_of(path: str | os.PathLike[str]) -> str:
    """A URL that was made a ``Path`` with both of its slashes: ``s3:/name`` is ``s3://name``.

    ``s3:`` is ``s3://``.
    """
    text = os.fspath(path)
    match = _SCHEME.match(text)
    if match is None:
        return text
    scheme, rest = match[1].lower(), text[match.end() :]
    if rest.startswith("/"):
        return f"{scheme}:/{rest}"
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


def without_query(path: str | os.PathLike[str]) -> str:
    """A path; a URL without its user and password, and without its query.

    A signed URL opens what it names to everyone who has it. In stores ? and # may be letters, if
    what follows is no setting of a query.
    """
    text = os.fspath(path)
    if not has_scheme(text):
        return text
    scheme, _, rest = url_of(text).partition("://")
    rest = (_QUERY if scheme in ("http", "https") else _SETTING_OF_QUERY).split(rest, maxsplit=1)[0]
    host, slash, name = rest.partition("/")
    user, at, machine = host.rpartition("@")
    if at and (":" in user or scheme in ("http", "https")):
        host = machine
    return f"{scheme}://{host}{slash}{name}"


def printable(path: str | os.PathLike[str], limit: int | None = None) -> str:
    """A path as one line of text: control characters and undecodable bytes as escapes.

    A URL has no query and no password. The middle of a text longer than ``limit`` is left out.
    """
    text = without_query(path)
    if limit is not None and len(text) > limit:
        text = f"{text[: limit // 2]}…{text[-(limit // 2) :]}"
    if text.count("`") > 1:  # between backticks messages name settings
        text = text.replace("`", BACKTICK)
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def reason(error: OSError) -> str:
    """The system's own words for an error, without its number and file names."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def first_line(error: BaseException) -> str:
    """What an error says in one line; its name where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def aligned(rows: Sequence[Sequence[str]], sides: str, gap: str = "  ") -> list[str]:
    """Rows of cells as lines whose columns stand under each other.

    ``sides`` has a sign for each column: ``<`` for text, ``>`` for numbers; ``gap`` stands between
    columns. A row may have fewer cells than there are columns. Colour in a cell takes no room.
    """
    widths = [max(map(_width, column)) for column in zip_longest(*rows, fillvalue="")]
    lines = []
    for row in rows:
        cells = []
        for cell, side, width in zip(row, sides, widths, strict=False):
            blank = " " * (width - _width(cell))
            cells.append(cell + blank if side == "<" else blank + cell)
        lines.append(gap.join(cells).rstrip())
    return lines


def _width(cell: str) -> int:
    return len(_COLOUR.sub("", cell))


def blocks(*parts: Sequence[str]) -> str:
    """Blocks of lines as one text, an empty line between them; a block without lines is none."""
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def setting_rows(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """Settings as names and values for people; one that holds several values has a row for each.

    The counts of a confusion matrix become the accuracy.
    """
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if not isinstance(value, Mapping):
            rows.append((name, _setting(value)))
            continue
        title = _SETTING_NAMES.get((name,), name)
        for key, each in value.items():
            label = _SETTING_NAMES.get((name, key), f"{title} {str(key).replace('_', ' ')}")
            rows.append((label, _setting(each)))
    return [(printable(name), printable(value)) for name, value in rows]


def _setting(value: object, depth: int = 3) -> str:
    if not depth and isinstance(value, list | tuple | Mapping):
        return "…"  # a file may hold more floors than Python may call functions
    if isinstance(value, list | tuple):
        return ", ".join(_setting(each, depth - 1) for each in value)
    if isinstance(value, Mapping):
        counts = [n for n in map(value.get, ("tp", "tn", "fp", "fn")) if isinstance(n, int)]
        if len(value) == len(counts) == 4:
            correct, total = sum(counts[:2]), sum(counts)
            return f"{100 * correct / total:.2f} %, {correct} of {total}" if total else "unknown"
        return ", ".join(f"{name} {_setting(each, depth - 1)}" for name, each in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def pip_install(*packages: str) -> str:
    """The command that installs packages for the Python that runs this, as a shell takes it."""
    import shlex
    import sys

    return shlex.join([sys.executable or "python3", "-m", "pip", "install", *packages])


@cache
def to_install(extra: str) -> str:
    """The command that installs what an extra of catclf needs; catclf itself stays as it is."""
    from importlib.metadata import PackageNotFoundError, requires

    mark = f"extra == '{extra}'"
    try:
        found = [each for each in requires("catclf") or () if mark in each]
    except PackageNotFoundError:  # run from a folder that was never installed
        found = []
    packages = [each.partition(";")[0].strip() for each in found]
    return pip_install(*(packages or [f"catclf[{extra}]"]))
