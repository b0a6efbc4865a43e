"""``catclf help --man``: the manual pages hold what the help and the pages say."""

from __future__ import annotations

import re
import subprocess

import pytest
from conftest import Run
from test_terminal_roff import GROFF, NEEDS_GROFF
from typer.testing import CliRunner

from catclf.cli.app import app
from catclf.terminal import roff
from scripts.lib import readme

COMMANDS = readme.program_commands()
TOPICS = [page.stem for page in readme.PAGES[1:]]


def manual(*args: str) -> str:
    """A manual page, made in this process."""
    done = CliRunner().invoke(app, ["help", *args, "--man"])
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def test_the_page_of_the_program_holds_every_command_and_option() -> None:
    page = manual()
    first, title = page.splitlines()[:2]
    assert (first, title[:14]) == ("'\\\" t", '.TH "CATCLF" "')
    sections = re.findall(r'^\.SH "(.*)"$', page, re.MULTILINE)
    assert sections == [
        *("NAME", "SYNOPSIS", "OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO")
    ]
    parts = dict(re.findall(r'^\.SS "catclf (.*?)"\n(.*?)(?=^\.S[SH])', page, re.DOTALL | re.M))
    assert {name.replace("\\-", "-") for name in parts} == set(COMMANDS)
    for name, command in COMMANDS.items():
        for paragraph in command.help.split("\n\n"):
            assert roff.text(paragraph.removeprefix("Example: ")) in parts[name]
        for parameter in command.params:
            assert roff.text(parameter.help) in parts[name], (name, parameter.name)
            for option in parameter.opts:
                assert roff.text(option) in parts[name] or parameter.param_type_name == "argument"
    for topic in TOPICS:
        assert roff.bold(f"catclf help {topic}") in page
    assert "CATCLF_MODEL" in page
    assert page.count("\n.TS\n") == page.count("\n.TE\n") == 1  # of the exit codes
    assert page.count("\n.RS ") == page.count("\n.RE")


@pytest.mark.parametrize("topic", TOPICS)
def test_the_page_of_a_topic_holds_its_words(topic: str) -> None:
    page = manual(topic)
    assert f'.TH "{roff.text(f"CATCLF-{topic.upper()}")}" "7"' in page
    text = (readme.DOCS / f"{topic}.md").read_text()
    for line in re.findall(r"^## (.*)$", text, re.MULTILINE):
        assert f'.SH "{roff.text(line.upper())}"' in page
    for block in re.findall(r"^```\w* ?\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        assert "\n".join(roff.code(block)) in page


def test_the_page_of_a_command_holds_its_options() -> None:
    page = manual("predict")
    assert re.findall(r'^\.SH "(.*)"$', page, re.MULTILINE) == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO")
    ]
    assert roff.text("Print the paths of this class's images and nothing else.") in page
    group = manual("data")
    for name in ("pack", "info", "verify", "split"):
        assert f'.SH "CATCLF DATA {name.upper()}"' in group


def test_what_is_no_topic_is_one_line(run: Run) -> None:
    result = run("help", "pipelnes", "--man")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.endswith("did you mean pipelines? 'catclf help' lists the topics\n")


@NEEDS_GROFF
@pytest.mark.parametrize("args", [(), ("data",), *((topic,) for topic in TOPICS)])
def test_a_formatter_takes_each_page(args: tuple[str, ...]) -> None:
    command = [str(GROFF), "-t", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=80n"]
    done = subprocess.run(command, input=manual(*args), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 150  # lines of code stay as they are
    if not args:
        assert re.search(r"^ +--only CLASS\n +Print the paths", done.stdout, re.MULTILINE)
