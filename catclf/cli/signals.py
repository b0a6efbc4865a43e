"""Exit codes, and the signals that ask for the end of a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType

import typer

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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


class Signals:
    """A block in which SIGINT, SIGTERM and SIGHUP raise Stopped, but only where ``pause`` allows.

    An exception at any other place could cut a line, leave a file behind or a lock taken. A second
    signal ends the process at once; an ignored one, as under nohup, stays ignored.
    """

    def __init__(self) -> None:
        self.pause = Pause(self)
        self.number: int | None = None
        self.paused = False
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Signals:
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
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


class Stop:
    """The signal that has asked for the end, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def requested(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A block in which the first signal only sets a flag; a second one raises KeyboardInterrupt.

    A signal that is ignored, as under nohup, stays so.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    active = [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, note) for number in active}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def exit_if_stopped(stop: Stop) -> None:
    """Exit as the signal demands, if there was one."""
    if stop.signal is not None:
        raise typer.Exit(128 + stop.signal)
