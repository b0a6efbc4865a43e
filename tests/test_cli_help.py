"""``catclf help``: the list of topics, a page, what is not a topic."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Run, fill, on_terminal

from scripts.lib import readme

PAGES = {page.stem: page.read_text() for page in readme.PAGES[1:]}


def test_the_topics_are_listed_with_a_line_each(run: Run) -> None:
    *lines, empty, usage = run("help").done().splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines)
    assert list(listed) == sorted([*PAGES, "settings"])
    assert all(listed[topic] in page for topic, page in PAGES.items())
    assert (empty, usage) == ("", "catclf help TOPIC shows a page.")


def test_a_pipe_gets_the_page_as_markdown(run: Run) -> None:
    for topic in ("exit-codes", "formats"):
        shown = run("help", topic).done().splitlines()
        page = [line for line in PAGES[topic].splitlines() if line and not line.startswith("<!--")]
        assert [line for line in shown if line] == page


@pytest.mark.parametrize("name", ["train", "data", "help"])
def test_the_name_of_a_command_shows_its_help(run: Run, name: str) -> None:
    assert run("help", name).done() == run(name, "-h").done() == run(name, "--help").done()


def test_a_terminal_shows_the_page_laid_out_unless_it_is_dumb(tmp_path: Path, run: Run) -> None:
    shown = on_terminal("catclf help exit-codes", tmp_path, PAGER="cat", NO_COLOR="")
    text = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert text.startswith("Exit codes\r\n\r\nExit codes, streams")
    assert "\x1b[1" in shown  # headings are bold
    assert max(map(len, text.splitlines())) <= 80
    dumb = on_terminal("catclf help exit-codes", tmp_path, PAGER="cat", TERM="dumb")
    assert dumb.replace("\r\n", "\n") == run("help", "exit-codes").stdout


@pytest.mark.parametrize(
    ("args", "shown_by", "paged"),
    [
        ("help formats", "./pager", True),
        ("train --help", "./pager", True),
        ("--no-pager train --help", "./pager", False),
        ("help formats", "./none", False),
    ],
)
def test_long_texts_on_a_terminal_go_through_a_pager(
    tmp_path: Path, args: str, shown_by: str, paged: bool
) -> None:
    fill(tmp_path, {"pager": "#!/bin/sh\necho PAGED; head -3\n"})
    (tmp_path / "pager").chmod(0o755)
    lines = on_terminal(f"catclf {args}", tmp_path, PAGER=shown_by).splitlines()
    assert (lines[0] == "PAGED", len(lines) <= 4, len(lines) > 24) == (paged, paged, not paged)


def test_help_of_train_is_short_and_breaks_no_word(run: Run) -> None:
    shown = run("train", "--help", env={"COLUMNS": "80"}).stdout
    assert len(shown.splitlines()) <= 60
    assert max(map(len, shown.splitlines())) <= 80
    assert "squash, crop or pad" in " ".join(shown.replace("│", " ").split())
