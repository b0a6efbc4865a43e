"""``catclf predict`` as a shell sees it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import wording
from conftest import GREEN, RED, Run, command, fill, read_terminal
from PIL import Image

import catclf


@pytest.fixture(autouse=True)
def two(model: Path, tmp_path: Path) -> None:
    """A green image, which is a cat, and a red one."""
    fill(tmp_path, {"g.png": GREEN, "r.png": RED})


def test_each_image_is_one_line_and_a_bad_one_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    result = run("predict", "g.png", "bad.png", "r.png", "none.png", "g.png")
    assert result.code == 3
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    labels = {"g.png": "cat", "r.png": "non-cat"}
    assert [row[0] for row in rows] == ["g.png", "bad.png", "r.png", "none.png", "g.png"]
    assert [row[1] for row in rows] == [labels.get(row[0], "") for row in rows]
    for name, _, probability in rows:
        z = {"g.png": 4, "r.png": -4}.get(name)
        if z is None:
            assert probability == ""
        else:
            assert float(probability) == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-12)
    assert result.stderr.splitlines() == [
        f"catclf: bad.png: {wording.NOT_AN_IMAGE}",
        f"catclf: none.png: {wording.NO_IMAGE}",
    ]
    run("predict", "r.png", "g.png").done()


def test_json_lines_hold_every_input_in_order(run: Run) -> None:
    result = run("predict", "none.png", "g.png", "--format", "jsonl")
    failed, scored = (json.loads(line) for line in result.stdout.splitlines())
    assert failed == {"path": "none.png", "error": "missing", "message": wording.NO_IMAGE}
    assert (scored["path"], scored["label"]) == ("g.png", "cat")
    assert scored["z"] == pytest.approx(4, abs=1e-9)
    assert scored["probability"] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-12)


def test_the_model_is_found_by_option_variable_and_default(
    run: Run, model: Path, tmp_path: Path
) -> None:
    model.rename(tmp_path / "other.npz")
    run("predict", "g.png").refused(f"catclf: model.npz: {wording.NO_FILE}")
    run("predict", "g.png", env={"CATCLF_MODEL": "other.npz"}).done()
    run("predict", "g.png", "-m", "other.npz", env={"CATCLF_MODEL": "none"}).done()
    model.write_bytes(b"PK\x03\x04 nonsense")
    run("predict", "none.png").refused("catclf: model.npz: ")


def test_files_that_look_like_options_follow_two_dashes(run: Run, tmp_path: Path) -> None:
    fill(tmp_path, {"--model.png": GREEN})
    assert run("predict", "--", "--model.png").done().startswith("--model.png\tcat\t")


def test_names_that_are_not_utf8_are_scored_and_shown_escaped(run: Run, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    fill(tmp_path, {name: GREEN})
    for env in ({}, {"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}):
        result = run("predict", name, "caf\xe9.png", env=env)
        assert result.code == 3
        assert result.stdout.startswith("caf\\xe9.png\tcat\t")  # one byte, shown so by this test
        assert result.stdout.endswith("\ncaf\xe9.png\t\t\n")
        assert result.stderr.count("\n") == 1


def test_a_terminal_gets_a_table_and_a_line_on_what_became_of_all(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    args = [command(), "predict", "g.png", "none.png"]
    subprocess.run(args, stdout=terminal, cwd=tmp_path, env=env, stderr=terminal)
    os.close(terminal)
    shown = read_terminal(controller).decode().splitlines()
    os.close(controller)
    rows = [line.split() for line in shown if not line.startswith("catclf: ")]
    assert rows == [
        ["label", "P(cat)", "path"],
        ["cat", "98.20", "%", "g.png"],
        ["-", "-", "none.png"],
    ]
    became = "2 images: 1 cat, 0 non-cat, 0 between 20 and 80 %, 1 failed"
    assert shown[-1] == f"catclf: {became}"


def test_the_png_of_a_data_set_row_scores_as_the_row(
    run: Run, course: tuple[Path, Path], tmp_path: Path
) -> None:
    run("train", "--data", course[0], "--iterations", "300", "-q")
    model = catclf.load(tmp_path / "model.npz")
    with h5py.File(course[1]) as file:
        images = file["test_set_x"][:5]
    names = [f"{i}.png" for i in range(5)]
    for name, pixels in zip(names, images, strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    lines = run("predict", *names, "--format", "jsonl").done().splitlines()
    X = images.reshape(5, -1).T / 255
    expected = (model.w.T @ X + model.b)[0]
    np.testing.assert_allclose(
        [json.loads(each)["z"] for each in lines], expected, rtol=0, atol=1e-9
    )
