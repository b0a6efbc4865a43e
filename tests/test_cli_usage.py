"""Mistakes of usage, and help, through the installed command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import Run, command


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["train", "--data", ""], "'--data'"),
        (["train", "--data="], "'--data'"),
        (["train", "-o", ""], "'--output' / '-o'"),
        (["train", "--positive", ""], "'--positive'"),
        (["predict", ""], "'PATH...'"),
        (["predict", "a.jpg", ""], "'PATH...'"),
        (["predict", "a.jpg", "-m", ""], "'--model' / '-m' (env var: 'CATCLF_MODEL')"),
        (["compare", ""], "'[SOURCE]...'"),
        (["data", "info", ""], "'SOURCE'"),
        (["data", "pack", "photos", "-o", ""], "'--output' / '-o'"),
    ],
)
def test_an_empty_value_is_no_folder_but_a_mistake(run: Run, args: list[str], named: str) -> None:
    result = run(*args)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"catclf: Invalid value for {named}: it is empty")
    assert result.stderr.count("\n") == 1


def test_an_empty_variable_leaves_the_default(run: Run, model: Path) -> None:
    assert run("inspect", "model.npz", env={"CATCLF_MODEL": ""}).code == 0
    assert (
        "none.png: there is no such file"
        in run("predict", "none.png", env={"CATCLF_MODEL": ""}).stderr
    )


@pytest.mark.parametrize("name", ["-dash.jpg", "-model.jpg", "--wide.jpg"])
def test_a_file_that_looks_like_an_option_is_hinted_at(
    run: Run, model: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    result = run("predict", name)
    assert (result.code, result.stdout) == (2, "")
    assert f". If the file {name} is meant, give ./{name}, or -- before it. " in result.stderr
    assert result.stderr.count("\n") == 1
    assert f"{name}: is empty" in run("predict", "--", name).stderr
    (tmp_path / name).unlink()
    assert "./" not in run("predict", name).stderr


@pytest.mark.parametrize("group", [[], ["data"]])
def test_a_group_alone_shows_its_help(run: Run, group: list[str]) -> None:
    result = run(*group)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.strip() == run(*group, "--help").stdout.strip()


@pytest.mark.parametrize("args", ["", "--help", "--version", "data", "data --help", "train -h"])
def test_help_that_nobody_reads_ends_as_results_do(args: str) -> None:
    done = subprocess.run(
        ["/bin/bash", "-c", f"'{command()}' {args} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout in ("0\n", "141\n")  # 0 where the reader was slower to go


@pytest.mark.parametrize("args", ["", "--help", "data", "train --help"])
def test_help_that_cannot_be_written_is_not_success(args: str) -> None:
    done = subprocess.run(
        ["/bin/bash", "-c", f"'{command()}' {args} >/dev/full"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("catclf: standard output cannot be written")
