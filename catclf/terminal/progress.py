"""Progress on stderr: live on a terminal, plain lines elsewhere, or silent; drawn by rich.

A display is a callback with a start and an end. It may not slow training down: a live display
looks at the clock once a step, and waits after each frame for 60 times as long as drawing it took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from catclf.terminal.chart import BARS, clock, curve
from catclf.terminal.stream import is_terminal, progress_stream

if TYPE_CHECKING:
    from rich.console import Group  # noqa: TID251
    from rich.live import Live  # noqa: TID251
    from rich.progress import Progress  # noqa: TID251

FRAME_SHARE = 60  # seconds of training for each second of drawing: under 2 %
SHORTEST_FRAME = 0.1  # seconds between frames
CURVE_WIDTH, CURVE_HEIGHT = 56, 5  # characters


class Display(Protocol):
    """Shows the cost of a training run while it goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def update(self, step: int, cost: float) -> None:
        """Called once for each step, with the cost after ``step`` updates."""


class SilentDisplay:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def update(self, step: int, cost: float) -> None:
        return None


class PlainDisplay(SilentDisplay):
    """A line for every ``every`` steps and for the last one, whichever that is."""

    def __init__(self, stream: TextIO, every: int) -> None:
        self._stream, self._every = stream, every
        self._pending = ""  # the line of the last step, while it is not written

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.write(self._pending)
        self._stream.flush()

    def update(self, step: int, cost: float) -> None:
        self._pending = ""
        if step % self._every == 0:
            self._stream.write(_line(step, cost))
            self._stream.flush()
        else:
            self._pending = _line(step, cost)


class LiveDisplay:
    """A progress bar, the cost and its curve, steps a second and the time left, drawn by rich.

    The rate is that of the steps of this run: a resumed one begins at its first step.
    """

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream, self._total = stream, total
        self._first: int | None = None
        self._steps: list[int] = []
        self._costs: list[float] = []
        self._stride = 1
        self._step, self._cost = 0, float("nan")
        self._began = self._since = self._next = 0.0
        self._ended = False
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.console import Console  # noqa: TID251
        from rich.live import Live  # noqa: TID251

        console = Console(file=self._stream)
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()
        self._began = perf_counter()
        self._next = self._began + SHORTEST_FRAME
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._keep(self._step, self._cost)
            self._ended = True
            self._live.update(self._frame(perf_counter()), refresh=True)
            self._live.stop()

    def update(self, step: int, cost: float) -> None:
        self._step, self._cost = step, cost
        if self._first is None:
            self._first, self._since = step, perf_counter()
        if step % self._stride == 0:
            self._keep(step, cost)
        now = perf_counter()
        if now >= self._next and self._live is not None:
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

    def _frame(self, now: float) -> Group:
        from rich.console import Group  # noqa: TID251
        from rich.progress_bar import ProgressBar  # noqa: TID251
        from rich.table import Table  # noqa: TID251
        from rich.text import Text  # noqa: TID251

        seconds = now - self._began
        rate = (self._step - (self._first or 0)) / max(now - self._since, 1e-9)
        waiting = rate and not (self._ended and self._step < self._total)
        left = f"   {clock((self._total - self._step) / rate)} left" if waiting else ""
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=max(self._total, 1), completed=self._step or 0, width=24),
            Text(f"step {self._step} of {self._total}"),
            Text(f"cost {self._cost:.6f}", style="bold"),
        )
        speed = Text(f"{rate:,.0f} steps/s   {clock(seconds)} gone{left}", "dim")
        lines = curve(self._costs, CURVE_WIDTH, CURVE_HEIGHT, ascii_only=not _unicode(self._stream))
        return Group(head, *(Text(line, "cyan", no_wrap=True) for line in lines), speed)


def training_display(total: int, every: int, quiet: bool, listed: bool = False) -> Display:
    """The display that suits stderr: live on a capable terminal, else or if ``listed`` lines."""
    stream = progress_stream()
    if quiet or stream is None:
        return SilentDisplay()
    if is_terminal(stream) and not listed:
        return LiveDisplay(stream, total)
    return PlainDisplay(stream, every)


def _line(step: int, cost: float) -> str:
    return f"step {step}  cost {cost:.6f}\n"


@contextmanager
def counting(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that shows long work on stderr.

    A bar on a terminal, else a line now and then; nothing for work that is soon done.
    """
    stream = progress_stream()
    if quiet or stream is None:
        yield lambda done, total: None
        return
    counter = _Bar(stream, what) if is_terminal(stream) else _Lines(stream, what)
    try:
        yield counter.show
    finally:
        counter.close()


def phases(quiet: bool) -> Callable[[str], AbstractContextManager[Callable[[int, int], None]]]:
    """Progress on stderr for each named phase of the work."""
    return lambda what: counting(what, quiet)


@contextmanager
def counting_results(what: str, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """The same for work whose results are what a pipe reads: a bar on a terminal, else nothing.

    It is there after a second; the total is None where it is not known.
    """
    stream = progress_stream()
    if quiet or not is_terminal(stream):
        yield lambda done, total: None
        return
    assert stream is not None
    bar = _Bar(stream, what, wait=1.0)
    try:
        yield bar.show
    finally:
        bar.close()


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
        lines = _Lines(stream, "")
        yield lambda text: lines.write(text.splitlines()[-1])


class _Lines:
    """Nothing for ten seconds, then a line a minute: it may go to a log."""

    first, every = 10.0, 60.0

    def __init__(self, stream: TextIO, what: str) -> None:
        self._stream, self._what = stream, what
        self._next = perf_counter() + self.first

    def show(self, done: int, total: int | None) -> None:
        self.write(f"{self._what}: {done} of {total}")

    def write(self, line: str) -> None:
        if perf_counter() >= self._next:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._next = perf_counter() + self.every

    def close(self) -> None:
        return None


class _Bar(_Lines):
    """A bar of rich, ten times a second, if the work takes more than a moment."""

    first = every = 0.1

    def __init__(self, stream: TextIO, what: str, wait: float = first) -> None:
        super().__init__(stream, what)
        self._next = perf_counter() + wait
        self._progress: Progress | None = None

    def show(self, done: int, total: int | None) -> None:
        if perf_counter() < self._next and not (self._progress and done == total):
            return
        progress = self._progress = self._progress or self._begin(total)
        progress.update(progress.task_ids[0], completed=done, total=total, refresh=True)
        self._next = perf_counter() + self.every

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _begin(self, total: int | None) -> Progress:
        from rich import progress  # noqa: TID251
        from rich.console import Console  # noqa: TID251

        bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(24),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(compact=True),
            console=Console(file=self._stream, soft_wrap=True),  # warnings pass through it whole
            redirect_stdout=False,
            auto_refresh=False,
            transient=True,
        )
        bar.start()
        bar.add_task(self._what, total=total)
        return bar


def _unicode(stream: TextIO) -> bool:
    try:
        BARS.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
