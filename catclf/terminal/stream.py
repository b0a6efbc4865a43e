"""What kind of stream stdout or stderr is, and how a result is styled for it.

Emphasis is never the only sign of anything. stderr is a place that cannot fail.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO, cast

from catclf.text import aligned


def is_terminal(stream: TextIO | None) -> bool:
    """Whether cursor movement makes sense: a terminal that is not dumb."""
    try:
        tty = stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
    return tty and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def use_colour(stream: TextIO | None) -> bool:
    """Whether to colour: a capable terminal, and NO_COLOR is not set (no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def is_file(stream: TextIO | None) -> bool:
    """Whether what is written lands in a file, and not where somebody may watch it arrive."""
    try:
        return stream is not None and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # closed, or not a stream of the system
        return False


def progress_stream() -> TextIO | None:
    """stderr for progress, if there is one: that it cannot be written is no reason to stop."""
    return None if sys.stderr is None else cast(TextIO, _Unfailing(sys.stderr))


class _Unfailing:
    """A stream whose failures are not those of the work that it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):  # the disk is full, or the reader has gone
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@dataclass(frozen=True)
class Styling:
    """How a result is written: with or without colour, with or without characters beyond ASCII.

    Only the terminal's own bold, dim, green and magenta are used, which suit light and dark
    themes; green and magenta differ for every kind of colour vision, and signs say the same.
    """

    colour: bool = False
    ascii_only: bool = False

    def bold(self, text: str) -> str:
        return self._wrap("1", text)

    def dim(self, text: str) -> str:
        return self._wrap("2", text)

    def signed(self, value: float, text: str) -> str:
        """Green where the value is above zero, magenta below."""
        return self._wrap("32" if value > 0 else "35", text) if value else text

    def verdict(self, good: bool, text: str) -> str:
        """Green when good, else bold magenta."""
        return self._wrap("32" if good else "1;35", text)

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]], sides: str) -> list[str]:
        """Rows under dim heads, as ``text.aligned`` puts them."""
        return aligned([tuple(map(self.dim, heads)), *rows], sides)

    def bar(self, value: float, largest: float, width: int) -> str:
        """A bar to the right of zero for value > 0, to the left below: 2 * width + 1 characters.

        ``largest`` is the value that fills a side.
        """
        filled = round(min(abs(value) / largest, 1.0) * width) if largest > 0 else 0
        block, zero = ("#", "|") if self.ascii_only else ("█", "│")
        left = (block * filled if value < 0 else "").rjust(width)
        right = (block * filled if value > 0 else "").ljust(width)
        return self.signed(value, left) + zero + self.signed(value, right)

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text.strip() else text


def stdout_styling() -> Styling:
    """Colour on a terminal that has it; other signs than ASCII where they can be written."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    return Styling(use_colour(sys.stdout), ascii_only=not encoding.startswith("utf"))
