"""Markdown on a terminal: headings, commands, links, tables that fit and tables that do not."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from catclf.terminal.markdown import MAX_WIDTH, render
from scripts.lib import readme

CODES = re.compile(r"\x1b\[[\d;]*m")
WIDE = (
    "| name | alpha | beta | gamma |\n|---|---:|---|---|\n| one | 1 | a long cell here | |\n"
    "| two | 2 | x | y |\n"
)


class Screen(io.StringIO):
    """A terminal that remembers nothing."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


def plain(text: str) -> str:
    return CODES.sub("", render(text, Screen()))


def test_headings_and_commands_are_bold_and_code_is_indented() -> None:
    shown = render("# Title\n\nText\n\n```console\n$ run it\noutput\n```\n", Screen())
    assert "\x1b[1;4mTitle\x1b[0m" in shown
    assert "    \x1b[1m$ run it\x1b[0m\n    output\n" in shown


def test_code_keeps_its_brackets_and_spaces() -> None:
    assert "    a  [bold]b[/bold]  :smile:\n" in plain("```text\na  [bold]b[/bold]  :smile:\n```\n")


def test_a_link_to_a_page_names_its_command() -> None:
    shown = plain("See [the formats](formats.md#json) and [others](https://example.org/x).\n")
    assert "See catclf help formats and others (https://example.org/x)." in shown


def test_a_table_that_fits_is_a_table() -> None:
    lines = [line for line in plain(WIDE).splitlines() if line.strip()]
    assert lines[0].split() == ["name", "alpha", "beta", "gamma"]
    assert set(lines[1].strip()) == {"─"}
    assert lines[3].split() == ["two", "2", "x", "y"]


def test_lines_stay_readable_on_a_wide_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    lines = plain("word " * 100 + "\n").splitlines()
    assert 90 < max(map(len, lines)) <= MAX_WIDTH


def test_without_colour_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.findall(r"\x1b\[[\d;]*3\d", render(f"# A `b`\n\n`c`\n\n{WIDE}", Screen()))


@pytest.mark.parametrize("width", ["80", "40"])
@pytest.mark.parametrize("page", readme.PAGES[1:], ids=lambda page: page.stem)
def test_every_page_fits(page: Path, width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    shown = plain(page.read_text())
    assert max(map(len, shown.splitlines())) <= int(width)
    assert not re.search(r"```|\]\(|\*\*|^#", shown, re.MULTILINE)
