"""``catclf inspect``: all that a model holds, as text, as JSON and as an image."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import wording
from conftest import Run
from numpy.typing import NDArray
from PIL import Image

import catclf
from catclf.explain import weights_image
from catclf.images.png import encode
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels


@pytest.fixture
def trained(run: Run, small_hdf5: Path, tmp_path: Path) -> Path:
    args = ("train", "--data", small_hdf5, "--size", "8", "--iterations", "250")
    assert run(*args, "--lr", "0.01", "-q").code == 0
    return tmp_path / "model.npz"


def test_text_shows_every_fact_on_aligned_lines(run: Run, trained: Path) -> None:
    result = run("inspect", "model.npz")
    assert (result.code, result.stderr) == (0, "")
    rows = [re.split("  +", line.strip(), maxsplit=1) for line in result.stdout.splitlines()]
    facts = {row[0]: row[1] for row in rows if len(row) == 2}
    model = catclf.load(trained)
    assert facts["model"] == f"model.npz: {trained.stat().st_size:,} bytes"
    assert facts["fingerprint"] == model.fingerprint
    assert facts["classes"] == "non-cat, cat (positive)"
    assert facts["image"] == "8x8 RGB / 255, squash, bicubic, background 255 255 255"
    assert facts["bias"] == repr(model.b)
    assert facts["trained on"] == "small.h5: 20 images, 10 of them cat"
    assert facts["steps"] == "250"
    assert facts["learning_rate"] == "0.01"
    assert facts["cost"].startswith("0.693147 at step 0, ")
    assert facts["cost"].endswith(" at step 250")
    correct = model.training.train.correct
    assert facts["train accuracy"] == f"{5.0 * correct:.2f} %  {correct} of 20"
    assert "█" in result.stdout
    assert "#" in run("inspect", "model.npz", env={"PYTHONIOENCODING": "ascii"}).stdout


def test_json_holds_every_fact(run: Run, trained: Path) -> None:
    result = run("inspect", "model.npz", "--format", "json")
    found = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    with np.load(trained) as archive:
        w, b = archive["w"], float(archive["b"])
        costs = list(zip(archive["cost_steps"].tolist(), archive["costs"].tolist(), strict=True))
        meta = json.loads(str(archive["meta"]))
    assert found["costs"] == [list(pair) for pair in costs]
    assert found["bias"] == b
    assert found["n"] == 192
    assert found["weights"]["norm"] == pytest.approx(np.linalg.norm(w), rel=1e-12)
    assert (found["weights"]["least"], found["weights"]["greatest"]) == (w.min(), w.max())
    for name in ("classes", "positive", "threshold"):
        assert found[name] == meta[name]
    assert found["preprocess"] == {k: v for k, v in meta["preprocess"].items() if k != "scale"}
    assert found["training"]["fingerprint"] == meta["training"]["fingerprint"]
    counts = meta["training"]["train"]
    assert {name: found["training"]["train"][name] for name in counts} == counts
    assert found["training"]["train"]["accuracy"] == (counts["tp"] + counts["tn"]) / 20


def test_selected_settings_are_rows_of_their_own(run: Run, trained: Path) -> None:
    args = ("train", "--data", "small.h5", "--size", "8", "--l2", "auto", "-q")
    assert run(*args).code == 0
    chosen = catclf.load(trained).training.settings["chosen"]
    text = run("inspect", "model.npz").stdout
    rows = dict(re.findall("^  ([^ ].*?)  +(.*)$", text, re.MULTILINE))
    assert rows[wording.SELECTED] == "l2"
    assert rows["cross-validation folds"] == str(chosen["folds"])
    assert rows["cross-validation log loss"] == str(chosen["log_loss"])
    counts = chosen["counts"]
    correct = counts["tp"] + counts["tn"]
    assert rows["cross-validation accuracy"] == f"{5.0 * correct:.2f} %, {correct} of 20"
    assert "{" not in text
    found = json.loads(run("inspect", "model.npz", "--format", "json").stdout)
    assert found["training"]["settings"]["chosen"] == chosen


def test_a_model_without_history_is_shown_too(run: Run, model: Path) -> None:
    text = run("inspect", "model.npz")
    assert text.code == 0
    assert "unknown" in text.stdout
    assert json.loads(run("inspect", "model.npz", "--format", "json").stdout)["costs"] == []


def panels(pixels: Pixels, size: int) -> list[NDArray[np.int64]]:
    """The four panels, shrunk back to a pixel for a weight."""
    side = pixels.shape[0]
    scale = side // size
    found = []
    for place in range(4):
        left = place * (side + 8)
        panel = pixels[:, left : left + side].astype(np.int64)
        small = panel[::scale, ::scale]
        assert (np.kron(small, np.ones((scale, scale, 1), dtype=int)) == panel).all()
        found.append(small)
    assert pixels.shape[1] == 4 * side + 3 * 8
    return found


def test_the_image_shows_signs_and_sizes_of_weights() -> None:
    w = np.zeros((2, 2, 3))
    w[0, 0] = (1.0, 0.5, 0.0)
    w[1, 1, 2] = -2.0
    total, red, green, blue = panels(weights_image(w), 2)
    white, orange, against = (255, 255, 255), (230, 159, 0), (0, 114, 178)
    assert tuple(total[0, 1]) == tuple(red[1, 1]) == tuple(blue[0, 0]) == white
    for panel, place, colour in ((red, (0, 0), orange), (green, (0, 0), orange)):
        assert np.abs(panel[place] - colour).max() <= 1
    assert np.abs(blue[1, 1] - against).max() <= 1
    assert np.abs(total[1, 1] - against).max() <= 1
    # 1.5 against 2: three quarters of the way from white to orange.
    expected = 255 - 0.75 * (255 - np.array(orange))
    assert np.abs(total[0, 0] - expected).max() <= 3


@pytest.mark.parametrize("size", [1, 64, 300])
def test_the_image_is_enlarged_without_blur_and_never_shrunk(size: int) -> None:
    w = np.random.default_rng(0).normal(size=(size, size, 3))
    assert panels(weights_image(w), size)[0].shape == (size, size, 3)


def test_the_image_is_written_beside_the_facts(run: Run, trained: Path, tmp_path: Path) -> None:
    result = run("inspect", "model.npz", "--image", "w.png")
    assert result.code == 0
    w = catclf.load(trained).w.reshape(8, 8, 3)
    assert (tmp_path / "w.png").read_bytes() == encode(weights_image(w))
    with Image.open(tmp_path / "w.png") as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), weights_image(w))


@pytest.mark.parametrize("image", ["model.npz", "none/w.png", "."])
def test_a_place_for_the_image_that_does_harm_is_refused(
    run: Run, trained: Path, image: str
) -> None:
    before = trained.read_bytes()
    result = run("inspect", "model.npz", "--image", image)
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert trained.read_bytes() == before


def test_what_is_no_model_is_refused_in_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK")
    for name in ("x.npz", "none.npz", "."):
        result = run("inspect", name)
        assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)


def test_numbers_at_the_limit_of_float64_are_shown(run: Run, tmp_path: Path) -> None:
    top = float(np.finfo(np.float64).max)
    catclf.save(catclf.Model(np.full((3, 1), top), top, Preprocess(1)), tmp_path / "m.npz")
    result = run("inspect", "m.npz", "--format", "json", "--image", "w.png")
    assert (result.code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["weights"]["norm"] == top
