"""Exit codes, and the signals that ask for the end of a run."""

from __future__ import annotations

import signal
import sys
from enum import IntEnum
from types import FrameType
from typing import Any, NoReturn

import typer

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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
        if _block is None or _block.paused:  # else its next pause raises
            raise error

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)


class Signals:
    """A block in which SIGINT, SIGTERM and SIGHUP raise Stopped, but only where ``pause`` allows.

    An exception at any other place could cut a line, leave a file behind or a lock taken.
    ``second`` is what handles a second signal: by default it ends the process at once. An ignored
    one, as under nohup, stays ignored. ``pause`` is a block that only waits; entering it raises
    Stopped for a signal that came before.
    """

    def __init__(self, second: Any = signal.SIG_DFL) -> None:
        self.number: int | None = None
        self.paused = False
        self.pause = Pause(self)
        self._second = second
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        global _block
        _block = self
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        global _block
        _block = None
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self) -> bool:
        """Whether a signal has asked for the end."""
        return self.number is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        for each in self._before:
            signal.signal(each, self._second)
        if self.paused:
            raise Stopped(number)


class Pause:
    """A block that only waits, so that a signal may end it."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._signals.paused = True
        if self._signals.number is not None:
            raise Stopped(self._signals.number)

    def __exit__(self, *_: object) -> None:
        self._signals.paused = False


_block: Signals | None = None


def exit_if_stopped(signals: Signals) -> None:
    """Exit as the signal demands, if there was one."""
    if signals.number is not None:
        raise typer.Exit(128 + signals.number)
