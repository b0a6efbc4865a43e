"""Manual pages: what is written in Markdown is what a formatter shows."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from catclf.terminal import roff

GROFF = shutil.which("groff")
NEEDS_GROFF = pytest.mark.skipif(not GROFF, reason="needs groff: apt-get install groff")


def shown(lines: list[str]) -> str:
    """What groff makes of a page, as plain text; it must have nothing to complain about."""
    page = "\n".join([*roff.head("sample", 1, "0"), *lines, ""])
    command = [str(GROFF), "-t", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=80n"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        (".hidden", r"\&.hidden"),
        ("'quoted' `code`", r"\(aqquoted\(aq \(gacode\(ga"),
        (r"a\nb --only ^~", r"a\enb \-\-only \(ha\(ti"),
        ("σ(z) 🐱", r"\[u03C3](z) \[u1F431]"),
        ("", ""),
    ],
)
def test_no_character_has_a_meaning(plain: str, escaped: str) -> None:
    assert roff.text(plain) == escaped


def test_blocks_of_markdown() -> None:
    page = (
        "# Title\n\nAbout it.\n\n## Part one\n\nSee `a -b` and **loud**, [links](page.md#x)\n"
        "and [files](LICENSE).\n\n```sh\n.dot\n\n'q'\n```\n\n- first\n  goes on\n- second\n\n"
        "1. one\n2. two\n\n| a | b |\n|---|---:|\n| `x` | y\\|z |\n"
    )
    assert roff.from_markdown(page) == [
        *(".PP", "About it.", '.SH "PART ONE"'),
        ".PP",
        r"See \fBa \-b\fR and \fBloud\fR, \fBcatclf help page\fR and files.",
        *(".PP", ".RS 4", ".EX", r"\&.dot", "", r"\(aqq\(aq", ".EE", ".RE"),
        *(r'.IP "\(bu" 4', "first goes on", r'.IP "\(bu" 4', "second"),
        *('.IP "1." 4', "one", '.IP "2." 4', "two"),
        *(".PP", ".TS", "tab(\t);", "lb lb", "l l."),
        "T{\n.nh\na\nT}\tT{\n.nh\nb\nT}",
        "T{\n.nh\n\\fBx\\fR\nT}\tT{\n.nh\ny|z\nT}",
        *(".TE", ".nh"),
    ]
    assert '.SS "Part one"' in roff.from_markdown(page, level=2)


def test_a_table_that_is_too_wide_is_a_list() -> None:
    heads = "| name | " + " | ".join(f"head {i}" for i in range(5)) + " |"
    row = "| it | " + " | ".join(f"value {i} of some length" for i in range(5)) + " |"
    lines = roff.from_markdown(f"{heads}\n{'|---' * 6}|\n{row}\n")
    assert lines[:4] == [".TP", r"\fBit\fR", "head 0: value 0 of some length", ".br"]
    assert lines[-1] == "head 4: value 4 of some length"


@NEEDS_GROFF
def test_a_formatter_shows_every_word() -> None:
    words = r"back\slash .dot 'quote' `tick` -minus ^~ 50 % σ"
    table = "| one | two |\n|---|---|\n| short | " + "many words " * 12 + "|\n"
    text = shown(roff.from_markdown(f"{words}\n\n```\n.code 'x' \\y\n```\n\n{table}"))
    for word in words.split():
        assert word.replace("`tick`", "tick") in text
    assert ".code 'x' \\y" in text
    assert text.count("many words") >= 10
    assert "\u2010" not in text  # no word is divided: options could not be copied
