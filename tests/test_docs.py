"""README.md, the pages of catclf/docs and docstrings are true, and name what exists."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, Run

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
OF_PROGRAM = {"--debug", "--version", "--install-completion"}
README = readme.README.read_text()
WITH_EXAMPLES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in (ROOT / "catclf").rglob("*.py")
    if "\n    >>> " in path.read_text()
)


def page_on(topic: str) -> str:
    return (readme.DOCS / f"{topic}.md").read_text()


def words(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def prose(text: str) -> str:
    """A page without its blocks and code."""
    return re.sub(r"`[^`]*`", "", FENCED.sub("", text))


def current(page: Path) -> str:
    """A page without the table of names that are gone."""
    return re.sub(r"^## Old names and new\n.*?(?=^## )", "", page.read_text(), flags=re.S | re.M)


def spans(text: str) -> list[str]:
    """What stands between backticks in the prose of a page."""
    return [words(span) for span in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


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


# Examples


@PAGES
def test_the_commands_print_what_is_shown(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = page.read_text()
    real = readme.needs_datasets(text)
    assert not (real and page == readme.README)
    readme.prepare(tmp_path, request.getfixturevalue("datasets") if real else None)
    readme.require_true(text, tmp_path)
    if page.stem == "features":
        # What cross-validation promised on the course's training images, the test images keep.
        training = catclf.load(tmp_path / "model.npz").training
        assert training.test is not None
        assert training.test.accuracy >= 0.9
        assert Counts(**training.settings["chosen"]["counts"]).accuracy >= 0.9
        assert (tmp_path / "model.npz").stat().st_size < 4_300_000


def python_of(page: Path, folder: Path) -> tuple[str, str]:
    """The examples in Python of a page, and what they print one after the other."""
    code = "\n".join(block for kind, block in FENCED.findall(page.read_text()) if kind == "python")
    readme.prepare(folder)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return code, done.stdout


@TOPICS
def test_the_python_examples_run(page: Path, tmp_path: Path) -> None:
    if "```python" in page.read_text():
        code, _ = python_of(page, tmp_path)
        used = set(re.findall(r"\bcatclf\.(\w+)", code))
        assert used <= {*catclf.__all__, "sklearn", "export"}


def test_the_python_example_of_the_readme_uses_exactly_the_public_names(tmp_path: Path) -> None:
    code, printed = python_of(readme.README, tmp_path)
    assert set(re.findall(r"\bcatclf\.(\w+)", code)) == set(catclf.__all__)
    assert set(re.findall(r"^(?:import|from) .*$", code, re.MULTILINE)) == {"import catclf"}
    version, probability, accuracy, cat, fox = printed.splitlines()
    assert version == f"catclf {catclf.__version__}"
    assert 0.5 < float(probability) <= 1.0  # it is a cat
    assert 0.8 < float(accuracy) <= 1.0
    assert cat.startswith("data/examples/cat.png cat 0.")
    assert fox.startswith("data/examples/fox.png non-cat 0.")


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_print_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "catclf.sklearn" and find_spec("sklearn") is None:
        pytest.skip("no scikit-learn")
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(name))
    assert (result.attempted > 0, result.failed) == (True, 0)


# Names


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
    known = set().union(*map(options, COMMANDS)) | OF_PROGRAM | OTHERS
    for span in spans(current(page)):
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", span)) <= known, span


def test_every_command_and_option_is_told_of() -> None:
    pages = [call for page in readme.PAGES for call in calls(page.read_text())]
    assert {" ".join(call[:1]) for call in pages} >= {name.split()[0] for name in COMMANDS}
    rows = re.findall(r"^\| `catclf ([a-z ]+)` \| \w.+ \|$", README, re.MULTILINE)
    assert rows == list(COMMANDS)
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
    found = r"\b(pictures?|step lengths?|blind|class shares?|judged?)\b"
    assert not re.findall(found, prose(written), re.IGNORECASE)


@TOPICS
def test_a_page_begins_with_its_title_and_a_line_on_what_it_is_about(page: Path) -> None:
    title, empty, about, below = page.read_text().split("\n", 4)[:4]
    assert title == f"# {page.stem.replace('-', ' ').capitalize()}"
    assert (empty, below) == ("", "")
    assert re.fullmatch(r"[A-Z].{10,90}\.", about)
    assert f"](catclf/docs/{page.name})" in README


# Tables


def test_the_readme_is_read_in_two_minutes_and_its_tables_are_those_of_the_program() -> None:
    assert README.count("\n") <= 230
    assert readme.with_tables(README) == README
    assert set(readme.TABLES) == {name for name, _ in readme.MARKED.findall(README)}
    for kind in FEATURES:
        row = rf"^\| {kind} (?:\| \d+\.\d % \(\d+ to \d+\) ){{3}}\|$"
        assert len(re.findall(row, README, re.MULTILINE)) == 1


def test_exit_codes_and_promises_are_those_of_the_page() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| \w", page_on("exit-codes"), re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(",")} == set(ExitCode)
    [line] = re.findall(r"^\*\*Exit codes\.\*\* (.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    assert {int(code) for code in re.findall(r"\b\d+\b", line)} == set(ExitCode)
    promises = words(README.partition("**Promises.**")[2].partition("\n## ")[0])
    assert re.findall(r"\d\. ", promises) == ["1. ", "2. ", "3. ", "4. "]
    assert promises in words(page_on("exit-codes"))


def test_pages_have_a_row_for_each_public_name_and_kind_of_features() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", page_on("python"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)", row)]
    assert sorted(named) == sorted(set(catclf.__all__) - {"__version__"})
    text = page_on("features")
    accuracies = next(part for part in text.split("\n\n") if part.startswith("| features |"))
    described = re.findall(r"^\| `(\w+)` \| .* \| \d+ \|$", text, re.MULTILINE)
    measured = re.findall(r"^\| (\w+) \| \d+\.\d % ", accuracies, re.MULTILINE)
    assert described == measured == list(FEATURES)


def test_the_page_on_changes_begins_with_this_version() -> None:
    heads = re.findall(r"^## (.*)$", page_on("changes"), re.MULTILINE)
    assert (heads[0], heads[-1]) == (catclf.__version__, "Before version 1")
    section = README.partition("\n## Changes\n")[2].partition("\n## ")[0]
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
    row = r"^\| `([a-z ]+)`(?: \(jsonl\))? \| ([a-z0-9_ ]+) \|$"
    rows = dict(re.findall(row, page_on("formats"), re.MULTILINE))
    assert set(rows) == set(CALLS)
    readme.prepare(tmp_path)
    assert run("train", "-q", "--iterations", "5").code == 0
    for name, call in CALLS.items():
        kind = "jsonl" if name == "predict" else "json"
        printed = json.loads(run(*call.split(), "--format", kind).stdout)
        assert list(printed) == rows[name].split(), name
