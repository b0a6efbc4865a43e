"""What libraries say on stderr about a damaged picture, unsaid: we name the file ourselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def silence_pillow() -> None:
    """Pillow logs what it thinks of a file; without a handler that would go to stderr."""
    from logging import NullHandler, getLogger

    logger = getLogger("PIL")
    if not logger.handlers:
        logger.addHandler(NullHandler())


@contextmanager
def silent_stderr() -> Iterator[None]:
    """A block without descriptor 2, to which libtiff writes past all of Python."""
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing can be written
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
