"""Progress on stderr: live on a terminal, plain lines elsewhere, or silent; drawn by rich.

Each display is a block that gives a callback. It may not slow training down: a live display looks
at the clock once a step, and waits after each frame for 60 times as long as drawing it took.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Self, TextIO

from catclf.terminal.stream import is_terminal, progress_stream

if TYPE_CHECKING:
    from rich.console import RenderableType  # noqa: TID251

OnStep = Callable[[int, float], None]  # the number of updates, and the cost after them
OnCount = Callable[[int, int | None], None]  # what is done, and the total, if it is known
FRAME_SHARE = 60  # seconds of work for each second of drawing: under 2 %
SHORTEST_FRAME = 0.1  # seconds between frames
FIRST_LINE, LINES_APART = 10.0, 60.0  # seconds: lines may go to a log
CURVE_WIDTH, CURVE_HEIGHT = 56, 5  # characters
POINTS_MAX = 1024  # of the curve that are remembered
BARS = " ▁▂▃▄▅▆▇█"


# What is shown


def curve(costs: list[float], width: int, height: int, *, ascii_only: bool = False) -> list[str]:
    """A small chart as text lines, top first: each column is the mean of its part of ``costs``.

    The axis starts at zero, so that the fall is shown as large as it is.
    """
    count = min(width, len(costs))
    edges = [round(i * len(costs) / count) for i in range(count + 1)] if count else []
    columns = [sum(costs[a:b]) / (b - a) for a, b in pairwise(edges)]
    top = max(columns, default=0.0)
    if not (top > 0 and all(map(math.isfinite, columns))):
        return []
    margin = max(6, len(f"{top:.3g}"))
    lines = []
    for row in range(height - 1, -1, -1):
        line = ""
        for value in columns:
            eighths = round(value / top * height * 8) - row * 8
            filled = min(max(eighths, 0), 8)
            line += ("#" if filled >= 4 else " ") if ascii_only else BARS[filled]
        label = f"{top:.3g}" if row == height - 1 else "0" if row == 0 else ""
        lines.append(f"{label:>{margin}} {'|' if ascii_only else '│'}{line}".rstrip())
    return lines


def clock(seconds: float) -> str:
    """A duration for people: 0.31 s, 12 s, 3:05, 2:03:05."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(done: int, total: int | None, before: str, *after: str) -> RenderableType:
    """A line with a bar between texts; the bar moves where the total is not known."""
    from rich.progress_bar import ProgressBar  # noqa: TID251
    from rich.table import Table  # noqa: TID251

    line = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=total, completed=done, width=24)
    line.add_row(*filter(None, [before]), bar, *after)
    return line


# Where it is shown


class _Live:
    """A block of text on a terminal, each frame in the place of the one before it.

    The first frame waits for some seconds, so that work which is soon done shows none, and each
    later one for ``share`` times as long as drawing took. At the end the last one ``stays`` or is
    gone.
    """

    def __init__(
        self, stream: TextIO, wait: float = SHORTEST_FRAME, share: int = 0, stays: bool = False
    ) -> None:
        from rich.console import Console  # noqa: TID251
        from rich.live import Live  # noqa: TID251

        self._live = Live(
            console=Console(file=stream, soft_wrap=True),  # warnings pass through it whole
            auto_refresh=False,
            transient=not stays,
            redirect_stdout=False,
        )
        self._next, self._share = perf_counter() + wait, share

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def is_due(self) -> bool:
        """Whether it is time for the next frame."""
        return perf_counter() >= self._next

    def draw(self, make: Callable[[], RenderableType]) -> None:
        """Draw a frame at once."""
        began = perf_counter()
        self._live.start()  # once; until then the terminal is free for other displays
        self._live.update(make(), refresh=True)
        drawn = perf_counter()
        self._next = drawn + max(SHORTEST_FRAME, self._share * (drawn - began))


def _put(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


@contextmanager
def every_so_many(every: int, write: OnStep) -> Iterator[OnStep]:
    """A callback that writes every ``every``-th step, and at the end the last one in any case."""
    pending: list[tuple[int, float]] = []  # the last step, while it is not written

    def update(step: int, cost: float) -> None:
        pending[:] = [(step, cost)] if step % every else []
        if not pending:
            write(step, cost)

    try:
        yield update
    finally:
        for last in pending:
            write(*last)


@contextmanager
def training_display(total: int, every: int, quiet: bool, listed: bool = False) -> Iterator[OnStep]:
    """The display that suits stderr: live on a capable terminal, else or if ``listed`` lines."""
    stream = progress_stream()
    if quiet or stream is None:
        yield lambda step, cost: None
    elif is_terminal(stream) and not listed:
        with LiveDisplay(stream, total) as live:
            yield live.update
    else:
        lines = stream  # which is there
        with every_so_many(every, lambda n, cost: _put(lines, f"step {n}  cost {cost:.6f}")) as put:
            yield put


class LiveDisplay:
    """A progress bar, the cost and its curve, steps a second and the time left.

    The rate is that of the steps of this run: a resumed one begins at its first step.
    """

    def __init__(self, stream: TextIO, total: int) -> None:
        self._live, self._total = _Live(stream, share=FRAME_SHARE, stays=True), total
        self._ascii_only = not _can_write(stream, BARS)
        self._first: int | None = None
        self._costs: list[float] = []
        self._stride = 1
        self._step, self._cost = 0, float("nan")
        self._began = self._since = perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._keep(self._cost)
        with self._live:
            self._live.draw(partial(self._frame, ended=True))

    def update(self, step: int, cost: float) -> None:
        """Called once for each step, with the cost after ``step`` updates."""
        self._step, self._cost = step, cost
        if self._first is None:
            self._first, self._since = step, perf_counter()
        if step % self._stride == 0:
            self._keep(cost)
        if self._live.is_due():
            self._live.draw(self._frame)

    def _keep(self, cost: float) -> None:
        """Remember a point of the curve; of too many every other one is forgotten."""
        self._costs.append(cost)
        if len(self._costs) > POINTS_MAX:
            del self._costs[1::2]
            self._stride *= 2

    def _frame(self, ended: bool = False) -> RenderableType:
        from rich.console import Group  # noqa: TID251
        from rich.text import Text  # noqa: TID251

        now = perf_counter()
        rate = (self._step - (self._first or 0)) / max(now - self._since, 1e-9)
        waiting = rate and not (ended and self._step < self._total)
        left = f"   {clock((self._total - self._step) / rate)} left" if waiting else ""
        step, cost = f"step {self._step} of {self._total}", f"[bold]cost {self._cost:.6f}[/]"
        lines = curve(self._costs, CURVE_WIDTH, CURVE_HEIGHT, ascii_only=self._ascii_only)
        return Group(
            _bar(self._step, self._total, "", step, cost),
            *(Text(line, "cyan", no_wrap=True) for line in lines),
            Text(f"{rate:,.0f} steps/s   {clock(now - self._began)} gone{left}", "dim"),
        )


def _can_write(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def counting(what: str, quiet: bool, *, results: bool = False) -> Iterator[OnCount]:
    """A callback (done, total) that shows long work on stderr; the total may be unknown.

    On a terminal it is a bar, elsewhere a line now and then; nothing for work that is soon done.
    Where ``results`` are made that a pipe reads, the bar waits for a second, and there is no line.
    """
    stream, began = progress_stream(), perf_counter()
    if quiet or stream is None or (results and not is_terminal(stream)):
        yield lambda done, total: None
        return
    if not is_terminal(stream):
        due = began + FIRST_LINE

        def line(done: int, total: int | None) -> None:
            nonlocal due
            if perf_counter() >= due:
                _put(stream, f"{what}: {done} of {total}")
                due = perf_counter() + LINES_APART

        yield line
        return

    def frame(done: int, total: int | None) -> RenderableType:
        rate = done / max(perf_counter() - began, 1e-9)
        left = f"{clock((total - done) / rate)} left" if total and rate else ""
        return _bar(done, total, what, f"{done}/{total or '?'}", left)

    with _Live(stream, 1.0 if results else SHORTEST_FRAME) as live:

        def show(done: int, total: int | None) -> None:
            if live.is_due():
                live.draw(partial(frame, done, total))

        yield show


def phases(quiet: bool) -> Callable[[str], AbstractContextManager[OnCount]]:
    """Progress on stderr for each named phase of the work."""
    return partial(counting, quiet=quiet)
