"""What a shell sees of a run: results on stdout, the rest on stderr, exit codes, and signals.

An output file is checked before the work that fills it. It replaces a file that this program wrote,
a text where it is one, an empty file, or none; never an image, an archive, or what was named as a
source. No source is listed or opened to know it.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NoReturn

import typer

from catclf.errors import OutputError
from catclf.storage.local import kind_of_bytes
from catclf.storage.location import locate, replacing, require_writable
from catclf.terminal.stream import is_terminal
from catclf.text import BACKTICK, printable, reason

Write = Callable[[bytes], object]

pager_allowed = True  # --no-pager makes it False
LESS = "less -FRX"  # ends by itself where all is seen, keeps colours and what was shown
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SETTING = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`\s]*))?`")
_undecoded = re.compile("[\ud800-\udfff]").search  # bytes that are not UTF-8, halves of characters
_LOOKED_AT = 1 << 20  # bytes of an output in which the marks of this program are
_TEXTS = (".html", ".htm", ".svg", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".log", ".md")
_AGAIN = 0.01  # seconds until a signal is raised again


class ExitCode(IntEnum):
    """The exit codes that shell scripts may rely on."""

    DONE = 0
    NO = 1  # the result is no, as grep and diff say it
    FAILED = 2  # could not do the job: usage, unreadable model or data, diverged
    PARTIAL = 3  # did the job, but some inputs failed
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143
    CLOSED_PIPE = 141


# stdout and stderr


def put(content: str | bytes) -> None:
    """Write results to stdout and deliver them at once.

    Raises BrokenPipeError when the reader has gone, which ends a run quietly, and OutputError when
    they cannot be written for another reason, such as a full disk: that must not be exit 0.
    """
    if sys.stdout is None:  # a shell may start us with it closed
        raise OutputError("standard output is closed: there is nowhere to write the results")
    with delivering():
        if isinstance(content, str):
            sys.stdout.write(content)
        else:
            sys.stdout.buffer.write(content)
        sys.stdout.flush()


@contextmanager
def delivering() -> Iterator[None]:
    """A block that writes to stdout. Raises BrokenPipeError, and OutputError for other failures."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon()
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


def abandon(descriptor: int = 1) -> None:
    """Point stdout, or another descriptor, at nothing: Python's own flush at exit stays quiet."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def settle_stderr() -> None:
    """Point stderr at nothing if it cannot be written: exit codes speak of the work alone."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        abandon(2)


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


# JSON that is Unicode whatever files and classes are called


def json_line(fields: Mapping[str, object]) -> str:
    """Strict JSON in ASCII, as one line.

    Names are bytes to the system, and a JSON text holds nothing but Unicode. So a text that is not
    UTF-8 is written with U+FFFD in the place of each odd byte, and its exact bytes are in
    ``…_base64`` beside it; where texts are a list, those of all are. Keys have odd bytes as
    escapes, for two keys must not become one.
    """
    import json

    return json.dumps(unicode_fields(fields), allow_nan=False) + "\n"


def unicode_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """These fields with every text in Unicode, at any depth."""
    converted: dict[str, object] = {}
    for name, value in fields.items():
        key = printable(name) if _undecoded(name) else name
        converted[key] = _unicode(value)
        values = value if isinstance(value, list | tuple) else [value]
        texts = [each for each in values if isinstance(each, str)]
        if len(texts) == len(values) and any(map(_undecoded, texts)):
            from base64 import b64encode

            encoded = [b64encode(raw_bytes(text)).decode("ascii") for text in texts]
            converted[f"{key}_base64"] = encoded if values is value else encoded[0]
    return converted


def _unicode(value: object) -> object:
    if isinstance(value, str) and _undecoded(value):
        return raw_bytes(value).decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return unicode_fields(value)
    if isinstance(value, list | tuple):
        return [_unicode(each) for each in value]
    return value


def raw_bytes(text: str) -> bytes:
    """The bytes of a name; half of a pair of surrogates, which no name can hold, as it is."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


# Output files


@contextmanager
def results(output: Path | None, taken: Sequence[Path], *, kept: bool = True) -> Iterator[Write]:
    """A function that writes records: to stdout, or to a file that appears when all is well.

    ``kept`` is that of ``files.replacing``. Raises OutputError, also for one of ``taken``.
    """
    if output is None:
        put("")  # refuses a closed stdout before there is anything to lose
        yield put
        return
    require_writable(output, taken)
    require_own(output, records=True)
    with replacing(output, kept=kept) as file:
        yield file.write


def require_output(output: Path, inputs: Sequence[Path]) -> None:
    """Raise OutputError unless ``output`` can be written, and replaces nothing of another kind."""
    require_outputs([output], inputs)


def require_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path]) -> None:
    """Check several outputs, None for one that is not wanted: they must also differ."""
    taken = list(inputs)
    for output in outputs:
        if output is not None:
            require_writable(output, taken)
            require_own(output)
            taken.append(output)


def require_own(output: Path, *, records: bool = False) -> None:
    """Raise OutputError for a file of another kind that is there.

    ``records`` replace whatever is of no known kind, as text and Parquet are.
    """
    place = locate(output)
    try:
        if not place.is_file() or not place.size():
            return
        with place.stream() as file:
            what = _foreign(file, output, records)
    except OSError as error:
        raise OutputError(f"{place.shown}: cannot be looked at: {reason(error)}") from error
    if what:
        raise OutputError(
            f"{place.shown}: is {what}, and saving would replace it: give another output name"
        )


def _foreign(file: BinaryIO, output: Path, records: bool) -> str:
    """What a file is that no output may replace; "" for one of the same kind."""
    from catclf.images.formats import sniffed

    start = file.read(_LOOKED_AT)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        from catclf.datasets import is_packed

        if is_packed(output.parent):
            return "a shard of a packed folder"
        return "" if b"catclf_fit" in start else "an HDF5 file of another program"
    if start.startswith(b"PK"):
        file.seek(-min(file.seek(0, 2), 1 << 16), 2)
        return "" if b"meta.npy" in file.read() else "an archive that catclf did not make"
    if b"catclf" in start[:4096] or start.startswith(b'{"step": '):  # the latter a log of steps
        return ""
    file.seek(0)
    if sniffed(file):
        return "an image that catclf did not make"
    is_text = b"\0" not in start and output.suffix.lower() in _TEXTS
    return "" if is_text or (records and not kind_of_bytes(start)) else "a file of another kind"


# Signals


class Stopped(BaseException):
    """A signal that asks for the end, with the exit code that says so."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def raise_on_signals() -> None:
    """Have SIGTERM and SIGHUP raise Stopped, as SIGINT raises KeyboardInterrupt.

    So no half-written file is left beside the one it would replace. Python swallows what is raised
    while an object is tidied away: then it is raised again.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)
    sys.unraisablehook = _swallowed


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(number)


def _swallowed(unraisable: Any) -> None:
    error = unraisable.exc_value
    if not isinstance(error, Stopped | KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return

    def again(number: int, frame: FrameType | None) -> None:
        if _pause is None or _pause.waiting:  # else the next pause raises
            raise error

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)


class Pause:
    """A block that only waits, so that a signal may end it; one that came before raises at once."""

    def __init__(self) -> None:
        self.number: int | None = None  # of the signal that asks for the end
        self.waiting = False

    def __enter__(self) -> None:
        self.waiting = True
        if self.number is not None:
            raise Stopped(self.number)

    def __exit__(self, *_: object) -> None:
        self.waiting = False

    def requested(self) -> bool:
        """Whether a signal has asked for the end."""
        return self.number is not None

    def exit_if_requested(self) -> None:
        """Exit as the signal demands, if there was one."""
        if self.number is not None:
            raise typer.Exit(128 + self.number)


_pause: Pause | None = None


@contextmanager
def pausing(second: Any = signal.SIG_DFL) -> Iterator[Pause]:
    """A block in which SIGINT, SIGTERM and SIGHUP end the work where it pauses, and there alone.

    An exception at any other place could cut a line, leave a file behind or a lock taken.
    ``second`` is what handles a second signal: by default it ends the process at once. An ignored
    one, as under nohup, stays ignored. The block exits without a word as the signal demands.
    """
    global _pause
    _pause = pause = Pause()
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        pause.number = number
        for each in before:
            signal.signal(each, second)
        if pause.waiting:
            raise Stopped(number)

    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, note)
    try:
        yield pause
    except Stopped as stopped:
        raise typer.Exit(stopped.code) from None
    finally:
        _pause = None
        for each, handler in before.items():
            signal.signal(each, handler)
