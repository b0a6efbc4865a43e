"""Signals that end a training run early, with its model saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from catclf.errors import ExitCode


class Stop:
    """Whether a signal has asked for the end, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def requested(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Within the block SIGINT and SIGTERM only set a flag; a second SIGINT stops at once."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def exit_if_stopped(stop: Stop) -> None:
    """Exit as the signal demands, if there was one."""
    if stop.signal is not None:
        code = ExitCode.TERMINATED if stop.signal == signal.SIGTERM else ExitCode.INTERRUPTED
        raise typer.Exit(code)
