"""Progress on stderr: live on a terminal, plain lines elsewhere, or silent; drawn by rich.

Each display is a block that gives a callback. It may not slow training down: a live display looks
at the clock once a step, and waits after each frame for 60 times as long as drawing it took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Self, TextIO

from catclf.terminal.chart import BARS, clock, curve
from catclf.terminal.stream import is_terminal, progress_stream

if TYPE_CHECKING:
    from rich.console import Group  # noqa: TID251
    from rich.progress import Progress  # noqa: TID251

OnStep = Callable[[int, float], None]  # the number of updates, and the cost after them
FRAME_SHARE = 60  # seconds of training for each second of drawing: under 2 %
SHORTEST_FRAME = 0.1  # seconds between frames
FIRST_LINE, LINES_APART = 10.0, 60.0  # seconds: lines may go to a log
CURVE_WIDTH, CURVE_HEIGHT = 56, 5  # characters


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

        def write(step: int, cost: float) -> None:
            _put(stream, f"step {step}  cost {cost:.6f}")

        with every_so_many(every, write) as put:
            yield put


def _put(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


class LiveDisplay:
    """A progress bar, the cost and its curve, steps a second and the time left, drawn by rich.

    The rate is that of the steps of this run: a resumed one begins at its first step.
    """

    def __init__(self, stream: TextIO, total: int) -> None:
        from rich.console import Console  # noqa: TID251
        from rich.live import Live  # noqa: TID251

        self._stream, self._total = stream, total
        self._first: int | None = None
        self._steps: list[int] = []
        self._costs: list[float] = []
        self._stride = 1
        self._step, self._cost = 0, float("nan")
        self._began = self._since = perf_counter()
        self._next = self._began + SHORTEST_FRAME
        self._live = Live(console=Console(file=stream), auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._keep(self._step, self._cost)
        self._live.update(self._frame(perf_counter(), ended=True), refresh=True)
        self._live.stop()

    def update(self, step: int, cost: float) -> None:
        """Called once for each step, with the cost after ``step`` updates."""
        self._step, self._cost = step, cost
        if self._first is None:
            self._first, self._since = step, perf_counter()
        if step % self._stride == 0:
            self._keep(step, cost)
        now = perf_counter()
        if now >= self._next:
            self._live.update(self._frame(now), refresh=True)
            drawn = perf_counter()
            self._next = drawn + max(SHORTEST_FRAME, FRAME_SHARE * (drawn - now))

    def _keep(self, step: int, cost: float) -> None:
        """Remember the curve at up to 1024 points; with more, every other one is forgotten."""
        self._steps.append(step)
        self._costs.append(cost)
        if len(self._steps) > 1024:
            del self._steps[1::2], self._costs[1::2]
            self._stride *= 2

    def _frame(self, now: float, ended: bool = False) -> Group:
        from rich.console import Group  # noqa: TID251
        from rich.progress_bar import ProgressBar  # noqa: TID251
        from rich.table import Table  # noqa: TID251
        from rich.text import Text  # noqa: TID251

        seconds = now - self._began
        rate = (self._step - (self._first or 0)) / max(now - self._since, 1e-9)
        waiting = rate and not (ended and self._step < self._total)
        left = f"   {clock((self._total - self._step) / rate)} left" if waiting else ""
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=max(self._total, 1), completed=self._step, width=24),
            Text(f"step {self._step} of {self._total}"),
            Text(f"cost {self._cost:.6f}", style="bold"),
        )
        speed = Text(f"{rate:,.0f} steps/s   {clock(seconds)} gone{left}", "dim")
        lines = curve(self._costs, CURVE_WIDTH, CURVE_HEIGHT, ascii_only=not _unicode(self._stream))
        return Group(head, *(Text(line, "cyan", no_wrap=True) for line in lines), speed)


def _unicode(stream: TextIO) -> bool:
    try:
        BARS.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def counting(
    what: str, quiet: bool, *, results: bool = False
) -> Iterator[Callable[[int, int | None], None]]:
    """A callback (done, total) that shows long work on stderr; the total may be unknown.

    On a terminal it is a bar, elsewhere a line now and then; nothing for work that is soon done.
    Where ``results`` are made that a pipe reads, the bar waits for a second, and there is no line.
    """
    stream = progress_stream()
    if quiet or stream is None or (results and not is_terminal(stream)):
        yield lambda done, total: None
    elif is_terminal(stream):
        with _bar(stream, what, 1.0 if results else SHORTEST_FRAME) as show:
            yield show
    else:
        write = _now_and_then(stream)
        yield lambda done, total: write(f"{what}: {done} of {total}")


counting_results = partial(counting, results=True)


def phases(quiet: bool) -> Callable[[str], AbstractContextManager[Callable[[int, int], None]]]:
    """Progress on stderr for each named phase of the work."""
    return lambda what: counting(what, quiet)


@contextmanager
def live_text(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A callback that shows a block of text on stderr in place of the one before it.

    On a terminal it is gone at the end; elsewhere only its last line is written, now and then.
    """
    stream = progress_stream()
    if quiet or stream is None:
        yield lambda text: None
    elif is_terminal(stream):
        from rich.console import Console  # noqa: TID251
        from rich.live import Live  # noqa: TID251
        from rich.text import Text  # noqa: TID251

        live = Live(console=Console(file=stream), auto_refresh=False, transient=True)

        def show(text: str) -> None:
            live.start()  # once; until then the terminal is free for the progress of other phases
            live.update(Text(text, no_wrap=True), refresh=True)

        try:
            yield show
        finally:
            live.stop()
    else:
        write = _now_and_then(stream)
        yield lambda text: write(text.splitlines()[-1])


def _now_and_then(stream: TextIO) -> Callable[[str], None]:
    """A function that writes a line after ten seconds at the earliest, then one a minute."""
    due = perf_counter() + FIRST_LINE

    def write(line: str) -> None:
        nonlocal due
        if perf_counter() >= due:
            _put(stream, line)
            due = perf_counter() + LINES_APART

    return write


@contextmanager
def _bar(stream: TextIO, what: str, wait: float) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of rich, ten times a second, if the work takes longer than ``wait`` seconds."""
    bar: Progress | None = None
    due = perf_counter() + wait

    def show(done: int, total: int | None) -> None:
        nonlocal bar, due
        if perf_counter() < due and not (bar and done == total):
            return
        if bar is None:
            bar = _started(stream, what, total)
        bar.update(bar.task_ids[0], completed=done, total=total, refresh=True)
        due = perf_counter() + SHORTEST_FRAME

    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()


def _started(stream: TextIO, what: str, total: int | None) -> Progress:
    from rich import progress  # noqa: TID251
    from rich.console import Console  # noqa: TID251

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(24),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(compact=True),
        console=Console(file=stream, soft_wrap=True),  # warnings pass through it whole
        redirect_stdout=False,
        auto_refresh=False,
        transient=True,
    )
    bar.start()
    bar.add_task(what, total=total)
    return bar
