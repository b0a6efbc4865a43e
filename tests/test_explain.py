"""A prediction's parts add up; its table has the derivatives of the formula; maps are readable."""

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
from catclf.errors import ModelError, ShapeError
from catclf.explain import Explanation, explain
from catclf.features.hog import HogFeatures
from catclf.images import png
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels
from catclf.model import Model

sides = st.integers(1, 9)


def random_case(size: int, seed: int = 0, scale: float = 0.05) -> tuple[Model, Pixels]:
    rng = np.random.default_rng(seed)
    n = size * size * 3
    model = Model(scale * rng.standard_normal((n, 1)), 0.3, Preprocess(size))
    return model, rng.integers(0, 256, (size, size, 3), dtype=np.uint8)


def hog_case(size: int = 24) -> tuple[Model, Pixels]:
    """A model whose features mix the pixels of a region."""
    features = HogFeatures(size)
    w = np.random.default_rng(1).normal(size=(features.n, 1)) / 10
    return Model(w, 0.3, Preprocess(size), features=features), random_case(size, 2)[1]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_parts_add_up_to_z_whichever_way(size: int) -> None:
    model, pixels = random_case(size)
    found = explain(model, pixels)
    assert found.z == pytest.approx(float(model.scores(pixels[None])[0, 0]), rel=1e-12)
    for parts in (found.parts.values(), found.regions.ravel(), found.per_pixel.ravel()):
        assert math.fsum([model.b, *parts]) == pytest.approx(found.z, rel=1e-12)
    assert found.probability == pytest.approx(float(model.probabilities(pixels[None])[0, 0]))
    exact = sum(map(Fraction, found.evidence.tolist()), Fraction(model.b))
    assert found.z == float(exact)


def test_regions_and_channels_are_where_they_should_be() -> None:
    pixels = np.zeros((6, 6, 3), dtype=np.uint8)
    pixels[1, 5, 2] = 255  # top right, blue
    pixels[4, 2, 0] = 51  # bottom centre, red
    found = explain(Model(np.full((108, 1), 2.0), -1.0, Preprocess(6)), pixels)
    assert found.parts == {"red": 0.4, "green": 0.0, "blue": 2.0}
    assert found.regions.tolist() == [[0, 0, 2.0], [0, 0, 0], [0, 0.4, 0]]
    assert [row.node for row in found.loss_rows(1, 2)[:2]] == ["w blue(1,5)", "w red(4,2)"]
    assert found.z == pytest.approx(1.4, rel=1e-15)


def test_a_model_of_features_adds_up_and_drops_as_its_image_is_covered() -> None:
    model, pixels = hog_case()
    found = explain(model, pixels)
    whole = float(model.scores(pixels[None])[0, 0])
    assert set(found.parts) == {"edges", "colours"}
    assert found.z == pytest.approx(whole, abs=1e-9)
    assert model.b + sum(found.parts.values()) == pytest.approx(whole, abs=1e-9)
    for cells in (3, 8):
        step = 24 // cells
        for i, j in ((0, 0), (1, 2), (cells - 1, 0)):
            square = np.s_[i * step : (i + 1) * step, j * step : (j + 1) * step]
            covered = pixels.copy()
            covered[square] = np.rint(pixels.mean(axis=(0, 1)))
            drop = whole - float(model.scores(covered[None])[0, 0])
            shown = found.regions[i, j] if cells == 3 else found.per_pixel[square].sum()
            assert shown == pytest.approx(drop, abs=1e-9)


def slope(model: Model, label: int, step: float) -> float:
    """dL/db by a central difference, from the loss of another implementation."""
    losses = [np.logaddexp(0, z) - label * z for z in (model.b + step, model.b - step)]
    return float((losses[0] - losses[1]) / (2 * step))


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("case", [random_case(8, 2), hog_case()], ids=["pixels", "hog"])
def test_the_table_has_the_derivatives_of_the_formula(
    case: tuple[Model, Pixels], label: int
) -> None:
    model, pixels = case
    found = explain(model, pixels)
    rows = {row.node: row for row in found.loss_rows(label, model.n)}
    a = 1 / (1 + math.exp(-found.z))
    dz = a - label
    assert dz == pytest.approx(slope(Model(np.zeros((3, 1)), found.z, Preprocess(1)), label, 1e-5))
    assert rows["L"].value == pytest.approx(-math.log(a if label else 1 - a), rel=1e-12)
    assert (rows["z"].value, rows["b"].value) == (found.z, model.b)
    chance = rows["a" if label else "1 - a"]
    assert chance.grad == pytest.approx(-1 / chance.value, rel=1e-12)
    weights = [row for name, row in rows.items() if name.startswith("w ")]
    order = np.argsort(-np.abs(found.evidence), kind="stable")
    assert [row.value for row in weights] == model.w[order, 0].tolist()
    np.testing.assert_allclose([r.grad for r in weights], dz * found.x[order], rtol=1e-12)
    sums = [rows[name] for name in (found.by_region if found.of_pixels else found.parts)]
    assert math.fsum([model.b, *(row.value for row in sums)]) == pytest.approx(found.z, rel=1e-9)
    np.testing.assert_allclose([row.grad for row in (*sums, rows["z"], rows["b"])], dz, rtol=1e-12)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("weight", [-1e4, 1e4])
def test_hopeless_scores_stay_finite(label: int, weight: float) -> None:
    model = Model(np.full((3, 1), weight), 0.0, Preprocess(1))
    rows = explain(model, np.full((1, 1, 3), 255, dtype=np.uint8)).loss_rows(label)
    assert all(math.isfinite(row.value) and math.isfinite(row.grad) for row in rows)
    assert rows[-1].value == pytest.approx(3e4 if (weight > 0) != label else 0, abs=1e-300)


def test_what_cannot_be_explained_is_refused() -> None:
    with pytest.raises(ShapeError):
        explain(Model(np.zeros((12, 1)), 0.0, Preprocess(2)), np.zeros((3, 3, 3), np.uint8))
    features = HogFeatures(24)
    model = Model(np.full((features.n, 1), 1e308), 0.0, Preprocess(24), features=features)
    with pytest.raises(ModelError, match="so large"):
        explain(model, random_case(24)[1])


def test_colours_of_a_map_by_hand() -> None:
    values = np.array([[1.0, -1.0, 0.0, 0.5, 9.0]])
    white = [[230, 159, 0], [0, 114, 178], [255, 255, 255], [242, 207, 128], [230, 159, 0]]
    assert png.colours(values, 1.0)[0].tolist() == white
    clear = png.colours(values, 1.0, alpha=True)
    assert clear[0, :, 3].tolist() == [255, 255, 0, 128, 255]
    assert (png.colours(np.zeros((2, 2)), 0.0) == 255).all()


@settings(max_examples=25)
@given(arrays.arrays(np.uint8, st.tuples(sides, sides, st.sampled_from([3, 4]))))
def test_pillow_reads_back_what_was_encoded(pixels: Pixels) -> None:
    with Image.open(io.BytesIO(png.encode(pixels))) as image:
        assert image.mode == ("RGB" if pixels.shape[2] == 3 else "RGBA")
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_only_pixels_are_encoded() -> None:
    for shape, dtype in (((2, 2), np.uint8), ((2, 2, 2), np.uint8), ((2, 2, 3), np.float64)):
        with pytest.raises(ShapeError):
            png.encode(np.zeros(shape, dtype))


@pytest.fixture
def model(tmp_path: Path) -> Explanation:
    trained, pixels = random_case(8, seed=5)
    catclf.save(trained, tmp_path / "model.npz")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return explain(trained, pixels)


@pytest.mark.parametrize("blue", [-1e-12, 0.5])
def test_zero_is_shown_without_a_minus(run: Run, tmp_path: Path, blue: float) -> None:
    w = np.zeros((192, 1))
    w[:3] = [[-1e-9], [1e-9], [blue]]
    catclf.save(Model(w, -1e-9, Preprocess(8)), tmp_path / "model.npz")
    Image.new("RGB", (8, 8), (255, 255, 255)).save(tmp_path / "a.png")
    text = run("explain", "a.png").done()
    assert f"z = {abs(blue):+.6f}" in text
    assert "-0.0000 " not in text
    assert "-0.000000" not in text
    parts = dict(line.split()[:2] for line in text.splitlines()[3:8])
    assert parts["bias"] == parts["red"] == parts["green"] == "+0.000000"
    assert parts["blue"] == f"{abs(blue):+.6f}"


def test_json_adds_up_and_agrees_with_predict(run: Run, model: Explanation) -> None:
    facts = json.loads(run("explain", "a.png", "--format", "json").stdout)
    predicted = json.loads(run("predict", "a.png", "--format", "jsonl").stdout)
    assert facts["z"] == pytest.approx(predicted["z"], rel=1e-12)
    assert facts["probability"] == pytest.approx(predicted["probability"], rel=1e-12)
    assert facts["predicted"] == facts["label"] == predicted["label"]
    for parts in (facts["parts"], facts["regions"]):
        assert math.fsum([facts["bias"], *parts.values()]) == pytest.approx(facts["z"], rel=1e-12)


def test_the_image_shows_the_image_and_the_map(
    run: Run, model: Explanation, tmp_path: Path
) -> None:
    said = run("explain", "a.png", "--image", "e.png").done()
    assert "e.png: the image, and its evidence" in said
    first = (tmp_path / "e.png").read_bytes()
    with Image.open(tmp_path / "e.png") as image:
        shown = np.asarray(image)
    assert shown.shape == (384, 2 * 384 + 16, 3)
    np.testing.assert_array_equal(shown[::48, :384:48], model.pixels)
    run("explain", "a.png", "--image", "e.png")
    assert (tmp_path / "e.png").read_bytes() == first


def test_an_image_of_a_data_set_comes_with_its_label(run: Run, tmp_path: Path) -> None:
    x, y = make_images(5)
    write_hdf5(tmp_path / "x.h5", images=x, labels=y, list_classes=CLASSES)
    trained, _ = random_case(8)
    catclf.save(trained, tmp_path / "model.npz")
    facts = json.loads(run("explain", "x.h5", "--index", "3", "--format", "json").stdout)
    assert facts["label"] == ("non-cat", "cat")[y[3]]
    assert facts["z"] == pytest.approx(float(trained.scores(x[3:4])[0, 0]), rel=1e-12)
    run("explain", "x.h5", "--index", "5").refused("--index 5: x.h5 has 5 images, 0 to 4")
    for name in ("x.h5", "."):
        run("explain", name).refused(f"{name}: is a data set: say which of its images, as --index")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ("none.png", f"none.png: {wording.NO_IMAGE}"),
        ("a.png --label dog", "--label dog is no class of the model: use non-cat or cat"),
        ("a.png --image a.png", f"a.png: {wording.OTHER_FILE}"),
        ("a.png --image no/e.png", wording.NO_FOLDER),
        ("a.png --index 1", "is no data set: it is a PNG image"),
        ("model.npz", "Missing argument 'IMAGE'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    run: Run, model: Explanation, args: str, why: str
) -> None:
    run("explain", *args.split()).refused(why)
