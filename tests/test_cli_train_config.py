"""Options of train from a TOML file, and all options as such a file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from conftest import Run, fill
from hypothesis import given
from hypothesis import strategies as st

import catclf
from catclf.cli.usage import toml
from scripts.lib import readme

FILE = """
# a run
data = "small.h5"
learning-rate = 0.01
iterations = 30
l2 = 0.5
validation = 0.25
patience = 2
print-every = 10
"""


@pytest.fixture
def config(tmp_path: Path, small_hdf5: Path) -> Path:
    assert small_hdf5.parent == tmp_path
    (tmp_path / "run.toml").write_text(FILE)
    return tmp_path / "run.toml"


def test_a_file_gives_the_run_that_its_options_give(config: Path, run: Run, tmp_path: Path) -> None:
    typed = [f"--{name}={value}" for name, value in tomllib.loads(FILE).items()]
    assert run("train", *typed, "-o", "typed.npz").code == 0
    read = run("train", "--config", config, "-o", "read.npz")
    assert read.code == 0
    one, other = (catclf.load(tmp_path / f"{name}.npz") for name in ("typed", "read"))
    assert one.fingerprint == other.fingerprint
    assert one.costs == other.costs
    expected = {name: value for name, value in tomllib.loads(FILE).items() if name != "data"}
    settings = other.training.settings
    assert settings.pop("config") == expected
    assert settings == one.training.settings
    shown = run("inspect", "read.npz").stdout
    assert "config learning-rate  0.01\n" in shown


def test_the_command_line_goes_first_wherever_it_stands(config: Path, run: Run) -> None:
    for args in (
        ("--iterations", "7", "--l2=auto", "--config", config),
        ("--config", config, "--iterations", "7", "--l2=auto"),
    ):
        result = run("train", *args, "--print-config")
        values = tomllib.loads(result.stdout)
        assert (values["iterations"], values["l2"]) == (7, "auto")
        assert values["learning-rate"] == 0.01


def test_what_is_printed_gives_the_same_again(config: Path, run: Run, tmp_path: Path) -> None:
    first = run("train", "--config", config, "--flip", "-o", 'a "b" \\ ü.npz', "--print-config")
    assert (first.code, first.stderr) == (0, "")
    values = tomllib.loads(first.stdout)
    assert values["output"] == 'a "b" \\ ü.npz'
    assert values["flip"] is True
    (tmp_path / "again.toml").write_text(first.stdout)
    assert run("train", "--config", "again.toml", "--print-config").stdout == first.stdout
    assert list(tmp_path.glob("*.npz")) == []  # nothing was trained


def test_every_option_stands_in_what_is_printed(run: Run) -> None:
    result = run("train", "--print-config")
    [command] = [c for name, c in readme.program_commands().items() if name == "train"]
    named = [line.removeprefix("# ").partition(" =")[0] for line in result.stdout.splitlines()]
    options = [parameter.opts[0].removeprefix("--") for parameter in command.params]
    assert named == [name for name in options if name not in ("config", "print-config")]


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_written_astoml(text: str) -> None:
    assert tomllib.loads(f"x = {toml(text)}") == {"x": text}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("iterations = 2.5", "Invalid value for '--iterations': '2.5' is not a valid int"),
        ("learning_rate = 1", "there is no option --learning_rate: did you mean --learning-rate?"),
        ("config = 'x'", "there is no option --config"),
        ("[train]\nseed = 1", "there is no option --train"),
        ("flip = 1", "flip: true or false is needed"),
        ("iterations = true", "iterations: text or a number is needed"),
        ("lr = -1", "--learning-rate -1 is not a number above 0"),
        ('features = "hogs"', "--features hogs is unknown: use pixels"),
        ('data = ["a"]', "data: text or a number is needed"),
        ("size = 5000", "--size 5000 is not a number of at least 1"),
        ('output = ""', "output: text or a number is needed"),
        ("l2 = 1979-05-27", "l2: text or a number is needed"),
        ("a b", "is not a TOML file: Expected '='"),
        ("x = " + "[" * 5000, "is not a TOML file"),
        (b"x = '\xff'", "is not a TOML file"),
        ("# " + "x" * (1 << 20), "cannot be read: is too large"),
    ],
)
def test_a_line_that_is_no_option_is_refused_by_name(
    line: str | bytes, message: str, run: Run, tmp_path: Path
) -> None:
    fill(tmp_path, {"run.toml": line})
    run("train", "--config", "run.toml").refused(f"catclf: run.toml: {message}")


def test_a_file_that_is_not_there_and_one_that_is_to_be_replaced_are_refused(
    config: Path, run: Run
) -> None:
    run("train", "--config", "none.toml").refused("none.toml: cannot be read: no such file or ")
    run("train", "--config", config, "-o", "run.toml").refused()
    assert config.read_text() == FILE
