"""A prediction's parts add up; its graph has the derivatives of the formula; maps are readable."""

from __future__ import annotations

import io
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import wording
from conftest import CLASSES, Run, make_images, write_hdf5
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import catclf
from catclf import explain
from catclf.cli.explain import _signed
from catclf.errors import ShapeError
from catclf.explain import contributions
from catclf.explain.contributions import Explanation
from catclf.images import colormap, png
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels
from catclf.model import Model
from catclf.terminal.style import Styling

wild = settings(deadline=None, derandomize=True, max_examples=25)


def random_case(size: int, seed: int = 0, scale: float = 0.05) -> tuple[Model, Pixels]:
    rng = np.random.default_rng(seed)
    n = size * size * 3
    model = Model(scale * rng.standard_normal((n, 1)), 0.3, Preprocess(size))
    return model, rng.integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_parts_add_up_to_z_whichever_way(size: int) -> None:
    model, pixels = random_case(size)
    found = explain.explain(model, pixels)
    z = float(model.scores(pixels[None])[0, 0])
    assert found.z == pytest.approx(z, rel=1e-12)
    for parts in (found.channels.values(), found.regions.ravel(), found.evidence.ravel()):
        assert math.fsum([found.bias, *parts]) == pytest.approx(found.z, rel=1e-12)
    assert found.probability == pytest.approx(float(model.probabilities(pixels[None])[0, 0]))


def test_z_is_the_correctly_rounded_sum() -> None:
    model, pixels = random_case(16, seed=4)
    found = explain.explain(model, pixels)
    exact = sum(map(Fraction, found.evidence.ravel().tolist()), Fraction(model.b))
    assert found.z == float(exact)


def test_regions_and_channels_are_where_they_should_be() -> None:
    pixels = np.zeros((6, 6, 3), dtype=np.uint8)
    pixels[1, 5, 2] = 255  # top right, blue
    pixels[4, 2, 0] = 51  # bottom centre, red
    model = Model(np.full((108, 1), 2.0), -1.0, Preprocess(6))
    found = explain.explain(model, pixels)
    assert found.channels == {"red": 0.4, "green": 0.0, "blue": 2.0}
    assert found.regions.tolist() == [[0, 0, 2.0], [0, 0, 0], [0, 0.4, 0]]
    assert found.region_of(1, 5) == (0, 2)
    assert found.region_of(4, 2) == (2, 1)
    assert found.strongest(2) == [(1, 5, 2), (4, 2, 0)]
    assert found.z == pytest.approx(1.4, rel=1e-15)


@pytest.mark.parametrize("label", [0, 1])
def test_the_graph_has_the_derivatives_of_the_formula(label: int) -> None:
    model, pixels = random_case(8, seed=2)
    found = explain.explain(model, pixels)
    rows = {row.node: row for row in explain.loss_graph(found, label, features=192)}
    a = 1 / (1 + math.exp(-found.z))
    dz = a - label
    assert rows["L"].value == pytest.approx(-math.log(a if label else 1 - a), rel=1e-12)
    assert rows["z"].value == pytest.approx(found.z, rel=1e-12)
    assert rows["z"].grad == pytest.approx(dz, rel=1e-12)
    assert rows["b"].grad == pytest.approx(dz, rel=1e-12)
    chance = rows["a" if label else "1 - a"]
    assert chance.grad == pytest.approx(-1 / chance.value, rel=1e-12)
    for r, c, channel in found.strongest(192):
        row = rows[f"w {contributions.CHANNELS[channel]}({r},{c})"]
        assert row.value == model.w[(r * 8 + c) * 3 + channel, 0]
        assert row.grad == pytest.approx(dz * pixels[r, c, channel] / 255, rel=1e-12)
    regions = [rows[f"{i} {j}"] for i in contributions.ROWS for j in contributions.COLUMNS]
    np.testing.assert_allclose([r.value for r in regions], found.regions.ravel(), rtol=1e-11)
    np.testing.assert_allclose([r.grad for r in regions], dz, rtol=1e-12)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("weight", [-1e4, 1e4])
def test_hopeless_scores_stay_finite(label: int, weight: float) -> None:
    model = Model(np.full((3, 1), weight), 0.0, Preprocess(1))
    found = explain.explain(model, np.full((1, 1, 3), 255, dtype=np.uint8))
    rows = explain.loss_graph(found, label)
    assert all(math.isfinite(row.value) and math.isfinite(row.grad) for row in rows)
    assert rows[-1].value == pytest.approx(3e4 if (weight > 0) != label else 0, abs=1e-300)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError):
        explain.explain(Model(np.zeros((12, 1)), 0.0, Preprocess(2)), np.zeros((3, 3, 3), np.uint8))


def test_colours_of_a_map_by_hand() -> None:
    values = np.array([[1.0, -1.0, 0.0, 0.5, 9.0]])
    white = colormap.colours(values, 1.0)
    assert white[0].tolist() == [
        [230, 159, 0],
        [0, 114, 178],
        [255, 255, 255],
        [242, 207, 128],
        [230, 159, 0],
    ]
    clear = colormap.colours(values, 1.0, alpha=True)
    assert clear[0, :, 3].tolist() == [255, 255, 0, 128, 255]
    assert (colormap.colours(np.zeros((2, 2)), 0.0) == 255).all()


@wild
@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])),
    )
)
def test_pillow_reads_back_what_was_encoded(pixels: Pixels) -> None:
    with Image.open(io.BytesIO(png.encode(pixels))) as image:
        assert image.mode == ("RGB" if pixels.shape[2] == 3 else "RGBA")
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_only_pixels_are_encoded() -> None:
    for pixels in (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)):
        with pytest.raises(ShapeError):
            png.encode(pixels)
    with pytest.raises(ShapeError):
        png.encode(np.zeros((2, 2, 3)))  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> Explanation:
    trained, pixels = random_case(8, seed=5)
    catclf.save(trained, tmp_path / "model.npz")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return explain.explain(trained, pixels)


def test_explain_prints_the_parts_within_80_columns(run: Run, model: Explanation) -> None:
    result = run("explain", "a.png", "--label", "cat")
    assert (result.code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == (
        f"a.png: {model.prediction}, P(cat) {100 * model.probability:.2f} %, z = {model.z:+.6f}"
    )
    assert f"{model.channels['green']:+.6f}" in result.stdout
    assert f"{model.regions[2, 0]:+.4f}" in result.stdout
    assert run("explain", "a.png", "--label", "cat") == result


def test_zero_is_shown_without_a_minus(run: Run, tmp_path: Path) -> None:
    w = np.zeros((192, 1))
    w[:3] = [[-1e-9], [1e-9], [0.5]]
    catclf.save(Model(w, -1e-9, Preprocess(8)), tmp_path / "model.npz")
    Image.new("RGB", (8, 8), (255, 255, 255)).save(tmp_path / "a.png")
    text = run("explain", "a.png").stdout
    assert "-0.0000" not in text
    parts = {line.split()[0]: line.split()[1] for line in text.splitlines()[3:8]}
    assert parts["bias"] == parts["red"] == parts["green"] == "+0.000000"
    assert parts["blue"] == "+0.500000"
    coloured = _signed(-1e-9, "+z.4f", Styling(colour=True))
    assert coloured == "+0.0000"  # nor in the colour of numbers below zero


def test_json_adds_up_and_agrees_with_predict(run: Run, model: Explanation) -> None:
    facts = json.loads(run("explain", "a.png", "--format", "json").stdout)
    predicted = json.loads(run("predict", "a.png", "--format", "jsonl").stdout)
    assert facts["z"] == pytest.approx(predicted["z"], rel=1e-12)
    assert facts["probability"] == pytest.approx(predicted["probability"], rel=1e-12)
    assert facts["answer"] == facts["label"] == predicted["label"]
    for parts in (facts["channels"], facts["regions"]):
        assert math.fsum([facts["bias"], *parts.values()]) == pytest.approx(facts["z"], rel=1e-12)


def test_the_image_shows_the_image_and_the_map(
    run: Run, model: Explanation, tmp_path: Path
) -> None:
    result = run("explain", "a.png", "--image", "e.png")
    assert f"e.png: {wording.EVIDENCE}" in result.stdout
    with Image.open(tmp_path / "e.png") as image:
        shown = np.asarray(image)
    assert shown.shape == (384, 2 * 384 + 16, 3)
    np.testing.assert_array_equal(shown[::48, :384:48], model.pixels)
    first = (tmp_path / "e.png").read_bytes()
    run("explain", "a.png", "--image", "e.png")
    assert (tmp_path / "e.png").read_bytes() == first


def test_an_image_of_a_data_set_comes_with_its_label(run: Run, tmp_path: Path) -> None:
    x, y = make_images(5)
    write_hdf5(tmp_path / "x.h5", images=x, labels=y, list_classes=CLASSES)
    trained, _ = random_case(8)
    catclf.save(trained, tmp_path / "model.npz")
    for i in range(5):
        facts = json.loads(run("explain", "x.h5", "--index", str(i), "--format", "json").stdout)
        assert facts["label"] == ("non-cat", "cat")[y[i]]
        assert facts["z"] == pytest.approx(float(trained.scores(x[i : i + 1])[0, 0]), rel=1e-12)
    result = run("explain", "x.h5", "--index", "5")
    assert result.stderr == "catclf: --index 5: x.h5 has 5 images, 0 to 4\n"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("none.png",), f"none.png: {wording.NO_IMAGE}"),
        (("a.png", "--label", "dog"), "--label dog is no class of the model: use non-cat or cat"),
        (("a.png", "--image", "a.png"), f"a.png: {wording.OTHER_FILE}"),
        (("a.png", "--image", "no/e.png"), wording.NO_FOLDER),
        (("a.png", "--index", "1"), "cannot tell what this is"),
        (("model.npz",), "is not an image"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    run: Run, model: Explanation, args: tuple[str, ...], why: str
) -> None:
    result = run("explain", *args)
    assert (result.code, result.stdout) == (2, "")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_number_is_a_negative_zero(run: Run, tmp_path: Path) -> None:
    w = np.full((64 * 64 * 3, 1), -1e-12)
    catclf.save(Model(w, -1e-9), tmp_path / "m.npz")
    Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / "a.png")
    result = run("explain", "a.png", "-m", "m.npz")
    assert "z = +0.000000" in result.stdout
    assert "-0.0000 " not in result.stdout
    assert "-0.000000" not in result.stdout
