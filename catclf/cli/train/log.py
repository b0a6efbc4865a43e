"""The steps of a training run as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TextIO

from catclf.errors import OutputError
from catclf.text import printable, reason

OnStep = Callable[[int, float], None]


@contextmanager
def logging_steps(log: Path | None, every: int, total: int) -> Iterator[OnStep | None]:
    """A callback that writes a JSON line for every ``every`` steps and for the last one.

    The file is opened by the first of them: a run that never begins leaves an old one alone.
    """
    if log is None:
        yield None
        return
    recorder = _Recorder(log, every, total)
    try:
        yield recorder.record
    finally:
        recorder.close()


class _Recorder:
    def __init__(self, log: Path, every: int, total: int) -> None:
        self._log, self._every, self._total = log, every, total
        self._file: TextIO | None = None
        self._began = 0.0

    def record(self, step: int, cost: float) -> None:
        try:
            if self._file is None:
                self._file = self._log.open("w", encoding="utf-8")
                self._began = perf_counter()
            if step % self._every == 0 or step == self._total:
                seconds = round(perf_counter() - self._began, 6)
                fields = {"step": step, "cost": cost, "seconds": seconds}
                self._file.write(json.dumps(fields) + "\n")
                self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"{printable(self._log)}: cannot be written: {reason(error)}")


def both_of(first: OnStep, second: OnStep | None) -> OnStep:
    if second is None:
        return first

    def both(step: int, cost: float) -> None:
        first(step, cost)
        second(step, cost)

    return both
