"""The steps of a training run as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TextIO

from catclf.errors import OutputError
from catclf.files import printable, reason

OnStep = Callable[[int, float], None]


@contextmanager
def logging_steps(log: Path | None, every: int, total: int) -> Iterator[OnStep | None]:
    """A callback that writes a JSON line for every ``every`` steps and for the last one."""
    if log is None:
        yield None
        return
    try:
        with log.open("w", encoding="utf-8") as file:
            yield _recorder(file, every, total)
    except OSError as error:
        raise OutputError(f"{printable(log)}: cannot be written: {reason(error)}") from error


def _recorder(file: TextIO, every: int, total: int) -> OnStep:
    began: list[float] = []

    def record(step: int, cost: float) -> None:
        if not began:
            began.append(perf_counter())
        if step % every == 0 or step == total:
            seconds = round(perf_counter() - began[0], 6)
            file.write(json.dumps({"step": step, "cost": cost, "seconds": seconds}) + "\n")
            file.flush()

    return record


def both_of(first: OnStep, second: OnStep | None) -> OnStep:
    if second is None:
        return first

    def both(step: int, cost: float) -> None:
        first(step, cost)
        second(step, cost)

    return both
