"""HEIC through the optional library: decoded as other images are, else named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Run, paint
from PIL import Image

import catclf
from catclf.datasets import ReadOptions, open_dataset
from catclf.errors import ImageError
from catclf.images import formats
from catclf.images.decode import read
from catclf.images.preprocess import Limits, Preprocess

SIZE = 32


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    pillow_heif = pytest.importorskip("pillow_heif")
    tones = np.linspace(20, 235, SIZE).astype(np.uint8)
    image = Image.fromarray(np.stack([np.tile(tones, (SIZE, 1))] * 3, axis=2))
    path = tmp_path / "x.heic"
    pillow_heif.from_pillow(image).save(path, quality=-1)  # lossless but for the colour space
    return path


def test_a_heic_image_is_decoded(heic: Path) -> None:
    found = read(heic, Preprocess(SIZE)).astype(int)
    tones = np.linspace(20, 235, SIZE).astype(np.uint8).astype(int)
    assert np.abs(found - tones[None, :, None]).max() <= 8


def test_its_limits_hold(heic: Path) -> None:
    with pytest.raises(ImageError, match=f"`max_pixels={SIZE * SIZE}` reads it"):
        read(heic, Preprocess(SIZE), Limits(pixels=SIZE * SIZE - 1))
    heic.write_bytes(heic.read_bytes()[:200])
    with pytest.raises(ImageError):
        read(heic, Preprocess(SIZE))


def test_it_trains_and_is_scored_beside_others(heic: Path, run: Run, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "d" / name).mkdir(parents=True)
        paint(tmp_path / "d" / name / "0.png", (0, 255, 0))
    heic.rename(tmp_path / "d" / "cat" / "x.HEIC")
    assert open_dataset(tmp_path / "d", options=ReadOptions(size=8)).m == 3
    catclf.save(catclf.Model(np.zeros((192, 1)), 0.0, Preprocess(8)), tmp_path / "model.npz")
    result = run("predict", "d/cat")
    assert (result.code, result.stderr) == (0, "")
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [
        "d/cat/0.png",
        "d/cat/x.HEIC",
    ]


def test_without_the_library_it_is_named(
    heic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats.heif_is_there.cache_clear()
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    try:
        with pytest.raises(ImageError, match=r"-m pip install .*pillow-heif"):
            read(heic, Preprocess(SIZE))
        for name in ("cat", "dog"):
            (tmp_path / "d" / name).mkdir(parents=True)
            paint(tmp_path / "d" / name / "0.png", (0, 255, 0))
        heic.rename(tmp_path / "d" / "cat" / "x.heic")
        data = open_dataset(tmp_path / "d", options=ReadOptions(size=8))
        assert data.m == 2
        assert any("1 .heic" in note and "pillow-heif" in note for note in data.notes)
    finally:
        formats.heif_is_there.cache_clear()
