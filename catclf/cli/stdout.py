"""stdout for results, a pager for long texts, stderr for the rest, with settings as options."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

from catclf.errors import OutputError
from catclf.terminal.stream import is_terminal
from catclf.text import BACKTICK

Write = Callable[[bytes], object]

pager_allowed = True  # --no-pager makes it False
LESS = "less -FRX"  # ends by itself where all is seen, keeps colours and what was shown
_SETTING = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`\s]*))?`")


def put(text: str) -> None:
    """Write results to stdout and deliver them at once.

    Raises BrokenPipeError when the reader has gone, which ends a run quietly, and OutputError when
    they cannot be written for another reason, such as a full disk: that must not be exit 0.
    """
    _deliver(lambda: sys.stdout.write(text))


def put_bytes(content: bytes) -> None:
    """Write bytes to stdout as they are; raises as ``put`` does."""
    _deliver(lambda: sys.stdout.buffer.write(content))


def _deliver(write: Callable[[], object]) -> None:
    if sys.stdout is None:  # a shell may start us with it closed
        raise OutputError("standard output is closed: there is nowhere to write the results")
    with delivering():
        write()
        sys.stdout.flush()


@contextmanager
def delivering() -> Iterator[None]:
    """A block that writes to stdout. Raises BrokenPipeError, and OutputError for other failures."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


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


class _Text(StringIO):
    """Collects what is printed, as a terminal would get it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@contextmanager
def paged() -> Iterator[None]:
    """A block whose printed text a pager, PAGER or less, shows if it is longer than the terminal.

    The text is printed as it is where stdin or stdout is no terminal, or PAGER is empty or cat.
    """
    pager, out = os.environ.get("PAGER", LESS), sys.stdout
    terminals = is_terminal(sys.stdout) and is_terminal(sys.stdin)
    if not (pager_allowed and terminals and pager.strip() not in ("", "cat")):
        yield
        return
    sys.stdout = text = _Text()
    try:
        yield
    finally:
        sys.stdout = out
        _show(text.getvalue(), pager)


def _show(text: str, pager: str) -> None:
    import shlex
    import shutil
    import subprocess

    if text.count("\n") >= shutil.get_terminal_size().lines:
        with suppress(OSError, ValueError):  # there is no such pager
            subprocess.run(shlex.split(pager), input=text.encode(), check=False)
            return
    sys.stdout.write(text)
