"""What is shown while training: exact plain lines, the last live frame, and how often it draws."""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclf.terminal import progress
from catclf.terminal.chart import clock, curve
from catclf.terminal.progress import LiveDisplay, training_display
from catclf.terminal.stream import is_terminal, use_colour

wild = settings(deadline=None, derandomize=True)
BARS = " ▁▂▃▄▅▆▇█"


class Terminal(io.TextIOWrapper):
    """A terminal that remembers what was written to it."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, newline="")

    def isatty(self) -> bool:
        return True

    @property
    def raw_text(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)

    @property
    def text(self) -> str:
        """Without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.raw_text)


class Clock:
    """A clock that moves only when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}.items():
        monkeypatch.setenv(name, value)
    return Terminal()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "perf_counter", clock)
    return clock


# The curve


def test_the_curve_has_hand_values() -> None:
    assert curve([4.0, 3.0, 2.0, 1.0], 4, 1) == ["     4 │█▆▄▂"]
    assert curve([4.0, 3.0, 2.0, 1.0], 4, 2) == ["     4 │█▄", "     0 │███▄"]


def test_a_column_is_the_mean_of_its_share() -> None:
    assert curve([5.0, 3.0, 1.0, 1.0], 2, 1) == ["     4 │█▂"]


def test_the_curve_falls_back_to_ascii() -> None:
    lines = curve([4.0, 3.0, 2.0, 1.0], 4, 2, ascii_only=True)
    assert lines == ["     4 |##", "     0 |####"]


def heights(lines: list[str], width: int) -> list[int]:
    """The height of each column in eighths of a line."""
    rows = [line.split("│")[1].ljust(width) for line in lines]
    return [sum(BARS.index(row[i]) for row in rows) for i in range(width)]


@wild
@given(
    costs=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=200),
    width=st.integers(1, 60),
    height=st.integers(1, 8),
)
def test_falling_costs_make_a_falling_curve(costs: list[float], width: int, height: int) -> None:
    lines = curve(sorted(costs, reverse=True), width, height)
    columns = heights(lines, min(width, len(costs)))
    assert len(lines) == height
    assert columns == sorted(columns, reverse=True)
    assert columns[0] == 8 * height
    assert max(len(line.split("│")[1]) for line in lines) <= width


@wild
@given(st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=20))
def test_the_axis_is_a_straight_line(costs: list[float]) -> None:
    assert len({line.index("│") for line in curve(costs, 20, 5)}) == 1


@wild
@given(
    costs=st.lists(st.floats(0, 10) | st.sampled_from([math.nan, math.inf, 1.7e308]), max_size=12),
    ascii_only=st.booleans(),
)
def test_a_curve_of_anything_is_empty_or_whole(costs: list[float], ascii_only: bool) -> None:
    assert len(curve(costs, 8, 3, ascii_only=ascii_only)) in (0, 3)


@pytest.mark.parametrize(
    "costs", [[], [0.0], [math.nan], [math.nan, 1.0], [1.0, math.nan], [1.0, math.inf]]
)
def test_there_is_no_curve_without_a_scale(costs: list[float]) -> None:
    assert curve(costs, 8, 3) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (0.314, "0.31 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (185.0, "3:05"),
        (3599.6, "1:00:00"),
        (7385.0, "2:03:05"),
        (360_000.0, "100:00:00"),
    ],
)
def test_the_clock_is_for_people(seconds: float, text: str) -> None:
    assert clock(seconds) == text


# Plain and silent


def test_plain_lines_come_at_every_so_many_steps_and_at_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with training_display(251, every=100, quiet=False) as update:
        for step in range(251):
            update(step, 0.6931471 / (step + 1))
            assert stream.getvalue().count("\n") == step // 100 + 1  # before the next step
    assert stream.getvalue() == (
        "step 0  cost 0.693147\n"
        "step 100  cost 0.006863\n"
        "step 200  cost 0.003448\n"
        "step 250  cost 0.002762\n"
    )


def cut_short(
    shown: AbstractContextManager[Callable[[int, float], None]], error: BaseException
) -> None:
    with shown as update:
        update(0, 0.69)
        update(1, 0.5)
        raise error


@pytest.mark.parametrize(
    ("quiet", "listed", "term", "tty", "shown"),
    [
        (False, False, "xterm", True, "live"),
        (False, True, "xterm", True, "lines"),
        (False, False, "dumb", True, "lines"),
        (False, False, "", True, "lines"),
        (False, False, "xterm", False, "lines"),
        (True, False, "xterm", True, ""),
        (True, False, "xterm", False, ""),
    ],
)
def test_the_display_suits_stderr_and_lets_errors_through(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    quiet: bool,
    listed: bool,
    term: str,
    tty: bool,
    shown: str,
) -> None:
    monkeypatch.setenv("TERM", term)
    stream = terminal if tty else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(ValueError, match="boom"):
        cut_short(training_display(10, 1, quiet, listed), ValueError("boom"))
    text = stream.text if isinstance(stream, Terminal) else stream.getvalue()
    lines = "step 0  cost 0.690000\nstep 1  cost 0.500000\n"
    assert text == lines if shown == "lines" else ("step 1 of 10" in text) == bool(shown)


def test_without_stderr_there_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with training_display(10, 1, quiet=False) as update:
        update(0, 0.5)


# Live


def test_the_last_live_frame_has_step_and_cost(
    terminal: Terminal, capfd: pytest.CaptureFixture[str]
) -> None:
    with LiveDisplay(terminal, total=40) as shown:
        for step in range(41):
            shown.update(step, 0.7 - step / 100)
    last = terminal.text.splitlines()[-7:]  # bar, five lines of curve, speed
    assert re.search(r"step 40 of 40 +cost 0\.300000", last[0])
    assert re.match(r" +0\.7 │█", last[1])
    assert last[5].startswith("     0 │████")
    assert re.search(r"steps/s .* gone .*0\.00 s left", last[6])
    assert capfd.readouterr() == ("", "")  # it writes to its stream only


def test_the_rate_of_a_resumed_run_counts_its_own_steps(terminal: Terminal, time: Clock) -> None:
    with LiveDisplay(terminal, total=1_000_400) as shown:
        shown.update(1_000_000, 0.5)
        time.now += 50.0
        shown.update(1_000_100, 0.5)
        assert re.search(r"\b2 steps/s +50 s gone +2:30 left", terminal.text)


def test_a_run_that_ends_early_has_no_time_left(terminal: Terminal) -> None:
    with LiveDisplay(terminal, total=50) as shown:
        for step in range(8):
            shown.update(step, 0.5)
    assert "left" not in terminal.text.splitlines()[-1]


def test_a_live_display_that_is_cut_short_shows_where_and_gives_the_cursor_back(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(KeyboardInterrupt):
        cut_short(training_display(40, 1, quiet=False), KeyboardInterrupt())
    assert "step 1 of 40" in terminal.text
    assert "cost 0.500000" in terminal.text
    assert terminal.raw_text.rfind("\x1b[?25h") > terminal.raw_text.rfind("\x1b[?25l") >= 0


def test_a_live_display_without_a_step_ends_without_an_error(terminal: Terminal) -> None:
    with LiveDisplay(terminal, total=40):
        pass
    assert "step 0 of 40" in terminal.text


def test_the_live_display_is_ascii_where_the_terminal_is(terminal: Terminal) -> None:
    plain = Terminal("ascii")
    with LiveDisplay(plain, total=1) as shown:
        shown.update(0, 0.5)
        shown.update(1, 0.5)
    assert "   0.5 |##" in plain.text


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_takes_the_colours_out_of_the_live_display(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    with LiveDisplay(terminal, total=1) as shown:
        shown.update(1, 0.5)
    coloured = re.search(r"\x1b\[([0-9]+;)*3[0-9]", terminal.raw_text) is not None
    assert coloured == (not no_color)


@pytest.mark.parametrize("drawing", [0.05, 0.00001])
def test_drawing_takes_less_than_two_percent_of_training(
    terminal: Terminal, time: Clock, monkeypatch: pytest.MonkeyPatch, drawing: float
) -> None:
    frames: list[float] = []  # when each began
    draw = LiveDisplay._frame

    def slow(self: LiveDisplay, now: float, ended: bool = False) -> object:
        frames.append(time.now)
        time.now += drawing
        return draw(self, now, ended)

    monkeypatch.setattr(LiveDisplay, "_frame", slow)
    step_time = 0.005
    with LiveDisplay(terminal, total=20_000) as shown:
        for step in range(20_000):
            time.now += step_time
            shown.update(step, 0.5)
        drawn, lasted = len(frames), time.now
    assert drawn * drawing < 0.02 * lasted
    waits = [later - earlier - drawing for earlier, later in pairwise(frames[:drawn])]
    wait = max(0.1, 60 * drawing)  # not faster than the eye, and no slower than it has to be
    assert wait - 1e-9 <= min(waits) <= max(waits) <= wait + step_time + 1e-9


def test_the_first_frame_does_not_promise_an_immediate_end(terminal: Terminal, time: Clock) -> None:
    with LiveDisplay(terminal, total=100) as shown:
        time.now += 5.0  # a large data set: five seconds for the first cost
        shown.update(0, 0.69)
        assert "step 0 of 100" in terminal.text
        assert "0.00 s left" not in terminal.text


def test_the_time_left_follows_from_the_rate(terminal: Terminal, time: Clock) -> None:
    with LiveDisplay(terminal, total=400) as shown:
        shown.update(0, 0.69)
        time.now += 50.0
        shown.update(100, 0.5)
        assert re.search(r"2 steps/s +50 s gone +2:30 left", terminal.text)


def test_a_long_run_keeps_a_bounded_curve_from_first_to_last(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[float]] = []

    def record(costs: list[float], *_: int, ascii_only: bool) -> list[str]:
        drawn.append(costs)
        return []

    monkeypatch.setattr(progress, "curve", record)
    with LiveDisplay(terminal, total=50_000) as shown:
        for step in range(50_001):
            shown.update(step, float(step))
    kept = drawn[-1]
    assert 500 <= len(kept) <= 1026
    assert (kept[0], kept[-1]) == (0.0, 50_000.0)
    spaces = {b - a for a, b in pairwise(kept[:-1])}
    assert len(spaces) == 1  # evenly spaced


# Which streams


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def test_a_pipe_a_closed_stream_and_no_stream_are_no_terminals(terminal: Terminal) -> None:
    assert is_terminal(terminal)
    for stream in (io.StringIO(), closed(), None):
        assert not is_terminal(stream)
        assert not use_colour(stream)


@pytest.mark.parametrize("term", ["dumb", "unknown", "", None])
def test_a_dumb_terminal_is_no_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, term: str | None
) -> None:
    if term is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", term)
    assert not is_terminal(terminal)
    assert not use_colour(terminal)


@pytest.mark.parametrize(("no_color", "colour"), [(None, True), ("", True), ("1", False)])
def test_no_color_forbids_colour_but_not_the_live_display(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, no_color: str | None, colour: bool
) -> None:
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    assert use_colour(terminal) is colour
    assert is_terminal(terminal)
