"""Text for one line: counted nouns, printable names, the system's reasons."""

from __future__ import annotations

import os


def counted(count: int, noun: str, spec: str = "") -> str:
    """A number, formatted as ``spec`` says, with its noun: 1 image, 2 images."""
    return f"{count:{spec}} {noun}{'' if count == 1 else 's'}"


def printable(path: str | os.PathLike[str]) -> str:
    """A path as one line of text: control characters and undecodable bytes as escapes."""
    text = os.fspath(path)
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def reason(error: OSError) -> str:
    """The system's own words for an error, without its number and file names."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
