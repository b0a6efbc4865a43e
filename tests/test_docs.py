"""The pages of catclf/docs are true, name what exists, and come with the program."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run

import catclf
from catclf.cli.shell import ExitCode
from catclf.maths.metrics import Counts
from catclf.settings import FEATURES
from scripts.lib import readme

PAGES = pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.stem)
TOPICS = pytest.mark.parametrize("page", readme.PAGES[1:], ids=lambda page: page.stem)
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMANDS = readme.program_commands()
OTHERS = {"--all", "--docs", "--quick", "--sshlogin"}  # options of scripts/ and of GNU parallel


def prose(text: str) -> str:
    """A page without its blocks and code."""
    return re.sub(r"`[^`]*`", "", FENCED.sub("", text))


def current(page: Path) -> str:
    """A page without the table of names that are gone."""
    return re.sub(r"^## Old names and new\n.*?(?=^## )", "", page.read_text(), flags=re.S | re.M)


def spans(text: str) -> list[str]:
    """What stands between backticks in the prose of a page."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


def calls(text: str) -> list[list[str]]:
    """The arguments of each ``catclf …`` in the code of a page."""
    code = spans(text)
    for kind, block in FENCED.findall(text):
        if kind == "console":
            code += [command for command, _ in readme.commands(block)]
        elif kind == "sh":
            code.append(block)
    found = [each for part in code for each in re.findall(r"\bcatclf ([^|;&<>)'\n]*)", part)]
    return [shlex.split(each) for each in found]


def options(name: str) -> set[str]:
    """The options of a command."""
    known = {"--help", "-h"}
    for parameter in COMMANDS[name].params:
        known |= {each for each in (*parameter.opts, *parameter.secondary_opts) if each[0] == "-"}
    return known


@TOPICS
def test_the_commands_print_what_is_shown(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = page.read_text()
    real = readme.needs_datasets(text)
    readme.prepare(tmp_path, request.getfixturevalue("datasets") if real else None)
    readme.require_true(text, tmp_path)
    if page.stem == "features":
        # What cross-validation promised on the course's training images, the test images keep.
        training = catclf.load(tmp_path / "model.npz").training
        assert training.test is not None
        assert training.test.accuracy >= 0.9
        assert Counts(**training.settings["chosen"]["counts"]).accuracy >= 0.9
        assert (tmp_path / "model.npz").stat().st_size < 4_300_000


@TOPICS
def test_the_python_examples_run(page: Path, tmp_path: Path) -> None:
    code = "\n".join(block for kind, block in FENCED.findall(page.read_text()) if kind == "python")
    assert set(re.findall(r"\bcatclf\.(\w+)", code)) <= {*catclf.__all__, "sklearn", "export"}
    readme.prepare(tmp_path)
    if code:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=180)


def test_the_page_on_python_has_a_row_for_each_public_name() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", (readme.DOCS / "python.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)", row)]
    assert sorted(named) == sorted(set(catclf.__all__) - {"__version__"})


@PAGES
def test_every_call_is_of_a_command_with_its_own_options(page: Path) -> None:
    for args in calls(current(page)):
        plain = [arg for arg in args if not arg.startswith("-")]
        if not plain or plain[0].isupper():  # catclf COMMAND
            continue
        name = next((n for n in (" ".join(plain[:2]), plain[0]) if n in COMMANDS), None)
        assert name, args
        used = {arg.partition("=")[0] for arg in args if re.match("-+[a-z0-9]", arg)}
        assert used - {"--debug"} <= options(name), args


@PAGES
def test_every_option_that_is_named_exists(page: Path) -> None:
    own = {"--debug", "--version", "--install-completion"}  # of the program
    known = set().union(*map(options, COMMANDS)) | own | OTHERS
    for span in spans(current(page)):
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
            assert option in known, span


def test_every_command_is_called_in_a_page() -> None:
    pages = [call for page in readme.PAGES for call in calls(page.read_text())]
    assert {" ".join(call[:1]) for call in pages} >= {name.split()[0] for name in COMMANDS}


def test_every_option_says_what_it_does() -> None:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            assert parameter.help, (name, parameter.name)


@PAGES
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page.read_text())):
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).read_text()
        heads = re.findall(r"^#+ (.*)$", FENCED.sub("", linked), re.MULTILINE)
        assert not anchor or anchor in [head.lower().replace(" ", "-") for head in heads], target


@PAGES
def test_the_words_are_those_of_the_field(page: Path) -> None:
    written = readme.MARKED.sub("", page.read_text())  # tables speak with the words of the program
    words = r"\b(pictures?|step lengths?|blind|class shares?|judged?)\b"
    assert not re.findall(words, prose(written), re.IGNORECASE)


@TOPICS
def test_a_page_begins_with_its_title_and_a_line_on_what_it_is_about(page: Path) -> None:
    title, empty, about, below = page.read_text().split("\n", 4)[:4]
    assert title == f"# {page.stem.replace('-', ' ').capitalize()}"
    assert (empty, below) == ("", "")
    assert re.fullmatch(r"[A-Z].{10,90}\.", about)


def test_the_page_on_features_has_a_row_for_each_in_both_tables() -> None:
    text = (readme.DOCS / "features.md").read_text()
    accuracies = next(part for part in text.split("\n\n") if part.startswith("| features |"))
    described = re.findall(r"^\| `(\w+)` \| .* \| \d+ \|$", text, re.MULTILINE)
    measured = re.findall(r"^\| (\w+) \| \d+\.\d % ", accuracies, re.MULTILINE)
    assert described == measured == list(FEATURES)


def test_the_page_on_exit_codes_has_a_row_for_each() -> None:
    text = (readme.DOCS / "exit-codes.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \| \w", text, re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(",")} == set(ExitCode)


def test_the_page_on_changes_begins_with_this_version() -> None:
    heads = re.findall(r"^## (.*)$", (readme.DOCS / "changes.md").read_text(), re.MULTILINE)
    assert heads[0] == catclf.__version__
    assert heads[-1] == "Before version 1"
    section = readme.README.read_text().partition("\n## Changes\n")[2].partition("\n## ")[0]
    assert catclf.__version__ in section


CALLS = {
    "evaluate": "evaluate",
    "compare": "compare --iterations 5 --folds 2",
    "explain": "explain data/examples/cat.png",
    "check": "check --examples 2",
    "inspect": "inspect",
    "data info": "data info data/test.h5",
    "data verify": "data verify data/test.h5",
    "predict": "predict data/examples/cat.png",
}


def test_the_table_of_json_keys_is_what_is_printed(tmp_path: Path, run: Run) -> None:
    text = (readme.DOCS / "formats.md").read_text()
    rows = dict(
        re.findall(r"^\| `([a-z ]+)`(?: \(jsonl\))? \| ([a-z0-9_ ]+) \|$", text, re.MULTILINE)
    )
    assert set(rows) == set(CALLS)
    readme.prepare(tmp_path)
    assert run("train", "-q", "--iterations", "5").code == 0
    for name, call in CALLS.items():
        kind = "jsonl" if name == "predict" else "json"
        printed = json.loads(run(*call.split(), "--format", kind).stdout)
        assert list(printed) == rows[name].split(), name
