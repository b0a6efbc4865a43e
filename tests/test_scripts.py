"""The scripts that set everything up by themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

INSTALL = ROOT / "scripts" / "lib" / "install.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the scripts with a .venv whose python only says what it was asked."""
    root = tmp_path / "a checkout"
    shutil.copytree(
        ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", root)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "asked: $*"\n')
    python.chmod(0o755)
    return root


def stamp(root: Path, kind: str) -> None:
    sum_of = subprocess.run(
        "cksum < pyproject.toml", shell=True, cwd=root, capture_output=True, text=True
    )
    (root / ".venv" / f".catclf-{kind}").write_text(f"{sum_of.stdout.strip()} {root.resolve()}\n")


def call(script: Path, *args: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        [script, *args], cwd="/", env=env, capture_output=True, text=True, timeout=180
    )


def test_once_set_up_the_command_starts_at_once_from_any_folder(checkout: Path) -> None:
    stamp(checkout, "core")
    done = call(checkout / "scripts" / "catclf", "predict", "a b.png")
    assert (done.returncode, done.stdout) == (0, "asked: -m catclf predict a b.png\n")
    assert done.stderr == ""


def test_the_test_suite_gets_its_arguments(checkout: Path) -> None:
    stamp(checkout, "test")
    assert call(checkout / "scripts" / "test", "-k", "x").stdout == "asked: -m pytest -k x\n"


def test_changed_dependencies_are_installed_again(checkout: Path) -> None:
    stamp(checkout, "core")
    (checkout / "pyproject.toml").write_text("[project]\n")
    tools = fake_tools(checkout.parent, 'echo "$@" >&2; exit 7')
    done = call(checkout / "scripts" / "catclf", "--version", path=tools)
    assert done.returncode == 2
    assert "install.py" in done.stderr
    assert done.stdout == ""


def fake_tools(folder: Path, python: str) -> str:
    """A PATH with the few tools a shell script may count on, and a python3 of our making."""
    bin = folder / "bin"
    bin.mkdir()
    for tool in ("sh", "dirname", "cksum", "cat"):
        found = shutil.which(tool)
        assert found
        (bin / tool).symlink_to(found)
    (bin / "python3").write_text(f"#!/bin/sh\n{python}\n")
    (bin / "python3").chmod(0o755)
    return str(bin)


@pytest.mark.parametrize(
    ("pretend", "says"),
    [
        ("sys.version_info = (3, 8, 18)", "Python 3.11 or newer is needed, python3 here is 3.8.18"),
        ("sys.modules['ensurepip'] = None", "no ensurepip module"),
        ("sys.modules['venv'] = None", "apt-get install python3-venv"),
    ],
)
def test_an_unsuitable_python_is_named_in_one_line(tmp_path: Path, pretend: str, says: str) -> None:
    code = f"import sys, runpy; {pretend}; sys.argv = ['i', {str(tmp_path)!r}, 'core', 's']; "
    code += f"runpy.run_path({str(INSTALL)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()
