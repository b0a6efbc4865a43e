"""What the shell completes: models, class names, columns, topics; and nothing else, quietly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_imports import HEAVY
from typer.testing import CliRunner

import catclf
from catclf.cli.app import app
from catclf.images.preprocess import Preprocess


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models, with what is none, and with a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CATCLF_MODEL", raising=False)
    model = catclf.Model(np.zeros((192, 1)), 0.0, Preprocess(8), ("my dog", "höna"))
    catclf.save(model, "birds.npz")
    Path("empty").mkdir()
    shutil.copy("birds.npz", ".hidden.npz")
    Path("false.npz").write_bytes(b"PK\3\4 and no archive")
    os.mkfifo(tmp_path / "a.pipe")
    Path("t.csv").write_text('\ufeff"my file";kind;split\nx.png;cat;train\n')
    Path("bytes.csv").write_bytes(bytes(range(256)) * 9)
    for name in ("huge.npz", "huge.csv"):
        with Path(name).open("wb") as file:
            file.truncate(1 << 40)
    return tmp_path


def complete(*words: str, shell: str = "fish") -> list[str]:
    """The completions of the last word, as the program prints them for a shell."""
    quoted = " ".join(f"'{word}'" if word else "" for word in ("catclf", *words))
    env = {
        "_CATCLF_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": quoted,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": quoted,
        "COMP_CWORD": str(len(words)),
    }
    done = CliRunner().invoke(app, [], env=env, prog_name="catclf")
    assert (done.exit_code, done.stderr) == (0, "")
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("predict", "-m", ""), ["birds.npz", "false.npz", "huge.npz"]),
        (("predict", "--model", "bi"), ["birds.npz"]),
        (("inspect", "b"), ["birds.npz"]),
        (("export", "./bi"), ["./birds.npz"]),
        (("inspect", ".h"), [".hidden.npz"]),
        (("inspect", "empty"), []),
        (("inspect", "none/"), []),
        (("predict", "-m", "birds.npz", "--only", ""), ["my dog", "höna"]),
        (("predict", "-m", "birds.npz", "--only", "h"), ["höna"]),
        (("explain", "x.png", "-m", "./birds.npz", "--label", "m"), ["my dog"]),
        (("train", "--data", "t.csv", "--columns", "kind"), ["kind,my file", "kind,split"]),
        (("evaluate", "t.csv", "--columns", "my"), ["my file,kind", "my file,split"]),
        (("help", "ex"), ["exit-codes", "export", "explain"]),
        # What cannot be read.
        (("predict", "-m", "a.pipe", "--only", ""), []),
        (("predict", "-m", "false.npz", "--only", ""), []),
        (("predict", "-m", "huge.npz", "--only", ""), []),
        (("predict", "-m", "empty", "--only", ""), []),
        (("predict", "-m", "", "--only", ""), []),
        (("predict", "--threshold", "nonsense", "-m", "none", "--only", ""), []),
        (("train", "--data", "bytes.csv", "--columns", ""), []),
        (("train", "--data", "huge.csv", "--columns", ""), []),
        (("train", "--data", "a.pipe", "--columns", ""), []),
        (("train", "--columns", ""), []),
    ],
)
def test_values(words: tuple[str, ...], values: list[str]) -> None:
    assert complete(*words) == values


def test_the_model_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete("predict", "--only", "") == []
    monkeypatch.setenv("CATCLF_MODEL", "birds.npz")
    assert complete("predict", "--only", "") == ["my dog", "höna"]


def test_a_model_file_that_is_changed_gives_no_names() -> None:
    content = Path("birds.npz").read_bytes()
    for place in range(0, len(content), 97):
        Path("birds.npz").write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        complete("predict", "-m", "birds.npz", "--only", "")  # no error, whatever it finds
    Path("birds.npz").write_bytes(content[: len(content) // 2])
    assert complete("predict", "-m", "birds.npz", "--only", "") == []


def test_no_numpy_is_loaded_and_bash_gets_names_of_one_word() -> None:
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('|', *sys.modules, file=sys.stderr))\n"
        "from catclf.cli import main\n"
        "sys.argv = ['catclf']\n"
        "main()\n"
    )
    words = "catclf predict -m birds.npz --only "
    env = {"_CATCLF_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "5"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.stdout == "höna\n"
    before, _, modules = done.stderr.rpartition("|")
    assert before == ""
    assert HEAVY & set(modules.split()) == set()
