"""README.md is true: its commands print what it says, and it names every command and option."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Run

from scripts.lib import readme

TEXT = (ROOT / "README.md").read_text()


def test_the_commands_print_what_is_shown(datasets: Path, tmp_path: Path) -> None:
    readme.prepare(tmp_path, datasets)
    checked = 0
    for block in readme.BLOCK.findall(TEXT):
        for command, shown in readme.commands(block):
            if command.startswith("scripts/"):
                continue
            assert readme.steady(readme.output_of(command, tmp_path)) == readme.steady(shown), (
                command
            )
            checked += 1
    assert checked >= 5


def test_every_command_is_shown(run: Run) -> None:
    groups: list[list[str]] = [[]]
    for group in groups:
        for name in re.findall(r"^│ (\w+) ", run(*group, "--help").stdout, re.MULTILINE):
            command = [*group, name]
            assert f"catclf {' '.join(command)}" in TEXT
            if name == "data":
                groups.append(command)
    assert len(groups) == 2


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_the_python_examples_run(block: str, datasets: Path, tmp_path: Path) -> None:
    readme.prepare(tmp_path, datasets)
    subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True, timeout=60)
