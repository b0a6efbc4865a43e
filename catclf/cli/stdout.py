"""stdout for results, stderr for everything else, where settings are shown as options."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from catclf.errors import OutputError
from catclf.text import BACKTICK

Write = Callable[[bytes], object]

_SETTING = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`\s]*))?`")


def put(text: str) -> None:
    """Write results to stdout and deliver them at once.

    Raises BrokenPipeError when the reader has gone, which ends a run quietly, and OutputError when
    they cannot be written for another reason, such as a full disk: that must not be exit 0.
    """
    if sys.stdout is None:  # a shell may start us with it closed
        raise OutputError("standard output is closed: there is nowhere to write the results")
    with _delivering():
        sys.stdout.write(text)
        sys.stdout.flush()


def put_bytes(content: bytes) -> None:
    """Write bytes to stdout as they are; raises as ``put`` does."""
    if sys.stdout is None:
        put("")
    with _delivering():
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def warn(message: str) -> None:
    """One line on stderr, in plain text: rich would wrap it and read file names as markup."""
    if sys.stderr is not None:
        with suppress(OSError):  # nobody reads it: that is no reason to stop
            sys.stderr.write(f"catclf: {as_options(message).replace(BACKTICK, '`')}\n")
            sys.stderr.flush()


def as_options(message: str) -> str:
    """A message of the library with each setting in backticks as an option.

    `l2=0.1` becomes --l2 0.1 and `skip_bad` becomes --skip-bad: the library speaks to callers in
    Python, and knows no option.
    """
    return _SETTING.sub(lambda match: _option(*match.groups()), message)


def options_of(settings: Mapping[str, str | float]) -> str:
    """Settings with their values as options: --learning-rate 0.01 --l2 1."""
    return " ".join(
        _option(name, value if isinstance(value, str) else f"{value:g}")
        for name, value in settings.items()
    )


def _option(name: str, value: str | None) -> str:
    return f"--{name.replace('_', '-')}" + (f" {value}" if value is not None else "")


def abandon_stdout() -> None:
    """Point stdout at nothing, so that Python's own flush at exit stays quiet."""
    _abandon(1)


def settle_stderr() -> None:
    """Point stderr at nothing if it cannot be written: exit codes speak of the work alone."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        _abandon(2)


def _abandon(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


@contextmanager
def results(output: Path | None, taken: Sequence[Path], *, kept: bool = True) -> Iterator[Write]:
    """A function that writes results: to stdout, or to a file that appears when all is well.

    ``kept`` is that of ``files.replacing``. Raises OutputError, also for one of ``taken``.
    """
    if output is None:
        put("")  # refuses a closed stdout before there is anything to lose
        yield put_bytes
        return
    from catclf.storage.files import replacing, require_writable

    require_writable(output, taken)
    with replacing(output, kept=kept) as file:
        yield file.write


@contextmanager
def _delivering() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error
