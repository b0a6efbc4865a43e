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
from conftest import GREEN, RED, Run, command, paint
from PIL import Image

import catclf


def test_each_image_is_one_line_of_path_label_and_probability(
    run: Run, model: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "g.png", GREEN)
    paint(tmp_path / "r.png", RED)
    result = run("predict", "r.png", "g.png", "r.png")
    assert (result.code, result.stderr) == (0, "")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[:2] for row in rows] == [
        ["r.png", "non-cat"],
        ["g.png", "cat"],
        ["r.png", "non-cat"],
    ]
    for row, z in zip(rows, (-4, 4, -4), strict=True):
        assert float(row[2]) == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-12)


def test_a_bad_image_among_good_ones_is_named_and_the_others_are_scored(
    run: Run, model: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "g.png", GREEN)
    (tmp_path / "bad.png").write_text("no image")
    result = run("predict", "g.png", "bad.png", "none.png", "g.png")
    assert result.code == 3
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[:2] for row in rows] == [
        ["g.png", "cat"],
        ["bad.png", ""],
        ["none.png", ""],
        ["g.png", "cat"],
    ]
    assert [bool(row[2]) for row in rows] == [True, False, False, True]
    assert result.stderr.splitlines() == [
        f"catclf: bad.png: {wording.NOT_AN_IMAGE}",
        f"catclf: none.png: {wording.NO_IMAGE}",
    ]


def test_json_lines_hold_every_input_in_order(run: Run, model: Path, tmp_path: Path) -> None:
    paint(tmp_path / "g.png", GREEN)
    result = run("predict", "none.png", "g.png", "--format", "jsonl")
    failed, scored = (json.loads(line) for line in result.stdout.splitlines())
    assert failed == {"path": "none.png", "error": "missing", "message": wording.NO_IMAGE}
    assert (scored["path"], scored["label"]) == ("g.png", "cat")
    assert scored["z"] == pytest.approx(4, abs=1e-9)
    assert scored["probability"] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-12)


@pytest.mark.parametrize(("threshold", "label"), [("0.98", "cat"), ("0.99", "non-cat")])
def test_the_threshold_moves_the_prediction(
    run: Run, model: Path, tmp_path: Path, threshold: str, label: str
) -> None:
    paint(tmp_path / "g.png", GREEN)  # P = 0.982
    assert run("predict", "g.png", "--threshold", threshold).stdout.split("\t")[1] == label


def test_the_model_is_found_by_option_variable_and_default(
    run: Run, model: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "g.png", GREEN)
    model.rename(tmp_path / "other.npz")
    missing = run("predict", "g.png")
    assert missing.code == 2
    assert missing.stderr.startswith(f"catclf: model.npz: {wording.NO_FILE}")
    assert run("predict", "g.png", env={"CATCLF_MODEL": "other.npz"}).code == 0
    assert run("predict", "g.png", "-m", "other.npz", env={"CATCLF_MODEL": "none"}).code == 0


def test_a_bad_model_is_refused_by_name_before_any_image(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_bytes(b"PK\x03\x04 nonsense")
    result = run("predict", "none.png")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("catclf: model.npz: ")
    assert result.stderr.count("\n") == 1


def test_files_that_look_like_options_follow_two_dashes(
    run: Run, model: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "--model.png", GREEN)
    assert run("predict", "--", "--model.png").stdout.startswith("--model.png\tcat\t")


def test_names_that_are_not_utf8_are_scored_and_shown_escaped(
    run: Run, model: Path, tmp_path: Path
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    paint(tmp_path / name, GREEN)
    for env in ({}, {"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}):
        result = run("predict", name, "caf\xe9.png", env=env)
        assert result.code == 3
        assert result.stdout.startswith("caf\\xe9.png\tcat\t")  # one byte, shown so by this test
        assert result.stdout.endswith("\ncaf\xe9.png\t\t\n")
        assert result.stderr.count("\n") == 1


def test_the_terminal_gets_a_table(model: Path, tmp_path: Path) -> None:
    paint(tmp_path / "g.png", GREEN)
    controller, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    subprocess.run([command(), "predict", "g.png"], stdout=terminal, cwd=tmp_path, env=env)
    os.close(terminal)
    shown = os.read(controller, 10000).decode().splitlines()
    os.close(controller)
    assert [line.split() for line in shown] == [
        ["label", "P(cat)", "path"],
        ["cat", "98.20", "%", "g.png"],
    ]


def test_the_png_of_a_data_set_row_scores_as_the_row(
    run: Run, course: tuple[Path, Path], tmp_path: Path
) -> None:
    run("train", "--data", course[0], "--iterations", "300", "-q")
    model = catclf.load(tmp_path / "model.npz")
    with h5py.File(course[1]) as file:
        images = file["test_set_x"][:5]
    names = []
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        names.append(f"{i}.png")
    result = run("predict", *names, "--format", "jsonl")
    found = [json.loads(line)["z"] for line in result.stdout.splitlines()]
    X = images.reshape(5, -1).T / 255
    np.testing.assert_allclose(found, (model.w.T @ X + model.b)[0], rtol=0, atol=1e-9)
