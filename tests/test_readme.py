"""README.md is true, short, and shows every command and every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

import catclf
from catclf.cli.shell import ExitCode
from catclf.settings import FEATURES
from scripts.lib import readme

TEXT = readme.README.read_text()
COURSE = "Neural Networks and Deep Learning"  # by deeplearning.ai


def words(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def test_it_is_read_in_two_minutes() -> None:
    assert TEXT.count("\n") <= 230


def test_its_commands_print_what_is_shown_on_the_bundled_data(tmp_path: Path) -> None:
    assert not readme.needs_datasets(TEXT)
    readme.prepare(tmp_path)
    readme.require_true(TEXT, tmp_path)


def test_its_tables_are_those_of_the_program_and_the_pages() -> None:
    assert readme.with_tables(TEXT) == TEXT
    assert set(readme.TABLES) == {name for name, _ in readme.MARKED.findall(TEXT)}


def test_every_command_has_one_line() -> None:
    rows = re.findall(r"^\| `catclf ([a-z ]+)` \| \w.+ \|$", TEXT, re.MULTILINE)
    assert rows == list(readme.program_commands())
    assert len(rows) >= 13


def test_every_page_is_linked() -> None:
    for page in readme.PAGES[1:]:
        assert f"](catclf/docs/{page.name})" in TEXT


def test_every_kind_of_features_has_its_accuracy() -> None:
    for kind in FEATURES:
        assert (
            len(re.findall(rf"^\| {kind} (?:\| \d+\.\d % \(\d+ to \d+\) ){{3}}\|$", TEXT, re.M))
            == 1
        )


def test_every_exit_code_is_named() -> None:
    [line] = re.findall(r"^\*\*Exit codes\.\*\* (.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL)
    assert {int(code) for code in re.findall(r"\b\d+\b", line)} == set(ExitCode)


def test_the_promises_are_those_of_the_page() -> None:
    page = words((readme.DOCS / "exit-codes.md").read_text())
    promises = words(TEXT.partition("**Promises.**")[2].partition("\n## ")[0])
    assert re.findall(r"\d\. ", promises) == ["1. ", "2. ", "3. ", "4. "]
    assert promises in page


def test_the_python_example_runs_and_uses_exactly_the_public_names(tmp_path: Path) -> None:
    [block] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert set(re.findall(r"\bcatclf\.(\w+)", block)) == set(catclf.__all__)
    assert set(re.findall(r"^(?:import|from) .*$", block, re.MULTILINE)) == {"import catclf"}
    readme.prepare(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert (done.returncode, done.stderr) == (0, "")
    version, probability, accuracy, cat, fox = done.stdout.splitlines()
    assert version == f"catclf {catclf.__version__}"
    assert 0.5 < float(probability) <= 1.0  # it is a cat
    assert 0.8 < float(accuracy) <= 1.0
    assert cat.startswith("data/examples/cat.png cat 0.")
    assert fox.startswith("data/examples/fox.png non-cat 0.")


def test_the_course_is_named_in_one_place() -> None:
    files = [*readme.PAGES, ROOT / "data" / "README.md", *(ROOT / "catclf").rglob("*.py")]
    naming = [file.name for file in files for _ in range(words(file.read_text()).count(COURSE))]
    assert naming == ["training.md"]
