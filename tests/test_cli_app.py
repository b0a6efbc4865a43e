"""What all commands share: help, version, errors in one line, signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run
from typer.testing import CliRunner

import catclf
from catclf.cli.app import app


def test_the_version_is_printed_and_the_module_is_the_command(run: Run) -> None:
    assert run("--version").stdout == f"catclf {catclf.__version__}\n"
    done = subprocess.run([sys.executable, "-m", "catclf", "--version"], capture_output=True)
    assert done.stdout == f"catclf {catclf.__version__}\n".encode()


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_one_line_unless_its_place_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    def broken(*args: object) -> None:
        raise KeyError("lost\nkey")

    monkeypatch.setattr("catclf.datasets.bundled", broken)
    result = CliRunner().invoke(app, ["--debug", "train"] if debug else ["train"])
    if debug:
        assert isinstance(result.exception, KeyError)
    else:
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert "unexpected KeyError" in result.stderr
        assert "--debug" in result.stderr


@pytest.mark.parametrize(
    "env",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "TERM": "dumb", "COLUMNS": "20"},
        {"HOME": "/nonexistent", "TMPDIR": "/nonexistent", "FORCE_COLOR": "1", "COLUMNS": "abc"},
    ],
    ids=lambda env: "-".join(env),
)
def test_odd_surroundings_change_nothing(
    run: Run, small_hdf5: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    args = ("train", "--data", "small.h5", "--size", "8", "--iterations", "20")
    usual = run(*args)
    bytes_of_usual = (tmp_path / "model.npz").read_bytes()
    odd = run(*args, env=env)
    assert (odd.code, odd.stderr) == (usual.code, usual.stderr)
    assert odd.stdout.splitlines()[:2] == usual.stdout.splitlines()[:2]
    assert (tmp_path / "model.npz").read_bytes() == bytes_of_usual


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_an_object_is_tidied_away_still_ends_the_run(
    tmp_path: Path, small_hdf5: Path, sent: signal.Signals
) -> None:
    """What is raised in ``__del__`` Python prints and forgets."""
    code = (
        "import os, sys, time\n"
        "class Trap:\n"
        "    def __del__(self):\n"
        f"        os.kill(os.getpid(), {int(sent)}); time.sleep(0.2)\n"
        "class Finder:\n"
        "    trap = Trap()\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'h5py': self.__class__.trap = None; time.sleep(5)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['catclf', 'data', 'pack', 'small.h5', '-o', 'new.h5']\n"
        "from catclf.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (128 + sent, "catclf: interrupted\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.h5"]
