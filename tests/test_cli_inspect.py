"""``catclf inspect``: all that a model holds, as text, as JSON and as an image."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import wording
from conftest import Run, write_both_parts
from numpy.typing import NDArray
from PIL import Image

import catclf
from catclf.explain import weights_image
from catclf.images.png import encode
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose penalty was chosen by cross-validation."""
    root = tmp_path_factory.mktemp("trained")
    data = catclf.open_dataset(write_both_parts(root / "small.h5", 20, 10))
    model = catclf.train(data, iterations=250, learning_rate=0.01, l2="auto", solver="gd")
    catclf.save(model, root / "model.npz")
    return root / "model.npz"


def test_text_shows_facts_on_aligned_lines_and_the_costs(run: Run, trained: Path) -> None:
    shown = run("inspect", "model.npz", cwd=trained.parent).done()
    rows = [re.split("  +", line.strip(), maxsplit=1) for line in shown.splitlines()]
    facts = {row[0]: row[1] for row in rows if len(row) == 2}
    model = catclf.load(trained)
    chosen = model.training.settings["chosen"]
    predicted = chosen["counts"]["tp"] + chosen["counts"]["tn"]
    expected = {
        "fingerprint": model.fingerprint,
        "trained on": "small.h5: 20 images, 10 of them cat",
        wording.SELECTED: "l2",
        "cross-validation folds": str(chosen["folds"]),
        "cross-validation log loss": str(chosen["log_loss"]),
        "cross-validation accuracy": f"{5.0 * predicted:.2f} %, {predicted} of 20",
    }
    assert facts | expected == facts
    assert re.fullmatch(r"0.693147 at step 0, .* at step 250", facts["cost"])
    assert "█" in shown
    assert "#" in run("inspect", trained, env={"PYTHONIOENCODING": "ascii"}).stdout


def test_json_holds_every_fact(run: Run, trained: Path) -> None:
    result = run("inspect", trained, "--format", "json")
    found = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    with np.load(trained) as archive:
        w, b = archive["w"], float(archive["b"])
        costs = list(zip(archive["cost_steps"].tolist(), archive["costs"].tolist(), strict=True))
        meta = json.loads(str(archive["meta"]))
    assert found["costs"] == [list(pair) for pair in costs]
    assert (found["bias"], found["n"]) == (b, 192)
    assert found["weights"]["norm"] == pytest.approx(np.linalg.norm(w), rel=1e-12)
    assert (found["weights"]["least"], found["weights"]["greatest"]) == (w.min(), w.max())
    for name in ("classes", "positive", "threshold"):
        assert found[name] == meta[name]
    assert found["preprocess"] == {k: v for k, v in meta["preprocess"].items() if k != "scale"}
    training, counts = meta["training"], meta["training"]["train"]
    assert found["training"]["settings"] == training["settings"]
    assert found["training"]["fingerprint"] == training["fingerprint"]
    accuracy = (counts["tp"] + counts["tn"]) / 20
    assert found["training"]["train"] == counts | {"accuracy": accuracy}


def test_a_model_without_history_is_shown_too(run: Run, model: Path) -> None:
    assert "unknown" in run("inspect", "model.npz").done()
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
    assert run("inspect", trained, "--image", "w.png").code == 0
    w = catclf.load(trained).w.reshape(8, 8, 3)
    assert (tmp_path / "w.png").read_bytes() == encode(weights_image(w))
    with Image.open(tmp_path / "w.png") as image:
        np.testing.assert_array_equal(np.asarray(image), weights_image(w))


def test_numbers_at_the_limit_of_float64_are_shown(run: Run, tmp_path: Path) -> None:
    top = float(np.finfo(np.float64).max)
    catclf.save(catclf.Model(np.full((3, 1), top), top, Preprocess(1)), tmp_path / "m.npz")
    shown = run("inspect", "m.npz", "--format", "json", "--image", "w.png").done()
    assert json.loads(shown)["weights"]["norm"] == top
