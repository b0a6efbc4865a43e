"""``catclf export``: a graph, a page, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, contents, paint

import catclf


def test_a_graph_scores_as_predict(model: Path, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    said = run("export", model, "-o", "model.onnx").done()
    assert said.endswith(" bytes, for images uint8 (N, 64, 64, 3)\n")
    paths = [paint(tmp_path / "green.png", (0, 255, 0)), paint(tmp_path / "red.png", (255, 0, 0))]
    trained = catclf.load(model)
    images = np.stack([catclf.read_image(path, trained.preprocess) for path in paths])
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    labels, probabilities = session.run(["label", "probability"], {"images": images})
    assert labels.tolist() == ["cat", "non-cat"]
    lines = run("predict", "-m", model, *paths, "--format", "tsv").stdout.splitlines()
    printed = [float(line.split("\t")[2]) for line in lines]
    np.testing.assert_allclose(probabilities, printed, rtol=0, atol=1e-6)


def test_the_format_goes_before_the_ending_which_else_is_its_own(
    model: Path, run: Run, tmp_path: Path
) -> None:
    said = run("export", model, "--format", "html").done()
    size = (tmp_path / "model.html").stat().st_size
    assert said == f"model.html: html, {size:,} bytes, for images in any browser\n"
    assert run("export", model, "-o", "try.txt", "--format", "html", "-q").done() == ""
    assert (tmp_path / "try.txt").read_bytes() == (tmp_path / "model.html").read_bytes()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("model.npz -o model.txt", "end it in .onnx or .html, as it is written"),
        ("none.npz", "none.npz: no such file or directory: train one first"),
        ("model.npz -o model.npz --format onnx", "is another file of this run"),
        ("hog.npz -o try.html", "a page is for models of network and of pixels, and"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    args: str, message: str, model: Path, run: Run, tmp_path: Path
) -> None:
    from catclf.features.hog import HogFeatures

    features = HogFeatures(64)
    catclf.save(catclf.Model(np.zeros((1956, 1)), 0.0, features=features), tmp_path / "hog.npz")
    before = contents(tmp_path)
    run("export", *args.split()).refused(message)
    assert contents(tmp_path) == before


def test_without_onnx_the_line_says_how_to_install_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from catclf.errors import SettingsError
    from catclf.export import to_onnx

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match=r"-m pip install 'onnx>"):
        to_onnx(catclf.load(model))
