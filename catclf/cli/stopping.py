"""Signals that end a training run early, with its model saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from catclf.cli.streams import SIGNALS


class Stop:
    """Whether a signal has asked for the end, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def requested(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Within the block signals that ask for the end only set a flag; a second one stops at once.

    One that is ignored, as under nohup, stays so.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    heard = [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, note) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def exit_if_stopped(stop: Stop) -> None:
    """Exit as the signal demands, if there was one."""
    if stop.signal is not None:
        raise typer.Exit(128 + stop.signal)
