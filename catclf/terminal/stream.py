"""What kind of stream stderr or stdout is, and stderr as a place that cannot fail."""

from __future__ import annotations

import os
import stat
import sys
from typing import Any, TextIO, cast


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
    """stderr for progress, if there is one: once it cannot be written, nothing more is.

    Nobody can read it then, and that is no reason to stop work whose results go elsewhere.
    """
    return None if sys.stderr is None else cast(TextIO, _Unfailing(sys.stderr))


class _Unfailing:
    """A stream whose failures are not those of the work that it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lost = stream, False

    def write(self, text: str) -> int:
        if not self._lost:
            try:
                self._stream.write(text)
            except OSError:  # the disk is full, or the reader has gone
                self._lost = True
        return len(text)

    def flush(self) -> None:
        if not self._lost:
            try:
                self._stream.flush()
            except OSError:
                self._lost = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
