"""stdout for results, stderr for everything else."""

from __future__ import annotations

import os
import sys

from catclf.errors import OutputError


def put(text: str) -> None:
    """Write results to stdout and deliver them at once.

    Raises BrokenPipeError when the reader has gone, which ends a run quietly, and OutputError when
    they cannot be written for another reason, such as a full disk: that must not be exit 0.
    """
    if sys.stdout is None:  # a shell may start us with it closed
        raise OutputError("standard output is closed: there is nowhere to write the results")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def warn(message: str) -> None:
    """One line on stderr, in plain text: rich would wrap it and read file names as markup."""
    if sys.stderr is not None:
        sys.stderr.write("catclf: " + " ".join(message.split()) + "\n")
        sys.stderr.flush()


def abandon_stdout() -> None:
    """Point stdout at nothing, so that Python's own flush at exit stays quiet."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
