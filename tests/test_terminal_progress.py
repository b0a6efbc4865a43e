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
from hypothesis import given
from hypothesis import strategies as st

from catclf.terminal import progress
from catclf.terminal.progress import LiveDisplay, clock, counting, curve, training_display
from catclf.terminal.stream import is_terminal, use_colour

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


@pytest.mark.parametrize(
    ("costs", "size", "lines"),
    [
        ([4.0, 3.0, 2.0, 1.0], (4, 1), ["     4 │█▆▄▂"]),
        ([4.0, 3.0, 2.0, 1.0], (4, 2), ["     4 │█▄", "     0 │███▄"]),
        ([5.0, 3.0, 1.0, 1.0], (2, 1), ["     4 │█▂"]),  # a column is the mean of its share
        *(([*some], (8, 3), []) for some in ((), (0.0,), (math.nan, 1.0), (1.0, math.inf))),
    ],
)
def test_the_curve_has_hand_values(
    costs: list[float], size: tuple[int, int], lines: list[str]
) -> None:
    assert curve(costs, *size) == lines


def heights(lines: list[str], width: int) -> list[int]:
    """The height of each column in eighths of a line."""
    rows = [line.split("│")[1].ljust(width) for line in lines]
    return [sum(BARS.index(row[i]) for row in rows) for i in range(width)]


@given(
    costs=st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=200),
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
    assert len({line.index("│") for line in lines}) == 1


@given(
    costs=st.lists(st.floats(0, 10) | st.sampled_from([math.nan, math.inf, 1.7e308]), max_size=12),
    ascii_only=st.booleans(),
)
def test_a_curve_of_anything_is_empty_or_whole(costs: list[float], ascii_only: bool) -> None:
    assert len(curve(costs, 8, 3, ascii_only=ascii_only)) in (0, 3)


def test_the_clock_is_for_people() -> None:
    times = (0.0, 0.314, 12.4, 59.4, 59.6, 185.0, 3599.6, 7385.0, 360_000.0)
    texts = "0.00 s,0.31 s,12 s,59 s,1:00,3:05,1:00:00,2:03:05,100:00:00"
    assert ",".join(map(clock, times)) == texts


# Plain and silent


def cut_short(shown: AbstractContextManager[Callable[[int, float], None]]) -> None:
    with shown as update:
        update(0, 0.69)
        update(1, 0.5)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("how", "term", "shown"),
    [
        ({}, "xterm", "live"),
        ({"listed": True}, "xterm", "lines"),
        ({}, "dumb", "lines"),
        ({}, None, "lines"),  # no terminal
        ({"quiet": True}, "xterm", ""),
    ],
)
def test_the_display_suits_stderr_and_lets_errors_through(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, bool],
    term: str | None,
    shown: str,
) -> None:
    stream = terminal if term else io.StringIO()
    monkeypatch.setenv("TERM", term or "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(KeyboardInterrupt):
        cut_short(training_display(10, 1, **{"quiet": False} | how))
    text = stream.text if isinstance(stream, Terminal) else stream.getvalue()
    if shown == "live":
        assert re.search(r"step 1 of 10 +cost 0\.500000", text)
        raw = terminal.raw_text  # the cursor is given back
        assert raw.rfind("\x1b[?25h") > raw.rfind("\x1b[?25l") >= 0
    else:
        lines = "step 0  cost 0.690000\nstep 1  cost 0.500000\n"
        assert text == (lines if shown else "")


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


@pytest.mark.parametrize("first", [0, 1_000_000])
def test_the_time_left_follows_from_the_rate_of_this_run(
    terminal: Terminal, time: Clock, first: int
) -> None:
    with LiveDisplay(terminal, total=first + 400) as shown:
        time.now += 5.0  # a large data set: five seconds for the first cost
        shown.update(first, 0.69)
        assert f"step {first} of" in terminal.text
        assert "left" not in terminal.text
        time.now += 50.0
        shown.update(first + 100, 0.5)
        assert re.search(r"\b2 steps/s +55 s gone +2:30 left", terminal.text)
    assert "left" not in terminal.text.splitlines()[-1]  # it ends early


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


@pytest.mark.parametrize("drawing", [0.05, 0.00001])
def test_drawing_takes_less_than_two_percent_of_training(
    terminal: Terminal, time: Clock, monkeypatch: pytest.MonkeyPatch, drawing: float
) -> None:
    frames: list[float] = []  # when each began

    def slow(*_: object, ascii_only: bool) -> list[str]:
        frames.append(time.now)
        time.now += drawing
        return []

    monkeypatch.setattr(progress, "curve", slow)
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
    assert len({b - a for a, b in pairwise(kept[:-1])}) == 1  # evenly spaced


@pytest.mark.parametrize("total", [8, None])
def test_counts_are_a_bar_once_the_work_takes_long(
    terminal: Terminal, time: Clock, monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    with counting("reading", quiet=False, results=True) as show:
        show(1, total)
        assert terminal.text == ""
        time.now += 2.0
        show(2, total)
        assert re.search(r"reading .* 2/8 +6\.00 s left" if total else "2/[?]", terminal.text)
    assert terminal.raw_text.endswith("\x1b[2K")  # and gone at the end


# Which streams


def test_a_pipe_a_closed_stream_and_no_stream_are_no_terminals(terminal: Terminal) -> None:
    assert is_terminal(terminal)
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO(), closed, None):
        assert not is_terminal(stream)
        assert not use_colour(stream)


@pytest.mark.parametrize(
    ("term", "no_color", "live", "colour"),
    [
        *((term, None, False, False) for term in ("dumb", "unknown", "", None)),
        *(("xterm", no_color, True, not no_color) for no_color in (None, "", "1")),
    ],
)
def test_a_dumb_terminal_is_none_and_no_color_forbids_colour_alone(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    term: str | None,
    no_color: str | None,
    live: bool,
    colour: bool,
) -> None:
    for name, value in (("TERM", term), ("NO_COLOR", no_color)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert (is_terminal(terminal), use_colour(terminal)) == (live, colour)
    if live:
        with LiveDisplay(terminal, total=1) as shown:
            shown.update(1, 0.5)
        assert bool(re.search(r"\x1b\[([0-9]+;)*3[0-9]", terminal.raw_text)) == colour
