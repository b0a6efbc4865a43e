"""The steps of a training run as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, BinaryIO, Self

from catclf.errors import OutputError
from catclf.text import printable, reason

OnStep = Callable[[int, float], None]


class StepLog:
    """A file with a JSON line for every ``every`` steps and for the last one; a context manager.

    The first step opens the file: a run that never begins leaves an old one alone. A run that
    begins at step 0 empties it. A resumed run goes on in it: the lines before its first step stay,
    and ``seconds`` count on from theirs.
    """

    def __init__(self, path: Path) -> None:
        self.every = 1
        self._path = path
        self._file: BinaryIO | None = None
        self._began = 0.0
        self._pending: dict[str, Any] | None = None  # the last step, while it has no line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._file is not None:
                if self._pending is not None:
                    self._write(self._pending)
                self._file.close()
        except OSError as failure:
            raise self._failed(failure) from failure

    def record(self, step: int, cost: float) -> None:
        """Take note of a step. Raises OutputError."""
        try:
            if self._file is None:
                self._file, seconds = _open(self._path, step, self.every)
                self._began = perf_counter() - seconds
            seconds = round(perf_counter() - self._began, 6)
            self._pending = {"step": step, "cost": cost, "seconds": seconds}
            if step % self.every == 0:
                self._write(self._pending)
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, fields: dict[str, Any]) -> None:
        assert self._file is not None
        self._pending = None
        self._file.write(json.dumps(fields).encode() + b"\n")
        self._file.flush()

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"{printable(self._path)}: cannot be written: {reason(error)}")


def _open(path: Path, step: int, every: int) -> tuple[BinaryIO, float]:
    """The log, open after its lines of steps before ``step``, and the seconds of the last of them.

    All is dropped from the first line on that a run without a stop would not have there: another
    program's, a later step's, or that of a last step between those of ``every``.
    """
    if step == 0 or not path.exists():
        return path.open("wb"), 0.0
    file, end, seconds = path.open("r+b"), 0, 0.0
    for line in file:
        fields = _fields(line)
        if fields is None or fields[0] >= step or fields[0] % every:
            break
        end, seconds = end + len(line), fields[1]
    file.truncate(end)
    file.seek(end)
    return file, seconds


def _fields(line: bytes) -> tuple[int, float] | None:
    """Step and seconds of a whole line; None for what is not one."""
    try:
        fields = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    match fields:
        case {"step": int(step), "seconds": int() | float() as seconds}:
            return step, float(seconds)
    return None


def both_of(first: OnStep, second: OnStep | None) -> OnStep:
    """One callback for two."""
    if second is None:
        return first

    def both(step: int, cost: float) -> None:
        first(step, cost)
        second(step, cost)

    return both
